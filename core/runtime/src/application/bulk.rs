//! Several messages of one subscription in one call to the application.

use std::collections::{BTreeMap, HashMap};
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use mecha_app_channel::{AppChannel, BulkMessage, Destination, EventStatus, StatusWord};
use mecha_events::{BulkEntry, BulkEnvelope, Event};
use mecha_observability::ActiveSpan;
use mecha_observability::metrics::IngressStatus;
use mecha_plugin_api::source::{Delivery, Outcome, Settlement};
use serde::Deserialize;
use uuid::Uuid;

use super::insist::{Collected, Undelivered, insist};
use super::target::{Declined, Target, TargetError};
use super::topic::TopicFeed;
use crate::Call;
use crate::inbound::settlement;

/// A readable message of a bulk, under the number that the application answers with.
struct Entry<'d> {
    id: String,
    delivery: &'d Delivery,
    event: Event<'d>,
    /// The message's own trace, in which its delivery is a span.
    call: Call,
    span: Option<ActiveSpan>,
}

/// An application's answer to a bulk.
#[derive(Debug, Default, Deserialize)]
struct BulkAnswer {
    #[serde(default)]
    statuses: Vec<EntryAnswer>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct EntryAnswer {
    #[serde(default)]
    entry_id: String,
    #[serde(default)]
    status: String,
}

/// Whether the application said of an entry that it need not come again.
fn is_settled(statuses: &HashMap<String, EventStatus>, entry: &Entry<'_>) -> bool {
    matches!(statuses.get(&entry.id), Some(EventStatus::Success | EventStatus::Drop))
}

impl TopicFeed {
    /// Brings messages to the application, those of one path in one call.
    pub(super) async fn deliver_bulk(&self, deliveries: Vec<Delivery>) -> Vec<Settlement> {
        let started = Instant::now();
        let mut settlements = Vec::with_capacity(deliveries.len());
        let mut by_path: BTreeMap<&str, Vec<Entry<'_>>> = BTreeMap::new();
        for delivery in &deliveries {
            match self.sorted(delivery).await {
                Ok((path, entry)) => by_path.entry(path).or_default().push(entry),
                Err(outcome) => settlements.push(settlement(delivery.id, outcome)),
            }
        }
        for (path, entries) in by_path {
            let statuses = self.send_bulk(path, &entries).await;
            for mut entry in entries {
                let outcome = self.bulk_outcome(&statuses, &entry).await;
                settlements.push(settlement(entry.delivery.id, outcome));
                if let Some(mut span) = entry.span.take() {
                    if statuses.get(&entry.id) != Some(&EventStatus::Success) {
                        span.fail("the application did not take the event");
                    }
                    span.end();
                }
            }
        }
        self.measure_bulk(&settlements, started);
        settlements
    }

    /// A message with its path, or what became of one that goes nowhere.
    async fn sorted<'d>(&'d self, delivery: &'d Delivery) -> Result<(&'d str, Entry<'d>), Outcome> {
        let event = match self.read(delivery) {
            Ok(event) => event,
            Err(error) => return Err(self.unreadable(delivery, &error).await.outcome),
        };
        let (call, mut span) = self.traced(&event);
        let mut given_up = |reason: &'static str| {
            if let Some(mut span) = span.take() {
                span.fail(reason);
                span.end();
            }
        };
        if event.has_expired(SystemTime::now()) {
            tracing::warn!(subscription = %self.name, id = %event.id(), "dropping expired pub/sub event");
            given_up("the event's time is over");
            return Err(self.give_up(delivery, &call).await.outcome);
        }
        match self.spec.rules.route(&event) {
            Ok(Some(path)) => {
                Ok((path, Entry { id: Uuid::new_v4().to_string(), delivery, event, call, span }))
            }
            Ok(None) => {
                tracing::warn!(subscription = %self.name, id = %event.id(), "no matching route for event; skipping");
                given_up("no route matches");
                Err(self.give_up(delivery, &call).await.outcome)
            }
            Err(error) => {
                tracing::error!(subscription = %self.name, id = %event.id(), "error finding matching route for event: {error}");
                given_up("no route can be found");
                Err(self.failed(delivery, &call).await.outcome)
            }
        }
    }

    /// What the application says of each entry; an entry that it does not name comes again. Under the broker's policy those that
    /// it did not take are brought again here first.
    async fn send_bulk(&self, path: &str, entries: &[Entry<'_>]) -> HashMap<String, EventStatus> {
        let collected = Collected::new(HashMap::new());
        let attempt = async || {
            let is_left = |entry: &&Entry<'_>| collected.with(|known| !is_settled(known, entry));
            let left: Vec<_> = entries.iter().filter(is_left).collect();
            let statuses = self.try_send_bulk(path, &left).await?;
            let is_done = collected.with(|known| {
                known.extend(statuses);
                left.iter().all(|entry| is_settled(known, entry))
            });
            if is_done { Ok(()) } else { Err(Declined::Asked) }
        };
        match insist(self.broker.policies().inbound.get().as_deref(), &self.flow, attempt).await {
            Ok(()) | Err(Undelivered::Failed(Declined::Asked) | Undelivered::Over) => {}
            Err(Undelivered::Failed(Declined::Failed(TargetError::App(error)))) if error.is_unreachable() => {
                tracing::debug!(subscription = %self.name, "{error}");
            }
            Err(error) => {
                tracing::error!(subscription = %self.name, "error while processing bulk pub/sub events: {error}");
            }
        }
        collected.into_inner()
    }

    async fn try_send_bulk(
        &self,
        path: &str,
        entries: &[&Entry<'_>],
    ) -> Result<HashMap<String, EventStatus>, TargetError> {
        let Target::App(channel) = &self.target else { return Err(TargetError::Closed) };
        // One call has one trace; as in Dapr it is the last message's.
        let trace = entries.last().map(|entry| entry.call.trace.clone()).unwrap_or_default();
        let destination = Destination { pubsub: &self.spec.pubsub, topic: &self.spec.topic, path };
        match &**channel {
            AppChannel::Http(app) => {
                let body = self.envelope(entries);
                let answered = app.deliver_bulk(destination, body, &trace).await?;
                let Some(answered) = answered else {
                    tracing::error!(subscription = %self.name, path, "non-retriable error returned from app while processing bulk pub/sub events: status code 404");
                    return Ok(entries.iter().map(|entry| (entry.id.clone(), EventStatus::Drop)).collect());
                };
                let answer: BulkAnswer = serde_json::from_slice(&answered).unwrap_or_else(|error| {
                    tracing::error!(subscription = %self.name, "failed unmarshalling app response for bulk subscribe: {error}");
                    BulkAnswer::default()
                });
                let statuses = answer.statuses.into_iter().filter(|entry| !entry.status.is_empty());
                Ok(statuses
                    .map(|entry| (entry.entry_id, StatusWord { status: entry.status }.meaning()))
                    .collect())
            }
            AppChannel::Grpc(app) => {
                Ok(app.deliver_bulk(destination, self.messages(entries)?, &trace).await?)
            }
        }
    }

    fn envelope(&self, entries: &[&Entry<'_>]) -> Bytes {
        let size: usize = entries.iter().map(|entry| entry.delivery.data.len() + 256).sum();
        let mut envelope = BulkEnvelope::with_capacity(size);
        for Entry { id, delivery, event, .. } in entries {
            let entry = BulkEntry { entry_id: id, event, content_type: &delivery.content_type };
            envelope.push(&entry, delivery.metadata.iter());
        }
        envelope
            .finish(&self.spec.pubsub, &self.spec.topic, [("pubsubName", self.spec.pubsub.as_str())])
            .into()
    }

    fn messages<'e>(&self, entries: &[&'e Entry<'_>]) -> Result<Vec<BulkMessage<'e>>, TargetError> {
        let message = |entry: &'e Entry<'_>| -> Result<_, TargetError> {
            let event = if self.raw_payload == Ok(true) { None } else { Some(entry.event.topic_event()?) };
            let metadata = entry.delivery.metadata.iter();
            Ok(BulkMessage {
                entry_id: &entry.id,
                event,
                data: entry.delivery.data.clone().into_bytes(),
                content_type: &entry.delivery.content_type,
                metadata: metadata.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
            })
        };
        entries.iter().copied().map(message).collect()
    }

    async fn bulk_outcome(&self, statuses: &HashMap<String, EventStatus>, entry: &Entry<'_>) -> Outcome {
        let Entry { delivery, call, .. } = entry;
        match statuses.get(&entry.id) {
            Some(EventStatus::Success) => Outcome::ACK,
            Some(EventStatus::Drop) => self.refused(delivery, call).await.outcome,
            Some(EventStatus::Retry) | None => self.failed(delivery, call).await.outcome,
        }
    }

    fn measure_bulk(&self, settlements: &[Settlement], started: Instant) {
        let taken = settlements.iter().filter(|settled| settled.outcome == Outcome::ACK).count() as u64;
        let again = settlements.len() as u64 - taken;
        let measured = self.broker.observer().pubsub();
        if taken > 0 {
            measured.delivered_bulk(&self.spec.topic, IngressStatus::Success, taken, started.elapsed());
        }
        if again > 0 {
            measured.delivered_bulk(&self.spec.topic, IngressStatus::Retry, again, started.elapsed());
        }
    }
}
