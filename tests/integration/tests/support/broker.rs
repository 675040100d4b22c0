//! The brokers that the tests of messages go over, each set up as one component.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use mecha_backends::{ElasticMq, KAFKA_VARIABLE, Kafka, Redis, SQS_VARIABLE};
use mecha_testkit::MechaBuilder;
use tempfile::TempDir;

/// A topic that no other test uses.
pub fn topic(name: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{name}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broker {
    Memory,
    Sqlite,
    Redis,
    Kafka,
    Sqs,
}

/// What stands behind a component; it goes when this is dropped.
#[derive(Default)]
#[allow(dead_code, reason = "most of it is only kept")]
pub struct Backing {
    folder: Option<TempDir>,
    redis: Option<Redis>,
    kafka: Option<Kafka>,
    sqs: Option<ElasticMq>,
}

#[allow(dead_code, reason = "each test uses some of it")]
impl Backing {
    /// Lets the messages of a topic that is about to be used come side by side, where the broker keeps an order otherwise.
    pub fn spread(&self, topic: &str) -> Result<()> {
        if let Some(kafka) = &self.kafka {
            kafka.create_topic(topic, PARTITIONS)?;
        }
        Ok(())
    }
}

/// So many of a topic's messages are worked on at once.
const PARTITIONS: u16 = 32;

#[allow(dead_code, reason = "each test uses some of it")]
impl Broker {
    /// Every broker that this machine has: Kafka and SQS take too long to start for each test, so each is the shared one or
    /// none.
    pub fn all() -> Vec<Self> {
        let mut all = vec![Self::Memory, Self::Sqlite, Self::Redis];
        for (broker, variable) in [(Self::Kafka, KAFKA_VARIABLE), (Self::Sqs, SQS_VARIABLE)] {
            if std::env::var(variable).is_ok() {
                all.push(broker);
            } else {
                let is_ci = std::env::var("CI").as_deref() == Ok("true");
                assert!(!is_ci, "{variable} is not set, and CI must not skip tests");
                eprintln!("skipped on {broker:?}: {variable} names no broker");
            }
        }
        all
    }

    /// The component type.
    pub fn component_type(self) -> &'static str {
        match self {
            Self::Memory => "pubsub.in-memory",
            Self::Sqlite => "pubsub.sqlite",
            Self::Redis => "pubsub.redis",
            Self::Kafka => "pubsub.kafka",
            Self::Sqs => "pubsub.aws.sqs",
        }
    }

    /// Whether messages outlive the runtime that took them.
    pub fn is_durable(self) -> bool {
        self != Self::Memory
    }

    /// Adds the broker's plugin and a component `name` that brings again soon what was not taken.
    pub fn component(self, builder: MechaBuilder, name: &str) -> Result<(MechaBuilder, Backing)> {
        let mut backing = Backing::default();
        let builder = match self {
            Self::Memory => builder.plugin("memory").component(name, self.component_type()),
            Self::Sqlite => {
                let folder = backing.folder.insert(tempfile::tempdir()?);
                let file = folder.path().join("messages.db");
                let metadata =
                    [("connectionString", file.to_str().unwrap_or_default()), ("visibilityTimeout", "1s")];
                builder.plugin("sqlite").component_with(name, self.component_type(), &metadata)
            }
            Self::Redis => {
                let server = backing.redis.insert(Redis::shared()?);
                let addr = server.addr().to_string();
                let metadata = [
                    ("redisHost", addr.as_str()),
                    ("consumerID", server.key_prefix()),
                    ("redeliverInterval", "200ms"),
                    ("processingTimeout", "500ms"),
                ];
                builder.plugin("redis").component_with(name, self.component_type(), &metadata)
            }
            Self::Kafka => {
                let server = backing.kafka.insert(Kafka::shared()?);
                let (addr, group) = (server.addr().to_string(), topic("group"));
                let metadata = [
                    ("brokers", addr.as_str()),
                    ("authType", "none"),
                    ("consumerGroup", &group),
                    ("initialOffset", "oldest"),
                ];
                builder.plugin("kafka").component_with(name, self.component_type(), &metadata)
            }
            Self::Sqs => {
                let server = backing.sqs.insert(ElasticMq::shared()?);
                let metadata = [
                    ("endpoint", server.endpoint()),
                    ("region", ElasticMq::REGION),
                    ("accessKey", "x"),
                    ("secretKey", "x"),
                    ("messageWaitTimeSeconds", "1"),
                ];
                builder.plugin("aws").component_with(name, self.component_type(), &metadata)
            }
        };
        Ok((builder, backing))
    }
}
