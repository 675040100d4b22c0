//! Deliveries to a trivial application over HTTP/1.1, memory plugin, against a bare hyper client that posts the same events to
//! the same application.
//!
//! The messages of a turn are published beforehand, while the application holds back its answers: a turn is nothing but
//! deliveries.

use std::cell::Cell;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use mecha_testkit::{HttpClient, Mecha};

use super::{APP_ID, PRODUCT, PUBSUB, json_value, topic};
use crate::child::BareServer;
use crate::cpu;
use crate::plan::Plan;
use crate::report::Table;
use crate::rounds::{Comparison, Contender, Turn, Unit, table};

/// Messages that are published in one call.
const BULK: usize = 500;

pub(super) async fn run(plan: &Plan) -> Result<Vec<Table>> {
    let app = BenchApp::start(1)?;
    let mecha = app.product().start().await?;
    let event = sample(&app, &mecha).await?;
    let args = |means: &str| ["--app".to_owned(), app.0.addr().to_string(), "--means".into(), means.into()];
    let bare = BareServer::start("bare-client", &args("connections"))?;
    let pool = BareServer::start("bare-client", &args("pool"))?;
    // The sample was the first.
    let (app, seen, events) = (&app, &Cell::new(1), plan.events);
    let post = async |client: &BareServer| {
        let post =
            async || app.call("POST", &format!("http://{}/{events}", client.addr()), event.clone()).await;
        let turn = timed(client.pid(), events, async || post().await.map(drop)).await?;
        app.check(seen, events).await?;
        Ok(turn)
    };
    let contenders = vec![
        Contender::new(PRODUCT, async || {
            app.gate("shut").await?;
            publish(&mecha, events).await?;
            let total = seen.get() + events;
            let turn = timed(mecha.pid(), events, async || {
                app.gate("open").await?;
                app.reached(total).await
            });
            let turn = turn.await?;
            app.check(seen, events).await?;
            Ok(turn)
        }),
        Contender::new("bare hyper client", async || post(&bare).await),
        Contender::new("hyper-util's client", async || post(&pool).await),
    ];
    let comparison = Comparison { what: "deliveries, 64 at a time", unit: Unit::Rate, wanted: "≥ 0.50" };
    let rows = comparison.run(plan, contenders).await?;
    let mut table = table("Deliveries to an application over HTTP/1.1, 1 KiB, memory plugin", &rows);
    table
        .note(format!("a turn brings {events} events that were published before; each arrived exactly once"));
    table.note("the clients post one of the product's own CloudEvents to the same application, 64 at a time");
    Ok(vec![table])
}

/// An event as the product delivers it.
async fn sample(app: &BenchApp, mecha: &Mecha) -> Result<Bytes> {
    publish(mecha, 1).await?;
    app.reached(1).await?;
    app.call("GET", &app.url("sample"), Bytes::new()).await
}

/// Publishes events to the first topic.
async fn publish(mecha: &Mecha, events: usize) -> Result<()> {
    let entry =
        |id| format!(r#"{{"entryId":"{id}","contentType":"application/json","event":{}}}"#, json_value());
    let url = mecha.http_url(&format!("/v1.0-alpha1/publish/bulk/{PUBSUB}/{}", topic(0)));
    let mut left = events;
    while left > 0 {
        let count = left.min(BULK);
        let entries: Vec<_> = (0..count).map(entry).collect();
        let published = mecha.http().post(&url, format!("[{}]", entries.join(","))).await?;
        ensure!(published.status == 204, "publishing answered {}: {}", published.status, published.text());
        left -= count;
    }
    Ok(())
}

async fn timed(pid: u32, events: usize, work: impl AsyncFnOnce() -> Result<()>) -> Result<Turn> {
    let (before, began) = (cpu::time(pid)?, Instant::now());
    work().await?;
    let (elapsed, used) = (began.elapsed(), cpu::time(pid)?.saturating_sub(before));
    let per_event = |time: Duration| time.as_secs_f64() / events as f64;
    Ok(Turn { value: 1.0 / per_event(elapsed), server_cpu_us: Some(per_event(used) * 1e6) })
}

/// The trivial application as a child process.
pub(super) struct BenchApp(BareServer);

/// What it counted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) events: usize,
    /// Topics that had any.
    pub(super) topics: usize,
    /// What was no event of a kibibyte.
    pub(super) unfit: usize,
}

impl BenchApp {
    /// With so many subscriptions.
    pub(super) fn start(topics: usize) -> Result<Self> {
        Ok(Self(BareServer::start("app", &["--topics".to_owned(), topics.to_string()])?))
    }

    /// A runtime beside it.
    pub(super) fn product(&self) -> mecha_testkit::MechaBuilder {
        let port = self.0.addr().port().to_string();
        let builder = Mecha::builder().app_id(APP_ID).plugin("memory").component(PUBSUB, "pubsub.in-memory");
        builder.flag("--app-port", port)
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.0.addr())
    }

    async fn call(&self, method: &str, url: &str, body: Bytes) -> Result<Bytes> {
        let request = http::Request::builder().method(method).uri(url).body(body.into())?;
        let answer = HttpClient::new().send(request).await?;
        ensure!(answer.status == 200, "{url} answered {}: {}", answer.status, answer.text());
        Ok(answer.body)
    }

    async fn gate(&self, gate: &str) -> Result<()> {
        self.call("PUT", &self.url(gate), Bytes::new()).await.map(drop)
    }

    /// Returns when it has taken so many events.
    async fn reached(&self, events: usize) -> Result<()> {
        self.call("GET", &self.url(&format!("reached/{events}")), Bytes::new()).await.map(drop)
    }

    pub(super) async fn counts(&self) -> Result<Counts> {
        let line = self.call("GET", &self.url("counts"), Bytes::new()).await?;
        let line = std::str::from_utf8(&line)?;
        let mut numbers = line.split(' ').map(str::parse);
        let mut next = || numbers.next().context("three numbers")?.context("a number");
        Ok(Counts { events: next()?, topics: next()?, unfit: next()? })
    }

    /// Every event of a turn came once, and whole.
    async fn check(&self, seen: &Cell<usize>, events: usize) -> Result<()> {
        seen.set(seen.get() + events);
        let (counts, expected) = (self.counts().await?, Counts { events: seen.get(), topics: 1, unfit: 0 });
        ensure!(counts == expected, "the application counted {counts:?}, not {expected:?}");
        Ok(())
    }
}
