//! What a call across the plugin boundary costs, against the same work called directly.
//!
//! The memory plugin is loaded as the product loads it. The direct store ([`direct`]) does in this binary what the plugin
//! does for these calls.

mod direct;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use mecha_plugin_api::state::{
    Concurrency, Consistency, GetRequest, SetRequest, StateStore, StateStoreObject, ValueKind,
};
use mecha_plugin_api::{CallContext, Metadata, ROption};
use tokio::task::JoinSet;

use self::direct::DirectState;
use super::loaded::LoadedPlugin;
use super::{APP_ID, KIBIBYTE, key};
use crate::plan::Plan;
use crate::report::Table;
use crate::rounds::{Comparison, Contender, Row, Unit, table};

/// Tasks that call at once.
const TASKS: usize = 64;
/// Calls between two looks at the clock.
const BATCH: u64 = 256;
const MEBIBYTE: usize = 1024 * 1024;

pub(super) async fn run(plan: &Plan) -> Result<Vec<Table>> {
    let plugin = LoadedPlugin::load("memory")?;
    let boundary = Arc::new(Boundary { store: plugin.open("state.in-memory").await?, context: context() });
    let direct = Arc::new(Direct { store: DirectState::default(), context: context() });
    let stores = Stores { boundary, direct };
    let mut rows = Vec::new();
    for (length, named) in [(KIBIBYTE, "1 KiB"), (MEBIBYTE, "1 MiB")] {
        let value = Bytes::from(vec![b'x'; length]);
        for index in 0..TASKS {
            stores.boundary.set(&key(index), value.clone()).await?;
            stores.direct.set(&key(index), value.clone()).await?;
        }
        for work in [Work::Get(length), Work::Set(value)] {
            let what = format!("{} {named}", work.name());
            rows.extend(stores.alone(plan, &format!("{what}, one caller"), &work).await?);
            rows.extend(stores.together(plan, &format!("{what}, {TASKS} tasks"), &work).await?);
        }
    }
    drop(stores);
    plugin.retire().await;
    let mut table = table("A call across the plugin boundary, memory plugin", &rows);
    table.note("one caller: time of a call; 64 tasks on all cores: elapsed time over the number of calls");
    table.note(
        "the plugin brings its own allocator, the system's; the direct store uses this binary's, mimalloc",
    );
    Ok(vec![table])
}

fn context() -> CallContext {
    CallContext::background(APP_ID)
}

/// What is called again and again.
#[derive(Debug, Clone)]
enum Work {
    /// A get that must return so many bytes.
    Get(usize),
    /// A set of this value.
    Set(Bytes),
}

impl Work {
    fn name(&self) -> &'static str {
        match self {
            Self::Get(_) => "get",
            Self::Set(_) => "set",
        }
    }
}

/// A store, whichever way it is reached.
trait Reached: Send + Sync + 'static {
    fn get(&self, key: &str) -> impl Future<Output = Result<Option<Bytes>>> + Send;
    fn set(&self, key: &str, value: Bytes) -> impl Future<Output = Result<()>> + Send;

    fn work(&self, key: &str, work: &Work) -> impl Future<Output = Result<()>> + Send {
        async move {
            match work {
                Work::Set(value) => self.set(key, value.clone()).await,
                Work::Get(length) => {
                    let value = self.get(key).await?.context("the key is not there")?;
                    ensure!(value.len() == *length, "expected {length} bytes, got {}", value.len());
                    Ok(())
                }
            }
        }
    }
}

struct Boundary {
    store: StateStoreObject,
    context: CallContext,
}

impl Reached for Boundary {
    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        let item = self.store.get(self.context.clone(), get_request(key)).await.into_result()?;
        Ok(item.into_option().map(|item| item.value.into_bytes()))
    }

    async fn set(&self, key: &str, value: Bytes) -> Result<()> {
        Ok(self.store.set(self.context.clone(), set_request(key, value)).await.into_result()?)
    }
}

struct Direct {
    store: DirectState,
    context: CallContext,
}

impl Reached for Direct {
    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        let item = self.store.get(&self.context, get_request(key)).await?;
        Ok(item.map(|item| item.value.into_bytes()))
    }

    async fn set(&self, key: &str, value: Bytes) -> Result<()> {
        Ok(self.store.set(&self.context, set_request(key, value)).await?)
    }
}

pub(super) fn get_request(key: &str) -> GetRequest {
    GetRequest { key: key.into(), consistency: Consistency::UNSPECIFIED, metadata: Metadata::new() }
}

pub(super) fn set_request(key: &str, value: Bytes) -> SetRequest {
    SetRequest {
        key: key.into(),
        value: value.into(),
        kind: ValueKind::BYTES,
        etag: ROption::RNone,
        concurrency: Concurrency::UNSPECIFIED,
        consistency: Consistency::UNSPECIFIED,
        metadata: Metadata::new(),
    }
}

struct Stores {
    boundary: Arc<Boundary>,
    direct: Arc<Direct>,
}

impl Stores {
    async fn alone(&self, plan: &Plan, what: &str, work: &Work) -> Result<Vec<Row>> {
        let contenders = vec![
            Contender::new("boundary", async || {
                one_caller(plan, &*self.boundary, work).await.map(Into::into)
            }),
            Contender::new("direct", async || one_caller(plan, &*self.direct, work).await.map(Into::into)),
        ];
        Comparison { what, unit: Unit::Nanoseconds, wanted: "" }.run(plan, contenders).await
    }

    async fn together(&self, plan: &Plan, what: &str, work: &Work) -> Result<Vec<Row>> {
        let contenders = vec![
            Contender::new("boundary", async || many_tasks(plan, &self.boundary, work).await.map(Into::into)),
            Contender::new("direct", async || many_tasks(plan, &self.direct, work).await.map(Into::into)),
        ];
        Comparison { what, unit: Unit::Nanoseconds, wanted: "" }.run(plan, contenders).await
    }
}

/// Nanoseconds a call.
async fn one_caller(plan: &Plan, store: &impl Reached, work: &Work) -> Result<f64> {
    let key = key(0);
    let (began, mut calls) = (Instant::now(), 0);
    while began.elapsed() < plan.loop_turn {
        for _ in 0..BATCH {
            store.work(&key, work).await?;
        }
        calls += BATCH;
    }
    Ok(nanoseconds(began.elapsed(), calls))
}

/// Elapsed nanoseconds over the calls of all tasks.
async fn many_tasks<S: Reached>(plan: &Plan, store: &Arc<S>, work: &Work) -> Result<f64> {
    let over = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    let began = Instant::now();
    for index in 0..TASKS {
        tasks.spawn(call_until(over.clone(), store.clone(), key(index), work.clone()));
    }
    tokio::time::sleep(plan.loop_turn).await;
    over.store(true, Ordering::Relaxed);
    let mut calls = 0;
    while let Some(joined) = tasks.join_next().await {
        calls += joined??;
    }
    Ok(nanoseconds(began.elapsed(), calls))
}

async fn call_until<S: Reached>(
    over: Arc<AtomicBool>,
    store: Arc<S>,
    key: String,
    work: Work,
) -> Result<u64> {
    let mut calls = 0;
    while !over.load(Ordering::Relaxed) {
        // As the product does before each call: these calls never wait, and a task must give way to others.
        tokio::task::coop::consume_budget().await;
        store.work(&key, &work).await?;
        calls += 1;
    }
    Ok(calls)
}

fn nanoseconds(elapsed: Duration, calls: u64) -> f64 {
    elapsed.as_secs_f64() * 1e9 / calls as f64
}
