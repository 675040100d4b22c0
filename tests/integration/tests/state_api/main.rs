//! The state API: the same cases by the same code over both protocols and three stores.

mod cases;
mod disk;
#[path = "../support/redis.rs"]
mod redis;
mod store;

use std::future::Future;

use mecha_backends::Redis;
use mecha_proto::common::v1::StateItem;
use mecha_proto::runtime::v1::DeleteBulkStateRequest;
use mecha_testkit::Mecha;
use store::{Backend, Protocol, Step, Store, Write};

const BACKENDS: [(Backend, &str); 3] =
    [(Backend::Memory, "memory"), (Backend::Sqlite, "sqlite"), (Backend::Redis, "redis")];

/// One process with all stores side by side, and what they write to.
struct Stores {
    mecha: Mecha,
    _redis: Redis,
    _folder: tempfile::TempDir,
}

impl Stores {
    async fn start() -> Self {
        let (redis, folder) = (Redis::shared().unwrap(), tempfile::tempdir().unwrap());
        let file = folder.path().join("state.db");
        let builder = Mecha::builder()
            .app_id(redis.key_prefix())
            .plugin("memory")
            .plugin("sqlite")
            .plugin("redis")
            .component("memory", "state.in-memory")
            .component_with("sqlite", "state.sqlite", &[("connectionString", file.to_str().unwrap())])
            .component_with("redis", "state.redis", &[("redisHost", &redis.addr().to_string())]);
        Self { mecha: builder.start().await.unwrap(), _redis: redis, _folder: folder }
    }

    async fn all(&self) -> Vec<Store> {
        let mut stores = Vec::new();
        for (backend, name) in BACKENDS {
            for protocol in [Protocol::Http, Protocol::Grpc] {
                stores.push(Store::connect(&self.mecha, name, backend, protocol).await);
            }
        }
        stores
    }
}

/// Runs a case on every store over every protocol at once, and says on which it failed.
async fn on_every_store<C>(case: impl Fn(Store) -> C)
where
    C: Future<Output = ()> + Send + 'static,
{
    let stores = Stores::start().await;
    let running: Vec<_> = stores
        .all()
        .await
        .into_iter()
        .map(|store| (format!("{:?} over {:?}", store.backend, store.protocol), tokio::spawn(case(store))))
        .collect();
    let mut failed = Vec::new();
    for (label, case) in running {
        if case.await.is_err() {
            failed.push(label);
        }
    }
    assert!(failed.is_empty(), "failed on {failed:?}; the reasons are above");
    let panics = stores.mecha.logs().matching("panicked");
    assert!(panics.is_empty(), "{panics:#?}");
}

#[tokio::test]
async fn saves_gets_and_deletes() {
    on_every_store(cases::saves_gets_and_deletes).await;
}

#[tokio::test]
async fn keys_may_hold_any_character() {
    on_every_store(cases::keys_may_hold_any_character).await;
}

#[tokio::test]
async fn etags_guard_writes() {
    on_every_store(cases::etags_guard_writes).await;
}

#[tokio::test]
async fn an_etag_that_is_none_is_refused() {
    on_every_store(cases::an_etag_that_is_none_is_refused).await;
}

#[tokio::test]
async fn first_write_wins_when_asked_for() {
    on_every_store(cases::first_write_wins_when_asked_for).await;
}

#[tokio::test]
async fn values_expire() {
    on_every_store(cases::values_expire).await;
}

#[tokio::test]
async fn bulk_get_answers_each_key_in_order() {
    on_every_store(cases::bulk_get_answers_each_key_in_order).await;
}

#[tokio::test]
async fn one_stale_item_fails_a_list_and_the_others_are_stored() {
    on_every_store(cases::one_stale_item_fails_a_list_and_the_others_are_stored).await;
}

#[tokio::test]
async fn a_transaction_is_all_or_nothing() {
    on_every_store(cases::a_transaction_is_all_or_nothing).await;
}

#[tokio::test]
async fn numbers_survive() {
    on_every_store(cases::numbers_survive).await;
}

#[tokio::test]
async fn values_are_the_same_over_both_protocols() {
    on_every_store(cases::values_are_the_same_over_both_protocols).await;
}

#[tokio::test]
async fn small_things_that_are_no_errors() {
    on_every_store(cases::an_empty_list_is_no_error).await;
    on_every_store(cases::large_values_come_back_whole).await;
}

/// gRPC alone deletes several keys in one call.
#[tokio::test]
async fn several_keys_are_deleted_in_one_call() {
    let stores = Stores::start().await;
    for (backend, name) in BACKENDS {
        let store = Store::connect(&stores.mecha, name, backend, Protocol::Grpc).await;
        store.save(&[Write::new("d1", "1"), Write::new("d2", "2"), Write::new("d3", "3")]).await.unwrap();
        let delete = |keys: &[&str]| DeleteBulkStateRequest {
            store_name: name.to_owned(),
            states: keys
                .iter()
                .map(|key| StateItem { key: (*key).to_owned(), ..Default::default() })
                .collect(),
        };
        let mut grpc = stores.mecha.grpc().await.unwrap();
        grpc.delete_bulk_state(delete(&["d1", "d3", "absent"])).await.unwrap();
        grpc.delete_bulk_state(delete(&[])).await.unwrap();
        let left = store.bulk_get(&["d1", "d2", "d3"]).await.unwrap();
        let left: Vec<_> = left.iter().map(|found| found.item.is_some()).collect();
        assert_eq!(left, [false, true, false], "{name}");
    }
}

/// Metadata of a request may stand in the query as well.
#[tokio::test]
async fn the_query_carries_metadata_and_options() {
    let stores = Stores::start().await;
    let (mecha, http) = (&stores.mecha, stores.mecha.http());
    let url = mecha.http_url("/v1.0/state/memory");
    let save = format!("{url}?metadata.ttlInSeconds=1000");
    let reply = http.post(&save, r#"[{"key":"q","value":1}]"#).await.unwrap();
    assert_eq!(reply.status, 204, "{}", reply.text());
    let read = http.get(&format!("{url}/q?consistency=strong&metadata.partitionKey=p")).await.unwrap();
    assert_eq!(read.status, 200, "{}", read.text());
    assert!(!read.header("metadata.ttlexpiretime").is_empty(), "{:?}", read.headers);
    let delete = format!("{url}/q?concurrency=last-write&consistency=eventual");
    assert_eq!(http.delete(&delete).await.unwrap().status, 204);
    assert_eq!(http.get(&format!("{url}/q")).await.unwrap().status, 204);
    // PUT does what POST does.
    assert_eq!(http.put(&url, r#"[{"key":"q","value":2}]"#).await.unwrap().status, 204);
    assert_eq!(http.put(&format!("{url}/bulk"), r#"{"keys":["q"]}"#).await.unwrap().status, 200);
    let transaction = r#"{"operations":[{"operation":"delete","request":{"key":"q"}}]}"#;
    assert_eq!(http.put(&format!("{url}/transaction"), transaction).await.unwrap().status, 204);
    assert_eq!(http.get(&format!("{url}/q")).await.unwrap().status, 204);
}

/// Stores of one type are apart where their back ends are, and share where those are one.
#[tokio::test]
async fn stores_stand_side_by_side() {
    let (redis, folder) = (Redis::shared().unwrap(), tempfile::tempdir().unwrap());
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let host = redis.addr().to_string();
    let mecha = Mecha::builder()
        .app_id(redis.key_prefix())
        .plugin("memory")
        .plugin("sqlite")
        .plugin("redis")
        .component("memory-1", "state.in-memory")
        .component("memory-2", "state.in-memory")
        .component_with("sqlite-1", "state.sqlite", &[("connectionString", &file("one.db"))])
        .component_with("sqlite-2", "state.sqlite", &[("connectionString", &file("two.db"))])
        .component_with("redis-1", "state.redis", &[("redisHost", &host)])
        .component_with("redis-2", "state.redis", &[("redisHost", &host)])
        .start()
        .await
        .unwrap();
    for (backend, name) in BACKENDS {
        let first = Store::connect(&mecha, &format!("{name}-1"), backend, Protocol::Http).await;
        let second = Store::connect(&mecha, &format!("{name}-2"), backend, Protocol::Grpc).await;
        first.save_one(Write::new("k", "1")).await.unwrap();
        first.transact(&[Step::Upsert(Write::new("t", "2"))]).await.unwrap();
        let seen = second.bulk_get(&["k", "t"]).await.unwrap();
        let seen: Vec<_> = seen.iter().map(|found| found.item.is_some()).collect();
        // Two stores on one Redis of one application have the same keys, as in Dapr.
        let shared = backend == Backend::Redis;
        assert_eq!(seen, [shared, shared], "{name}");
    }
}
