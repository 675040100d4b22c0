//! Deliveries under a policy: tried again here before their source is asked to bring them again.

use std::pin::pin;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};

use mecha_app_channel::AppError;
use mecha_resiliency::{Code, Error, Failure, Policy};
use tokio::sync::Notify;

use crate::PolicyFailure;
use crate::inbound::{Flow, FlowWatch};

/// Why a delivery did not succeed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Undelivered<E> {
    /// The last attempt failed.
    #[error("{0}")]
    Failed(E),
    /// The policy ended it.
    #[error(transparent)]
    Policy(PolicyFailure),
    /// Nothing is tried again, for it is the end of the consumer.
    #[error("the consumer ended before another attempt")]
    Over,
}

/// What the application answered, as a policy looks at it.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(super) struct FromApp(#[from] pub(super) AppError);

impl Failure for FromApp {
    fn code(&self) -> Option<Code> {
        code(&self.0)
    }
}

/// The status that retry policies match.
pub(super) fn code(error: &AppError) -> Option<Code> {
    let http = error.status().map(|status| Code::Http(status.as_u16()));
    http.or_else(|| error.code().map(|code| Code::Grpc(code.into())))
}

/// Makes attempts as a policy says. Once the consumer is to end, an attempt that is with the application is finished, and there
/// is no other.
pub(super) async fn insist<T, E, F>(
    policy: Option<&Policy>,
    flow: &FlowWatch,
    mut attempt: impl FnMut() -> F,
) -> Result<T, Undelivered<E>>
where
    E: Failure,
    F: Future<Output = Result<T, E>>,
{
    let Some(policy) = policy else { return attempt().await.map_err(Undelivered::Failed) };
    let with_app = WithApp::default();
    let attempt = |_| {
        let attempt = attempt();
        let with_app = &with_app;
        async move {
            let _there = with_app.enter();
            attempt.await.map_err(|error| Last { error, is_last: flow.is_over() })
        }
    };
    let mut running = pin!(mecha_resiliency::run(policy, attempt));
    let result = tokio::select! {
        biased;
        result = &mut running => Some(result),
        () = over(flow.clone()) => None,
    };
    let result = match result {
        Some(result) => result,
        None => loop {
            if !with_app.is_there.load(Ordering::Acquire) {
                return Err(Undelivered::Over);
            }
            tokio::select! {
                biased;
                result = &mut running => break result,
                () = with_app.left.notified() => {}
            }
        },
    };
    result.map_err(|error| match error {
        Error::Failed(Last { error, .. }) => Undelivered::Failed(error),
        Error::TimedOut(_) => Undelivered::Policy(PolicyFailure::TimedOut),
        Error::Rejected(rejection) => Undelivered::Policy(PolicyFailure::Rejected(rejection)),
    })
}

async fn over(mut flow: FlowWatch) {
    while flow.current() != Flow::Off {
        flow.changed().await;
    }
}

/// Whether an attempt is with the application.
#[derive(Default)]
struct WithApp {
    is_there: AtomicBool,
    left: Notify,
}

struct There<'a>(&'a WithApp);

impl WithApp {
    fn enter(&self) -> There<'_> {
        self.is_there.store(true, Ordering::Release);
        There(self)
    }
}

impl Drop for There<'_> {
    fn drop(&mut self) {
        self.0.is_there.store(false, Ordering::Release);
        self.0.left.notify_one();
    }
}

/// A failure, and whether it came at the end.
struct Last<E> {
    error: E,
    is_last: bool,
}

impl<E: Failure> Failure for Last<E> {
    fn is_permanent(&self) -> bool {
        self.is_last || self.error.is_permanent()
    }

    fn code(&self) -> Option<Code> {
        self.error.code()
    }
}

/// What several attempts say of the parts of one delivery.
pub(super) struct Collected<T>(Mutex<T>);

impl<T> Collected<T> {
    pub(super) fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    pub(super) fn with<R>(&self, look: impl FnOnce(&mut T) -> R) -> R {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn into_inner(self) -> T {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::pending;
    use std::time::Duration;

    use mecha_resiliency::Retry;
    use tokio::sync::watch;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn refusal() -> FromApp {
        AppError::Unreachable("nobody listens".into()).into()
    }

    fn endless() -> Policy {
        Policy::none().with_retry(Retry::constant(SECOND, None))
    }

    fn flow() -> (watch::Sender<Flow>, FlowWatch) {
        let sender = watch::Sender::new(Flow::On);
        let watch = FlowWatch::of(sender.subscribe());
        (sender, watch)
    }

    #[tokio::test(start_paused = true)]
    async fn a_delivery_is_tried_until_it_is_taken() {
        let (_on, flow) = flow();
        let made = Cell::new(0);
        let attempt = async || {
            made.set(made.get() + 1);
            if made.get() < 4 { Err(refusal()) } else { Ok(()) }
        };
        insist(Some(&endless()), &flow, attempt).await.unwrap();
        assert_eq!(made.get(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_comes_between_two_attempts() {
        let (on, flow) = flow();
        let made = Cell::new(0);
        let end = async {
            tokio::time::sleep(SECOND * 5 / 2).await;
            on.send_replace(Flow::Off);
        };
        let attempt = async || {
            made.set(made.get() + 1);
            Err::<(), _>(refusal())
        };
        let policy = endless();
        let (result, ()) = tokio::join!(insist(Some(&policy), &flow, attempt), end);
        assert!(matches!(result, Err(Undelivered::Over)), "{result:?}");
        assert_eq!(made.get(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_with_the_application_at_the_end_is_finished() {
        for is_taken in [true, false] {
            let (on, flow) = flow();
            let made = Cell::new(0);
            let end = async {
                tokio::time::sleep(SECOND).await;
                on.send_replace(Flow::Off);
            };
            let attempt = async || {
                made.set(made.get() + 1);
                tokio::time::sleep(SECOND * 2).await;
                if is_taken { Ok(()) } else { Err(refusal()) }
            };
            let policy = endless();
            let (result, ()) = tokio::join!(insist(Some(&policy), &flow, attempt), end);
            assert_eq!((result.is_ok(), made.get()), (is_taken, 1), "{result:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_times_out_at_the_end_is_the_last() {
        let (on, flow) = flow();
        on.send_replace(Flow::Off);
        let policy = endless().with_timeout(SECOND);
        let result = insist(Some(&policy), &flow, pending::<Result<(), FromApp>>).await;
        assert!(matches!(result, Err(Undelivered::Over)), "{result:?}");
    }
}
