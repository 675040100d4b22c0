//! Operations under a clock that runs ahead as soon as everybody waits.

use std::{
    cell::Cell,
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use tokio::time::{Instant, advance};

use super::*;
use crate::{
    BreakerSettings, Change, Codes, Direction, Labels, Observer, Site, State, breaker::TripCompiler, spec,
};

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Broken {
    code: Option<Code>,
    is_permanent: bool,
}

impl Failure for Broken {
    fn is_permanent(&self) -> bool {
        self.is_permanent
    }

    fn code(&self) -> Option<Code> {
        self.code
    }
}

const SECOND: Duration = Duration::from_secs(1);

fn broken() -> Broken {
    Broken::default()
}

fn with_code(code: Code) -> Broken {
    Broken { code: Some(code), ..Broken::default() }
}

fn retries(max: u64) -> Policy {
    Policy::none().with_retry(Retry::constant(SECOND, Some(max)))
}

fn breaker(trip: &str) -> Arc<Breaker> {
    let mut settings = BreakerSettings::new("cb");
    settings.timeout = SECOND;
    settings.trip = Some(TripCompiler::default().compile(trip).unwrap());
    Arc::new(Breaker::new("cb-x", Arc::new(settings)))
}

/// Fails with this until the given attempt, and says how many attempts there were.
async fn failing(policy: &Policy, until: u32, error: Broken) -> (Result<u32, Error<Broken>>, u32) {
    let attempts = Cell::new(0);
    let result = run(policy, async |number| {
        attempts.set(attempts.get() + 1);
        assert_eq!(number, attempts.get(), "attempts are numbered from 1");
        if number < until { Err(error.clone()) } else { Ok(number) }
    })
    .await;
    (result, attempts.get())
}

#[tokio::test(start_paused = true)]
async fn an_empty_policy_makes_one_attempt() {
    let policy = Policy::none();
    assert_eq!(failing(&policy, 1, broken()).await, (Ok(1), 1));
    assert_eq!(failing(&policy, 2, broken()).await, (Err(Error::Failed(broken())), 1));
}

#[test]
fn an_empty_policy_needs_no_runtime_and_never_waits() {
    let policy = Policy::none();
    let mut operation = std::pin::pin!(run(&policy, async |number| Ok::<_, Broken>(number)));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert_eq!(operation.as_mut().poll(&mut context), std::task::Poll::Ready(Ok(1)));
}

#[tokio::test(start_paused = true)]
async fn tries_again_after_pauses_until_it_succeeds() {
    let start = Instant::now();
    assert_eq!(failing(&retries(3), 3, broken()).await, (Ok(3), 3));
    assert_eq!(start.elapsed(), 2 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn gives_up_with_the_last_failure() {
    let start = Instant::now();
    assert_eq!(failing(&retries(3), 9, broken()).await, (Err(Error::Failed(broken())), 4));
    assert_eq!(start.elapsed(), 3 * SECOND);
    assert_eq!(failing(&retries(0), 9, broken()).await.1, 1);
}

#[tokio::test(start_paused = true)]
async fn a_permanent_failure_ends_it() {
    let permanent = Broken { is_permanent: true, ..broken() };
    assert_eq!(failing(&retries(3), 9, permanent.clone()).await, (Err(Error::Failed(permanent)), 1));
}

#[tokio::test(start_paused = true)]
async fn codes_decide_where_there_are_any() {
    let matching =
        spec::RetryMatching { http_status_codes: "500-503".into(), grpc_status_codes: "14".into() };
    let mut retry = Retry::constant(SECOND, Some(2));
    retry.codes = Codes::parse(&matching).unwrap();
    let policy = Policy::none().with_retry(retry);
    for (error, attempts) in [
        (with_code(Code::Http(502)), 3),
        (with_code(Code::Http(404)), 1),
        (with_code(Code::Grpc(14)), 3),
        (with_code(Code::Grpc(5)), 1),
        (broken(), 3),
        (Broken { is_permanent: true, ..with_code(Code::Http(502)) }, 1),
    ] {
        assert_eq!(failing(&policy, 9, error.clone()).await.1, attempts, "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_takes_too_long_is_dropped_and_tried_again() {
    struct Dropped<'a>(&'a Cell<u32>);
    impl Drop for Dropped<'_> {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }
    let dropped = Cell::new(0);
    let policy = retries(2).with_timeout(Duration::from_millis(100));
    let result: Result<(), Error<Broken>> = run(&policy, async |_| {
        let _guard = Dropped(&dropped);
        pending().await
    })
    .await;
    assert_eq!(result, Err(Error::TimedOut(Duration::from_millis(100))));
    assert_eq!(dropped.get(), 3);
    assert_eq!(result.unwrap_err().map(|_| "").to_string(), "context deadline exceeded");
}

#[tokio::test(start_paused = true)]
async fn the_timeout_is_each_attempts_own() {
    let policy = retries(5).with_timeout(2 * SECOND);
    let result = run(&policy, async |number| {
        tokio::time::sleep(SECOND).await;
        if number < 5 { Err(broken()) } else { Ok(()) }
    })
    .await;
    assert_eq!(result, Ok(()), "nine seconds in all");
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_makes_no_attempt_and_no_retry() {
    let policy = Policy::none().with_breaker(breaker("consecutiveFailures >= 2"));
    for _ in 0..2 {
        assert_eq!(failing(&policy, 9, broken()).await.1, 1);
    }
    let start = Instant::now();
    let retrying = policy.with_retry(Retry::constant(SECOND, Some(3)));
    assert_eq!(failing(&retrying, 1, broken()).await, (Err(Error::Rejected(Rejection::Open)), 0));
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_breaker_that_opens_between_attempts_ends_the_retries() {
    let policy = retries(9).with_breaker(breaker("consecutiveFailures >= 3"));
    let shorter = Policy { retry: Some(Arc::new(Retry::constant(SECOND / 10, None))), ..policy };
    assert_eq!(failing(&shorter, 99, broken()).await, (Err(Error::Rejected(Rejection::Open)), 3));
}

#[tokio::test(start_paused = true)]
async fn a_breaker_counts_timeouts_as_failures() {
    let breaker = breaker("consecutiveFailures >= 1");
    let policy = Policy::none().with_breaker(breaker.clone()).with_timeout(SECOND);
    let result: Result<(), Error<Broken>> = run(&policy, async |_| pending().await).await;
    assert_eq!(result, Err(Error::TimedOut(SECOND)));
    assert_eq!(breaker.state().0, State::Open);
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_operation_does_not_block_a_half_open_breaker() {
    let breaker = breaker("consecutiveFailures >= 1");
    let policy = Policy::none().with_breaker(breaker.clone());
    let _ = failing(&policy, 9, broken()).await;
    advance(SECOND * 2).await;
    let probe = run(&policy, async |_| pending::<Result<(), Broken>>().await);
    assert!(tokio::time::timeout(SECOND, probe).await.is_err(), "the caller gives up");
    assert_eq!(breaker.state().0, State::Open, "it failed");
    advance(SECOND * 2).await;
    assert_eq!(failing(&policy, 1, broken()).await, (Ok(1), 1));
    assert_eq!(breaker.state().0, State::Closed);
}

#[tokio::test(start_paused = true)]
async fn abandoned_between_attempts_it_makes_no_other() {
    let attempts = Cell::new(0);
    let policy = retries(9);
    let operation = run(&policy, async |number| -> Result<(), Broken> {
        attempts.set(number);
        Err(broken())
    });
    assert!(tokio::time::timeout(SECOND / 2, operation).await.is_err());
    advance(SECOND * 9).await;
    assert_eq!(attempts.get(), 1);
}

#[tokio::test]
async fn endless_retries_without_pause_let_others_run() {
    let policy = Policy::none().with_retry(Retry::constant(Duration::ZERO, None));
    let is_done = Arc::new(AtomicU32::new(0));
    let other = tokio::spawn({
        let is_done = is_done.clone();
        async move { is_done.store(1, Ordering::SeqCst) }
    });
    let result = run(&policy, async |_| match is_done.load(Ordering::SeqCst) {
        0 => Err(broken()),
        _ => Ok(()),
    });
    assert_eq!(result.await, Ok(()));
    other.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn operations_can_be_spawned() {
    async fn call(policy: Policy, body: Arc<str>) -> Result<usize, Error<Broken>> {
        let client = Mutex::new(0);
        run(&policy, async |_| {
            *client.lock().unwrap() += 1;
            tokio::task::yield_now().await;
            Ok(body.len())
        })
        .await
    }
    let policy = retries(1).with_timeout(SECOND).with_breaker(breaker("requests > 1"));
    let spawned = tokio::spawn(call(policy.clone(), "body".into()));
    assert_eq!(spawned.await.unwrap(), Ok(4));
    let boxed: std::pin::Pin<Box<dyn Future<Output = _> + Send>> = Box::pin(call(policy, "body".into()));
    assert_eq!(boxed.await, Ok(4));
}

#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Observer for Heard {
    fn on_event(&self, _: &Site, event: Event<'_>) {
        let state = |state: Option<State>| state.map_or(String::new(), |state| format!(" {state}"));
        let text = match event {
            Event::Applied { policy, state: at } => format!("count {policy}{}", state(at)),
            Event::Activated { policy, state: at } => format!("activated {policy}{}", state(at)),
            Event::Attempt { number } => format!("attempt {number}"),
            Event::TimedOut { limit } => format!("timed out {limit:?}"),
            Event::Rejected { breaker, rejection } => format!("{breaker}: {rejection}"),
            Event::Retrying { attempt, pause } => format!("retrying {attempt} {pause:?}"),
            Event::Recovered { attempts } => format!("recovered {attempts}"),
            Event::Changed { breaker, change: Change { from, to } } => format!("{breaker}: {from} to {to}"),
        };
        self.0.lock().unwrap().push(text);
    }
}

impl Heard {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

fn site(is_labelled: bool) -> Site {
    let labels = is_labelled.then(|| Labels {
        name: "r".into(),
        namespace: "".into(),
        direction: Direction::Outbound,
        target: "app_b".into(),
    });
    Site { operation: "endpoint[b, b:m]".into(), labels }
}

#[tokio::test(start_paused = true)]
async fn tells_of_timeouts_and_retries_once_an_operation() {
    let heard = Arc::new(Heard::default());
    let policy = retries(2).with_timeout(SECOND).observed(site(true), heard.clone());
    let result = run(&policy, async |number| match number {
        3 => Ok::<_, Broken>(()),
        _ => pending().await,
    });
    assert_eq!(result.await, Ok(()));
    assert_eq!(
        heard.take(),
        [
            "count timeout",
            "count retry",
            "attempt 1",
            "timed out 1s",
            "activated timeout",
            "activated retry",
            "retrying 1 1s",
            "attempt 2",
            "timed out 1s",
            "retrying 2 1s",
            "attempt 3",
            "recovered 3",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn tells_of_every_change_of_a_breaker() {
    let heard = Arc::new(Heard::default());
    let policy = Policy::none().with_breaker(breaker("requests > 0")).observed(site(true), heard.clone());
    let _ = failing(&policy, 9, broken()).await;
    let opened = ["count circuitbreaker closed", "attempt 1", "cb-x: closed to open"];
    assert_eq!(heard.take(), [&opened[..], &["activated circuitbreaker open"]].concat());
    let _ = failing(&policy, 1, broken()).await;
    assert_eq!(heard.take(), ["count circuitbreaker open", "cb-x: circuit breaker is open"]);
    advance(SECOND * 2).await;
    let _ = failing(&policy, 1, broken()).await;
    assert_eq!(
        heard.take(),
        [
            "cb-x: open to half-open",
            "count circuitbreaker half-open",
            "attempt 1",
            "cb-x: half-open to closed",
            "activated circuitbreaker closed",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn what_has_no_labels_is_not_counted() {
    let heard = Arc::new(Heard::default());
    let policy = retries(1).observed(site(false), heard.clone());
    let _ = failing(&policy, 2, broken()).await;
    assert_eq!(heard.take(), ["attempt 1", "retrying 1 1s", "attempt 2", "recovered 2"]);
}
