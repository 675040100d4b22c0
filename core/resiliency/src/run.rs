//! Running an operation under a policy: retries around the breaker around the timeout around the attempt.

use std::time::Duration;

use tokio::{task, time};

use crate::{
    breaker::{Breaker, Generation, Rejection, State},
    codes::Code,
    event::{Event, Kind},
    policy::Policy,
    retry::{Pauses, Retry},
};

/// What an attempt fails with.
pub trait Failure {
    /// Whether another attempt is of no use, or must not be.
    fn is_permanent(&self) -> bool {
        false
    }

    /// Its status code, if it has one. A failure without one is tried again whatever codes the policy lists.
    fn code(&self) -> Option<Code> {
        None
    }
}

/// What an operation fails with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error<E> {
    /// The last attempt failed.
    #[error("{0}")]
    Failed(E),
    /// The last attempt took longer than it may.
    #[error("context deadline exceeded")]
    TimedOut(Duration),
    /// The breaker turned the last attempt away.
    #[error(transparent)]
    Rejected(Rejection),
}

impl<E> Error<E> {
    /// Maps what the attempt failed with, say to the caller's own error.
    pub fn map<F>(self, map: impl FnOnce(E) -> F) -> Error<F> {
        match self {
            Self::Failed(error) => Error::Failed(map(error)),
            Self::TimedOut(limit) => Error::TimedOut(limit),
            Self::Rejected(rejection) => Error::Rejected(rejection),
        }
    }
}

/// Runs an operation. `attempt` makes one attempt; it gets its number, the first is 1. An `async` closure will do, as long as it
/// changes nothing that it captures: what attempts share goes into a `Cell` or a `Mutex`. (`AsyncFnMut` would lift that, and with
/// it no future that runs an operation could be spawned: the compiler cannot yet see that it is `Send`.)
///
/// An attempt that takes too long is dropped. So is one when the caller drops the operation, and the breaker counts it as a
/// failure, as Dapr does with cancelled calls: a target that is waited for until nobody waits any more is no healthy one.
///
/// An empty policy costs one test: no clock is read, nothing is allocated.
///
/// # Errors
/// What the last attempt failed with. A breaker that turns an attempt away ends the operation.
pub async fn run<T, E, F>(policy: &Policy, mut attempt: impl FnMut(u32) -> F) -> Result<T, Error<E>>
where
    E: Failure,
    F: Future<Output = Result<T, E>>,
{
    if policy.is_empty() {
        return attempt(1).await.map_err(Error::Failed);
    }
    policy.tell_applied();
    let retry = policy.retry.as_deref();
    let mut pauses = retry.map(Pauses::new);
    let mut has_timed_out = false;
    let mut number = 0_u32;
    loop {
        number = number.saturating_add(1);
        let error = match guarded(policy, number, || attempt(number)).await {
            Ok(value) => {
                if number > 1 {
                    policy.tell(Event::Recovered { attempts: number });
                }
                return Ok(value);
            }
            Err(error) => error,
        };
        if let Error::TimedOut(limit) = error {
            policy.tell(Event::TimedOut { limit });
            if !std::mem::replace(&mut has_timed_out, true) {
                policy.tell(Event::Activated { policy: Kind::Timeout, state: None });
            }
        }
        let is_again = retry.is_some_and(|retry| error.is_retried(retry));
        let pause = pauses.as_mut().filter(|_| is_again).and_then(|pauses| pauses.next(rand::random));
        let Some(pause) = pause else { return Err(error) };
        if number == 1 {
            policy.tell(Event::Activated { policy: Kind::Retry, state: None });
        }
        policy.tell(Event::Retrying { attempt: number, pause });
        rest(pause).await;
    }
}

/// Runs an operation that cannot be done again, such as one whose body streams through: its timeout and its breaker apply, its
/// retries do not.
///
/// # Errors
/// What the attempt failed with.
pub async fn run_once<T, E, F>(policy: &Policy, attempt: impl FnOnce() -> F) -> Result<T, Error<E>>
where
    F: Future<Output = Result<T, E>>,
{
    policy.tell_applied();
    let result = guarded(policy, 1, attempt).await;
    if let Err(Error::TimedOut(limit)) = result {
        policy.tell(Event::TimedOut { limit });
        policy.tell(Event::Activated { policy: Kind::Timeout, state: None });
    }
    result
}

impl<E: Failure> Error<E> {
    fn is_retried(&self, retry: &Retry) -> bool {
        match self {
            Self::Failed(error) => {
                !error.is_permanent() && error.code().is_none_or(|code| retry.codes.matches(code))
            }
            Self::TimedOut(_) => true,
            Self::Rejected(_) => false,
        }
    }
}

/// An attempt behind the breaker.
async fn guarded<T, E, F: Future<Output = Result<T, E>>>(
    policy: &Policy,
    number: u32,
    attempt: impl FnOnce() -> F,
) -> Result<T, Error<E>> {
    let Some(breaker) = policy.breaker.as_deref() else { return timed(policy, number, attempt).await };
    let (admitted, change) = breaker.admit();
    if let Some(change) = change {
        policy.tell(Event::Changed { breaker: breaker.name(), change });
    }
    let generation = admitted.map_err(|rejection| {
        policy.tell(Event::Rejected { breaker: breaker.name(), rejection });
        Error::Rejected(rejection)
    })?;
    let mut passage = Passage { policy, breaker, generation, is_success: false };
    let result = timed(policy, number, attempt).await;
    passage.is_success = result.is_ok();
    result
}

/// An attempt within its time.
async fn timed<T, E, F: Future<Output = Result<T, E>>>(
    policy: &Policy,
    number: u32,
    attempt: impl FnOnce() -> F,
) -> Result<T, Error<E>> {
    policy.tell(Event::Attempt { number });
    let Some(limit) = policy.timeout else { return attempt().await.map_err(Error::Failed) };
    match time::timeout(limit, attempt()).await {
        Ok(result) => result.map_err(Error::Failed),
        Err(_) => Err(Error::TimedOut(limit)),
    }
}

async fn rest(pause: Duration) {
    if pause.is_zero() {
        // Retries without end and without pause would keep the thread to themselves.
        task::yield_now().await;
    } else {
        time::sleep(pause).await;
    }
}

/// An attempt that a breaker let through: however it ends, the breaker hears of it.
struct Passage<'a> {
    policy: &'a Policy,
    breaker: &'a Breaker,
    generation: Generation,
    is_success: bool,
}

impl Drop for Passage<'_> {
    fn drop(&mut self) {
        let Some(change) = self.breaker.settle(self.generation, self.is_success) else { return };
        self.policy.tell(Event::Changed { breaker: self.breaker.name(), change });
        // That its timeout is over is no activation in Dapr: it is seen, not done.
        if change.to != State::HalfOpen {
            let state = Some(change.to);
            self.policy.tell(Event::Activated { policy: Kind::CircuitBreaker, state });
        }
    }
}

#[cfg(test)]
mod tests;
