//! Many callers, other processes' locks, a full disk, and one version of the plugin after another.

use std::sync::Arc;

use mecha_plugin_api::ErrorKind;
use mecha_plugin_api::state::{StateOperation, StateStore};

use super::{Database, Store, delete, get, kind, set, with_etag};
use crate::client::OpenFiles;

async fn increments_lose_none(store: Store) {
    const TASKS: usize = 64;
    const ROUNDS: usize = 4;
    let store = Arc::new(store);
    store.set(set("counter", "0")).await.unwrap();
    let increment = |store: Arc<Store>| async move {
        let mut done = 0;
        while done < ROUNDS {
            let item = store.get("counter").await.unwrap();
            let count: usize = String::from_utf8(item.value.to_vec()).unwrap().parse().unwrap();
            let etag = item.etag.unwrap();
            match store.set(with_etag(set("counter", (count + 1).to_string()), &etag)).await {
                Ok(()) => done += 1,
                Err(error) => assert_eq!(error.kind(), ErrorKind::ETAG_MISMATCH),
            }
        }
    };
    let tasks: Vec<_> = (0..TASKS).map(|_| tokio::spawn(increment(store.clone()))).collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(store.text("counter").await, Some((TASKS * ROUNDS).to_string()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn increments_with_etags_lose_none_on_a_file() {
    let database = Database::new();
    increments_lose_none(database.store().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn increments_with_etags_lose_none_in_memory() {
    increments_lose_none(Store::open(&[("connectionString", ":memory:")]).await.unwrap()).await;
}

#[tokio::test]
async fn each_write_of_a_group_has_its_own_result() {
    let database = Database::new();
    let store = database.store().await;
    // While this lock is held, the first write waits and the others queue up behind it.
    let lock = database.connect();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let transaction =
        |key: &str, last: StateOperation| store.transact(vec![StateOperation::Upsert(set(key, "1")), last]);
    let good = StateOperation::Upsert(set("good2", "1"));
    let bad = StateOperation::Upsert(with_etag(set("bad2", "1"), "bogus"));
    let release = async { lock.execute_batch("COMMIT").unwrap() };
    let results = tokio::join!(
        store.set(set("a", "1")),
        store.set(with_etag(set("b", "1"), "bogus")),
        transaction("good1", good),
        transaction("bad1", bad),
        store.delete(delete("a")),
        store.set(set("c", "1")),
        release,
    );
    let failed = Err(ErrorKind::ETAG_MISMATCH);
    let kinds = (
        kind(results.0),
        kind(results.1),
        kind(results.2),
        kind(results.3),
        kind(results.4),
        kind(results.5),
    );
    assert_eq!(kinds, (Ok(()), failed, Ok(()), failed, Ok(()), Ok(())));
    let requests = ["a", "b", "good1", "good2", "bad1", "bad2", "c"].map(get).into();
    let items = store.state.bulk_get(&store.context, requests, 0).await.unwrap();
    let there: Vec<bool> = items.into_iter().map(|item| item.result.unwrap().is_some()).collect();
    assert_eq!(there, [false, false, true, true, false, false, true]);
}

#[tokio::test]
async fn a_lock_held_too_long_is_unavailable_and_worth_another_try() {
    let database = Database::new();
    let fields = [("connectionString", database.text()), ("busyTimeout", "10ms")];
    let store = Store::open(&fields).await.unwrap();
    let lock = database.connect();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = store.set(set("a", "1")).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retriable()), (ErrorKind::UNAVAILABLE, true));
    let group = store.state.bulk_set(&store.context, vec![set("a", "1"), set("b", "1")]).await;
    assert_eq!(kind(group), Err(ErrorKind::UNAVAILABLE));
    assert!(store.get("a").await.is_none(), "reads go on");
    lock.execute_batch("COMMIT").unwrap();
    store.set(set("a", "1")).await.unwrap();
}

#[tokio::test]
async fn a_full_disk_fails_the_write_that_does_not_fit_and_no_other() {
    let database = Database::new();
    let uri = format!("{}?_pragma=max_page_count(32)", database.text());
    let store = Store::open(&[("connectionString", uri.as_str())]).await.unwrap();
    let large = set("large", format!("\"{}\"", "x".repeat(1 << 20)));
    let error = store.set(large.clone()).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retriable()), (ErrorKind::UNAVAILABLE, false));
    assert_eq!(error.message(), "the disk that holds the database is full");

    let group = vec![set("a", "1"), large, set("b", "1")];
    assert_eq!(kind(store.state.bulk_set(&store.context, group).await), Err(ErrorKind::UNAVAILABLE));
    assert!(store.get("a").await.is_some() && store.get("b").await.is_some());
    assert!(store.get("large").await.is_none());
}

#[tokio::test]
async fn two_components_may_share_a_file() {
    let database = Database::new();
    let files = Arc::new(OpenFiles::default());
    let fields = [("connectionString", database.text())];
    let first = Store::open_in(&fields, files.clone()).await.unwrap();
    let second = Store::open_in(&fields, files).await.unwrap();
    first.set(set("a", "1")).await.unwrap();
    assert_eq!(second.text("a").await.as_deref(), Some("1"));
}

#[tokio::test]
async fn a_new_version_takes_over_when_the_old_one_has_closed_the_file() {
    let database = Database::new();
    let old = database.store().await;
    old.set(set("a", "1")).await.unwrap();
    // A list of open files of its own is what tells one version from the other.
    let new = Arc::new(database.store().await);
    let write = tokio::spawn({
        let new = new.clone();
        async move { new.set(set("b", "2")).await }
    });
    let read = tokio::spawn({
        let new = new.clone();
        async move { new.text("a").await }
    });
    assert!(old.get("a").await.is_some());
    assert!(old.get("b").await.is_none());
    assert!(!write.is_finished() && !read.is_finished());
    drop(old);
    write.await.unwrap().unwrap();
    assert_eq!(read.await.unwrap().as_deref(), Some("1"));
    assert_eq!(new.text("b").await.as_deref(), Some("2"));
}

#[tokio::test]
async fn a_caller_that_has_gone_leaves_no_write_behind() {
    let database = Database::new();
    let store = Arc::new(database.store().await);
    let lock = database.connect();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let blocked = tokio::spawn({
        let store = store.clone();
        async move { store.set(set("a", "1")).await }
    });
    tokio::task::yield_now().await;
    let abandoned = store.set(set("b", "1"));
    tokio::select! {
        biased;
        _ = abandoned => panic!("the lock is held"),
        () = std::future::ready(()) => {}
    }
    lock.execute_batch("COMMIT").unwrap();
    blocked.await.unwrap().unwrap();
    assert!(store.get("b").await.is_none());
}
