//! Tests against a real broker, `MECHA_TEST_KAFKA=host:port`: what comes out, how often, and what an error says.

mod binding;
mod boundary;
mod errors;
mod faults;
mod group;
mod identity;
mod load;
mod missing_topic;
mod pubsub;
mod retries;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use mecha_plugin_api::pubsub::{PubSub, PublishRequest, SubscribeRequest};
use mecha_plugin_api::source::{Delivery, Outcome, Settlement, Source};
use mecha_plugin_api::{Buf, CallContext, ComponentSpec, Metadata};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::consumer::GroupSource;
use crate::pubsub::KafkaPubSub;

/// The address of a broker for tests.
const VARIABLE: &str = "MECHA_TEST_KAFKA";
const WAIT: Duration = Duration::from_secs(20);
const SOON: Duration = Duration::from_millis(500);

/// The broker's address, or a clear line and `None` where there is none; CI must have one.
fn server() -> Option<String> {
    let address = std::env::var(VARIABLE).ok().filter(|address| !address.is_empty());
    if address.is_none() {
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "{VARIABLE} is not set, and CI must not skip tests"
        );
        eprintln!("skipped: {VARIABLE} names no broker");
    }
    address
}

fn context() -> CallContext {
    CallContext::background("app")
}

fn sampled() -> CallContext {
    CallContext { trace_id: [7; 16], span_id: [3; 8], trace_flags: 1, ..context() }
}

/// A name that no other test and no earlier run has used.
fn unique(stem: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    format!("{stem}-{:x}-{}", since.as_micros(), COUNT.fetch_add(1, Ordering::Relaxed))
}

fn spec(type_name: &str, address: &str, more: &[(&str, &str)]) -> ComponentSpec {
    let mut metadata = Metadata::from_iter([("brokers", address), ("authType", "none")]);
    for (name, value) in more {
        metadata.insert(*name, *value);
    }
    ComponentSpec::new("kafka", type_name, metadata)
}

/// A topic with so many partitions.
async fn topic(address: &str, stem: &str, partitions: i32) -> String {
    let name = unique(stem);
    let mut config = ClientConfig::new();
    let admin: AdminClient<DefaultClientContext> = config.set("bootstrap.servers", address).create().unwrap();
    let new = NewTopic::new(&name, partitions, TopicReplication::Fixed(1));
    let made = admin.create_topics([&new], &AdminOptions::new()).await.unwrap();
    assert!(made.iter().all(Result::is_ok), "{made:?}");
    name
}

/// What a group has committed of each partition.
fn committed(address: &str, group: &str, topic: &str, partitions: i32) -> Vec<Option<i64>> {
    let mut config = ClientConfig::new();
    let consumer: BaseConsumer =
        config.set("bootstrap.servers", address).set("group.id", group).create().unwrap();
    let mut list = TopicPartitionList::new();
    for number in 0..partitions {
        list.add_partition(topic, number);
    }
    let found = consumer.committed_offsets(list, WAIT).unwrap();
    let offset = |number| match found.find_partition(topic, number).unwrap().offset() {
        Offset::Offset(offset) => Some(offset),
        _ => None,
    };
    (0..partitions).map(offset).collect()
}

/// Looks again and again until the group has committed this; fails after a while.
async fn wait_for_commit(address: &str, group: &str, topic: &str, expected: &[Option<i64>]) {
    let deadline = Instant::now() + WAIT;
    loop {
        let found = committed(address, group, topic, i32::try_from(expected.len()).unwrap());
        if found == expected {
            return;
        }
        assert!(Instant::now() < deadline, "{found:?} is committed instead of {expected:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn opened(address: &str, more: &[(&str, &str)]) -> KafkaPubSub {
    KafkaPubSub::open(spec("pubsub.kafka", address, more)).await.unwrap()
}

async fn publish(pubsub: &KafkaPubSub, topic: &str, data: &str, metadata: &[(&str, &str)]) {
    pubsub.publish(&context(), message(topic, data, metadata)).await.unwrap();
}

fn message(topic: &str, data: &str, metadata: &[(&str, &str)]) -> PublishRequest {
    PublishRequest {
        topic: topic.into(),
        data: Buf::from(data.to_owned()),
        content_type: "text/plain".into(),
        metadata: Metadata::from_iter(metadata.iter().copied()),
    }
}

fn request(topic: &str, max_in_flight: u32) -> SubscribeRequest {
    SubscribeRequest { topic: topic.into(), metadata: Metadata::new(), max_in_flight }
}

async fn subscribed(pubsub: &KafkaPubSub, topic: &str) -> GroupSource {
    pubsub.source(&request(topic, 100)).await.unwrap()
}

fn text(delivery: &Delivery) -> &str {
    std::str::from_utf8(&delivery.data).unwrap()
}

fn texts(deliveries: &[Delivery]) -> Vec<&str> {
    deliveries.iter().map(text).collect()
}

/// Pulls until `count` messages are there; fails after a while.
async fn pull(source: &GroupSource, count: usize) -> Vec<Delivery> {
    let (mut all, deadline) = (Vec::new(), Instant::now() + WAIT);
    while all.len() < count {
        assert!(Instant::now() < deadline, "{:?} of {count} messages came", texts(&all));
        let max = u32::try_from(count - all.len()).unwrap();
        all.extend(source.next(&context(), max, Duration::from_secs(1)).await.unwrap());
    }
    all
}

async fn settle(source: &GroupSource, deliveries: &[Delivery], outcome: Outcome, delay: Duration) {
    let delay_ns = u64::try_from(delay.as_nanos()).unwrap();
    let settlements =
        deliveries.iter().map(|delivery| Settlement { id: delivery.id, outcome, delay_ns }).collect();
    source.settle(&context(), settlements).await.unwrap();
}

async fn ack(source: &GroupSource, deliveries: &[Delivery]) {
    settle(source, deliveries, Outcome::ACK, Duration::ZERO).await;
}

/// Asserts that nothing comes for a while.
async fn assert_quiet(source: &GroupSource) {
    let came = source.next(&context(), 10, SOON).await.unwrap();
    assert!(came.is_empty(), "{:?} came", texts(&came));
}
