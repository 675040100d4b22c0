//! Plugins at their boundary against the client libraries that they use, without a gateway: the plugin is loaded into this
//! process as the product loads it, and the library is called here directly.

mod kafka;
mod redis;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::Result;
use tokio::task::JoinSet;

use crate::plan::Plan;
use crate::rounds::{Comparison, Contender, Row, Unit};

/// Tasks that call at once.
const TASKS: usize = 64;
const BOUNDARY: &str = "boundary";

pub(super) use kafka::run as kafka;
pub(super) use redis::run as redis;

/// What a task does again and again.
trait Work: Send + Sync + 'static {
    /// Does it once; gives how much was done.
    fn once(&self, task: usize) -> impl Future<Output = Result<u64>> + Send;
}

/// The rate of the plugin beside that of its client library.
async fn compare(
    plan: &Plan,
    what: &str,
    wanted: &str,
    boundary: Arc<impl Work>,
    (library, direct): (&str, Arc<impl Work>),
) -> Result<Vec<Row>> {
    let contenders = vec![
        Contender::new(BOUNDARY, async || rate(plan, &boundary).await.map(Into::into)),
        Contender::new(library, async || rate(plan, &direct).await.map(Into::into)),
    ];
    Comparison { what, unit: Unit::Rate, wanted }.run(plan, contenders).await
}

/// So much a second, by all tasks together.
async fn rate(plan: &Plan, work: &Arc<impl Work>) -> Result<f64> {
    let over = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    let began = Instant::now();
    for task in 0..TASKS {
        tasks.spawn(until(over.clone(), work.clone(), task));
    }
    tokio::time::sleep(plan.turn).await;
    plan.go_on()?;
    over.store(true, Ordering::Relaxed);
    let mut done = 0;
    while let Some(joined) = tasks.join_next().await {
        done += joined??;
    }
    Ok(done as f64 / began.elapsed().as_secs_f64())
}

async fn until(over: Arc<AtomicBool>, work: Arc<impl Work>, task: usize) -> Result<u64> {
    let mut done = 0;
    while !over.load(Ordering::Relaxed) {
        done += work.once(task).await?;
    }
    Ok(done)
}
