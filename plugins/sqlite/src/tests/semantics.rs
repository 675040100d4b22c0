//! What each operation means, on a file and in memory.

use mecha_plugin_api::state::SetRequest;
use mecha_plugin_api::state::{
    Concurrency, DeleteRequest, StateFeatures, StateOperation, StateStore, ValueKind,
};
use mecha_plugin_api::{Buf, ErrorKind, ROption, RResult};

use super::{Database, MISMATCH, Store, delete, first_write, get, kind, set, with_etag, with_ttl};

async fn values_come_back(store: Store) {
    assert!(store.get("app||a").await.is_none());
    store.set(set("app||a", r#"{"b": 1.50}"#)).await.unwrap();
    let item = store.get("app||a").await.unwrap();
    assert_eq!(&*item.value, br#"{"b": 1.50}"#);
    assert_eq!(item.etag.unwrap().len(), 36);
    assert!(item.metadata.is_empty());

    let bytes = [0_u8, 159, 146, 150, 255];
    let binary = SetRequest { value: Buf::from(bytes.to_vec()), kind: ValueKind::BYTES, ..set("b", "") };
    store.set(binary).await.unwrap();
    assert_eq!(&*store.get("b").await.unwrap().value, &bytes);

    store.delete(delete("app||a")).await.unwrap();
    store.delete(delete("app||a")).await.unwrap();
    assert!(store.get("app||a").await.is_none());
    store.state.ping(&store.context).await.unwrap();
}

#[tokio::test]
async fn values_come_back_from_a_file() {
    let database = Database::new();
    values_come_back(database.store().await).await;
}

#[tokio::test]
async fn values_come_back_from_memory() {
    for text in [":memory:", "file::memory:?cache=shared", "file:name?mode=memory"] {
        values_come_back(Store::open(&[("connectionString", text)]).await.unwrap()).await;
    }
}

#[tokio::test]
async fn an_etag_lets_only_its_own_version_be_replaced_or_deleted() {
    let store = Store::open(&[("connectionString", ":memory:")]).await.unwrap();
    assert_eq!(kind(store.set(with_etag(set("a", "0"), "bogus")).await), MISMATCH);
    assert!(store.get("a").await.is_none());
    store.set(set("a", "1")).await.unwrap();
    let first = store.etag("a").await;
    store.set(with_etag(set("a", "2"), &first)).await.unwrap();
    let second = store.etag("a").await;
    assert_ne!(first, second);

    let refused = store.set(with_etag(set("a", "3"), &first)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ETAG_MISMATCH);
    assert_eq!(refused.message(), "possible etag mismatch. error from state store");
    let stale = DeleteRequest { etag: ROption::RSome(first.as_str().into()), ..delete("a") };
    assert_eq!(kind(store.delete(stale).await), MISMATCH);
    assert_eq!(store.text("a").await.as_deref(), Some("2"));

    let fresh = DeleteRequest { etag: ROption::RSome(second.as_str().into()), ..delete("a") };
    store.delete(fresh.clone()).await.unwrap();
    assert_eq!(kind(store.delete(fresh).await), MISMATCH);
}

#[tokio::test]
async fn first_write_creates_but_does_not_replace() {
    let database = Database::new();
    let store = database.store().await;
    store.set(first_write(with_ttl(set("a", "1"), "100"))).await.unwrap();
    assert_eq!(kind(store.set(first_write(set("a", "2"))).await), MISMATCH);
    let etag = store.etag("a").await;
    store.set(first_write(with_etag(with_ttl(set("a", "3"), "100"), &etag))).await.unwrap();
    // An empty etag counts as none.
    assert_eq!(kind(store.set(first_write(with_etag(set("a", "4"), ""))).await), MISMATCH);
    assert_eq!(store.text("a").await.as_deref(), Some("3"));

    database.expire_all();
    store.set(first_write(set("a", "5"))).await.unwrap();
    assert_eq!(store.text("a").await.as_deref(), Some("5"));
}

#[tokio::test]
async fn an_expired_key_is_gone_and_may_be_written_anew() {
    let database = Database::new();
    let store = database.store().await;
    store.set(with_ttl(set("a", "1"), "100")).await.unwrap();
    let item = store.get("a").await.unwrap();
    let expires = item.metadata.get("ttlExpireTime").unwrap().to_owned();
    assert_eq!((expires.len(), &expires[10..11], &expires[19..]), (20, "T", "Z"), "{expires}");
    let etag = item.etag.unwrap();

    database.expire_all();
    assert!(store.get("a").await.is_none());
    assert_eq!(kind(store.set(with_etag(set("a", "2"), &etag)).await), MISMATCH);
    assert_eq!(database.count(), 1);
    store.set(set("a", "3")).await.unwrap();
    assert!(store.get("a").await.unwrap().metadata.is_empty());
}

#[tokio::test]
async fn a_write_without_ttl_takes_the_expiry_away() {
    let store = Store::open(&[("connectionString", ":memory:")]).await.unwrap();
    store.set(with_ttl(set("a", "1"), "100")).await.unwrap();
    store.set(set("a", "2")).await.unwrap();
    store.set(with_ttl(set("b", "1"), "-1")).await.unwrap();
    store.set(with_ttl(set("c", "1"), "100")).await.unwrap();
    let etag = store.etag("c").await;
    store.set(with_etag(set("c", "2"), &etag)).await.unwrap();
    for key in ["a", "b", "c"] {
        assert!(store.get(key).await.unwrap().metadata.is_empty(), "{key}");
    }
    for ttl in ["soon", "-2"] {
        let error = store.set(with_ttl(set("a", "3"), ttl)).await.unwrap_err();
        assert_eq!((error.kind(), error.field()), (ErrorKind::INVALID, Some("ttlInSeconds")));
    }
}

#[tokio::test]
async fn a_transaction_applies_its_operations_in_order() {
    let database = Database::new();
    let store = database.store().await;
    store.set(set("gone", "1")).await.unwrap();
    let operations = vec![
        StateOperation::Upsert(set("a", "1")),
        StateOperation::Upsert(set("a", "2")),
        StateOperation::Upsert(set("b", "1")),
        StateOperation::Delete(delete("b")),
        StateOperation::Delete(delete("gone")),
    ];
    store.transact(operations).await.unwrap();
    assert_eq!(store.text("a").await.as_deref(), Some("2"));
    assert!(store.get("b").await.is_none());
    assert!(store.get("gone").await.is_none());
    store.transact(Vec::new()).await.unwrap();
}

#[tokio::test]
async fn a_transaction_with_one_refused_operation_changes_nothing() {
    let database = Database::new();
    let store = database.store().await;
    store.set(set("a", "1")).await.unwrap();
    let bad_etag = StateOperation::Upsert(with_etag(set("b", "1"), "bogus"));
    let bad_ttl = StateOperation::Upsert(with_ttl(set("b", "1"), "soon"));
    let bad_delete =
        StateOperation::Delete(DeleteRequest { etag: ROption::RSome("bogus".into()), ..delete("a") });
    for (bad, expected) in [
        (bad_etag, ErrorKind::ETAG_MISMATCH),
        (bad_ttl, ErrorKind::INVALID),
        (bad_delete, ErrorKind::ETAG_MISMATCH),
    ] {
        let operations =
            vec![StateOperation::Upsert(set("a", "2")), StateOperation::Upsert(set("b", "2")), bad];
        assert_eq!(kind(store.transact(operations).await), Err(expected));
        assert_eq!(store.text("a").await.as_deref(), Some("1"));
        assert!(store.get("b").await.is_none());
    }
}

#[tokio::test]
async fn a_bulk_read_answers_every_key_in_order() {
    let database = Database::new();
    let store = database.store().await;
    store.state.bulk_set(&store.context, vec![set("a", "1"), set("c", "3"), set("bad", "!")]).await.unwrap();
    database.connect().execute("UPDATE state SET is_binary = 1 WHERE key = 'bad'", []).unwrap();
    let requests = ["a", "b", "bad", "c", "a"].map(get).into();
    let items = store.state.bulk_get(&store.context, requests, 1).await.unwrap();
    let found = items.into_iter().map(|item| {
        let value = match item.result {
            RResult::ROk(found) => Ok(found.into_option().map(|item| item.value.to_vec())),
            RResult::RErr(error) => Err(error.kind()),
        };
        (item.key.into_string(), value)
    });
    let found: Vec<_> = found.collect();
    let one = |key: &str, value: &str| (key.to_owned(), Ok(Some(value.into())));
    let bad = ("bad".to_owned(), Err(ErrorKind::INTERNAL));
    assert_eq!(found, [one("a", "1"), ("b".to_owned(), Ok(None)), bad, one("c", "3"), one("a", "1")]);
}

#[tokio::test]
async fn a_bulk_write_tries_every_item_and_tells_of_the_failures() {
    let database = Database::new();
    let store = database.store().await;
    let requests = vec![
        with_ttl(set("x", "1"), "soon"),
        set("a", "1"),
        with_etag(set("y", "1"), "bogus"),
        set("b", "1"),
    ];
    assert_eq!(kind(store.state.bulk_set(&store.context, requests.clone()).await), MISMATCH);
    assert_eq!(database.count(), 2);

    let only_ttl = vec![requests[0].clone(), requests[0].clone()];
    let error = store.state.bulk_set(&store.context, only_ttl).await.unwrap_err();
    assert_eq!((error.kind(), error.message().lines().count()), (ErrorKind::INVALID, 2));

    store.state.bulk_delete(&store.context, vec![delete("a"), delete("b"), delete("c")]).await.unwrap();
    assert_eq!(database.count(), 0);
}

#[tokio::test]
async fn what_cannot_be_stored_is_refused() {
    let store = Store::open(&[("connectionString", ":memory:")]).await.unwrap();
    let no_text = SetRequest { value: Buf::from(vec![0xff_u8]), ..set("a", "") };
    for request in [no_text, set("", "1")] {
        assert_eq!(kind(store.set(request).await), Err(ErrorKind::INVALID));
    }
    assert_eq!(kind(store.delete(delete("")).await), Err(ErrorKind::INVALID));
    let error = store.state.get(&store.context, get("")).await.unwrap_err();
    assert_eq!((error.kind(), error.message()), (ErrorKind::INVALID, "missing key in get operation"));
    let deletion = DeleteRequest { concurrency: Concurrency::FIRST_WRITE, ..delete("a") };
    store.delete(deletion).await.unwrap();
}

#[tokio::test]
async fn it_offers_what_actors_need() {
    let features = Store::open(&[("connectionString", ":memory:")]).await.unwrap().state.features();
    for feature in
        [StateFeatures::ETAG, StateFeatures::TRANSACTIONAL, StateFeatures::TTL, StateFeatures::ACTOR]
    {
        assert!(features.has(feature));
    }
    assert!(!features.has(StateFeatures::QUERY));
}
