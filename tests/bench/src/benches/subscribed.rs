//! A runtime with a thousand subscriptions: how soon they run, and what they take.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mecha_testkit::{Mecha, eventually};

use super::deliveries::BenchApp;
use super::{PRODUCT, PUBSUB, json_value, topic};
use crate::plan::Plan;
use crate::report::Table;
use crate::rounds::{Comparison, Contender, Unit, table};
use crate::spread::Spread;

const MANY: usize = 1000;
const RUNNING_WITHIN: Duration = Duration::from_secs(60);
/// After this long a process counts as idle.
const IDLE_AFTER: Duration = Duration::from_secs(1);
const SAMPLES: usize = 3;

pub(super) async fn run(plan: &Plan) -> Result<Vec<Table>> {
    let starts = plan.with_rounds(plan.starts);
    let contenders = vec![
        Contender::new(PRODUCT, async || Ok(until_running(MANY).await?.into())),
        Contender::new("one subscription", async || Ok(until_running(1).await?.into())),
    ];
    let comparison = Comparison {
        what: "exec to running, 1,000 subscriptions",
        unit: Unit::Milliseconds,
        wanted: "≤ 2 s",
    };
    let mut times = table("A thousand subscriptions: start", &comparison.run(&starts, contenders).await?);
    times.note(
        "running: the metadata API names all of them, and a message to each topic came to the application",
    );
    Ok(vec![times, memory(plan).await?])
}

/// Milliseconds from exec until every topic's message came to the application.
async fn until_running(topics: usize) -> Result<f64> {
    let app = BenchApp::start(topics)?;
    let (mecha, ready) = start(&app, topics).await?;
    let began = Instant::now();
    // Nothing is kept for a topic that nobody reads: what comes shows which subscriptions run.
    for number in 0..topics {
        let url = mecha.http_url(&format!("/v1.0/publish/{PUBSUB}/{}", topic(number)));
        let published = mecha.http().post(&url, json_value()).await?;
        ensure!(published.status == 204, "publishing answered {}: {}", published.status, published.text());
    }
    eventually(RUNNING_WITHIN, || async {
        let counts = app.counts().await?;
        ensure!(counts.topics == topics && counts.unfit == 0, "{counts:?} instead of {topics} topics");
        Ok(())
    })
    .await?;
    Ok((ready + began.elapsed()).as_secs_f64() * 1e3)
}

/// A runtime that names all subscriptions, and how long that took.
async fn start(app: &BenchApp, topics: usize) -> Result<(Mecha, Duration)> {
    let began = Instant::now();
    let mecha = app.product().start().await?;
    let answer = mecha.http().get(&mecha.http_url("/v1.0/metadata")).await?;
    let running = answer.text().matches(&format!("\"pubsubname\":\"{PUBSUB}\"")).count();
    ensure!(running == topics, "{running} of {topics} subscriptions run");
    Ok((mecha, began.elapsed()))
}

async fn memory(plan: &Plan) -> Result<Table> {
    let (mut one, mut many) = (Vec::new(), Vec::new());
    for _ in 0..SAMPLES {
        for (topics, samples) in [(1, &mut one), (MANY, &mut many)] {
            let app = BenchApp::start(topics)?;
            let (mecha, _) = start(&app, topics).await?;
            plan.sleep(IDLE_AFTER)?;
            samples.push(mecha.rss_bytes()? as f64);
        }
    }
    let each = one.iter().zip(&many).map(|(one, many)| (many - one) / (MANY - 1) as f64 / 1024.0);
    let each = Spread::of(each).context("nothing was measured")?;
    let megabytes = |samples: &[f64]| Spread::of(samples.iter().map(|bytes| bytes / 1e6));
    let mut table =
        Table::new("A thousand subscriptions: resident memory", &["what", "median (min–max)", "wanted"]);
    let show =
        |spread: Option<Spread>| spread.map_or_else(String::new, |spread| format!("{} MB", spread.show(1)));
    table.row(["one subscription".to_owned(), show(megabytes(&one))]);
    table.row([format!("{MANY} subscriptions"), show(megabytes(&many))]);
    table.row(["each".to_owned(), format!("{} KiB", each.show(1)), "≤ 40 KiB".to_owned()]);
    table.note(format!(
        "VmRSS {IDLE_AFTER:?} after ready, nothing delivered; each: the difference over {}",
        MANY - 1
    ));
    Ok(table)
}
