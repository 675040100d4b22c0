//! The load generator: connections with one call in flight each, on threads that run one event loop each.
//!
//! It shares the machine with the server that it measures, so it does as little as it can: requests are bytes made
//! beforehand, and of an answer only what says that it is right is read. Each answer is checked; one that is wrong fails
//! the turn.

pub(crate) mod grpc;
pub(crate) mod http;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result, bail};
use tokio::task::JoinSet;

use crate::cpu;
use crate::plan::Plan;
use crate::rounds::Turn;
use crate::spread::Spread;

/// Event loops of the generator: with fewer, one busy thread would be the limit of what is measured.
const THREADS: usize = 2;
/// Longer than any call takes that is still to be answered.
const STRAGGLERS: Duration = Duration::from_secs(10);

const WARM_UP: u8 = 0;
const COUNTED: u8 = 1;
const OVER: u8 = 2;

/// Somewhere to connect to, and what to call there.
pub(crate) trait Target: Send + Sync + 'static {
    /// A connection.
    type Caller: Caller;

    /// Makes the connection with a number.
    fn connect(&self, index: usize) -> impl Future<Output = Result<Self::Caller>> + Send;
}

/// A connection that makes one call after the other.
pub(crate) trait Caller: Send + 'static {
    /// One call; an error when the answer is not the expected one.
    fn call(&mut self) -> impl Future<Output = Result<()>> + Send;
}

/// What one connection counted.
#[derive(Debug, Default)]
struct Tally {
    calls: u64,
    latencies: Vec<Duration>,
    failure: Option<Error>,
}

/// How often calls were answered, and at what price.
#[derive(Debug)]
pub(crate) struct Outcome {
    calls: u64,
    elapsed: Duration,
    latencies: Vec<Duration>,
    server_cpu: Duration,
}

impl Outcome {
    /// Calls a second, with the server's processor time.
    pub(crate) fn rate(&self) -> Turn {
        let value = self.calls as f64 / self.elapsed.as_secs_f64();
        Turn { value, server_cpu_us: Some(self.server_cpu.as_secs_f64() * 1e6 / self.calls as f64) }
    }

    /// The median of all latencies in microseconds.
    pub(crate) fn median_latency(&self) -> Result<Turn> {
        let micros = self.latencies.iter().map(|latency| latency.as_secs_f64() * 1e6);
        Ok(Spread::of(micros).context("no call was answered")?.median.into())
    }
}

/// The load of one turn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// Connections with one call in flight each.
    pub(crate) connections: usize,
    /// Process id of the server.
    pub(crate) server: u32,
}

impl Load {
    /// Connects, warms up, counts for one turn and lets go. Blocks.
    pub(crate) fn run<T: Target>(self, plan: &Plan, target: &Arc<T>) -> Result<Outcome> {
        let phase = Arc::new(AtomicU8::new(WARM_UP));
        let (connected, is_connected) = mpsc::channel();
        let threads = THREADS.min(self.connections);
        let handles: Vec<_> = (0..threads)
            .map(|thread| {
                let (target, phase, connected) = (target.clone(), phase.clone(), connected.clone());
                thread::spawn(move || {
                    event_loop(&*target, &phase, &connected, (thread..self.connections).step_by(threads))
                })
            })
            .collect();
        drop(connected);
        let counted = self.count(plan, &phase, &is_connected, threads);
        phase.store(OVER, Ordering::Relaxed);
        let mut tallies = Vec::new();
        for handle in handles {
            tallies
                .extend(handle.join().map_err(|_| Error::msg("a thread of the load generator panicked"))??);
        }
        let (elapsed, server_cpu) = counted?;
        sum(tallies, elapsed, server_cpu)
    }

    fn count(
        self,
        plan: &Plan,
        phase: &AtomicU8,
        connected: &mpsc::Receiver<()>,
        threads: usize,
    ) -> Result<(Duration, Duration)> {
        for _ in 0..threads {
            // A thread that could not connect ends, and tells why when it is joined.
            connected.recv().context("a thread of the load generator could not connect")?;
        }
        plan.sleep(plan.warm_up)?;
        let cpu_before = cpu::time(self.server)?;
        phase.store(COUNTED, Ordering::Relaxed);
        let began = Instant::now();
        plan.sleep(plan.turn)?;
        phase.store(OVER, Ordering::Relaxed);
        Ok((began.elapsed(), cpu::time(self.server)?.saturating_sub(cpu_before)))
    }
}

/// One thread of the generator: its share of the connections, until the turn is over.
fn event_loop<T: Target>(
    target: &T,
    phase: &Arc<AtomicU8>,
    connected: &mpsc::Sender<()>,
    share: impl Iterator<Item = usize>,
) -> Result<Vec<Tally>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut callers = Vec::new();
        for index in share {
            callers.push(target.connect(index).await?);
        }
        let mut tasks: JoinSet<Tally> = JoinSet::new();
        for caller in callers {
            tasks.spawn(call_until_over(caller, phase.clone()));
        }
        // The receiver is gone only when the turn was given up.
        let _ = connected.send(());
        let mut tallies = Vec::new();
        while let Some(tally) = next(&mut tasks, phase).await? {
            tallies.push(tally);
        }
        Ok(tallies)
    })
}

/// The next connection that has finished; an error when one hangs after the turn.
async fn next(tasks: &mut JoinSet<Tally>, phase: &AtomicU8) -> Result<Option<Tally>> {
    loop {
        match tokio::time::timeout(STRAGGLERS, tasks.join_next()).await {
            Ok(joined) => return Ok(joined.transpose()?),
            Err(_) if phase.load(Ordering::Relaxed) == OVER => {
                bail!("a call had no answer {STRAGGLERS:?} after the turn")
            }
            Err(_) => {}
        }
    }
}

async fn call_until_over(mut caller: impl Caller, phase: Arc<AtomicU8>) -> Tally {
    let mut tally = Tally::default();
    loop {
        let counts = match phase.load(Ordering::Relaxed) {
            OVER => return tally,
            now => now == COUNTED,
        };
        let began = Instant::now();
        if let Err(error) = caller.call().await {
            tally.failure = Some(error);
            return tally;
        }
        if counts {
            tally.calls += 1;
            tally.latencies.push(began.elapsed());
        }
    }
}

/// A failed call is no result: one is enough to fail the turn.
fn sum(tallies: Vec<Tally>, elapsed: Duration, server_cpu: Duration) -> Result<Outcome> {
    let mut outcome = Outcome { calls: 0, elapsed, latencies: Vec::new(), server_cpu };
    let (mut failed, mut first) = (0, None);
    for mut tally in tallies {
        outcome.calls += tally.calls;
        outcome.latencies.append(&mut tally.latencies);
        if let Some(error) = tally.failure {
            failed += 1;
            first = first.or(Some(error));
        }
    }
    match first {
        Some(error) => Err(error.context(format!(
            "{failed} connections ended with a failed call, after {} good calls",
            outcome.calls
        ))),
        None if outcome.calls == 0 => bail!("no call was answered"),
        None => Ok(outcome),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Interrupt;

    /// Answers so many calls rightly; none at all means that it cannot be connected to.
    struct Stub {
        good_calls: u64,
    }

    impl Target for Stub {
        type Caller = StubCaller;

        async fn connect(&self, _index: usize) -> Result<StubCaller> {
            anyhow::ensure!(self.good_calls > 0, "nobody listens");
            Ok(StubCaller { left: self.good_calls })
        }
    }

    struct StubCaller {
        left: u64,
    }

    impl Caller for StubCaller {
        async fn call(&mut self) -> Result<()> {
            tokio::task::yield_now().await;
            self.left = self.left.checked_sub(1).context("wrong answer")?;
            Ok(())
        }
    }

    fn run(good_calls: u64) -> Result<Outcome> {
        let turn = Duration::from_millis(20);
        let plan = Plan { turn, warm_up: turn, ..Plan::quick(Interrupt::default()) };
        Load { connections: 5, server: std::process::id() }.run(&plan, &Arc::new(Stub { good_calls }))
    }

    #[test]
    fn calls_are_counted_with_their_latencies() {
        let outcome = run(u64::MAX).unwrap();
        assert!(outcome.calls > 0);
        assert_eq!(outcome.calls, outcome.latencies.len() as u64);
        assert!(outcome.elapsed >= Duration::from_millis(20));
    }

    #[test]
    fn one_wrong_answer_on_a_connection_fails_the_turn() {
        let error = format!("{:#}", run(3).unwrap_err());
        assert!(
            error.contains("5 connections ended with a failed call") && error.contains("wrong answer"),
            "{error}"
        );
    }

    #[test]
    fn a_server_that_cannot_be_reached_fails_the_turn_with_its_reason() {
        let error = format!("{:#}", run(0).unwrap_err());
        assert!(error.contains("nobody listens"), "{error}");
    }
}
