//! Circuit breakers: closed, open, half open.
//!
//! An attempt asks to be let through (`Breaker::admit`) and reports how it ended (`Breaker::settle`). While the breaker is closed,
//! failures are counted and the settings say when it opens; open, it turns attempts away until its timeout is over; half open,
//! it lets a few through, and either all succeed and it closes, or one fails and it opens again. Each of these steps begins a
//! new generation, and how an attempt of an older one ended does not count.

mod settings;
mod trip;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::time::Instant;

pub use settings::BreakerSettings;
pub use trip::{Trip, TripCompiler};

/// Where a breaker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    /// Attempts pass.
    #[default]
    Closed,
    /// A few attempts pass to see how it goes.
    HalfOpen,
    /// No attempt passes.
    Open,
}

impl State {
    /// The label of every state that the metric `dapr_resiliency_cb_state` has a series for; `unknown` is always 0.
    pub const LABELS: [&'static str; 4] = ["closed", "half-open", "open", "unknown"];

    /// Its label in metrics and logs.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half-open",
            Self::Open => "open",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// Why an attempt was turned away. The texts reach the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The breaker is open.
    #[error("circuit breaker is open")]
    Open,
    /// It is half open, and as many attempts as it lets through are under way.
    #[error("too many requests")]
    TooManyRequests,
}

/// What a breaker counts within one generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Attempts let through.
    pub requests: u32,
    /// Those that succeeded.
    pub total_successes: u32,
    /// Those that failed.
    pub total_failures: u32,
    /// Successes since the last failure.
    pub consecutive_successes: u32,
    /// Failures since the last success.
    pub consecutive_failures: u32,
}

/// A breaker changed its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// From this.
    pub from: State,
    /// To this.
    pub to: State,
}

/// One breaker.
#[derive(Debug)]
pub struct Breaker {
    name: String,
    settings: Arc<BreakerSettings>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: State,
    generation: u64,
    counts: Counts,
    /// The end of the generation; `None` is never.
    expiry: Option<Instant>,
}

/// Under which generation an attempt was let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Generation(u64);

impl Breaker {
    /// A closed breaker.
    #[must_use]
    pub fn new(name: impl Into<String>, settings: Arc<BreakerSettings>) -> Self {
        let mut inner =
            Inner { state: State::Closed, generation: 0, counts: Counts::default(), expiry: None };
        inner.begin(State::Closed, &settings, Instant::now());
        Self { name: name.into(), settings, inner: Mutex::new(inner) }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it was made from.
    #[must_use]
    pub fn settings(&self) -> &Arc<BreakerSettings> {
        &self.settings
    }

    /// Its state at this moment, and the change if it only now came to it.
    pub fn state(&self) -> (State, Option<Change>) {
        let now = Instant::now();
        let mut inner = self.lock();
        let change = inner.catch_up(&self.settings, now);
        (inner.state, change)
    }

    /// Lets an attempt through, or turns it away.
    pub(crate) fn admit(&self) -> (Result<Generation, Rejection>, Option<Change>) {
        let now = Instant::now();
        let mut inner = self.lock();
        let change = inner.catch_up(&self.settings, now);
        let admitted = match inner.state {
            State::Open => Err(Rejection::Open),
            State::HalfOpen if inner.counts.requests >= self.settings.max_requests => {
                Err(Rejection::TooManyRequests)
            }
            State::HalfOpen | State::Closed => {
                inner.counts.requests = inner.counts.requests.saturating_add(1);
                Ok(Generation(inner.generation))
            }
        };
        (admitted, change)
    }

    /// Counts how an attempt ended.
    pub(crate) fn settle(&self, generation: Generation, is_success: bool) -> Option<Change> {
        let now = Instant::now();
        let mut inner = self.lock();
        let change = inner.catch_up(&self.settings, now);
        if inner.generation != generation.0 {
            return change;
        }
        inner.counts.add(is_success);
        let next = match (inner.state, is_success) {
            (State::Closed, false) if self.settings.is_to_open(&inner.counts) => State::Open,
            (State::HalfOpen, false) => State::Open,
            (State::HalfOpen, true) if inner.counts.consecutive_successes >= self.settings.max_requests => {
                State::Closed
            }
            // Open cannot be: nothing is let through in a generation that is open.
            (State::Closed | State::HalfOpen | State::Open, _) => return None,
        };
        Some(inner.begin(next, &self.settings, now))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A condition that panics leaves counts that are right.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Does what is due by now.
    fn catch_up(&mut self, settings: &BreakerSettings, now: Instant) -> Option<Change> {
        if self.expiry.is_none_or(|expiry| expiry >= now) {
            return None;
        }
        match self.state {
            State::Closed => {
                self.begin(State::Closed, settings, now);
                None
            }
            State::Open => Some(self.begin(State::HalfOpen, settings, now)),
            State::HalfOpen => None,
        }
    }

    fn begin(&mut self, state: State, settings: &BreakerSettings, now: Instant) -> Change {
        let change = Change { from: self.state, to: state };
        self.state = state;
        self.generation += 1;
        self.counts = Counts::default();
        self.expiry = match state {
            State::Closed if !settings.interval.is_zero() => now.checked_add(settings.interval),
            State::Open => now.checked_add(settings.timeout),
            State::Closed | State::HalfOpen => None,
        };
        change
    }
}

impl Counts {
    fn add(&mut self, is_success: bool) {
        if is_success {
            self.total_successes = self.total_successes.saturating_add(1);
            self.consecutive_successes = self.consecutive_successes.saturating_add(1);
            self.consecutive_failures = 0;
        } else {
            self.total_failures = self.total_failures.saturating_add(1);
            self.consecutive_failures = self.consecutive_failures.saturating_add(1);
            self.consecutive_successes = 0;
        }
    }
}

#[cfg(test)]
mod tests;
