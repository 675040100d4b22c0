//! The store as a runtime uses it: through the author's trait.

use std::sync::Arc;
use std::time::Duration;

use mecha_plugin_api::state::{
    Concurrency, Consistency, DeleteRequest, GetRequest, SetRequest, StateFeatures, StateItem,
    StateOperation, StateStore, ValueKind,
};
use mecha_plugin_api::{
    Buf, CallContext, ComponentSpec, Error, ErrorKind, Metadata, ROption, RResult, Result,
};

use crate::state::MemoryState;

struct Store {
    state: MemoryState,
    context: CallContext,
}

impl Store {
    async fn open() -> Self {
        let spec = ComponentSpec::new("store", "state.in-memory", Metadata::new());
        let state = MemoryState::open(spec).await.unwrap();
        Self { state, context: CallContext::background("app") }
    }

    async fn get(&self, key: &str) -> Option<StateItem> {
        self.state.get(&self.context, get(key)).await.unwrap()
    }

    async fn text(&self, key: &str) -> Option<String> {
        self.get(key).await.map(|item| String::from_utf8(item.value.to_vec()).unwrap())
    }

    async fn etag(&self, key: &str) -> String {
        self.get(key).await.unwrap().etag.unwrap().into_string()
    }

    async fn set(&self, request: SetRequest) -> Result<()> {
        self.state.set(&self.context, request).await
    }

    async fn delete(&self, request: DeleteRequest) -> Result<()> {
        self.state.delete(&self.context, request).await
    }

    async fn transact(&self, operations: Vec<StateOperation>) -> Result<()> {
        self.state.transact(&self.context, operations, Metadata::new()).await
    }
}

fn get(key: &str) -> GetRequest {
    GetRequest { key: key.into(), consistency: Consistency::UNSPECIFIED, metadata: Metadata::new() }
}

fn set(key: &str, value: impl Into<String>) -> SetRequest {
    SetRequest {
        key: key.into(),
        value: Buf::from(value.into()),
        kind: ValueKind::JSON,
        etag: ROption::RNone,
        concurrency: Concurrency::UNSPECIFIED,
        consistency: Consistency::UNSPECIFIED,
        metadata: Metadata::new(),
    }
}

fn delete(key: &str) -> DeleteRequest {
    DeleteRequest {
        key: key.into(),
        etag: ROption::RNone,
        concurrency: Concurrency::UNSPECIFIED,
        consistency: Consistency::UNSPECIFIED,
        metadata: Metadata::new(),
    }
}

fn with_etag(request: SetRequest, etag: &str) -> SetRequest {
    SetRequest { etag: ROption::RSome(etag.into()), ..request }
}

fn first_write(request: SetRequest) -> SetRequest {
    SetRequest { concurrency: Concurrency::FIRST_WRITE, ..request }
}

fn with_ttl(request: SetRequest, seconds: &str) -> SetRequest {
    SetRequest { metadata: Metadata::from_iter([("ttlInSeconds", seconds)]), ..request }
}

fn kind(result: Result<()>) -> Result<(), ErrorKind> {
    result.map_err(|error| error.kind())
}

const MISMATCH: Result<(), ErrorKind> = Err(ErrorKind::ETAG_MISMATCH);

#[tokio::test]
async fn a_value_comes_back_with_an_etag_until_it_is_deleted() {
    let store = Store::open().await;
    assert!(store.get("app||a").await.is_none());
    store.set(set("app||a", r#"{"b": 1}"#)).await.unwrap();
    let item = store.get("app||a").await.unwrap();
    assert_eq!(&*item.value, br#"{"b": 1}"#);
    assert_eq!(item.etag.unwrap().len(), 36);
    assert!(item.metadata.is_empty());
    store.delete(delete("app||a")).await.unwrap();
    store.delete(delete("app||a")).await.unwrap();
    assert!(store.get("app||a").await.is_none());
}

#[tokio::test]
async fn a_long_value_is_neither_copied_in_nor_out() {
    let store = Store::open().await;
    let value = Buf::from(vec![b'x'; 1 << 20]);
    let at = value.as_ptr();
    store.set(SetRequest { value, ..set("big", "") }).await.unwrap();
    assert_eq!(store.get("big").await.unwrap().value.as_ptr(), at);
}

#[tokio::test]
async fn a_short_value_does_not_hold_on_to_the_buffer_it_came_in() {
    let store = Store::open().await;
    let value = Buf::from(vec![b'x'; 100]);
    let at = value.as_ptr();
    store.set(SetRequest { value, ..set("small", "") }).await.unwrap();
    assert_ne!(store.get("small").await.unwrap().value.as_ptr(), at);
}

#[tokio::test]
async fn an_etag_lets_only_its_own_version_be_replaced_or_deleted() {
    let store = Store::open().await;
    assert_eq!(kind(store.set(with_etag(set("a", "0"), "bogus")).await), MISMATCH);
    store.set(set("a", "1")).await.unwrap();
    let first = store.etag("a").await;
    store.set(with_etag(set("a", "2"), &first)).await.unwrap();
    let second = store.etag("a").await;
    assert_ne!(first, second);

    let refused = store.set(with_etag(set("a", "3"), &first)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ETAG_MISMATCH);
    assert!(refused.message().starts_with("possible etag mismatch. error from state store: "), "{refused}");
    let stale = DeleteRequest { etag: ROption::RSome(first.as_str().into()), ..delete("a") };
    assert_eq!(kind(store.delete(stale).await), MISMATCH);
    assert_eq!(store.text("a").await.as_deref(), Some("2"));

    let fresh = DeleteRequest { etag: ROption::RSome(second.as_str().into()), ..delete("a") };
    store.delete(fresh.clone()).await.unwrap();
    assert_eq!(kind(store.delete(fresh).await), MISMATCH);
}

#[tokio::test]
async fn an_empty_etag_counts_as_none() {
    let store = Store::open().await;
    store.set(with_etag(set("a", "1"), "")).await.unwrap();
    store.set(with_etag(set("a", "2"), "")).await.unwrap();
    assert_eq!(store.text("a").await.as_deref(), Some("2"));
    assert_eq!(kind(store.set(first_write(with_etag(set("a", "3"), ""))).await), MISMATCH);
}

#[tokio::test]
async fn first_write_creates_but_does_not_replace() {
    let store = Store::open().await;
    store.set(first_write(set("a", "1"))).await.unwrap();
    assert_eq!(kind(store.set(first_write(set("a", "2"))).await), MISMATCH);
    let etag = store.etag("a").await;
    store.set(first_write(with_etag(set("a", "3"), &etag))).await.unwrap();
    let deletion = DeleteRequest { concurrency: Concurrency::FIRST_WRITE, ..delete("a") };
    assert_eq!(kind(store.delete(deletion).await), MISMATCH);
    assert_eq!(store.text("a").await.as_deref(), Some("3"));
}

#[tokio::test(start_paused = true)]
async fn an_expired_key_is_gone_for_every_operation() {
    let store = Store::open().await;
    store.set(with_ttl(set("a", "1"), "1")).await.unwrap();
    let item = store.get("a").await.unwrap();
    let expires = item.metadata.get("ttlExpireTime").unwrap().to_owned();
    assert_eq!((expires.len(), &expires[10..11], &expires[19..]), (20, "T", "Z"), "{expires}");
    let etag = item.etag.unwrap().into_string();

    // Less than the sweeper's interval after the expiry: the entry may still lie there, and must not be seen.
    tokio::time::advance(Duration::from_millis(1_001)).await;
    assert!(store.get("a").await.is_none());
    assert_eq!(kind(store.set(with_etag(set("a", "2"), &etag)).await), MISMATCH);
    store.set(first_write(set("a", "3"))).await.unwrap();
    assert!(store.get("a").await.unwrap().metadata.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_write_without_ttl_takes_the_expiry_away() {
    let store = Store::open().await;
    store.set(with_ttl(set("a", "1"), "1")).await.unwrap();
    store.set(set("a", "2")).await.unwrap();
    store.set(with_ttl(set("b", "1"), "-1")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(store.text("a").await.as_deref(), Some("2"));
    assert!(store.get("b").await.is_some());
    let error = store.set(with_ttl(set("a", "3"), "soon")).await.unwrap_err();
    assert_eq!((error.kind(), error.field()), (ErrorKind::INVALID, Some("ttlInSeconds")));
}

#[tokio::test(start_paused = true)]
async fn expired_keys_are_freed_although_nobody_reads_them() {
    let store = Store::open().await;
    for key in 0..1_000 {
        store.set(with_ttl(set(&format!("short{key}"), "1"), "1")).await.unwrap();
        store.set(with_ttl(set(&format!("long{key}"), "1"), "60")).await.unwrap();
    }
    assert_eq!(store.state.entries().len(), 2_000);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(store.state.entries().len(), 1_000);
}

#[tokio::test]
async fn nothing_is_left_running_when_the_store_is_dropped() {
    let store = Store::open().await;
    let entries = Arc::downgrade(store.state.entries());
    let metrics = tokio::runtime::Handle::current().metrics();
    assert_eq!(metrics.num_alive_tasks(), 1);
    drop(store);
    assert!(entries.upgrade().is_none());
    while metrics.num_alive_tasks() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_transaction_applies_its_operations_in_order() {
    let store = Store::open().await;
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
    let store = Store::open().await;
    store.set(set("a", "1")).await.unwrap();
    let bad_etag = StateOperation::Upsert(with_etag(set("b", "1"), "bogus"));
    let bad_ttl = StateOperation::Upsert(with_ttl(set("b", "1"), "soon"));
    for (bad, expected) in [(bad_etag, ErrorKind::ETAG_MISMATCH), (bad_ttl, ErrorKind::INVALID)] {
        let operations =
            vec![StateOperation::Upsert(set("a", "2")), StateOperation::Delete(delete("a")), bad];
        assert_eq!(kind(store.transact(operations).await), Err(expected));
        assert_eq!(store.text("a").await.as_deref(), Some("1"));
        assert!(store.get("b").await.is_none());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_sees_half_a_transaction() {
    let store = Arc::new(Store::open().await);
    let keys: Vec<String> = (0..16).map(|key| format!("key{key}")).collect();
    let write = |value: usize| -> Vec<StateOperation> {
        keys.iter().map(|key| StateOperation::Upsert(set(key, value.to_string()))).collect()
    };
    store.transact(write(0)).await.unwrap();
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let (store, batches) =
                (store.clone(), (0..200).map(|round| write(writer * 1_000 + round)).collect::<Vec<_>>());
            tokio::spawn(async move {
                for batch in batches {
                    store.transact(batch).await.unwrap();
                }
            })
        })
        .collect();
    while writers.iter().any(|writer| !writer.is_finished()) {
        let requests = keys.iter().map(|key| get(key)).collect();
        let items = store.state.bulk_get(&store.context, requests, 0).await.unwrap();
        let values: Vec<Vec<u8>> =
            items.into_iter().map(|item| item.result.unwrap().unwrap().value.to_vec()).collect();
        assert!(values.iter().all(|value| *value == values[0]));
        tokio::task::yield_now().await;
    }
    for writer in writers {
        writer.await.unwrap();
    }
}

#[tokio::test]
async fn a_bulk_read_answers_every_key_in_order() {
    let store = Store::open().await;
    store.state.bulk_set(&store.context, vec![set("a", "1"), set("c", "3")]).await.unwrap();
    let requests = ["a", "b", "c", "a"].map(get).into();
    let items = store.state.bulk_get(&store.context, requests, 1).await.unwrap();
    let found: Vec<(String, Option<Vec<u8>>)> = items
        .into_iter()
        .map(|item| {
            let RResult::ROk(found) = item.result else { panic!("{} failed", item.key) };
            (item.key.into_string(), found.into_option().map(|item| item.value.to_vec()))
        })
        .collect();
    let one = |key: &str, value: Option<&str>| (key.to_owned(), value.map(|value| value.into()));
    assert_eq!(found, [one("a", Some("1")), one("b", None), one("c", Some("3")), one("a", Some("1"))]);
    assert!(store.state.bulk_get(&store.context, Vec::new(), 0).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_bulk_write_tries_every_item_and_tells_of_the_failures() {
    let store = Store::open().await;
    let requests = vec![
        with_ttl(set("x", "1"), "soon"),
        set("a", "1"),
        with_etag(set("y", "1"), "bogus"),
        set("b", "1"),
    ];
    let refused = store.state.bulk_set(&store.context, requests.clone()).await;
    assert_eq!(kind(refused), MISMATCH);
    assert!(store.get("a").await.is_some() && store.get("b").await.is_some());

    let only_ttl = vec![requests[0].clone(), requests[0].clone()];
    let error: Error = store.state.bulk_set(&store.context, only_ttl).await.unwrap_err();
    assert_eq!((error.kind(), error.message().lines().count()), (ErrorKind::INVALID, 2));

    store.state.bulk_delete(&store.context, vec![delete("a"), delete("b"), delete("c")]).await.unwrap();
    assert_eq!(store.state.entries().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn increments_with_etags_lose_none() {
    const TASKS: usize = 64;
    const ROUNDS: usize = 50;
    let store = Arc::new(Store::open().await);
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

#[tokio::test]
async fn it_offers_what_actors_need() {
    let features = Store::open().await.state.features();
    for feature in
        [StateFeatures::ETAG, StateFeatures::TRANSACTIONAL, StateFeatures::TTL, StateFeatures::ACTOR]
    {
        assert!(features.has(feature));
    }
    assert!(!features.has(StateFeatures::QUERY));
}
