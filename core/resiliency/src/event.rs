//! What happens while a policy is at work, for metrics and logs.

use std::{fmt, sync::Arc, time::Duration};

use crate::breaker::{Change, Rejection, State};

/// Hears of everything that happens under the policies of a registry. It is called in the middle of a call: it must be quick.
pub trait Observer: Send + Sync {
    /// Something happened at a place.
    fn on_event(&self, site: &Site, event: Event<'_>);
}

/// Hears nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn on_event(&self, _: &Site, _: Event<'_>) {}
}

/// Where a policy is at work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// What is done, as Dapr's logs have it: `endpoint[app, app:method]`, `component[name] output`.
    pub operation: String,
    /// The labels of its metrics. `None` for a built-in policy, which has none.
    pub labels: Option<Labels>,
}

/// The labels of the metrics `dapr_resiliency_*`, save the application's id, the policy's kind and the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels {
    /// `name`: the resource's; of several, that of the last.
    pub name: Arc<str>,
    /// `namespace`: the resource's.
    pub namespace: Arc<str>,
    /// `flow_direction`.
    pub direction: Direction,
    /// `target`: `app_orders`, `actor_Cart`, `Statestore_redis`.
    pub target: String,
}

/// Which way a call goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// To the application.
    Inbound,
    /// From the application.
    Outbound,
}

impl Direction {
    /// Its label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        }
    }
}

/// A kind of policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A timeout.
    Timeout,
    /// Retries.
    Retry,
    /// A circuit breaker.
    CircuitBreaker,
}

impl Kind {
    /// Its label `policy`.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Retry => "retry",
            Self::CircuitBreaker => "circuitbreaker",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// Something that happened. [`Event::Applied`] and [`Event::Activated`] come only where the site has labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// A policy applies to an operation that begins: adds one to `dapr_resiliency_count`. A breaker's comes with its state (the
    /// label `status`), which is also the new value of `dapr_resiliency_cb_state`.
    Applied {
        /// The policy's kind.
        policy: Kind,
        /// The breaker's state.
        state: Option<State>,
    },
    /// A policy did something: adds one to `dapr_resiliency_activations_total`. For timeouts and retries this comes at most once
    /// an operation; for a breaker whenever an attempt's end changed its state, which `dapr_resiliency_cb_state` takes over.
    Activated {
        /// The policy's kind.
        policy: Kind,
        /// The breaker's new state.
        state: Option<State>,
    },
    /// An attempt begins; the first is 1.
    Attempt {
        /// Its number.
        number: u32,
    },
    /// An attempt took longer than it may and was dropped.
    TimedOut {
        /// How long it may take.
        limit: Duration,
    },
    /// A breaker turned an attempt away.
    Rejected {
        /// The breaker's name.
        breaker: &'a str,
        /// Why.
        rejection: Rejection,
    },
    /// An attempt failed, and another follows. Dapr logs the first of an operation.
    Retrying {
        /// The number of the attempt that failed.
        attempt: u32,
        /// The pause before the next.
        pause: Duration,
    },
    /// An operation succeeded after failures.
    Recovered {
        /// How many attempts it took.
        attempts: u32,
    },
    /// A breaker changed its state, be it by an attempt's end or because its timeout is over.
    Changed {
        /// The breaker's name.
        breaker: &'a str,
        /// From what to what.
        change: Change,
    },
}
