//! Calls of components under a policy.

use std::time::Instant;

use mecha_plugin_api::ErrorKind;
use mecha_resiliency::{Error, Failure, Policy, Rejection};

use crate::call::CallError;

/// How a policy ended a call. The texts are Dapr's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PolicyFailure {
    /// The last attempt took longer than it may.
    #[error("context deadline exceeded")]
    TimedOut,
    /// A circuit breaker turned it away.
    #[error(transparent)]
    Rejected(#[from] Rejection),
}

impl Failure for CallError {
    fn is_permanent(&self) -> bool {
        match self {
            // Whoever would get the answer does not wait for it any more.
            Self::Timeout { .. } => true,
            // Another attempt meets the same etag. Everything else is tried again, as in Dapr.
            Self::Plugin { error, .. } => {
                matches!(error.kind(), ErrorKind::ETAG_MISMATCH | ErrorKind::ETAG_INVALID)
            }
            Self::Gone { .. } | Self::Policy { .. } => false,
        }
    }
}

/// Runs an operation, no longer than its caller waits.
pub(crate) async fn run<T, E, F>(
    policy: &Policy,
    component: &str,
    deadline: Option<Instant>,
    attempt: impl FnMut(u32) -> F,
) -> Result<T, E>
where
    E: Failure + From<CallError>,
    F: Future<Output = Result<T, E>>,
{
    let running = mecha_resiliency::run(policy, attempt);
    let result = match deadline {
        None => running.await,
        Some(deadline) => match tokio::time::timeout_at(deadline.into(), running).await {
            Ok(result) => result,
            Err(_) => return Err(CallError::Timeout { component: component.to_owned() }.into()),
        },
    };
    result.map_err(|error| told(component, error))
}

/// Runs an operation that cannot be done again.
pub(crate) async fn run_once<T, F>(
    policy: &Policy,
    component: &str,
    attempt: impl FnOnce() -> F,
) -> Result<T, CallError>
where
    F: Future<Output = Result<T, CallError>>,
{
    mecha_resiliency::run_once(policy, attempt).await.map_err(|error| told(component, error))
}

fn told<E: From<CallError>>(component: &str, error: Error<E>) -> E {
    let reason = match error {
        Error::Failed(error) => return error,
        Error::TimedOut(_) => PolicyFailure::TimedOut,
        Error::Rejected(rejection) => PolicyFailure::Rejected(rejection),
    };
    CallError::Policy { component: component.to_owned(), reason }.into()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mecha_plugin_api::Error as PluginError;
    use mecha_resiliency::Retry;

    use super::*;

    fn failed(kind: ErrorKind) -> CallError {
        CallError::Plugin { component: "store".into(), error: PluginError::new(kind, "failed") }
    }

    async fn attempts(policy: &Policy, deadline: Option<Instant>, kind: ErrorKind) -> (CallError, u32) {
        let made = std::cell::Cell::new(0);
        let result = run(policy, "store", deadline, async |number| {
            made.set(number);
            Err::<(), _>(failed(kind))
        });
        (result.await.unwrap_err(), made.get())
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_change_is_not_tried_again() {
        let policy = Policy::none().with_retry(Retry::constant(Duration::from_secs(1), Some(3)));
        for (kind, expected) in
            [(ErrorKind::ETAG_MISMATCH, 1), (ErrorKind::ETAG_INVALID, 1), (ErrorKind::UNAVAILABLE, 4)]
        {
            let (error, made) = attempts(&policy, None, kind).await;
            assert_eq!((made, error.to_string()), (expected, "failed".to_owned()), "{kind:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn retries_end_when_nobody_waits_any_more() {
        let policy = Policy::none().with_retry(Retry::constant(Duration::from_secs(1), None));
        let deadline = (tokio::time::Instant::now() + Duration::from_millis(2500)).into_std();
        let (error, made) = attempts(&policy, Some(deadline), ErrorKind::UNAVAILABLE).await;
        assert!(matches!(error, CallError::Timeout { .. }), "{error}");
        assert_eq!(made, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_done_once_has_its_timeout_and_no_retry() {
        let policy = Policy::none()
            .with_timeout(Duration::from_secs(1))
            .with_retry(Retry::constant(Duration::from_secs(1), Some(3)));
        let late = run_once(&policy, "store", std::future::pending::<Result<(), _>>).await.unwrap_err();
        assert_eq!(late.to_string(), "context deadline exceeded");
        let failed = run_once(&policy, "store", async || Err::<(), _>(failed(ErrorKind::UNAVAILABLE))).await;
        assert_eq!(failed.unwrap_err().to_string(), "failed");
    }
}
