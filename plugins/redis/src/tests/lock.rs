//! Locks: one holder, who alone gives back and renews, and tokens that grow with every holder.

use std::time::Duration;

use mecha_plugin_api::ErrorKind;
use mecha_plugin_api::lock::{LockRequest, LockStore, UnlockOutcome};

use super::*;
use crate::lock::RedisLock;

async fn started() -> (Redis, RedisLock) {
    let redis = Redis::start().unwrap();
    let store = RedisLock::open(spec(&redis, &[])).await.unwrap();
    (redis, store)
}

fn request(owner: &str, expiry: Duration) -> LockRequest {
    LockRequest {
        resource: "lock||app||r".into(),
        owner: owner.into(),
        expiry_ns: u64::try_from(expiry.as_nanos()).unwrap(),
        metadata: Metadata::new(),
    }
}

const LONG: Duration = Duration::from_secs(60);

/// The token of a lock that was free.
async fn token(store: &RedisLock, owner: &str, expiry: Duration) -> u64 {
    let lease = store.try_lock(&context(), request(owner, expiry)).await.unwrap().expect("the lock is free");
    lease.fencing_token.into_option().expect("redis counts")
}

#[tokio::test]
async fn one_holds_it_and_gives_it_back() {
    let (redis, store) = started().await;
    let first = token(&store, "a", LONG).await;
    assert_eq!(run::<String>(&mut raw(&redis), "GET lock||app||r"), "a");
    assert!(run::<i64>(&mut raw(&redis), "PTTL lock||app||r") > 50_000);
    for owner in ["a", "b"] {
        assert_eq!(store.try_lock(&context(), request(owner, LONG)).await.unwrap(), None);
    }
    let unlock = async |owner| store.unlock(&context(), "lock||app||r", owner).await.unwrap();
    assert_eq!(unlock("b").await, UnlockOutcome::BELONGS_TO_OTHERS);
    assert_eq!(unlock("a").await, UnlockOutcome::UNLOCKED);
    assert_eq!(unlock("a").await, UnlockOutcome::NOT_LOCKED);
    assert!(token(&store, "b", LONG).await > first);
}

#[tokio::test]
async fn a_lock_that_daprd_took_is_respected() {
    let (redis, store) = started().await;
    let _: () = run(&mut raw(&redis), "SET lock||app||r theirs NX EX 60");
    assert_eq!(store.try_lock(&context(), request("a", LONG)).await.unwrap(), None);
    let outcome = store.unlock(&context(), "lock||app||r", "theirs").await.unwrap();
    assert_eq!(outcome, UnlockOutcome::UNLOCKED);
}

#[tokio::test]
async fn a_holder_renews_and_others_do_not() {
    let (redis, store) = started().await;
    token(&store, "a", Duration::from_millis(500)).await;
    assert!(!store.renew(&context(), request("b", LONG)).await.unwrap());
    assert!(store.renew(&context(), request("a", LONG)).await.unwrap());
    assert!(run::<i64>(&mut raw(&redis), "PTTL lock||app||r") > 50_000);
    assert!(store.renew(&context(), request("a", Duration::from_millis(50))).await.unwrap());
    let mut raw = raw(&redis);
    wait_until(|| run::<i64>(&mut raw, "EXISTS lock||app||r") == 0).await;
    assert!(!store.renew(&context(), request("a", LONG)).await.unwrap());
}

#[tokio::test]
async fn tokens_grow_for_ever() {
    let (redis, store) = started().await;
    let mut last = 0;
    for round in 0..100 {
        if round == 50 {
            let _: () = run(&mut raw(&redis), "FLUSHALL");
        }
        let next = token(&store, "a", LONG).await;
        assert!(next > last, "{next} after {last}");
        last = next;
        store.unlock(&context(), "lock||app||r", "a").await.unwrap();
    }
    // A clock that went back: what was given out counts.
    let _: () = run(&mut raw(&redis), "SET mecha||fencing-token 8000000000000000");
    assert_eq!(token(&store, "a", LONG).await, 8_000_000_000_000_001);
}

#[tokio::test]
async fn a_user_of_the_locks_keys_alone_gets_locks_without_tokens() {
    let redis = Redis::start().unwrap();
    let _: () = run(&mut raw(&redis), "ACL SETUSER small on >pw ~lock||* +@all");
    let pairs = [("redisUsername", "small"), ("redisPassword", "pw")];
    let store = RedisLock::open(spec(&redis, &pairs)).await.unwrap();
    let lease = store.try_lock(&context(), request("a", LONG)).await.unwrap().unwrap();
    assert!(lease.fencing_token.is_none());
    assert_eq!(store.try_lock(&context(), request("b", LONG)).await.unwrap(), None);
    let mut elsewhere = request("a", LONG);
    elsewhere.resource = "elsewhere".into();
    let error = store.try_lock(&context(), elsewhere).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DENIED, "{error}");
}

#[tokio::test]
async fn what_cannot_keep_a_lock_is_refused() {
    let (redis, store) = started().await;
    let error = store.try_lock(&context(), request("a", Duration::ZERO)).await.unwrap_err();
    assert_eq!((error.kind(), error.field()), (ErrorKind::INVALID, Some("expiryInSeconds")));
    let error = RedisLock::open(spec(&redis, &[("redisType", "cluster")])).await.err().unwrap();
    assert_eq!(error.field(), Some("redisType"));

    let replica = Redis::start().unwrap();
    let follow = format!("REPLICAOF {} {}", redis.addr().ip(), redis.addr().port());
    let _: () = run(&mut raw(&replica), &follow);
    let mut master = raw(&redis);
    wait_until(|| run::<String>(&mut master, "INFO replication").contains("connected_slaves:1")).await;
    let error = RedisLock::open(spec(&redis, &[])).await.err().unwrap();
    assert_eq!(error.field(), Some("failover"), "{error}");
}
