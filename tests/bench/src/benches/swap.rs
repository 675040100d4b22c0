//! A plugin replaced by another version: what the host's steps take, how soon the running product serves from the new
//! version and is done with the old one, and what its callers notice.

use std::cell::RefCell;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mecha_plugin_api::CallContext;
use mecha_testkit::{Mecha, plugin_library};

use super::loaded::{LoadedPlugin, retire, unfinished, version};
use super::{APP_ID, CONNECTIONS, SAVED, STORE, http_addr, path, save_body, save_requests};
use crate::load::Load;
use crate::load::http::HttpTarget;
use crate::plan::Plan;
use crate::report::Table;
use crate::rounds::{Comparison, Contender, Row, Unit, table};
use crate::spread::Spread;

const BACKEND: &str = "memory";
const COMPONENT_TYPE: &str = "state.in-memory";
/// Saved before a swap, to see when it is gone.
const MARKER: &str = "marker";
const GENERATIONS: &str = "mecha_plugin_generations{";
const POLL: Duration = Duration::from_millis(1);
const SWAPPED_WITHIN: Duration = Duration::from_secs(20);

pub(super) async fn run(plan: &Plan) -> Result<Vec<Table>> {
    let mut times = Table::new("A plugin replaced: times", &["what", "median (min–max)", "of"]);
    let library = fs::read(plugin_library(BACKEND)?)?;
    host_steps(plan, &library, &mut times).await?;
    let product = Product::start(library).await?;
    let mut rates = table("A plugin replaced: what its callers notice", &product.rates(plan).await?);
    rates.note("every call of every caller was answered as it should be, else there would be no result");
    product.add_times(&mut times)?;
    times.note(
        "served: until the first answer from the new version; holds the wait for a file that no longer changes (plugins.settle)",
    );
    times.note("drained: until the old version's runtime has ended, as the metrics page shows it");
    Ok(vec![times, rates])
}

/// The parts of a swap, by the product's own host in this process.
async fn host_steps(plan: &Plan, library: &[u8], times: &mut Table) -> Result<()> {
    let mut plugin = LoadedPlugin::load(BACKEND)?;
    let mut store = plugin.open(COMPONENT_TYPE).await?;
    let [mut load, mut open, mut first, mut retired] = [const { Vec::new() }; 4];
    for number in 0..plan.swaps {
        plan.go_on()?;
        plugin.put(&version(library, number))?;
        let before = timed(&mut load, async || plugin.scan()).await?;
        let new = timed(&mut open, async || plugin.open(COMPONENT_TYPE).await).await?;
        timed(&mut first, async || Ok(new.ping(CallContext::background(APP_ID)).await.into_result()?))
            .await?;
        drop(std::mem::replace(&mut store, new));
        timed(&mut retired, async || {
            retire(&before).await;
            Ok(())
        })
        .await?;
    }
    println!("    {} swaps by the host alone", plan.swaps);
    drop(store);
    plugin.retire().await;
    let of = format!("{} swaps by the host alone", plan.swaps);
    for (what, values) in [
        ("copy, check, load, start", load),
        ("open a component", open),
        ("its first call", first),
        ("retire the old version", retired),
    ] {
        times.row([what.to_owned(), milliseconds(&values, 2)?, of.clone()]);
    }
    Ok(())
}

async fn timed<T>(times: &mut Vec<Duration>, step: impl AsyncFnOnce() -> Result<T>) -> Result<T> {
    let began = Instant::now();
    let value = step().await?;
    times.push(began.elapsed());
    Ok(value)
}

fn milliseconds(times: &[Duration], decimals: usize) -> Result<String> {
    let spread =
        Spread::of(times.iter().map(|time| time.as_secs_f64() * 1e3)).context("nothing was measured")?;
    Ok(format!("{} ms", spread.show(decimals)))
}

/// The running product, the versions of its plugin, and the times of the swaps so far.
struct Product {
    mecha: Mecha,
    library: Vec<u8>,
    served: RefCell<Vec<Duration>>,
    drained: RefCell<Vec<Duration>>,
}

impl Product {
    async fn start(library: Vec<u8>) -> Result<Self> {
        let builder = Mecha::builder().app_id(APP_ID).plugin(BACKEND).component(STORE, COMPONENT_TYPE);
        let mecha = builder.start().await?;
        Ok(Self { mecha, library, served: RefCell::default(), drained: RefCell::default() })
    }

    /// The rate of saves with a swap after the other, against the rate without.
    async fn rates(&self, plan: &Plan) -> Result<Vec<Row>> {
        let target = HttpTarget::new(http_addr(&self.mecha)?, save_requests(), SAVED);
        let load = Load { connections: CONNECTIONS, server: self.mecha.pid() };
        let (swapping, steady) = (target.clone(), target);
        let contenders = vec![
            Contender::new("while swapping", async move || {
                let (plan, target) = (plan.clone(), swapping.clone());
                let calls = tokio::task::spawn_blocking(move || load.run(&plan, &target));
                while !calls.is_finished() {
                    self.swap().await?;
                }
                Ok(calls.await??.rate())
            }),
            Contender::new("steady", async move || Ok(load.run(plan, &steady)?.rate())),
        ];
        let comparison = Comparison { what: "save, 64 connections", unit: Unit::Rate, wanted: "" };
        comparison.run(plan, contenders).await
    }

    /// Replaces the plugin by one more version.
    async fn swap(&self) -> Result<()> {
        let url = self.mecha.http_url(&path(MARKER));
        let saved = self.mecha.http().post(&self.mecha.http_url(&path("")), save_body(MARKER)).await?;
        ensure!(saved.status == 204, "saving answered {}: {}", saved.status, saved.text());
        let retired = self.retired().await?;
        let file = self.mecha.plugins().file(BACKEND);
        let next = unfinished(&file, &version(&self.library, self.served.borrow().len()))?;
        let began = Instant::now();
        fs::rename(next, &file)?;
        // The new version begins with an empty memory.
        until(async || Ok(self.mecha.http().get(&url).await?.status == 204))
            .await
            .context("the new version serves")?;
        let served = began.elapsed();
        until(async || Ok(self.retired().await? > retired)).await.context("the old version is retired")?;
        self.served.borrow_mut().push(served);
        self.drained.borrow_mut().push(began.elapsed() - served);
        Ok(())
    }

    /// How many generations have ended.
    async fn retired(&self) -> Result<f64> {
        let page = self.mecha.metrics().await?;
        let lines =
            page.lines().filter(|line| line.starts_with(GENERATIONS) && line.contains("state=\"retired\""));
        Ok(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }

    fn add_times(&self, times: &mut Table) -> Result<()> {
        let (served, drained) = (self.served.borrow(), self.drained.borrow());
        let of = format!("{} swaps of the running product under {CONNECTIONS} callers", served.len());
        times.row(["rename to served".to_owned(), milliseconds(&served, 0)?, of.clone()]);
        times.row(["served to drained".to_owned(), milliseconds(&drained, 0)?, of]);
        Ok(())
    }
}

/// Looks again and again, in short intervals.
async fn until(mut holds: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let began = Instant::now();
    while !holds().await? {
        ensure!(began.elapsed() < SWAPPED_WITHIN, "not within {SWAPPED_WITHIN:?}");
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}
