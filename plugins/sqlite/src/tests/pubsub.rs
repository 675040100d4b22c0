//! The broker as a runtime uses it, and as other clients of the file see it.

use std::sync::Arc;
use std::time::Duration;

use mecha_plugin_api::pubsub::{BulkEntry, PubSub, PublishRequest, SubscribeRequest};
use mecha_plugin_api::source::{Delivery, Outcome, Settlement, Source};
use mecha_plugin_api::{Buf, CallContext, ComponentSpec, ErrorKind, Metadata};

use super::Database;
use crate::client::OpenFiles;
use crate::pubsub::{Hub, SqlitePubSub, SqliteSource};

/// Far longer than anything here takes.
const LONG: Duration = Duration::from_secs(30);

struct Broker {
    pubsub: SqlitePubSub,
    context: CallContext,
}

impl Broker {
    /// As another process has it: what one does wakes nobody in the other.
    async fn open(database: &Database, files: &Arc<OpenFiles>, fields: &[(&str, &str)]) -> Self {
        let mut metadata = Metadata::from_iter(fields.iter().copied());
        metadata.insert("connectionString", database.text());
        let spec = ComponentSpec::new("pubsub", "pubsub.sqlite", metadata);
        let pubsub = SqlitePubSub::open(spec, files.clone(), Arc::new(Hub::default())).await.unwrap();
        Self { pubsub, context: CallContext::background("app") }
    }

    async fn new(database: &Database, fields: &[(&str, &str)]) -> Self {
        Self::open(database, &Arc::default(), fields).await
    }

    async fn publish(&self, topic: &str, data: &str, metadata: &[(&str, &str)]) {
        let request = PublishRequest {
            topic: topic.into(),
            data: Buf::from(data.to_owned()),
            content_type: "text/plain".into(),
            metadata: Metadata::from_iter(metadata.iter().copied()),
        };
        self.pubsub.publish(&self.context, request).await.unwrap();
    }

    async fn subscribe(&self, topic: &str, metadata: &[(&str, &str)]) -> SqliteSource {
        let metadata = Metadata::from_iter(metadata.iter().copied());
        let request = SubscribeRequest { topic: topic.into(), metadata, max_in_flight: 0 };
        self.pubsub.source(request).await.unwrap()
    }

    async fn next(&self, source: &SqliteSource, max: u32) -> Vec<Delivery> {
        source.next(&self.context, max, LONG).await.unwrap()
    }

    async fn settle(&self, source: &SqliteSource, deliveries: &[Delivery], outcome: Outcome) {
        let settlements =
            deliveries.iter().map(|delivery| Settlement { id: delivery.id, outcome, delay_ns: 1 });
        source.settle(&self.context, settlements.collect()).await.unwrap();
    }

    /// What is there now.
    async fn now(&self, source: &SqliteSource) -> Vec<String> {
        texts(&source.next(&self.context, 100, Duration::ZERO).await.unwrap())
    }
}

fn texts(deliveries: &[Delivery]) -> Vec<String> {
    deliveries.iter().map(|delivery| String::from_utf8(delivery.data.to_vec()).unwrap()).collect()
}

fn count(database: &Database, table: &str) -> i64 {
    let query = format!("SELECT count(*) FROM {table}");
    database.connect().query_row(&query, [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn every_group_gets_every_message_once_in_order_and_then_it_is_gone() {
    let database = Database::new();
    let broker = Broker::new(&database, &[]).await;
    let first = broker.subscribe("orders", &[]).await;
    let second = broker.subscribe("orders", &[("consumerID", "other")]).await;
    for data in ["a", "b", "c"] {
        broker.publish("orders", data, &[("traceparent", "00-1"), ("x", "é\"")]).await;
    }
    for (source, left) in [(&first, 3), (&second, 0)] {
        let deliveries = broker.next(source, 10).await;
        assert_eq!(texts(&deliveries), ["a", "b", "c"]);
        assert_eq!(deliveries[0].metadata.get("traceparent"), Some("00-1"));
        assert_eq!(deliveries[0].metadata.get("x"), Some("é\""));
        assert_eq!((&*deliveries[0].content_type, deliveries[0].redelivered), ("text/plain", 0));
        broker.settle(source, &deliveries, Outcome::ACK).await;
        assert_eq!(count(&database, "pubsub_messages"), left);
    }
    assert_eq!(count(&database, "pubsub_deliveries"), 0);
}

#[tokio::test]
async fn messages_outlive_the_process() {
    let database = Database::new();
    let broker = Broker::new(&database, &[]).await;
    broker.publish("orders", "before anybody read", &[]).await;
    let source = broker.subscribe("orders", &[]).await;
    broker.publish("orders", "unread", &[]).await;
    drop((source, broker));
    let broker = Broker::new(&database, &[]).await;
    let source = broker.subscribe("orders", &[]).await;
    assert_eq!(texts(&broker.next(&source, 10).await), ["before anybody read", "unread"]);
    let later = broker.subscribe("orders", &[("consumerID", "later")]).await;
    assert!(broker.now(&later).await.is_empty(), "a later group begins with what is published from then on");
}

#[tokio::test]
async fn consumers_of_a_group_share_and_take_over() {
    let database = Database::new();
    let broker = Broker::new(&database, &[]).await;
    let (first, second) = (broker.subscribe("orders", &[]).await, broker.subscribe("orders", &[]).await);
    for data in ["a", "b", "c"] {
        broker.publish("orders", data, &[]).await;
    }
    assert_eq!(texts(&broker.next(&first, 2).await), ["a", "b"]);
    assert_eq!(broker.now(&second).await, ["c"]);
    first.close(&broker.context).await.unwrap();
    let taken_over = broker.next(&second, 10).await;
    assert_eq!(texts(&taken_over), ["a", "b"]);
    assert_eq!(taken_over[0].redelivered, 0, "what is given back does not count as delivered");
    assert!(first.next(&broker.context, 1, LONG).await.is_err());
}

#[tokio::test]
async fn a_message_that_comes_back_comes_again_after_its_delay() {
    let database = Database::new();
    let broker = Broker::new(&database, &[]).await;
    let source = broker.subscribe("orders", &[]).await;
    broker.publish("orders", "a", &[]).await;
    let delivery = broker.next(&source, 1).await;
    let delay = Duration::from_millis(300);
    let delay_ns = u64::try_from(delay.as_nanos()).unwrap();
    let started = std::time::Instant::now();
    let settlement = Settlement { id: delivery[0].id, outcome: Outcome::RETRY, delay_ns };
    source.settle(&broker.context, vec![settlement]).await.unwrap();
    assert_eq!(broker.pubsub.backlog(&broker.context, "orders").await.unwrap(), Some(1));
    let again = broker.next(&source, 1).await;
    assert!(started.elapsed() >= delay, "{:?}", started.elapsed());
    assert_eq!((texts(&again), again[0].redelivered), (vec!["a".to_owned()], 1));
    broker.settle(&source, &again, Outcome::REJECT).await;
    assert_eq!(count(&database, "pubsub_messages"), 0);
    assert_eq!(count(&database, "pubsub_dead"), 0);
}

#[tokio::test]
async fn the_dead_are_kept_apart_when_it_is_wished() {
    let database = Database::new();
    let broker = Broker::new(&database, &[("maxDeliveries", "2")]).await;
    let source = broker.subscribe("orders", &[]).await;
    broker.publish("orders", "retried", &[]).await;
    for _ in 0..2 {
        let delivery = broker.next(&source, 1).await;
        broker.settle(&source, &delivery, Outcome::RETRY).await;
    }
    broker.publish("orders", "rejected", &[]).await;
    let delivery = broker.next(&source, 1).await;
    assert_eq!(texts(&delivery), ["rejected"]);
    broker.settle(&source, &delivery, Outcome::REJECT).await;
    assert_eq!((count(&database, "pubsub_messages"), count(&database, "pubsub_dead")), (0, 2));
}

#[tokio::test]
async fn a_consumer_that_died_loses_its_messages_to_others() {
    let database = Database::new();
    let broker = Broker::new(&database, &[("visibilityTimeout", "1s")]).await;
    let source = broker.subscribe("orders", &[]).await;
    broker.publish("orders", "a", &[]).await;
    let delivery = broker.next(&source, 1).await;
    // As if its process were gone: nobody extends the loan any more.
    let steal = "UPDATE pubsub_deliveries SET lease = 1";
    assert_eq!(database.connect().execute(steal, []).unwrap(), 1);
    let again = broker.next(&source, 1).await;
    assert_eq!((texts(&again), again[0].redelivered), (vec!["a".to_owned()], 1));
    assert_eq!(delivery[0].id, again[0].id);
}

#[tokio::test]
async fn what_is_worked_on_stays_out_beyond_its_time() {
    let database = Database::new();
    let broker = Broker::new(&database, &[("visibilityTimeout", "1s")]).await;
    let (first, second) = (broker.subscribe("orders", &[]).await, broker.subscribe("orders", &[]).await);
    broker.publish("orders", "a", &[]).await;
    let delivery = broker.next(&first, 1).await;
    let wait = Duration::from_millis(1_500);
    assert!(second.next(&broker.context, 1, wait).await.unwrap().is_empty());
    broker.settle(&first, &delivery, Outcome::ACK).await;
    assert_eq!(count(&database, "pubsub_messages"), 0);
}

#[tokio::test]
async fn a_strict_subscription_keeps_the_order() {
    let database = Database::new();
    let broker = Broker::new(&database, &[("concurrencyMode", "single")]).await;
    let (first, second) = (broker.subscribe("orders", &[]).await, broker.subscribe("orders", &[]).await);
    for data in ["a", "b", "c"] {
        broker.publish("orders", data, &[]).await;
    }
    let deliveries = broker.next(&first, 2).await;
    assert!(deliveries.iter().all(|delivery| delivery.ordering_key == "orders"));
    assert!(broker.now(&second).await.is_empty(), "another consumer must not overtake");
    broker.settle(&first, &deliveries, Outcome::RETRY).await;
    let again = broker.next(&first, 2).await;
    assert_eq!(texts(&again), ["a", "b"]);
    broker.settle(&first, &again, Outcome::ACK).await;
    assert_eq!(texts(&broker.next(&second, 10).await), ["c"]);
}

#[tokio::test]
async fn expired_messages_are_not_delivered_and_delayed_ones_later() {
    let database = Database::new();
    let broker = Broker::new(&database, &[]).await;
    let source = broker.subscribe("orders", &[]).await;
    broker.publish("orders", "expired", &[("ttlInSeconds", "60")]).await;
    broker.publish("orders", "delayed", &[("delayInSeconds", "60")]).await;
    broker.publish("orders", "plain", &[]).await;
    let past = "UPDATE pubsub_messages SET expires_at = 1 WHERE expires_at IS NOT NULL";
    assert_eq!(database.connect().execute(past, []).unwrap(), 1);
    assert_eq!(broker.now(&source).await, ["plain"]);
    let due = "UPDATE pubsub_deliveries SET visible_at = 0 WHERE lease IS NULL";
    assert_eq!(database.connect().execute(due, []).unwrap(), 1);
    assert_eq!(texts(&broker.next(&source, 10).await), ["delayed"]);
    let request = PublishRequest {
        topic: "orders".into(),
        data: Buf::new(),
        content_type: "".into(),
        metadata: Metadata::from_iter([("ttlInSeconds", "soon")]),
    };
    let error = broker.pubsub.publish(&broker.context, request).await.unwrap_err();
    assert_eq!((error.kind(), error.field()), (ErrorKind::INVALID, Some("ttlInSeconds")));
}

#[tokio::test]
async fn another_process_is_noticed_and_any_client_may_publish() {
    let database = Database::new();
    let files = Arc::default();
    let broker = Broker::open(&database, &files, &[]).await;
    let other = Broker::open(&database, &files, &[]).await;
    let source = broker.subscribe("orders", &[]).await;
    let (delivered, ()) = tokio::join!(broker.next(&source, 1), other.publish("orders", "a", &[]));
    assert_eq!(texts(&delivered), ["a"]);
    let insert = "INSERT INTO pubsub_messages (topic, data) VALUES ('orders', 'by hand')";
    let (delivered, ()) = tokio::join!(broker.next(&source, 1), async {
        database.connect().execute(insert, []).unwrap();
    });
    assert_eq!(texts(&delivered), ["by hand"]);
}

#[tokio::test]
async fn a_pull_that_was_given_up_loses_nothing() {
    let database = Database::new();
    let broker = Broker::new(&database, &[]).await;
    let source = broker.subscribe("orders", &[]).await;
    broker.publish("orders", "a", &[]).await;
    {
        let mut pull = std::pin::pin!(source.next(&broker.context, 1, LONG));
        // Polled once: the messages are asked for, and then nobody waits for them.
        tokio::select! {
            biased;
            _ = &mut pull => panic!("the answer cannot be there yet"),
            () = std::future::ready(()) => {}
        }
    }
    assert_eq!(texts(&broker.next(&source, 1).await), ["a"]);
}

#[tokio::test]
async fn a_bulk_is_published_in_order_and_tells_what_failed() {
    let database = Database::new();
    let broker = Broker::new(&database, &[]).await;
    let source = broker.subscribe("orders", &[]).await;
    let entry = |id: &str, ttl: &str| BulkEntry {
        entry_id: id.into(),
        data: Buf::from(id.to_owned()),
        content_type: "text/plain".into(),
        metadata: Metadata::from_iter([("ttlInSeconds", ttl)]),
    };
    let entries = vec![entry("1", ""), entry("2", "soon"), entry("3", "60")];
    let failed =
        broker.pubsub.bulk_publish(&broker.context, "orders", entries, Metadata::new()).await.unwrap();
    assert_eq!(failed.iter().map(|entry| entry.entry_id.as_str()).collect::<Vec<_>>(), ["2"]);
    assert_eq!(texts(&broker.next(&source, 10).await), ["1", "3"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_publishers_and_failing_consumers_lose_nothing() {
    const MESSAGES: usize = 600;
    let database = Database::new();
    let files = Arc::default();
    let brokers = [Broker::open(&database, &files, &[]).await, Broker::open(&database, &files, &[]).await]
        .map(Arc::new);
    let mut consumers = Vec::new();
    for broker in [&brokers[0], &brokers[1], &brokers[0], &brokers[1]] {
        let (broker, source) = (broker.clone(), broker.subscribe("orders", &[]).await);
        consumers.push(tokio::spawn(async move {
            let mut seen = Vec::new();
            loop {
                let wait = Duration::from_secs(3);
                let deliveries = source.next(&broker.context, 8, wait).await.unwrap();
                if deliveries.is_empty() {
                    return seen;
                }
                let (failing, handled): (Vec<_>, Vec<_>) =
                    deliveries.into_iter().partition(|each| each.redelivered == 0 && each.id % 3 == 0);
                seen.extend(texts(&handled));
                broker.settle(&source, &handled, Outcome::ACK).await;
                broker.settle(&source, &failing, Outcome::RETRY).await;
            }
        }));
    }
    let publishers = (0..8).map(|publisher| {
        let broker = brokers[publisher % 2].clone();
        tokio::spawn(async move {
            for message in (publisher..MESSAGES).step_by(8) {
                broker.publish("orders", &message.to_string(), &[]).await;
            }
        })
    });
    for publisher in publishers.collect::<Vec<_>>() {
        publisher.await.unwrap();
    }
    let mut seen = Vec::new();
    for consumer in consumers {
        seen.extend(consumer.await.unwrap().into_iter().map(|text| text.parse::<usize>().unwrap()));
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..MESSAGES).collect::<Vec<_>>());
    assert_eq!(count(&database, "pubsub_messages"), 0);
}
