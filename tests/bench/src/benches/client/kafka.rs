//! `pubsub.kafka` against rdkafka's own producer with the same settings.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use bytes::Bytes;
use mecha_backends::Kafka;
use mecha_plugin_api::pubsub::{BulkEntry, PubSubObject, PublishRequest};
use mecha_plugin_api::{Buf, CallContext, Metadata};
use rdkafka::ClientConfig;
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::util::AsyncRuntime;

use super::super::{APP_ID, KIBIBYTE};
use super::{Load, TASKS, Work};
use crate::benches::loaded::LoadedPlugin;
use crate::plan::Plan;
use crate::report::Table;
use crate::rounds::table;

const LIBRARY: &str = "rdkafka";
const WANTED: &str = "≥ 0.70";
const TOPIC: &str = "bench";
const PARTITIONS: u16 = 4;
/// Messages in one bulk publish.
const BULK: usize = 100;
/// The plugin's own limit of a delivery.
const DELIVERY: Duration = Duration::from_secs(10);

pub(super) async fn run(plan: &Plan) -> Result<Vec<Table>> {
    println!("    starting Kafka");
    let server = Kafka::start()?;
    server.create_topic(TOPIC, PARTITIONS)?;
    let brokers = server.addr().to_string();
    let plugin = LoadedPlugin::load("kafka")?;
    let metadata = [("brokers", brokers.as_str()), ("authType", "none"), ("consumerGroup", "bench")];
    let pubsub: PubSubObject = plugin.open_with("pubsub.kafka", &metadata).await?;
    let pubsub = Arc::new(pubsub);
    let producer = producer(&brokers)?;
    let data = Bytes::from(vec![b'x'; KIBIBYTE]);
    let one = |data: &Bytes| Arc::new(One { pubsub: pubsub.clone(), data: data.clone() });
    let bulk = |data: &Bytes| Arc::new(Bulk { pubsub: pubsub.clone(), data: data.clone() });
    let direct = |at_once| Arc::new(Direct { producer: producer.clone(), data: data.clone(), at_once });
    let load = |what| Load { what, wanted: WANTED, tasks: TASKS };
    let mut rows = load("publish, 64 tasks").compare(plan, one(&data), (LIBRARY, direct(1))).await?;
    let bulks = load("bulk publish of 100, 64 tasks");
    rows.extend(bulks.compare(plan, bulk(&data), (LIBRARY, direct(BULK))).await?);
    drop(pubsub);
    plugin.retire().await;
    let mut table = table("pubsub.kafka at the plugin boundary, 1 KiB", &rows);
    table.note("messages a second that all replicas acknowledged, into a topic of 4 partitions");
    table.note("the producer of either side is idempotent, with the same limits and no linger");
    Ok(vec![table])
}

/// With what the plugin sets for a component without settings of its own.
fn producer(brokers: &str) -> Result<Producer> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", brokers)
        .set("socket.nagle.disable", "true")
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("message.timeout.ms", DELIVERY.as_millis().to_string())
        .set("linger.ms", "0")
        .set("queue.buffering.max.kbytes", "32768")
        .set("queue.buffering.max.messages", "50000")
        .set("partitioner", "fnv1a_random");
    Ok(config.create()?)
}

type Producer = FutureProducer<DefaultClientContext, OnTokio>;

/// rdkafka's own way to tokio is a feature that the plugin does without.
struct OnTokio;

impl AsyncRuntime for OnTokio {
    type Delay = Pin<Box<dyn Future<Output = ()> + Send>>;

    fn spawn<T: Future<Output = ()> + Send + 'static>(task: T) {
        tokio::spawn(task);
    }

    fn delay_for(duration: Duration) -> Self::Delay {
        Box::pin(tokio::time::sleep(duration))
    }
}

fn context() -> CallContext {
    CallContext::background(APP_ID)
}

struct One {
    pubsub: Arc<PubSubObject>,
    data: Bytes,
}

impl Work for One {
    async fn once(&self, _task: usize) -> Result<u64> {
        let request = PublishRequest {
            topic: TOPIC.into(),
            data: Buf::from(self.data.clone()),
            content_type: "application/json".into(),
            metadata: Metadata::new(),
        };
        self.pubsub.publish(context(), request).await.into_result()?;
        Ok(1)
    }
}

struct Bulk {
    pubsub: Arc<PubSubObject>,
    data: Bytes,
}

impl Work for Bulk {
    async fn once(&self, _task: usize) -> Result<u64> {
        let entry = |number: usize| BulkEntry {
            entry_id: number.to_string().into(),
            data: Buf::from(self.data.clone()),
            content_type: "application/json".into(),
            metadata: Metadata::new(),
        };
        let entries: Vec<_> = (0..BULK).map(entry).collect();
        let published =
            self.pubsub.bulk_publish(context(), TOPIC.into(), entries.into(), Metadata::new()).await;
        let failed = published.into_result()?;
        ensure!(failed.is_empty(), "{} of {BULK} messages were not published", failed.len());
        Ok(BULK as u64)
    }
}

struct Direct {
    producer: Producer,
    data: Bytes,
    /// Messages that one task has out.
    at_once: usize,
}

impl Work for Direct {
    async fn once(&self, _task: usize) -> Result<u64> {
        let sending = (0..self.at_once).map(|_| {
            let record = FutureRecord::<(), [u8]>::to(TOPIC).payload(&self.data[..]);
            self.producer.send(record, DELIVERY)
        });
        for sent in futures_util::future::join_all(sending).await {
            sent.map_err(|(error, _)| error)?;
        }
        Ok(self.at_once as u64)
    }
}
