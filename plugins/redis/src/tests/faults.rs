//! A server that is gone, that comes back, that forgot its scripts, that hangs, or that does not want us.

use std::time::{Duration, Instant};

use mecha_plugin_api::ErrorKind;
use mecha_plugin_api::state::StateStore;

use super::*;

#[tokio::test]
async fn the_connection_comes_back_by_itself() {
    let (mut redis, store) = started(&[("redisMaxRetries", "-1"), ("dialTimeout", "2s")]).await;
    save(&store, set("k", "1")).await.unwrap();
    redis.stop().unwrap();
    let error = loop {
        // The end of the connection may be noticed a moment after the server's.
        if let Err(error) = store.get(&context(), get("k")).await {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::UNAVAILABLE, "{error}");
    assert!(error.is_retriable());
    let down = save(&store, set("k", "2")).await.unwrap_err();
    assert_eq!(down.kind(), ErrorKind::UNAVAILABLE, "{down}");

    redis.start_again().unwrap();
    let healing = async { while save(&store, set("k", "3")).await.is_err() {} };
    tokio::time::timeout(Duration::from_secs(10), healing).await.unwrap();
    assert_eq!(read(&store, "k").await, value("3", "1"));
}

#[tokio::test]
async fn calls_wait_out_a_short_restart() {
    let (mut redis, store) = started(&[("redisMaxRetries", "1000"), ("dialTimeout", "10s")]).await;
    redis.stop().unwrap();
    let reading = tokio::spawn(async move { read(&store, "k").await });
    redis.start_again().unwrap();
    assert_eq!(reading.await.unwrap(), None);
}

#[tokio::test]
async fn an_unreachable_server_is_unavailable_within_the_dial_timeout() {
    let mut redis = Redis::start().unwrap();
    redis.stop().unwrap();
    let begun = Instant::now();
    let error = RedisState::open(spec(&redis, &[("dialTimeout", "500ms")])).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::UNAVAILABLE, "{error}");
    assert!(error.message().contains(&redis.addr().to_string()), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn a_name_that_nobody_knows_is_unavailable() {
    let metadata = Metadata::from_iter([("redisHost", "no-such-host.invalid"), ("dialTimeout", "500ms")]);
    let spec = ComponentSpec::new("store", "state.redis", metadata);
    let error = RedisState::open(spec).await.err().unwrap();
    assert_eq!((error.kind(), error.field()), (ErrorKind::UNAVAILABLE, Some("redisHost")), "{error}");
}

#[tokio::test]
async fn a_wrong_password_is_denied_at_once_and_not_repeated() {
    let redis = Redis::start().unwrap();
    let _: () = run(&mut raw(&redis), "CONFIG SET requirepass right");
    let begun = Instant::now();
    for pairs in
        [&[("redisPassword", "a-wrong-one")][..], &[("redisPassword", "a-wrong-one"), ("redisUsername", "u")]]
    {
        let error = RedisState::open(spec(&redis, pairs)).await.err().unwrap();
        assert_eq!((error.kind(), error.field()), (ErrorKind::DENIED, Some("redisPassword")), "{error}");
        assert!(!error.to_string().contains("a-wrong-one"), "{error}");
    }
    assert!(begun.elapsed() < Duration::from_secs(4), "no time is spent on a hopeless wait");
    let store = RedisState::open(spec(&redis, &[("redisPassword", "right")])).await.unwrap();
    save(&store, set("k", "1")).await.unwrap();
}

#[tokio::test]
async fn a_database_that_is_not_there_is_named() {
    let redis = Redis::start().unwrap();
    let error = RedisState::open(spec(&redis, &[("redisDB", "99")])).await.err().unwrap();
    assert_eq!((error.kind(), error.field()), (ErrorKind::INVALID, Some("redisDB")), "{error}");
    let error = RedisState::open(spec(&redis, &[("ttlInSeconds", "long")])).await.err().unwrap();
    assert_eq!((error.kind(), error.field()), (ErrorKind::INVALID, Some("ttlInSeconds")), "{error}");
}

#[tokio::test]
async fn no_password_where_one_is_needed_is_denied() {
    let redis = Redis::start().unwrap();
    let _: () = run(&mut raw(&redis), "CONFIG SET requirepass right");
    let error = RedisState::open(spec(&redis, &[])).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::DENIED, "{error}");
}

#[tokio::test]
async fn a_server_that_forgot_the_scripts_is_taught_again() {
    let (redis, store) = started(&[]).await;
    let mut raw = raw(&redis);
    for round in 1..=2 {
        let version = round.to_string();
        save(&store, set("a", "1")).await.unwrap();
        store.bulk_set(&context(), vec![set("b", "1"), set("c", "1")]).await.unwrap();
        assert_eq!(read(&store, "b").await, value("1", &version));
        assert_eq!(read(&store, "c").await, value("1", &version));
        let _: () = run(&mut raw, "SCRIPT FLUSH");
    }
    store.bulk_set(&context(), vec![set("b", "1"), set_with_etag("c", "1", "9")]).await.unwrap_err();
    assert_eq!(read(&store, "b").await, value("1", "3"));
    assert_eq!(read(&store, "c").await, value("1", "2"));
}

#[tokio::test]
async fn a_user_without_evalsha_still_saves() {
    let redis = Redis::start().unwrap();
    let _: () = run(&mut raw(&redis), "ACL SETUSER small on >pw ~* +@all -evalsha -info");
    let pairs = [("redisUsername", "small"), ("redisPassword", "pw")];
    let store = RedisState::open(spec(&redis, &pairs)).await.unwrap();
    save(&store, set("k", "1")).await.unwrap();
    store.bulk_set(&context(), vec![set("k", "2")]).await.unwrap();
    assert_eq!(read(&store, "k").await, value("2", "2"));
}

#[tokio::test]
async fn a_user_who_may_not_write_is_denied() {
    let redis = Redis::start().unwrap();
    let _: () = run(&mut raw(&redis), "ACL SETUSER reader on >pw ~* +@read +@connection");
    let pairs = [("redisUsername", "reader"), ("redisPassword", "pw")];
    let store = RedisState::open(spec(&redis, &pairs)).await.unwrap();
    assert_eq!(read(&store, "k").await, None);
    assert_eq!(save(&store, set("k", "1")).await.unwrap_err().kind(), ErrorKind::DENIED);
}

#[tokio::test]
async fn a_server_that_hangs_is_a_timeout_and_then_answers_again() {
    let (redis, store) = started(&[("readTimeout", "100ms")]).await;
    signal(&redis, "STOP");
    let begun = Instant::now();
    let error = store.get(&context(), get("k")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TIMEOUT, "{error}");
    assert!(begun.elapsed() < Duration::from_secs(3));
    signal(&redis, "CONT");
    let healing = async { while store.get(&context(), get("k")).await.is_err() {} };
    tokio::time::timeout(Duration::from_secs(10), healing).await.unwrap();
}

#[tokio::test]
async fn a_dropped_call_harms_no_other() {
    let (_redis, store) = started(&[]).await;
    save(&store, set("k", "1")).await.unwrap();
    for _ in 0..50 {
        let context = context();
        let call = store.get(&context, get("k"));
        let _ = tokio::time::timeout(Duration::ZERO, call).await;
        assert_eq!(read(&store, "k").await, value("1", "1"));
    }
}

#[tokio::test]
async fn a_dropped_store_closes_its_connections() {
    let (redis, store) = started(&[("poolSize", "4")]).await;
    let mut raw = raw(&redis);
    wait_until(|| run::<String>(&mut raw, "INFO clients").contains("connected_clients:5")).await;
    drop(store);
    wait_until(|| run::<String>(&mut raw, "INFO clients").contains("connected_clients:1\r")).await;
}
