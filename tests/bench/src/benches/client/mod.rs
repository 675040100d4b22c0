//! Plugins at their boundary against the client libraries that they use, without a gateway: the plugin is loaded into this
//! process as the product loads it, and the library is called here directly.

#[cfg(feature = "clients")]
pub(super) mod aws;
#[cfg(feature = "clients")]
mod kafka;
mod redis;
#[cfg(feature = "clients")]
mod s3;
#[cfg(feature = "clients")]
mod sqs;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::Result;
use tokio::task::JoinSet;

use crate::args::Benchmark;
use crate::plan::Plan;
use crate::report::Table;
use crate::rounds::{Comparison, Contender, Row, Unit};

/// Tasks that call at once.
const TASKS: usize = 64;
const BOUNDARY: &str = "boundary";

/// Runs one of these benchmarks.
pub(super) async fn run(benchmark: Benchmark, plan: &Plan) -> Result<Vec<Table>> {
    match benchmark {
        #[cfg(feature = "clients")]
        Benchmark::KafkaClient => kafka::run(plan).await,
        #[cfg(feature = "clients")]
        Benchmark::SqsClient => sqs::run(plan).await,
        #[cfg(feature = "clients")]
        Benchmark::S3Client => s3::run(plan).await,
        #[cfg(feature = "clients")]
        Benchmark::PluginMemory => super::plugin_memory::run(plan).await,
        Benchmark::RedisClient => redis::run(plan).await,
        other => {
            let name = other.name();
            anyhow::bail!("built without the client libraries: `cargo xtask bench {name}` builds them in")
        }
    }
}

/// What a task does again and again.
trait Work: Send + Sync + 'static {
    /// Does it once; gives how much was done.
    fn once(&self, task: usize) -> impl Future<Output = Result<u64>> + Send;
}

/// The row's name, and how many tasks do the work at once.
struct Load<'a> {
    what: &'a str,
    wanted: &'a str,
    tasks: usize,
}

impl Load<'_> {
    /// The rate of the plugin beside that of its client library.
    async fn compare(
        &self,
        plan: &Plan,
        boundary: Arc<impl Work>,
        (library, direct): (&str, Arc<impl Work>),
    ) -> Result<Vec<Row>> {
        // Connections are made and servers compile themselves in the first turn: it does not count.
        rate(plan, self.tasks, &boundary).await?;
        rate(plan, self.tasks, &direct).await?;
        let contenders = vec![
            Contender::new(BOUNDARY, async || rate(plan, self.tasks, &boundary).await.map(Into::into)),
            Contender::new(library, async || rate(plan, self.tasks, &direct).await.map(Into::into)),
        ];
        Comparison { what: self.what, unit: Unit::Rate, wanted: self.wanted }.run(plan, contenders).await
    }
}

/// So much a second, by all tasks together.
async fn rate(plan: &Plan, tasks: usize, work: &Arc<impl Work>) -> Result<f64> {
    let over = Arc::new(AtomicBool::new(false));
    let mut running = JoinSet::new();
    let began = Instant::now();
    for task in 0..tasks {
        running.spawn(until(over.clone(), work.clone(), task));
    }
    tokio::time::sleep(plan.turn).await;
    plan.go_on()?;
    over.store(true, Ordering::Relaxed);
    let mut done = 0;
    while let Some(joined) = running.join_next().await {
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
