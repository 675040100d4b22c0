//! What is wrong with a resource, and what is only worth a word.

use std::fmt;

/// Why a resource cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// A timeout is no duration.
    #[error("invalid duration {name:?}, {text}")]
    Timeout {
        /// The timeout's name.
        name: String,
        /// What stands there.
        text: String,
    },
    /// A retry policy is none.
    #[error("invalid retry configuration {name:?}: {reason}")]
    Retry {
        /// The policy's name.
        name: String,
        /// Why.
        reason: FieldError,
    },
    /// A circuit breaker is none.
    #[error("invalid circuit breaker configuration {name:?}: {reason}")]
    CircuitBreaker {
        /// The policy's name.
        name: String,
        /// Why.
        reason: FieldError,
    },
    /// An actor type has a circuit breaker, and does not say what shares it.
    #[error("actor circuit breakers must include scope")]
    NoScope,
    /// An actor type says it with an unknown word.
    #[error("unknown circuit breaker scope {0:?}")]
    Scope(String),
    /// A cache of circuit breakers has no size.
    #[error("invalid circuit breaker cache size {size} of {target:?}")]
    CacheSize {
        /// The target's name.
        target: String,
        /// The size.
        size: i64,
    },
}

/// What is wrong with a field of a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// A duration is none.
    #[error("invalid duration {0:?}")]
    Duration(String),
    /// A policy is neither `constant` nor `exponential`.
    #[error("unexpected back off policy type: {0}")]
    Policy(String),
    /// A number of requests does not fit.
    #[error("invalid number of requests {0}")]
    Requests(i64),
    /// A list of status codes is none.
    #[error(transparent)]
    Codes(#[from] CodesError),
    /// A condition cannot be used.
    #[error(transparent)]
    Trip(#[from] TripError),
}

/// What is wrong with a list of status codes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodesError {
    /// A code is no number.
    #[error("failed to parse code {code} from pattern {pattern}")]
    NotANumber {
        /// What stands there.
        code: String,
        /// The part of the list.
        pattern: String,
    },
    /// A code is none of the protocol's.
    #[error("invalid pattern {pattern}, code {code} is not valid")]
    OutOfRange {
        /// The code.
        code: i32,
        /// The part of the list.
        pattern: String,
    },
    /// A range has more than two ends.
    #[error("invalid pattern {0}, more than one '-' exists")]
    ManyDashes(String),
    /// A range ends before it starts.
    #[error("invalid pattern {0}, the start is after the end")]
    Backwards(String),
}

/// Why the condition of a circuit breaker cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid trip expression `{condition}`: {reason}")]
pub struct TripError {
    /// The condition.
    pub condition: String,
    /// Why.
    pub reason: String,
}

/// What is odd in a resource that is used all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// A built-in policy was to have fewer than three retries; it has three.
    TooFewRetries(String),
    /// A built-in policy was to be replaced that cannot be.
    Protected(String),
    /// A target names a policy that no resource has.
    UnknownPolicy {
        /// The target's name.
        target: String,
        /// The policy's name.
        policy: String,
    },
    /// A circuit breaker's condition gives no boolean, so that it will never open.
    NeverTrips {
        /// The circuit breaker's name.
        breaker: String,
        /// The condition.
        condition: String,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooFewRetries(name) => {
                write!(f, "Attempted override of {name} did not meet minimum retry count, resetting to 3.")
            }
            Self::Protected(name) => write!(
                f,
                "Attempted to override protected policy {name} which is not allowed. \
                 Ignoring provided policy and using default."
            ),
            Self::UnknownPolicy { target, policy } => {
                write!(f, "Target {target} names the policy {policy}, which does not exist")
            }
            Self::NeverTrips { breaker, condition } => {
                write!(f, "Circuit breaker {breaker} never opens: `{condition}` gives no boolean")
            }
        }
    }
}
