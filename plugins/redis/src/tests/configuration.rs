//! Configuration: items as Dapr reads them, changes by keyspace events, and none lost with a connection.

use std::time::Duration;

use mecha_plugin_api::ErrorKind;
use mecha_plugin_api::configuration::{ConfigurationStore, VERSION};
use mecha_plugin_api::source::Source;

use super::*;
use crate::configuration::{ChangeSource, RedisConfiguration};

const WAIT: Duration = Duration::from_secs(10);

async fn started(more: &[(&str, &str)]) -> (Redis, RedisConfiguration) {
    let redis = Redis::start().unwrap();
    let store = RedisConfiguration::open(spec(&redis, more)).await.unwrap();
    (redis, store)
}

fn keys(keys: &[&str]) -> Vec<String> {
    keys.iter().map(|key| (*key).to_owned()).collect()
}

async fn items(store: &RedisConfiguration, wanted: &[&str]) -> Vec<(String, String, String)> {
    let items = store.get(&context(), keys(wanted), Metadata::new()).await.unwrap();
    items.into_iter().map(|item| (item.key.into(), item.value.into(), item.version.into())).collect()
}

/// The next change: key, value, version.
async fn change(source: &ChangeSource) -> (String, String, Option<String>) {
    let deliveries = source.next(&context(), 1, WAIT).await.unwrap();
    let delivery = deliveries.first().expect("a change in time");
    let value = String::from_utf8(delivery.data.to_vec()).unwrap();
    (delivery.topic.to_string(), value, delivery.metadata.get(VERSION).map(str::to_owned))
}

fn told(key: &str, value: &str, version: Option<&str>) -> (String, String, Option<String>) {
    (key.into(), value.into(), version.map(str::to_owned))
}

fn item(key: &str, value: &str, version: &str) -> (String, String, String) {
    (key.into(), value.into(), version.into())
}

#[tokio::test]
async fn items_are_plain_keys_with_a_version_behind_bars() {
    let (redis, store) = started(&[]).await;
    let mut raw = raw(&redis);
    let _: () = run(&mut raw, "MSET a 1||v1 b 2 c ||v");
    let _: i64 = run(&mut raw, "LPUSH list x");
    assert_eq!(
        items(&store, &["b", "absent", "a", "c", "list"]).await,
        [item("b", "2", ""), item("a", "1", "v1")]
    );
    assert_eq!(items(&store, &[]).await, [item("a", "1", "v1"), item("b", "2", "")]);
}

#[tokio::test]
async fn thousands_of_items_are_found() {
    let (redis, store) = started(&[]).await;
    let _: () = redis::cmd("EVAL")
        .arg("for i = 1, 3000 do redis.call('SET', 'k' .. i, i) end")
        .arg(0)
        .query(&mut raw(&redis))
        .unwrap();
    assert_eq!(items(&store, &[]).await.len(), 3000);
}

#[tokio::test]
async fn changes_of_watched_keys_are_told() {
    let (redis, store) = started(&[("redisDB", "2")]).await;
    let mut raw = raw(&redis);
    let _: () = run(&mut raw, "SELECT 2");
    let _: () = run(&mut raw, "SET a 1||v1");
    let source = store.changes(keys(&["a", "b"])).await.unwrap();
    let _: () = run(&mut raw, "SET a 2||v2");
    assert_eq!(change(&source).await, told("a", "2", Some("v2")));
    let _: () = run(&mut raw, "SET other x");
    let _: () = run(&mut raw, "SET b 1");
    assert_eq!(change(&source).await, told("b", "1", None));
    let _: i64 = run(&mut raw, "DEL a");
    assert_eq!(change(&source).await, told("a", "", None));
    let none = source.next(&context(), 1, Duration::from_millis(100)).await.unwrap();
    assert!(none.is_empty());
}

#[tokio::test]
async fn every_key_can_be_watched_and_an_expiry_is_a_change() {
    let (redis, store) = started(&[]).await;
    let mut raw = raw(&redis);
    let source = store.changes(Vec::new()).await.unwrap();
    let _: () = run(&mut raw, "SET x 1 PX 50");
    assert_eq!(change(&source).await, told("x", "1", None));
    assert_eq!(change(&source).await, told("x", "", None));
}

#[tokio::test]
async fn the_servers_own_event_flags_stay() {
    let (redis, store) = started(&[]).await;
    let _: () = run(&mut raw(&redis), "CONFIG SET notify-keyspace-events El");
    let _source = store.changes(keys(&["a"])).await.unwrap();
    let flags: Vec<String> = run(&mut raw(&redis), "CONFIG GET notify-keyspace-events");
    assert!("KElg$xe".chars().all(|flag| flags[1].contains(flag)), "{flags:?}");
}

#[tokio::test]
async fn a_change_while_the_connection_was_lost_is_told_after_it() {
    let (redis, store) = started(&[]).await;
    let mut raw = raw(&redis);
    let _: () = run(&mut raw, "MSET a 1 gone 1");
    let (named, all) = (store.changes(keys(&["a"])).await.unwrap(), store.changes(Vec::new()).await.unwrap());
    for round in 2..20 {
        // In one step: the changes cannot be seen by a connection that listens.
        let _: () = redis::cmd("EVAL")
            .arg("redis.call('SET', 'a', ARGV[1]); redis.call('DEL', 'gone')")
            .arg(0)
            .arg(round)
            .query(&mut raw)
            .unwrap();
        let _: i64 = run(&mut raw, "CLIENT KILL TYPE pubsub");
        let value = round.to_string();
        assert_eq!(change(&named).await, told("a", &value, None));
        let mut seen = change(&all).await;
        if seen.0 == "gone" {
            seen = change(&all).await;
        }
        assert_eq!(seen, told("a", &value, None));
    }
}

#[tokio::test]
async fn a_server_that_was_away_is_read_again() {
    let (mut redis, store) = started(&[]).await;
    let _: () = run(&mut raw(&redis), "MSET a 1 b 1");
    let source = store.changes(keys(&["a", "b"])).await.unwrap();
    redis.stop().unwrap();
    redis.start_again().unwrap();
    let mut changes = vec![change(&source).await, change(&source).await];
    changes.sort();
    assert_eq!(changes, [told("a", "", None), told("b", "", None)]);
    let _: () = run(&mut raw(&redis), "SET a 2");
    assert_eq!(change(&source).await, told("a", "2", None));
}

#[tokio::test]
async fn a_user_who_may_not_configure_the_server_is_told_at_intervals() {
    let redis = Redis::start().unwrap();
    let _: () = run(&mut raw(&redis), "ACL SETUSER small on >pw ~* &* +@all -config");
    let pairs = [("redisUsername", "small"), ("redisPassword", "pw")];
    let store = RedisConfiguration::open(spec(&redis, &pairs)).await.unwrap();
    let source = store.changes(keys(&["a"])).await.unwrap();
    let _: () = run(&mut raw(&redis), "SET a 1");
    assert_eq!(change(&source).await, told("a", "1", None));
}

#[tokio::test]
async fn a_user_who_may_not_listen_is_refused_and_an_ended_subscription_ends() {
    let (redis, store) = started(&[]).await;
    let mut raw = raw(&redis);
    let source = store.changes(keys(&["a"])).await.unwrap();
    wait_until(|| run::<Vec<String>>(&mut raw, "PUBSUB CHANNELS").len() == 1).await;
    drop(source);
    wait_until(|| run::<Vec<String>>(&mut raw, "PUBSUB CHANNELS").is_empty()).await;

    let _: () = run(&mut raw, "ACL SETUSER deaf on >pw ~* resetchannels +@all");
    let pairs = [("redisUsername", "deaf"), ("redisPassword", "pw")];
    let store = RedisConfiguration::open(spec(&redis, &pairs)).await.unwrap();
    let error = store.changes(keys(&["a"])).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::DENIED, "{error}");
}
