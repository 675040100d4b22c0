//! Messages of one subscription on their way to the application, and what becomes of them.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use mecha_app_channel::EventStatus;
use mecha_events::{Event, EventError, Message, MetadataError, SubscriptionSpec};
use mecha_observability::ActiveSpan;
use mecha_observability::metrics::IngressStatus;
use mecha_observability::names;
use mecha_plugin_api::pubsub::{PubSubObject, PublishRequest, SubscribeRequest};
use mecha_plugin_api::source::{Delivery, Outcome, Settlement, SourceObject};
use mecha_plugin_api::{AbiFuture, CallContext, Metadata};

use super::Shared;
use super::insist::{Undelivered, insist};
use super::received::{Carried, received};
use super::target::{Declined, Target, TargetError};
use crate::inbound::{Feed, FlowWatch, Gathering, Pending, settlement};
use crate::{Call, PubSub};

/// Messages of one subscription that may be with the application at once, unless its metadata says otherwise.
const MAX_IN_FLIGHT: usize = 100;
/// Metadata of a subscription or a broker: how many messages may be with the application at once.
const CONCURRENCY: &str = "maxConcurrentMessages";
/// How long a dead letter may take to reach its topic.
const DEAD_LETTER: Duration = Duration::from_secs(30);

/// One subscription.
pub(crate) struct TopicFeed {
    pub(crate) shared: Arc<Shared>,
    pub(crate) spec: Arc<SubscriptionSpec>,
    pub(crate) broker: Arc<PubSub>,
    pub(crate) target: Target,
    /// As in Dapr a value that is no boolean fails each message, not the subscription.
    pub(crate) raw_payload: Result<bool, MetadataError>,
    pub(crate) flow: FlowWatch,
    pub(crate) name: String,
}

/// What a message came to, and the application's word for it.
pub(super) struct Ended {
    pub(super) outcome: Outcome,
    status: IngressStatus,
    /// The label `status` of Dapr's metric.
    answer: &'static str,
}

/// Why a message cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("error deserializing pubsub metadata: {0}")]
    Metadata(#[from] MetadataError),
    #[error("error deserializing cloud event: {0}")]
    Event(#[from] EventError),
}

impl Ended {
    const TAKEN: Self = Self { outcome: Outcome::ACK, status: IngressStatus::Success, answer: "" };
    const DROPPED: Self = Self { outcome: Outcome::ACK, status: IngressStatus::Drop, answer: "" };
    const AGAIN: Self = Self { outcome: Outcome::RETRY, status: IngressStatus::Retry, answer: "" };

    /// Dapr's metric calls it a success where dropping is what was asked for.
    fn asked(self) -> Self {
        match self.status {
            IngressStatus::Drop => Self { answer: "success", ..self },
            IngressStatus::Success | IngressStatus::Retry => self,
        }
    }
}

impl Feed<PubSubObject> for TopicFeed {
    fn name(&self) -> &str {
        &self.name
    }

    fn open(&self, broker: &PubSubObject, context: CallContext) -> AbiFuture<SourceObject> {
        let metadata = self.spec.metadata.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let max_in_flight = u32::try_from(self.max_in_flight()).unwrap_or(u32::MAX);
        broker.subscribe(
            context,
            SubscribeRequest { topic: self.spec.topic.as_str().into(), metadata, max_in_flight },
        )
    }

    fn max_in_flight(&self) -> usize {
        let asked = self.spec.metadata.get(CONCURRENCY).and_then(|text| text.parse().ok());
        asked.filter(|count| *count > 0).unwrap_or(MAX_IN_FLIGHT)
    }

    fn gathering(&self) -> Option<Gathering> {
        let bulk = &self.spec.bulk;
        bulk.enabled.then_some(Gathering { max: bulk.max_messages, wait: bulk.max_await })
    }

    fn handle(&self, mut deliveries: Vec<Delivery>) -> Pending<'_, Vec<Settlement>> {
        Box::pin(async move {
            if self.spec.bulk.enabled {
                return self.deliver_bulk(deliveries).await;
            }
            let mut settlements = Vec::with_capacity(deliveries.len());
            for delivery in deliveries.drain(..) {
                settlements.push(settlement(delivery.id, self.deliver(&delivery).await));
            }
            settlements
        })
    }
}

impl TopicFeed {
    /// Brings one message to the application.
    async fn deliver(&self, delivery: &Delivery) -> Outcome {
        let started = Instant::now();
        let ended = match self.read(delivery) {
            Ok(event) => self.deliver_event(delivery, &event).await,
            Err(error) => self.unreadable(delivery, &error).await,
        };
        let measured = self.broker.observer().pubsub();
        measured.delivered(&self.spec.topic, ended.status, ended.answer, started.elapsed());
        ended.outcome
    }

    pub(super) fn read<'d>(&'d self, delivery: &'d Delivery) -> Result<Event<'d>, Unreadable> {
        let message = Message {
            data: &delivery.data,
            content_type: &delivery.content_type,
            topic: &self.spec.topic,
            pubsub: &self.spec.pubsub,
            raw_payload: self.raw_payload.clone()?,
        };
        Ok(Event::read(message, delivery.metadata.iter())?)
    }

    async fn deliver_event(&self, delivery: &Delivery, event: &Event<'_>) -> Ended {
        let (call, span) = self.traced(event);
        let ended = self.deliver_traced(delivery, event, &call).await;
        if let Some(mut span) = span {
            if ended.status != IngressStatus::Success {
                span.fail("the application did not take the event");
            }
            span.end();
        }
        ended
    }

    /// The delivery's place in the event's trace.
    pub(super) fn traced(&self, event: &Event<'_>) -> (Call, Option<ActiveSpan>) {
        let (parent, state, baggage) = (event.trace_parent(), event.trace_state(), event.baggage());
        let carried =
            Carried { parent: parent.as_deref(), state: state.as_deref(), baggage: baggage.as_deref() };
        let name = || format!("{}{}", names::span::PUBSUB_PREFIX, self.spec.topic);
        received(&self.shared.app, &self.shared.telemetry, carried, name)
    }

    async fn deliver_traced(&self, delivery: &Delivery, event: &Event<'_>, call: &Call) -> Ended {
        if event.has_expired(SystemTime::now()) {
            tracing::warn!(subscription = %self.name, id = %event.id(), "dropping expired pub/sub event");
            return self.give_up(delivery, call).await;
        }
        let path = match self.spec.rules.route(event) {
            Ok(Some(path)) => path,
            Ok(None) => {
                // What an application does not ask for is no news.
                tracing::debug!(subscription = %self.name, id = %event.id(), "no matching route for event; skipping");
                return self.give_up(delivery, call).await.asked();
            }
            Err(error) => {
                tracing::error!(subscription = %self.name, id = %event.id(), "error finding matching route for event: {error}");
                return self.failed(delivery, call).await;
            }
        };
        match self.offer(path, delivery, event, call).await {
            Ok(EventStatus::Success | EventStatus::Retry) => Ended::TAKEN,
            Ok(EventStatus::Drop) => {
                tracing::warn!(subscription = %self.name, id = %event.id(), "DROP status returned from app while processing pub/sub event");
                self.refused(delivery, call).await.asked()
            }
            Err(Undelivered::Failed(Declined::Asked)) => {
                tracing::debug!(subscription = %self.name, id = %event.id(), "RETRY status returned from app while processing pub/sub event");
                self.failed(delivery, call).await
            }
            Err(Undelivered::Failed(Declined::Failed(error))) => {
                self.report(event, &error);
                self.failed(delivery, call).await
            }
            Err(Undelivered::Policy(reason)) => {
                tracing::error!(subscription = %self.name, id = %event.id(), "error while processing pub/sub event: {reason}");
                self.failed(delivery, call).await
            }
            Err(Undelivered::Over) => Ended::AGAIN,
        }
    }

    /// Brings one event to the application as often as the broker's policy says.
    async fn offer(
        &self,
        path: &str,
        delivery: &Delivery,
        event: &Event<'_>,
        call: &Call,
    ) -> Result<EventStatus, Undelivered<Declined>> {
        let attempt = async || match self.target.deliver(&self.spec, path, delivery, event, call).await? {
            EventStatus::Retry => Err(Declined::Asked),
            status => Ok(status),
        };
        insist(self.broker.policies().inbound.get().as_deref(), &self.flow, attempt).await
    }

    fn report(&self, event: &Event<'_>, error: &TargetError) {
        let id = event.id();
        match error {
            // While the application is away every message fails; its health tells of it, not one line a message.
            TargetError::App(app) if app.is_unreachable() => {
                tracing::debug!(subscription = %self.name, %id, "{error}");
            }
            // A stream that ends is its client's choice.
            TargetError::Closed => tracing::debug!(subscription = %self.name, %id, "{error}"),
            _ => {
                tracing::error!(subscription = %self.name, %id, "error while processing pub/sub event: {error}")
            }
        }
    }

    /// A message that holds no event will hold none the next time either; a subscription may be mended.
    pub(super) async fn unreadable(&self, delivery: &Delivery, error: &Unreadable) -> Ended {
        tracing::error!(subscription = %self.name, "{error}");
        let (call, _) = received(&self.shared.app, &self.shared.telemetry, Carried::default(), String::new);
        match (self.dead_letter(delivery, &call).await, error) {
            (Some(true), _) => Ended::DROPPED,
            (Some(false), _) | (None, Unreadable::Metadata(_)) => Ended::AGAIN,
            (None, Unreadable::Event(_)) => Ended { outcome: Outcome::REJECT, ..Ended::DROPPED },
        }
    }

    /// The application said that it does not want it. It comes again only if it ought to become a dead letter and cannot.
    pub(super) async fn refused(&self, delivery: &Delivery, call: &Call) -> Ended {
        match self.dead_letter(delivery, call).await {
            Some(true) | None => Ended::DROPPED,
            Some(false) => Ended::AGAIN,
        }
    }

    /// Nobody will want it: too old, or for no route.
    pub(super) async fn give_up(&self, delivery: &Delivery, call: &Call) -> Ended {
        match self.dead_letter(delivery, call).await {
            // As in Dapr what cannot become a dead letter is dropped all the same.
            Some(_) | None => Ended::DROPPED,
        }
    }

    /// The application failed on it: a dead letter where there is a topic for it, otherwise it comes again.
    pub(super) async fn failed(&self, delivery: &Delivery, call: &Call) -> Ended {
        // At the end of the process a failure is no verdict on the message: the next process gets it.
        if self.flow.is_over() {
            return Ended::AGAIN;
        }
        match self.dead_letter(delivery, call).await {
            Some(true) => Ended::DROPPED,
            Some(false) | None => Ended::AGAIN,
        }
    }

    /// Publishes the message to the dead-letter topic; `None` when there is no such topic.
    async fn dead_letter(&self, delivery: &Delivery, call: &Call) -> Option<bool> {
        let topic = self.spec.dead_letter_topic.as_deref().filter(|topic| !topic.is_empty())?;
        let call = Call {
            app: call.app.clone(),
            trace: call.trace.clone(),
            deadline: Some(Instant::now() + DEAD_LETTER),
        };
        let request = PublishRequest {
            topic: topic.into(),
            data: delivery.data.clone(),
            content_type: delivery.content_type.clone(),
            metadata: Metadata::clone(&delivery.metadata),
        };
        match self.broker.publish(&call, request).await {
            Ok(()) => Some(true),
            Err(error) => {
                tracing::error!(subscription = %self.name, "error sending message to the dead letter topic {topic}: {error}");
                Some(false)
            }
        }
    }
}
