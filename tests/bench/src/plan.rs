//! How long everything takes, and whether the user wants it to end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

/// Between two looks at the user's wish.
const SLICE: Duration = Duration::from_millis(50);

/// Numbers of repetitions and their lengths.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Rounds in which every contender has one turn.
    pub(crate) rounds: usize,
    /// Length of a turn under load.
    pub(crate) turn: Duration,
    /// Load before a turn that does not count.
    pub(crate) warm_up: Duration,
    /// Length of a turn that only burns this process's cycles.
    pub(crate) loop_turn: Duration,
    /// Events that one turn of deliveries brings.
    pub(crate) events: usize,
    /// Starts of the product.
    pub(crate) starts: usize,
    /// Replacements of a plugin.
    pub(crate) swaps: usize,
    /// Whether the user wants the end.
    pub(crate) interrupt: Interrupt,
}

impl Plan {
    /// What results are made with.
    pub(crate) fn full(interrupt: Interrupt) -> Self {
        Self {
            rounds: 5,
            turn: Duration::from_secs(3),
            warm_up: Duration::from_millis(500),
            loop_turn: Duration::from_millis(500),
            events: 60_000,
            starts: 20,
            swaps: 20,
            interrupt,
        }
    }

    /// A look that takes seconds.
    pub(crate) fn quick(interrupt: Interrupt) -> Self {
        Self {
            rounds: 3,
            turn: Duration::from_millis(600),
            warm_up: Duration::from_millis(200),
            loop_turn: Duration::from_millis(100),
            events: 20_000,
            starts: 5,
            swaps: 5,
            interrupt,
        }
    }

    /// The same with another number of rounds.
    pub(crate) fn with_rounds(&self, rounds: usize) -> Self {
        Self { rounds, ..self.clone() }
    }

    /// Sleeps; an error when the user wants the end, so that everything that was started is stopped on the way out.
    pub(crate) fn sleep(&self, length: Duration) -> Result<()> {
        let until = Instant::now() + length;
        loop {
            self.go_on()?;
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            thread::sleep(left.min(SLICE));
        }
    }

    /// An error when the user wants the end.
    pub(crate) fn go_on(&self) -> Result<()> {
        ensure!(!self.interrupt.0.load(Ordering::Relaxed), "interrupted");
        Ok(())
    }
}

/// Whether Ctrl-C or SIGTERM came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Set by the first signal.
    pub(crate) fn on_signals() -> Result<Self> {
        let interrupt = Self::default();
        let set = interrupt.clone();
        ctrlc::set_handler(move || set.0.store(true, Ordering::Relaxed))?;
        Ok(interrupt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_to_end_cuts_a_sleep_short() {
        let interrupt = Interrupt::default();
        let plan = Plan::quick(interrupt.clone());
        plan.sleep(Duration::ZERO).unwrap();
        interrupt.0.store(true, Ordering::Relaxed);
        assert!(plan.sleep(Duration::from_secs(3600)).is_err());
    }
}
