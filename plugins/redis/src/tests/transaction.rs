//! Several steps, all or none.

use mecha_plugin_api::state::{DeleteRequest, StateOperation, StateStore};
use mecha_plugin_api::{ErrorKind, Result};

use super::*;

async fn transact(store: &RedisState, steps: Vec<StateOperation>) -> Result<()> {
    store.transact(&context(), steps, Metadata::new()).await
}

fn upsert(request: mecha_plugin_api::state::SetRequest) -> StateOperation {
    StateOperation::Upsert(request)
}

fn delete_with_etag(key: &str, version: &str) -> StateOperation {
    StateOperation::Delete(DeleteRequest { etag: etag(version), ..delete(key) })
}

#[tokio::test]
async fn all_steps_are_applied_in_order() {
    let (redis, store) = started(&[]).await;
    save(&store, set("gone", "1")).await.unwrap();
    let steps = vec![
        upsert(set("a", "1")),
        upsert(with_ttl(set("b", "1"), "100")),
        StateOperation::Delete(delete("gone")),
        upsert(set_with_etag("a", "2", "1")),
    ];
    transact(&store, steps).await.unwrap();
    assert_eq!(read(&store, "a").await, value("2", "2"));
    assert_eq!(read(&store, "b").await, value("1", "1"));
    assert_eq!(read(&store, "gone").await, None);
    assert!(run::<i64>(&mut raw(&redis), "TTL b") > 90);
    transact(&store, Vec::new()).await.unwrap();
}

#[tokio::test]
async fn one_wrong_etag_leaves_everything_as_it_was() {
    let (_redis, store) = started(&[]).await;
    save(&store, set("a", "1")).await.unwrap();
    save(&store, set("b", "1")).await.unwrap();
    for wrong in [upsert(set_with_etag("b", "2", "9")), delete_with_etag("b", "9")] {
        let steps = vec![upsert(set("a", "2")), upsert(set("new", "1")), wrong];
        assert_eq!(transact(&store, steps).await.unwrap_err().kind(), ErrorKind::ETAG_MISMATCH);
        assert_eq!(read(&store, "a").await, value("1", "1"));
        assert_eq!(read(&store, "b").await, value("1", "1"));
        assert_eq!(read(&store, "new").await, None);
    }
    let steps = vec![upsert(set("a", "2")), upsert(set_with_etag("b", "2", "x"))];
    assert_eq!(transact(&store, steps).await.unwrap_err().kind(), ErrorKind::ETAG_INVALID);
    assert_eq!(read(&store, "a").await, value("1", "1"));
}

#[tokio::test]
async fn later_steps_see_what_earlier_ones_leave() {
    let (_redis, store) = started(&[]).await;
    save(&store, set("k", "1")).await.unwrap();
    let steps = vec![
        delete_with_etag("k", "1"),
        upsert(set_with_etag("k", "2", "whatever".len().to_string().as_str())),
        upsert(set_with_etag("k", "3", "1")),
    ];
    transact(&store, steps).await.unwrap();
    assert_eq!(read(&store, "k").await, value("3", "2"));
    let steps = vec![upsert(set_with_etag("k", "4", "2")), upsert(set_with_etag("k", "5", "2"))];
    assert_eq!(transact(&store, steps).await.unwrap_err().kind(), ErrorKind::ETAG_MISMATCH);
    assert_eq!(read(&store, "k").await, value("3", "2"));
}

#[tokio::test]
async fn a_transaction_does_not_mark_keys_first_write_but_honours_the_mark() {
    let (redis, store) = started(&[]).await;
    transact(&store, vec![upsert(first_write(set("a", "1")))]).await.unwrap();
    assert_eq!(run::<i64>(&mut raw(&redis), "HEXISTS a first-write"), 0);
    save(&store, first_write(set("k", "1"))).await.unwrap();
    let steps = vec![upsert(set("a", "2")), upsert(set("k", "2"))];
    assert_eq!(transact(&store, steps).await.unwrap_err().kind(), ErrorKind::ETAG_MISMATCH);
    assert_eq!(read(&store, "a").await, value("1", "1"));
}

#[tokio::test]
async fn keys_of_another_type_are_replaced() {
    let (redis, store) = started(&[]).await;
    let mut raw = raw(&redis);
    let _: i64 = run(&mut raw, "LPUSH a 1");
    let _: i64 = run(&mut raw, "LPUSH b 1");
    let steps = vec![upsert(set_with_etag("a", "1", "5")), delete_with_etag("b", "5")];
    transact(&store, steps).await.unwrap();
    assert_eq!(read(&store, "a").await, value("1", "1"));
    assert_eq!(read(&store, "b").await, None);
}

#[tokio::test]
async fn a_thousand_steps_are_one_transaction() {
    let (redis, store) = started(&[]).await;
    let steps = (0..1000).map(|at| upsert(set(&format!("k{at}"), "1"))).collect();
    transact(&store, steps).await.unwrap();
    assert_eq!(run::<i64>(&mut raw(&redis), "DBSIZE"), 1000);
}
