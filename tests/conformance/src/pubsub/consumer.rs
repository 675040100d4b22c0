//! An open broker, and consumers that wait for what is to come.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use mecha_plugin_api::pubsub::{BulkEntry, FailedEntry, PubSubObject, PublishRequest, SubscribeRequest};
use mecha_plugin_api::source::{Delivery, Outcome, Settlement, SourceObject};
use mecha_plugin_api::{Buf, Error, Metadata};

use crate::because;
use crate::row::Row;
use crate::subject::context;

/// How long a pull that is to find something waits at most.
const PULL: Duration = Duration::from_millis(500);

/// An open component.
pub(crate) struct Component {
    pub(crate) object: PubSubObject,
    metadata: Metadata,
    patience: Duration,
    quiet: Duration,
}

impl Component {
    pub(crate) fn new(object: PubSubObject, row: &Row) -> Self {
        Self { object, metadata: row.publish_metadata.clone(), patience: row.patience, quiet: row.quiet }
    }

    pub(crate) async fn publish(&self, topic: &str, data: &str) -> Result<(), String> {
        let request = self.request(topic, data.as_bytes(), &[]);
        self.object.publish(context(), request).await.into_result().map_err(because)
    }

    pub(crate) async fn publish_all(&self, topic: &str, range: std::ops::Range<usize>) -> Result<(), String> {
        for number in range {
            self.publish(topic, &format!("m{number:04}")).await?;
        }
        Ok(())
    }

    pub(crate) fn request(&self, topic: &str, data: &[u8], metadata: &[(&str, &str)]) -> PublishRequest {
        let mut all = self.metadata.clone();
        metadata.iter().for_each(|(key, value)| all.insert(*key, *value));
        PublishRequest {
            topic: topic.into(),
            data: Buf::from(data.to_vec()),
            content_type: "application/json".into(),
            metadata: all,
        }
    }

    pub(crate) async fn bulk_publish(
        &self,
        topic: &str,
        range: std::ops::Range<usize>,
    ) -> Result<Vec<FailedEntry>, String> {
        let entries: Vec<BulkEntry> = range
            .map(|number| BulkEntry {
                entry_id: number.to_string().into(),
                data: Buf::from(format!("m{number:04}")),
                content_type: "text/plain".into(),
                metadata: self.metadata.clone(),
            })
            .collect();
        let published =
            self.object.bulk_publish(context(), topic.into(), entries.into(), Metadata::new()).await;
        published.into_result().map(Vec::from).map_err(because)
    }

    pub(crate) async fn subscribe(&self, topic: &str) -> Result<Consumer, String> {
        let request = SubscribeRequest { topic: topic.into(), metadata: Metadata::new(), max_in_flight: 0 };
        let source = self.object.subscribe(context(), request).await.into_result().map_err(because)?;
        Ok(Consumer { source, patience: self.patience, quiet: self.quiet })
    }
}

/// An open source.
pub(crate) struct Consumer {
    pub(crate) source: SourceObject,
    patience: Duration,
    quiet: Duration,
}

impl Consumer {
    pub(crate) async fn pull(&self, max: u32, wait: Duration) -> Result<Vec<Delivery>, Error> {
        let wait = wait.as_nanos() as u64;
        self.source.next(context(), max, wait).await.into_result().map(Vec::from)
    }

    /// This many deliveries, however many pulls they take.
    pub(crate) async fn take(&self, count: usize) -> Result<Vec<Delivery>, String> {
        let (started, mut taken) = (Instant::now(), Vec::new());
        while taken.len() < count {
            if started.elapsed() > self.patience {
                return Err(format!("{} of {count} came: {:?}", taken.len(), texts(&taken)));
            }
            let max = (count - taken.len()) as u32;
            let pulled = self.pull(max, PULL).await.map_err(because)?;
            if pulled.len() > max as usize {
                return Err(format!("asked for {max}, got {}", pulled.len()));
            }
            taken.extend(pulled);
        }
        Ok(taken)
    }

    /// Takes and acknowledges until each of the messages was seen.
    pub(crate) async fn drain(&self, mut missing: BTreeSet<String>) -> Result<(), String> {
        let started = Instant::now();
        while !missing.is_empty() {
            if started.elapsed() > self.patience {
                return Err(format!("missing: {missing:?}"));
            }
            let pulled = self.pull(100, PULL).await.map_err(because)?;
            for text in texts(&pulled) {
                missing.remove(&text);
            }
            self.settle(&pulled, Outcome::ACK).await?;
        }
        Ok(())
    }

    /// Nothing comes while it is quiet.
    pub(crate) async fn nothing_comes(&self) -> Result<(), String> {
        let pulled = self.pull(10, self.quiet).await.map_err(because)?;
        if pulled.is_empty() { Ok(()) } else { Err(format!("not expected: {:?}", texts(&pulled))) }
    }

    pub(crate) async fn settle(&self, deliveries: &[Delivery], outcome: Outcome) -> Result<(), String> {
        self.settle_after(deliveries, outcome, Duration::ZERO).await
    }

    pub(crate) async fn settle_after(
        &self,
        deliveries: &[Delivery],
        outcome: Outcome,
        delay: Duration,
    ) -> Result<(), String> {
        let delay_ns = delay.as_nanos() as u64;
        let settlements: Vec<Settlement> =
            deliveries.iter().map(|delivery| Settlement { id: delivery.id, outcome, delay_ns }).collect();
        let settled = self.source.settle(context(), settlements.into()).await.into_result();
        settled.map_err(because)
    }

    pub(crate) async fn close(self) -> Result<(), String> {
        self.source.close(context()).await.into_result().map_err(because)
    }
}

pub(crate) fn texts(deliveries: &[Delivery]) -> Vec<String> {
    deliveries.iter().map(|delivery| String::from_utf8_lossy(&delivery.data).into_owned()).collect()
}

/// The messages of [`Component::publish_all`].
pub(crate) fn messages(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| format!("m{number:04}")).collect()
}
