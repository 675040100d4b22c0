//! The broker as a runtime uses it: through the author's traits.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mecha_plugin_api::pubsub::{PubSub, PublishRequest};
use mecha_plugin_api::source::{Delivery, Outcome, Settlement, Source};
use mecha_plugin_api::{Buf, CallContext, ComponentSpec, ErrorKind, Metadata, Result};

use super::handover::Address;
use super::source::MemorySource;
use super::{Buses, MemoryPubSub};

const LONG: Duration = Duration::from_secs(60);

struct Broker {
    pubsub: MemoryPubSub,
    address: Address,
    context: CallContext,
}

impl Broker {
    async fn open(buses: &Arc<Buses>, fields: &[(&str, &str)]) -> Self {
        // An address of its own for each set of instances: tests run side by side.
        Self::open_in(&format!("{:p}", Arc::as_ptr(buses)), buses, fields).await
    }

    /// As a copy of the plugin that was loaded by the host of this folder.
    async fn open_in(folder: &str, buses: &Arc<Buses>, fields: &[(&str, &str)]) -> Self {
        let metadata = Metadata::from_iter(fields.iter().copied());
        let spec = ComponentSpec::new("pubsub", "pubsub.in-memory", metadata);
        let address = Address::in_folder(Path::new(folder), &spec);
        let pubsub = MemoryPubSub::open_at(address.clone(), spec, buses.clone()).await.unwrap();
        Self { pubsub, address, context: CallContext::background("app") }
    }

    async fn new() -> Self {
        Self::open(&Arc::default(), &[]).await
    }

    /// Waits until a successor would find it.
    async fn stands_ready(&self) {
        let name = self.address.name().replace('\0', "@");
        // The fourth column tells which of the sockets of that name listens.
        let listens =
            |line: &str| line.ends_with(&name) && line.split_whitespace().nth(3) == Some("00010000");
        while !std::fs::read_to_string("/proc/net/unix").unwrap().lines().any(listens) {
            tokio::task::yield_now().await;
        }
    }

    async fn publish(&self, topic: &str, data: &str) -> Result<()> {
        let request = PublishRequest {
            topic: topic.into(),
            data: Buf::from(data.to_owned()),
            content_type: "text/plain".into(),
            metadata: Metadata::from_iter([("traceparent", "00-1-2-01")]),
        };
        self.pubsub.publish(&self.context, request).await
    }

    /// As the trait does it, but with the source itself.
    fn subscribe(&self, topic: &str, metadata: &[(&str, &str)]) -> MemorySource {
        let metadata = Metadata::from_iter(metadata.iter().copied());
        let consumer = self.pubsub.settings.consumer_of(&metadata);
        let is_strict = self.pubsub.settings.is_strict_for(&metadata).unwrap();
        let membership =
            self.pubsub.bus.subscribe(self.pubsub.instance, topic, consumer.as_deref(), is_strict);
        MemorySource::new(self.pubsub.bus.clone(), membership, 0)
    }
}

async fn next(source: &MemorySource, max: u32) -> Vec<Delivery> {
    source.next(&CallContext::background("app"), max, LONG).await.unwrap()
}

/// What is there now.
async fn now(source: &MemorySource) -> Vec<String> {
    texts(&source.next(&CallContext::background("app"), 100, Duration::ZERO).await.unwrap())
}

fn texts(deliveries: &[Delivery]) -> Vec<String> {
    deliveries.iter().map(|delivery| String::from_utf8(delivery.data.to_vec()).unwrap()).collect()
}

async fn settle(source: &MemorySource, deliveries: &[Delivery], outcome: Outcome) {
    let settlements =
        deliveries.iter().map(|delivery| Settlement { id: delivery.id, outcome, delay_ns: 0 }).collect();
    source.settle(&CallContext::background("app"), settlements).await.unwrap();
}

#[tokio::test]
async fn every_subscription_gets_every_message_in_order_with_its_metadata() {
    let broker = Broker::new().await;
    let (first, second) = (broker.subscribe("orders", &[]), broker.subscribe("orders", &[]));
    for data in ["a", "b", "c"] {
        broker.publish("orders", data).await.unwrap();
    }
    for source in [&first, &second] {
        let deliveries = next(source, 10).await;
        assert_eq!(texts(&deliveries), ["a", "b", "c"]);
        assert_eq!(deliveries[0].metadata.get("traceparent"), Some("00-1-2-01"));
        assert_eq!((&*deliveries[0].content_type, &*deliveries[0].topic), ("text/plain", "orders"));
        settle(source, &deliveries, Outcome::ACK).await;
        assert!(now(source).await.is_empty());
    }
}

#[tokio::test]
async fn wildcards_match_as_in_dapr() {
    let broker = Broker::new().await;
    let source = broker.subscribe("ord*", &[]);
    for topic in ["orders", "ord", "ord*", "order", "other"] {
        broker.publish(topic, topic).await.unwrap();
    }
    let deliveries = next(&source, 10).await;
    assert_eq!(texts(&deliveries), ["orders", "ord*", "order"]);
    assert!(deliveries.iter().all(|delivery| delivery.topic == "ord*"));
    let all = broker.subscribe("*", &[]);
    broker.publish("anything", "x").await.unwrap();
    assert_eq!(texts(&next(&all, 10).await), ["x"]);
}

#[tokio::test]
async fn consumers_of_one_name_share_the_messages() {
    let broker = Broker::new().await;
    let group = [("consumerID", "g")];
    let (first, second) = (broker.subscribe("orders", &group), broker.subscribe("orders", &group));
    let alone = broker.subscribe("orders", &[]);
    for data in ["a", "b", "c"] {
        broker.publish("orders", data).await.unwrap();
    }
    assert_eq!(texts(&next(&first, 2).await), ["a", "b"]);
    assert_eq!(texts(&next(&second, 2).await), ["c"]);
    assert_eq!(now(&alone).await, ["a", "b", "c"]);
    drop(first);
    assert_eq!(now(&second).await, ["a", "b"], "what was not settled goes to the others");
}

#[tokio::test]
async fn a_named_group_collects_while_nobody_reads_and_an_unnamed_one_keeps_what_it_had() {
    let broker = Broker::new().await;
    let named = broker.subscribe("orders", &[("consumerID", "g")]);
    let unnamed = broker.subscribe("orders", &[]);
    broker.publish("orders", "a").await.unwrap();
    drop((named, unnamed));
    broker.publish("orders", "b").await.unwrap();
    assert_eq!(now(&broker.subscribe("orders", &[("consumerID", "g")])).await, ["a", "b"]);
    assert_eq!(now(&broker.subscribe("orders", &[])).await, ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_retried_message_comes_again_after_its_delay() {
    let broker = Broker::new().await;
    let source = broker.subscribe("orders", &[]);
    broker.publish("orders", "a").await.unwrap();
    let delivery = next(&source, 1).await;
    let delay_ns = Duration::from_secs(3).as_nanos() as u64;
    let settlement = Settlement { id: delivery[0].id, outcome: Outcome::RETRY, delay_ns };
    let started = tokio::time::Instant::now();
    source.settle(&broker.context, vec![settlement]).await.unwrap();
    assert_eq!(broker.pubsub.backlog(&broker.context, "orders").await.unwrap(), Some(1));
    let again = next(&source, 1).await;
    // tokio's timers have a grain of a millisecond.
    assert!((3_000..=3_002).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
    assert_eq!((texts(&again), again[0].redelivered), (vec!["a".to_owned()], 1));
    settle(&source, &again, Outcome::REJECT).await;
    assert_eq!(broker.pubsub.backlog(&broker.context, "orders").await.unwrap(), Some(0));
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_holds_the_publisher_back() {
    let broker = Broker::open(&Arc::default(), &[("maxQueueMessages", "1"), ("publishTimeout", "5s")]).await;
    let source = broker.subscribe("orders", &[]);
    broker.publish("orders", "a").await.unwrap();
    let refused = broker.publish("orders", "b").await.unwrap_err();
    assert_eq!((refused.kind(), refused.is_retriable()), (ErrorKind::THROTTLED, true));

    let delivery = next(&source, 1).await;
    let (published, ()) =
        tokio::join!(broker.publish("orders", "c"), settle(&source, &delivery, Outcome::ACK));
    published.unwrap();
    assert_eq!(now(&source).await, ["c"], "the refused one was not queued");
}

#[tokio::test(start_paused = true)]
async fn a_pull_waits_for_a_message_and_no_longer_than_asked() {
    let broker = Broker::new().await;
    let source = broker.subscribe("orders", &[]);
    let empty = source.next(&broker.context, 1, Duration::from_millis(50)).await.unwrap();
    assert!(empty.is_empty());
    let (delivered, published) = tokio::join!(next(&source, 1), broker.publish("orders", "a"));
    published.unwrap();
    assert_eq!(texts(&delivered), ["a"]);
}

#[tokio::test]
async fn nothing_is_lost_while_one_instance_replaces_another() {
    let buses = Arc::default();
    let old = Broker::open(&buses, &[]).await;
    let (first, second) = (old.subscribe("orders", &[]), old.subscribe("orders", &[]));
    old.publish("orders", "a").await.unwrap();
    old.publish("orders", "b").await.unwrap();
    let in_flight = next(&first, 1).await;

    let new = Broker::open(&buses, &[]).await;
    new.publish("orders", "c").await.unwrap();
    let moved = new.subscribe("orders", &[]);
    drop(second);
    new.publish("orders", "d").await.unwrap();
    settle(&first, &in_flight, Outcome::ACK).await;
    drop((first, old));
    new.publish("orders", "e").await.unwrap();
    let also_moved = new.subscribe("orders", &[]);
    let mut seen = [now(&moved).await, now(&also_moved).await];
    seen.sort();
    assert_eq!(seen, [vec!["a", "b", "c", "d", "e"], vec!["b", "c", "d", "e"]]);
}

/// Closes it and waits until nothing of it is left.
async fn gone(broker: Broker) {
    let bus = Arc::downgrade(&broker.pubsub.bus);
    drop(broker);
    while bus.strong_count() > 0 {
        tokio::task::yield_now().await;
    }
}

/// Reads until this many are there.
async fn gather(source: &MemorySource, count: usize) -> Vec<String> {
    let mut seen = Vec::new();
    while seen.len() < count {
        let deliveries = next(source, 100).await;
        assert!(!deliveries.is_empty(), "only {seen:?} came");
        seen.extend(texts(&deliveries));
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_copy_of_the_plugin_takes_over_what_the_replaced_one_held() {
    let folder = "another_copy";
    let old = Broker::open_in(folder, &Arc::default(), &[]).await;
    let (first, second) = (old.subscribe("orders", &[]), old.subscribe("orders", &[]));
    let named = old.subscribe("orders", &[("consumerID", "g")]);
    old.publish("orders", "a").await.unwrap();
    old.publish("orders", "b").await.unwrap();
    let in_flight = next(&first, 1).await;

    old.stands_ready().await;
    // Published to the new copy before anybody has subscribed there.
    let new = Broker::open_in(folder, &Arc::default(), &[]).await;
    new.publish("orders", "d").await.unwrap();
    let moved = [
        new.subscribe("orders", &[]),
        new.subscribe("orders", &[]),
        new.subscribe("orders", &[("consumerID", "g")]),
    ];
    // A call that was on its way to the old copy.
    old.publish("orders", "c").await.unwrap();
    settle(&first, &in_flight, Outcome::ACK).await;
    drop((first, second, named, old));

    let mut seen = Vec::new();
    for (source, count) in moved.iter().zip([3, 3, 4]) {
        let mut texts = gather(source, count).await;
        texts.extend(now(source).await);
        texts.sort();
        seen.push(texts);
    }
    seen.sort();
    let all = vec!["a", "b", "c", "d"];
    assert_eq!(seen, [all.clone(), all, vec!["b", "c", "d"]]);

    // And the next one takes over from it.
    new.publish("orders", "e").await.unwrap();
    new.stands_ready().await;
    let newest = Broker::open_in(folder, &Arc::default(), &[]).await;
    drop((moved, new));
    let named = newest.subscribe("orders", &[("consumerID", "g")]);
    let mut seen = gather(&named, 5).await;
    seen.sort();
    assert_eq!(seen, ["a", "b", "c", "d", "e"], "nothing of it was settled");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_successor_that_gives_up_takes_nothing_along() {
    let folder = "gives_up";
    let old = Broker::open_in(folder, &Arc::default(), &[]).await;
    let source = old.subscribe("orders", &[]);
    old.publish("orders", "a").await.unwrap();
    old.stands_ready().await;
    let successor = Broker::open_in(folder, &Arc::default(), &[]).await;
    gone(successor).await;
    assert_eq!(texts(&next(&source, 10).await), ["a"]);
    drop(source);
    old.stands_ready().await;
    let successor = Broker::open_in(folder, &Arc::default(), &[]).await;
    let moved = successor.subscribe("orders", &[]);
    drop(old);
    assert_eq!(gather(&moved, 1).await, ["a"]);
}

#[tokio::test]
async fn a_topic_that_nobody_reads_keeps_nothing() {
    let buses: Arc<Buses> = Arc::default();
    let broker = Broker::open(&buses, &[]).await;
    broker.publish("orders", "a").await.unwrap();
    assert!(now(&broker.subscribe("orders", &[])).await.is_empty());
    gone(broker).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_publishers_and_failing_consumers_lose_nothing() {
    const MESSAGES: usize = 4_000;
    let broker = Arc::new(Broker::open(&Arc::default(), &[("maxQueueMessages", "64")]).await);
    let consumers: Vec<_> = (0..4)
        .map(|_| {
            let source = broker.subscribe("orders", &[("consumerID", "g")]);
            tokio::spawn(async move {
                let (context, mut seen) = (CallContext::background("app"), Vec::new());
                loop {
                    let deliveries = source.next(&context, 8, Duration::from_secs(2)).await.unwrap();
                    if deliveries.is_empty() {
                        return seen;
                    }
                    let settlements = deliveries.iter().map(|delivery| {
                        let fails = delivery.redelivered == 0 && delivery.id % 3 == 0;
                        let outcome = if fails { Outcome::RETRY } else { Outcome::ACK };
                        Settlement { id: delivery.id, outcome, delay_ns: 1_000 }
                    });
                    let settlements: Vec<_> = settlements.collect();
                    for (delivery, settlement) in deliveries.iter().zip(&settlements) {
                        if settlement.outcome == Outcome::ACK {
                            seen.extend(texts(std::slice::from_ref(delivery)));
                        }
                    }
                    source.settle(&context, settlements).await.unwrap();
                }
            })
        })
        .collect();
    let publishers: Vec<_> = (0..4)
        .map(|publisher| {
            let broker = broker.clone();
            tokio::spawn(async move {
                for message in (publisher..MESSAGES).step_by(4) {
                    broker.publish("orders", &message.to_string()).await.unwrap();
                }
            })
        })
        .collect();
    for publisher in publishers {
        publisher.await.unwrap();
    }
    let mut seen = Vec::new();
    for consumer in consumers {
        seen.extend(consumer.await.unwrap().into_iter().map(|text| text.parse::<usize>().unwrap()));
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..MESSAGES).collect::<Vec<_>>());
}
