//! A cluster: each key at its node, through moved slots and a lost master.

use std::time::Duration;

use mecha_plugin_api::configuration::ConfigurationStore;
use mecha_plugin_api::pubsub::{PubSub, PublishRequest};
use mecha_plugin_api::source::{Outcome, Settlement, Source};
use mecha_plugin_api::state::StateOperation;
use mecha_plugin_api::{ErrorKind, Metadata};

use super::servers::Server;
use super::*;
use crate::configuration::RedisConfiguration;
use crate::pubsub::RedisPubSub;

const WAIT: Duration = Duration::from_secs(5);
const FAILOVER: Duration = Duration::from_secs(20);
const RANGES: [(u16, u16); 3] = [(0, 5460), (5461, 10_922), (10_923, 16_383)];

struct Cluster {
    nodes: Vec<Server>,
}

impl Cluster {
    /// Three masters, the last node a replica of the first when it is wanted.
    async fn start(with_replica: bool) -> Self {
        // Finds or installs the program.
        drop(Redis::start().unwrap());
        let mut nodes = Vec::new();
        for _ in 0..if with_replica { 4 } else { 3 } {
            let bus = mecha_backends::free_port().unwrap().to_string();
            let arguments =
                ["--cluster-enabled", "yes", "--cluster-node-timeout", "700", "--cluster-port", &bus];
            nodes.push((Server::start(None, &arguments).await, bus));
        }
        let mut first = nodes[0].0.raw();
        for (node, bus) in &nodes[1..] {
            let _: () = run(&mut first, &format!("CLUSTER MEET 127.0.0.1 {} {bus}", node.port()));
        }
        let nodes: Vec<_> = nodes.into_iter().map(|(node, _)| node).collect();
        for (node, (from, to)) in nodes.iter().zip(RANGES) {
            let _: () = run(&mut node.raw(), &format!("CLUSTER ADDSLOTSRANGE {from} {to}"));
        }
        for node in &nodes {
            let mut raw = node.raw();
            let known = format!("cluster_known_nodes:{}", nodes.len());
            wait_until(|| {
                let info = run::<String>(&mut raw, "CLUSTER INFO");
                info.contains("cluster_state:ok") && info.contains(&known)
            })
            .await;
        }
        if with_replica {
            let master: String = run(&mut first, "CLUSTER MYID");
            let mut replica = nodes[3].raw();
            let _: () = run(&mut replica, &format!("CLUSTER REPLICATE {master}"));
            wait_until(|| run::<String>(&mut replica, "INFO replication").contains("master_link_status:up"))
                .await;
            wait_until(|| run::<String>(&mut first, "CLUSTER NODES").contains("slave")).await;
        }
        Self { nodes }
    }

    fn spec(&self, more: &[(&str, &str)]) -> ComponentSpec {
        let mut metadata = Metadata::from_iter([("redisType", "cluster"), ("readTimeout", "1s")]);
        metadata.insert("redisHost", format!("127.0.0.1:1,{}", self.nodes[1].addr()));
        for (key, value) in more {
            metadata.insert(*key, *value);
        }
        ComponentSpec::new("store", "state.redis", metadata)
    }
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|at| format!("k{at}")).collect()
}

#[tokio::test]
async fn every_key_is_kept_at_its_node() {
    let cluster = Cluster::start(false).await;
    let store = RedisState::open(cluster.spec(&[])).await.unwrap();
    for key in names(50) {
        save(&store, set(&key, "1")).await.unwrap();
    }
    let requests = names(200).iter().map(|key| set(key, "2")).collect();
    store.bulk_set(&context(), requests).await.unwrap();
    let requests = names(201).iter().map(|key| get(key)).collect();
    let items = store.bulk_get(&context(), requests, 0).await.unwrap();
    assert_eq!(items.len(), 201);
    assert_eq!(read(&store, "k0").await, value("2", "2"));
    assert_eq!(read(&store, "k199").await, value("2", "1"));
    assert_eq!(read(&store, "k200").await, None);
    for node in &cluster.nodes {
        assert!(run::<i64>(&mut node.raw(), "DBSIZE") > 40);
    }
    store.bulk_delete(&context(), names(200).iter().map(|key| delete(key)).collect()).await.unwrap();
    assert_eq!(read(&store, "k7").await, None);
    store.ping(&context()).await.unwrap();
}

#[tokio::test]
async fn a_transaction_needs_one_slot() {
    let cluster = Cluster::start(false).await;
    let store = RedisState::open(cluster.spec(&[])).await.unwrap();
    let steps = |keys: [&str; 2]| keys.map(|key| StateOperation::Upsert(set(key, "1"))).to_vec();
    store.transact(&context(), steps(["{app}a", "{app}b"]), Metadata::new()).await.unwrap();
    assert_eq!(read(&store, "{app}b").await, value("1", "1"));
    let error = store.transact(&context(), steps(["a", "b"]), Metadata::new()).await.unwrap_err();
    assert!(error.message().contains("CROSSSLOT"), "{error}");
}

#[tokio::test]
async fn moving_slots_are_followed() {
    let cluster = Cluster::start(false).await;
    let store = RedisState::open(cluster.spec(&[])).await.unwrap();
    save(&store, set("foo", "1")).await.unwrap();
    // The slot of foo goes from the third node to the first.
    let (mut from, mut to) = (cluster.nodes[2].raw(), cluster.nodes[0].raw());
    let (from_id, to_id): (String, String) = (run(&mut from, "CLUSTER MYID"), run(&mut to, "CLUSTER MYID"));
    let _: () = run(&mut to, &format!("CLUSTER SETSLOT 12182 IMPORTING {from_id}"));
    let _: () = run(&mut from, &format!("CLUSTER SETSLOT 12182 MIGRATING {to_id}"));
    let port = cluster.nodes[0].port();
    let _: String = run(&mut from, &format!("MIGRATE 127.0.0.1 {port} foo 0 5000"));
    assert_eq!(read(&store, "foo").await, value("1", "1"), "asked at the new node");
    save(&store, set("foo", "2")).await.unwrap();
    store.bulk_set(&context(), vec![set("foo", "3"), set("other", "1")]).await.unwrap();
    for connection in [&mut to, &mut from] {
        let _: () = run(connection, &format!("CLUSTER SETSLOT 12182 NODE {to_id}"));
    }
    assert_eq!(read(&store, "foo").await, value("3", "3"), "moved to the new node");
    store.bulk_set(&context(), vec![set("foo", "4"), set("other", "2")]).await.unwrap();
    assert_eq!(run::<String>(&mut to, "HGET foo data"), "4");
}

#[tokio::test]
async fn a_lost_master_is_replaced_by_its_replica() {
    let mut cluster = Cluster::start(true).await;
    let store = RedisState::open(cluster.spec(&[])).await.unwrap();
    for key in names(30) {
        save(&store, set(&key, "1")).await.unwrap();
    }
    cluster.nodes[0].kill();
    let begun = std::time::Instant::now();
    let healing = async {
        for key in names(30) {
            while let Err(error) = save(&store, set(&key, "2")).await {
                assert!(error.is_retriable(), "{error:?}");
            }
        }
    };
    tokio::time::timeout(FAILOVER, healing).await.expect("a failover in time");
    println!("healed after {:?}", begun.elapsed());
    assert_eq!(read(&store, "k3").await.unwrap().0, "2");
}

#[tokio::test]
async fn streams_and_configuration_work_on_every_node() {
    let cluster = Cluster::start(false).await;
    let broker = RedisPubSub::open(cluster.spec(&[])).await.unwrap();
    let configuration = RedisConfiguration::open(cluster.spec(&[])).await.unwrap();
    // One slot on each node.
    let (named, all) = (["b", "c", "a"], Vec::new());
    let watched = named.map(str::to_owned).to_vec();
    let (watch, watch_all) =
        (configuration.changes(watched).await.unwrap(), configuration.changes(all).await.unwrap());
    for (node, name) in cluster.nodes.iter().zip(named) {
        let mut raw = node.raw();
        let _: () = run(&mut raw, &format!("SET {name} 1||v"));
        for source in [&watch, &watch_all] {
            assert_eq!(source.next(&context(), 9, WAIT).await.unwrap()[0].topic, name);
        }
    }
    assert_eq!(configuration.get(&context(), Vec::new(), Metadata::new()).await.unwrap().len(), 3);

    for name in named {
        let topic = format!("{{{name}}}topic");
        let source = broker.source(&topic, 0).await.unwrap();
        let request = PublishRequest {
            topic: topic.as_str().into(),
            data: Buf::from(name.to_owned()),
            content_type: "".into(),
            metadata: Metadata::new(),
        };
        broker.publish(&context(), request).await.unwrap();
        let delivery = source.next(&context(), 1, WAIT).await.unwrap().remove(0);
        assert_eq!(&*delivery.data, name.as_bytes());
        let settlement = Settlement { id: delivery.id, outcome: Outcome::ACK, delay_ns: 0 };
        source.settle(&context(), vec![settlement]).await.unwrap();
        assert_eq!(broker.backlog(&context(), &topic).await.unwrap(), Some(0));
        let begun = std::time::Instant::now();
        source.close(&context()).await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(1), "the read at its node is woken");
    }
}

#[tokio::test]
async fn a_single_server_is_no_cluster() {
    let redis = Redis::start().unwrap();
    let error = RedisState::open(spec(&redis, &[("redisType", "cluster")])).await.err().unwrap();
    assert_eq!((error.kind(), error.field()), (ErrorKind::INVALID, Some("redisType")), "{error}");
}
