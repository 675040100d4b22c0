//! Sentinels: the master they name, and the next one when that is killed or hangs.

use std::time::Duration;

use mecha_plugin_api::ErrorKind;
use mecha_plugin_api::lock::LockStore;
use mecha_plugin_api::source::Source;

use super::servers::Server;
use super::*;
use crate::configuration::RedisConfiguration;
use crate::lock::RedisLock;

const FAILOVER: Duration = Duration::from_secs(20);

struct Group {
    master: Redis,
    replica: Redis,
    sentinel: Server,
}

impl Group {
    async fn start() -> Self {
        let (master, replica) = (Redis::start().unwrap(), Redis::start().unwrap());
        let follow = format!("REPLICAOF {} {}", master.addr().ip(), master.addr().port());
        let _: () = run(&mut raw(&replica), &follow);
        let mut at_replica = raw(&replica);
        wait_until(|| run::<String>(&mut at_replica, "INFO replication").contains("master_link_status:up"))
            .await;
        let configuration = format!(
            "sentinel monitor main 127.0.0.1 {} 1\nsentinel down-after-milliseconds main 300\n\
             sentinel failover-timeout main 2000\n",
            master.addr().port()
        );
        let sentinel = Server::start(Some(&configuration), &[]).await;
        let mut at_sentinel = sentinel.raw();
        // Without the replica's name the sentinel has nobody to promote.
        wait_until(|| run::<Vec<redis::Value>>(&mut at_sentinel, "SENTINEL REPLICAS main").len() == 1).await;
        Self { master, replica, sentinel }
    }

    fn spec(&self, more: &[(&str, &str)]) -> ComponentSpec {
        let mut metadata = Metadata::from_iter([("failover", "true"), ("sentinelMasterName", "main")]);
        // The first sentinel is gone, the second answers.
        metadata.insert("redisHost", format!("127.0.0.1:1,{}", self.sentinel.addr()));
        for (key, value) in more {
            metadata.insert(*key, *value);
        }
        ComponentSpec::new("store", "state.redis", metadata)
    }
}

async fn until_saved(store: &RedisState, text: &str) {
    let saving = async {
        while save(store, set("k", text)).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(FAILOVER, saving).await.expect("a failover in time");
}

#[tokio::test]
async fn calls_go_to_the_master_and_to_the_next_one_after_a_crash() {
    let mut group = Group::start().await;
    let store = RedisState::open(group.spec(&[])).await.unwrap();
    save(&store, set("k", "1")).await.unwrap();
    assert_eq!(run::<String>(&mut raw(&group.master), "HGET k data"), "1");
    group.master.stop().unwrap();
    until_saved(&store, "2").await;
    assert_eq!(run::<String>(&mut raw(&group.replica), "HGET k data"), "2");
}

#[tokio::test]
async fn a_master_that_hangs_is_left_and_changes_are_still_told() {
    let group = Group::start().await;
    let store = RedisState::open(group.spec(&[("readTimeout", "300ms")])).await.unwrap();
    let configuration = RedisConfiguration::open(group.spec(&[("readTimeout", "300ms")])).await.unwrap();
    let source = configuration.changes(vec!["c".to_owned()]).await.unwrap();
    save(&store, set("k", "1")).await.unwrap();
    signal(&group.master, "STOP");
    until_saved(&store, "2").await;
    let _: () = run(&mut raw(&group.replica), "SET c after");
    let changes = tokio::time::timeout(FAILOVER, async {
        loop {
            let changes = source.next(&context(), 1, FAILOVER).await.unwrap();
            if !changes.is_empty() {
                break changes;
            }
        }
    });
    assert_eq!(&*changes.await.unwrap()[0].data, b"after");
    signal(&group.master, "CONT");
}

#[tokio::test]
async fn locks_may_have_replicas_behind_sentinels() {
    let group = Group::start().await;
    let store = RedisLock::open(group.spec(&[])).await.unwrap();
    store.ping(&context()).await.unwrap();
}

#[tokio::test]
async fn wrong_settings_are_named() {
    let group = Group::start().await;
    let error = RedisState::open(group.spec(&[("sentinelMasterName", "other")])).await.err().unwrap();
    assert_eq!((error.kind(), error.field()), (ErrorKind::INVALID, Some("sentinelMasterName")), "{error}");

    let _: () = run(&mut raw(&group.master), "CONFIG SET requirepass right");
    let error = RedisState::open(group.spec(&[("redisPassword", "a-wrong-one")])).await.err().unwrap();
    assert_eq!((error.kind(), error.field()), (ErrorKind::DENIED, Some("redisPassword")), "{error}");

    let mut at_sentinel = group.sentinel.raw();
    let _: () = run(&mut at_sentinel, "ACL SETUSER default on resetpass >right");
    let pairs = [("redisPassword", "right"), ("sentinelPassword", "a-wrong-one")];
    let error = RedisState::open(group.spec(&pairs)).await.err().unwrap();
    assert_eq!((error.kind(), error.field()), (ErrorKind::DENIED, Some("sentinelPassword")), "{error}");
    assert!(!error.to_string().contains("a-wrong-one"), "{error}");
    let pairs = [("redisPassword", "right"), ("sentinelPassword", "right")];
    RedisState::open(group.spec(&pairs)).await.unwrap();
}
