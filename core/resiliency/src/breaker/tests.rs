//! A breaker step by step, under a clock that stands still.

use std::time::Duration;

use tokio::time::advance;

use super::*;

const MILLI: Duration = Duration::from_millis(1);

fn breaker(change: impl FnOnce(&mut BreakerSettings)) -> Breaker {
    let mut settings = BreakerSettings::new("cb");
    settings.timeout = Duration::from_secs(10);
    settings.trip = Some(TripCompiler::default().compile("consecutiveFailures > 1").unwrap());
    change(&mut settings);
    Breaker::new("cb-x", Arc::new(settings))
}

fn attempt(breaker: &Breaker, is_success: bool) -> Result<State, Rejection> {
    let generation = breaker.admit().0?;
    breaker.settle(generation, is_success);
    Ok(breaker.state().0)
}

#[tokio::test(start_paused = true)]
async fn opens_turns_away_tries_and_closes() {
    let breaker = breaker(|_| {});
    assert_eq!(attempt(&breaker, false), Ok(State::Closed));
    assert_eq!(attempt(&breaker, true), Ok(State::Closed), "a success begins the row anew");
    assert_eq!(attempt(&breaker, false), Ok(State::Closed));
    assert_eq!(attempt(&breaker, false), Ok(State::Open));
    assert_eq!(attempt(&breaker, true), Err(Rejection::Open));
    advance(Duration::from_secs(10)).await;
    assert_eq!(attempt(&breaker, true), Err(Rejection::Open), "its timeout must be past");
    advance(MILLI).await;
    assert_eq!(breaker.state(), (State::HalfOpen, Some(Change { from: State::Open, to: State::HalfOpen })));
    assert_eq!(breaker.state(), (State::HalfOpen, None), "a change is told once");
    assert_eq!(attempt(&breaker, true), Ok(State::Closed));
}

#[tokio::test(start_paused = true)]
async fn a_failure_while_half_open_opens_it_for_another_timeout() {
    let breaker = breaker(|_| {});
    let _ = (attempt(&breaker, false), attempt(&breaker, false));
    advance(Duration::from_secs(10) + MILLI).await;
    assert_eq!(attempt(&breaker, false), Ok(State::Open));
    advance(Duration::from_secs(9)).await;
    assert_eq!(breaker.state().0, State::Open);
}

#[tokio::test(start_paused = true)]
async fn half_open_lets_a_few_through_and_wants_all_to_succeed() {
    let breaker = breaker(|settings| settings.max_requests = 2);
    let _ = (attempt(&breaker, false), attempt(&breaker, false));
    advance(Duration::from_secs(10) + MILLI).await;
    let (first, second) = (breaker.admit().0.unwrap(), breaker.admit().0.unwrap());
    assert_eq!(breaker.admit().0, Err(Rejection::TooManyRequests));
    assert_eq!(breaker.settle(first, true), None);
    assert_eq!(breaker.admit().0, Err(Rejection::TooManyRequests), "those that ended count as well");
    assert_eq!(breaker.settle(second, true), Some(Change { from: State::HalfOpen, to: State::Closed }));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_of_an_older_generation_does_not_count() {
    let breaker = breaker(|_| {});
    let late = breaker.admit().0.unwrap();
    let _ = (attempt(&breaker, false), attempt(&breaker, false));
    advance(Duration::from_secs(10) + MILLI).await;
    assert_eq!(breaker.state().0, State::HalfOpen);
    assert_eq!(breaker.settle(late, false), None);
    assert_eq!(breaker.state().0, State::HalfOpen);
}

#[tokio::test(start_paused = true)]
async fn counts_start_again_with_each_interval() {
    let breaker = breaker(|settings| settings.interval = Duration::from_secs(1));
    assert_eq!(attempt(&breaker, false), Ok(State::Closed));
    advance(Duration::from_secs(1) + MILLI).await;
    assert_eq!(attempt(&breaker, false), Ok(State::Closed), "the first failure is forgotten");
    assert_eq!(attempt(&breaker, false), Ok(State::Open));
}

#[tokio::test(start_paused = true)]
async fn opens_by_default_with_the_sixth_failure_in_a_row() {
    let breaker = breaker(|settings| settings.trip = None);
    for _ in 0..5 {
        assert_eq!(attempt(&breaker, false), Ok(State::Closed));
    }
    assert_eq!(attempt(&breaker, false), Ok(State::Open));
}

#[tokio::test(start_paused = true)]
async fn an_endless_timeout_stays() {
    let breaker = breaker(|settings| settings.timeout = Duration::MAX);
    let _ = (attempt(&breaker, false), attempt(&breaker, false));
    advance(Duration::from_secs(1 << 30)).await;
    assert_eq!(breaker.state().0, State::Open);
}
