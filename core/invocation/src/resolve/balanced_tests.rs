//! What is kept, for how long, and who gets which address.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// Answers with what it is told to, and counts how often it was asked.
#[derive(Default)]
struct Scripted {
    answer: Mutex<Option<Result<Found, ResolveError>>>,
    asked: AtomicUsize,
}

impl Find for Scripted {
    fn find<'a>(&'a self, app: &'a AppName) -> BoxFuture<'a, Result<Found, ResolveError>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let answer = lock(&self.answer).clone();
        let answer = answer.unwrap_or_else(|| Err(ResolveError::NotFound(app.id.clone())));
        Box::pin(async move {
            tokio::task::yield_now().await;
            answer
        })
    }

    fn announce(&self, _listening: SocketAddr, _http_port: u16) {}

    fn withdraw<'a>(&'a self) -> BoxFuture<'a, ()> {
        Box::pin(std::future::ready(()))
    }
}

fn balanced() -> Balanced<Scripted> {
    Balanced::new(Scripted::default())
}

fn app() -> AppName {
    AppName { id: "a".to_owned(), namespace: String::new() }
}

fn answer(balanced: &Balanced<Scripted>, addresses: &[&str]) {
    let addresses = addresses.iter().map(|address| (*address).to_owned()).collect();
    *lock(&balanced.finder.answer) = Some(Ok(Found { addresses, valid_for: Duration::from_secs(10) }));
}

fn fail(balanced: &Balanced<Scripted>) {
    let error = ResolveError::Failed { app_id: "a".to_owned(), reason: "down".to_owned() };
    *lock(&balanced.finder.answer) = Some(Err(error));
}

fn asked(balanced: &Balanced<Scripted>) -> usize {
    balanced.finder.asked.load(Ordering::Relaxed)
}

async fn resolve(balanced: &Balanced<Scripted>, times: usize) -> Vec<String> {
    let mut found = Vec::new();
    for _ in 0..times {
        found.push(balanced.resolve(&app()).await.unwrap_or_else(|error| error.to_string()));
    }
    found
}

#[tokio::test(start_paused = true)]
async fn instances_take_turns_and_are_looked_for_once() {
    let balanced = balanced();
    answer(&balanced, &["h:1", "h:2", "h:3"]);
    assert_eq!(resolve(&balanced, 4).await, ["h:1", "h:2", "h:3", "h:1"]);
    assert_eq!(asked(&balanced), 1);
}

#[tokio::test(start_paused = true)]
async fn calls_at_once_share_one_look_whatever_comes_of_it() {
    let balanced = balanced();
    let app = app();
    let both = tokio::join!(balanced.resolve(&app), balanced.resolve(&app), balanced.resolve(&app));
    assert!(both.0.is_err() && both.1.is_err() && both.2.is_err());
    assert_eq!(asked(&balanced), 1);
    assert!(lock(&balanced.known).is_empty(), "a name without a runtime is not kept");

    answer(&balanced, &["h:1"]);
    let both = tokio::join!(balanced.resolve(&app), balanced.resolve(&app));
    assert_eq!((both.0.unwrap(), both.1.unwrap()), ("h:1".to_owned(), "h:1".to_owned()));
    assert_eq!(asked(&balanced), 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_used_is_found_again_before_it_ends() {
    let balanced = balanced();
    answer(&balanced, &["h:1"]);
    resolve(&balanced, 1).await;
    answer(&balanced, &["h:2"]);
    tokio::time::advance(Duration::from_secs(6)).await;
    assert_eq!(resolve(&balanced, 1).await, ["h:1"], "no call waits for the look");
    while asked(&balanced) < 2 || lock(&balanced.slot(&app()).state).refreshing {
        tokio::task::yield_now().await;
    }
    assert_eq!(resolve(&balanced, 1).await, ["h:2"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_too_old_is_not_given() {
    let balanced = balanced();
    answer(&balanced, &["h:1"]);
    resolve(&balanced, 1).await;
    *lock(&balanced.finder.answer) = None;
    tokio::time::advance(Duration::from_secs(11)).await;
    assert_eq!(resolve(&balanced, 1).await, ["couldn't find service: a"]);
}

#[tokio::test(start_paused = true)]
async fn a_resolver_that_is_down_leaves_what_was_known_for_a_while() {
    let balanced = balanced();
    answer(&balanced, &["h:1"]);
    resolve(&balanced, 1).await;
    fail(&balanced);
    tokio::time::advance(Duration::from_secs(40)).await;
    assert_eq!(resolve(&balanced, 2).await, ["h:1", "h:1"]);
    assert_eq!(asked(&balanced), 2, "it is not asked for every call");
    tokio::time::advance(GRACE).await;
    assert_eq!(resolve(&balanced, 1).await, ["failed to resolve a: down"]);
}

#[tokio::test(start_paused = true)]
async fn where_nobody_answers_is_avoided_while_there_are_others() {
    let balanced = balanced();
    answer(&balanced, &["h:1", "h:2"]);
    assert_eq!(resolve(&balanced, 1).await, ["h:1"]);
    balanced.forget(&app(), "h:1");
    assert_eq!(resolve(&balanced, 3).await, ["h:2", "h:2", "h:2"]);
    assert_eq!(asked(&balanced), 2, "looked for again, once");
    balanced.forget(&app(), "h:2");
    assert_eq!(resolve(&balanced, 2).await.len(), 2, "better a doubtful address than none");
    tokio::time::advance(AVOIDANCE).await;
    let again = resolve(&balanced, 2).await;
    assert!(again.contains(&"h:1".to_owned()) && again.contains(&"h:2".to_owned()), "{again:?}");
}

#[tokio::test(start_paused = true)]
async fn names_that_a_resolver_makes_up_do_not_grow_without_end() {
    let balanced = balanced();
    answer(&balanced, &["h:1"]);
    for number in 0..MOST_KNOWN + 10 {
        let app = AppName { id: number.to_string(), namespace: String::new() };
        balanced.resolve(&app).await.unwrap();
    }
    assert!(lock(&balanced.known).len() <= MOST_KNOWN);
}
