//! What lies in Redis is what Dapr writes, and what Dapr wrote is read.

use std::collections::HashMap;

use mecha_plugin_api::ErrorKind;
use mecha_plugin_api::state::{Consistency, SetRequest, StateFeatures, StateStore};

use super::*;

#[tokio::test]
async fn a_value_is_a_hash_of_data_and_version() {
    let (redis, store) = started(&[]).await;
    let mut raw = raw(&redis);
    save(&store, set("app||k", r#"{"a":1}"#)).await.unwrap();
    let hash: HashMap<String, String> = run(&mut raw, "HGETALL app||k");
    assert_eq!(hash, HashMap::from([("data".into(), r#"{"a":1}"#.into()), ("version".into(), "1".into())]));

    save(&store, first_write(set("app||k", "2"))).await.unwrap();
    let hash: HashMap<String, String> = run(&mut raw, "HGETALL app||k");
    let expected = [("data", "2"), ("version", "2"), ("first-write", "0")];
    assert_eq!(hash, expected.map(|(field, text)| (field.to_owned(), text.to_owned())).into());
}

#[tokio::test]
async fn a_hash_that_daprd_wrote_is_read() {
    let (redis, store) = started(&[]).await;
    let mut raw = raw(&redis);
    let _: i64 = run(&mut raw, "HSET app||k data {\"b\":2} first-write 0 version 41");
    assert_eq!(read(&store, "app||k").await, value(r#"{"b":2}"#, "41"));
    save(&store, set_with_etag("app||k", "3", "41")).await.unwrap();
    assert_eq!(read(&store, "app||k").await, value("3", "42"));
}

#[tokio::test]
async fn bytes_are_stored_as_they_are() {
    let (_redis, store) = started(&[]).await;
    let bytes: Vec<u8> = (0..=255).collect();
    let request = SetRequest { value: bytes.clone().into(), ..set("k", "") };
    save(&store, request).await.unwrap();
    let item = store.get(&context(), get("k")).await.unwrap().unwrap();
    assert_eq!(&item.value[..], &bytes[..]);
    save(&store, set("empty", "")).await.unwrap();
    assert_eq!(read(&store, "empty").await, value("", "1"));
}

#[tokio::test]
async fn a_missing_key_is_nothing_and_deleting_it_is_no_error() {
    let (_redis, store) = started(&[]).await;
    assert_eq!(read(&store, "absent").await, None);
    store.delete(&context(), delete("absent")).await.unwrap();
    save(&store, set("k", "1")).await.unwrap();
    store.delete(&context(), delete("k")).await.unwrap();
    assert_eq!(read(&store, "k").await, None);
}

#[tokio::test]
async fn a_plain_string_is_read_without_an_etag_and_replaced_by_a_save() {
    let (redis, store) = started(&[]).await;
    let mut raw = raw(&redis);
    let _: () = run(&mut raw, "SET k old");
    assert_eq!(read(&store, "k").await, Some(("old".into(), None)));
    save(&store, set_with_etag("k", "new", "9")).await.unwrap();
    assert_eq!(read(&store, "k").await, value("new", "1"));
    let _: () = run(&mut raw, "SET gone x");
    store.delete(&context(), delete("gone")).await.unwrap();
    assert_eq!(read(&store, "gone").await, None);
}

#[tokio::test]
async fn a_key_of_another_type_or_half_a_hash_is_an_error() {
    let (redis, store) = started(&[]).await;
    let mut raw = raw(&redis);
    let _: i64 = run(&mut raw, "LPUSH list 1");
    let _: i64 = run(&mut raw, "HSET half data 1");
    for key in ["list", "half"] {
        let error = store.get(&context(), get(key)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::INTERNAL, "{key}: {error}");
    }
}

#[tokio::test]
async fn the_database_is_the_one_named() {
    let (redis, store) = started(&[("redisDB", "3")]).await;
    save(&store, set("k", "1")).await.unwrap();
    let mut raw = raw(&redis);
    assert_eq!(run::<i64>(&mut raw, "EXISTS k"), 0);
    let _: () = run(&mut raw, "SELECT 3");
    assert_eq!(run::<i64>(&mut raw, "EXISTS k"), 1);
}

#[tokio::test]
async fn features_are_those_of_a_store_for_actors() {
    let (_redis, store) = started(&[]).await;
    for feature in
        [StateFeatures::ETAG, StateFeatures::TRANSACTIONAL, StateFeatures::TTL, StateFeatures::ACTOR]
    {
        assert!(store.features().has(feature));
    }
    store.ping(&context()).await.unwrap();
}

#[tokio::test]
async fn a_strong_save_waits_for_the_replica() {
    let (redis, replica) = (Redis::start().unwrap(), Redis::start().unwrap());
    let (mut at_master, mut at_replica) = (raw(&redis), raw(&replica));
    let follow = format!("REPLICAOF {} {}", redis.addr().ip(), redis.addr().port());
    let _: () = run(&mut at_replica, &follow);
    wait_until(|| run::<String>(&mut at_replica, "INFO replication").contains("master_link_status:up")).await;

    let store = RedisState::open(spec(&redis, &[("readTimeout", "500ms")])).await.unwrap();
    let request = SetRequest { consistency: Consistency::STRONG, ..set("k", "1") };
    save(&store, request.clone()).await.unwrap();
    assert_eq!(run::<String>(&mut at_replica, "HGET k data"), "1");
    let wrong = SetRequest { etag: etag("9"), ..request.clone() };
    assert_eq!(save(&store, wrong).await.unwrap_err().kind(), ErrorKind::ETAG_MISMATCH);
    let bulk = vec![SetRequest { key: "b".into(), ..request }, set("c", "3")];
    store.bulk_set(&context(), bulk).await.unwrap();
    assert_eq!(run::<String>(&mut at_replica, "HGET b data"), "1");
    let calls = run::<String>(&mut at_master, "INFO commandstats");
    assert!(calls.contains("cmdstat_wait:calls="), "{calls}");

    // A replica that hangs costs the wait and no more, although that is longer than the limit of a command.
    signal(&replica, "STOP");
    save(&store, SetRequest { consistency: Consistency::STRONG, ..set("late", "1") }).await.unwrap();
    assert_eq!(read(&store, "late").await, value("1", "1"));
}
