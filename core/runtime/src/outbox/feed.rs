//! The second half of the outbox: a message of the internal topic goes on once its transaction holds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mecha_observability::{Telemetry, names};
use mecha_plugin_api::pubsub::{PubSubObject, SubscribeRequest};
use mecha_plugin_api::source::{Delivery, Outcome, Settlement, SourceObject};
use mecha_plugin_api::state::{Concurrency, Consistency, DeleteRequest, GetRequest};
use mecha_plugin_api::{AbiFuture, CallContext, Metadata};

use arc_swap::ArcSwap;

use super::event::Internal;
use super::publish::{allowed, message};
use super::{OutboxError, OutboxSettings};
use crate::application::{Carried, received};
use crate::inbound::{Feed, FlowWatch, Pending};
use crate::registry::Registry;
use crate::{App, Call, StateStore};

/// Messages that may wait for their markers at once. Waiting costs little, and those of failed transactions wait long.
const MAX_IN_FLIGHT: usize = 256;
/// How long a transaction may take to write the marker, counted from when its message was read; Dapr's.
const PATIENCE: Duration = Duration::from_secs(11);
/// Between two looks for a marker: the first comes soon, since most transactions are over by then.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);
/// How long it may take to take a marker away; Dapr's.
const CLEANING: Duration = Duration::from_secs(10);
/// Before a message comes again that could not go on.
const AGAIN: Duration = Duration::from_secs(1);

/// The internal topic of one store.
pub(super) struct OutboxFeed {
    pub(super) app: Arc<App>,
    pub(super) telemetry: Telemetry,
    pub(super) registry: Arc<ArcSwap<Registry>>,
    pub(super) store: String,
    pub(super) settings: OutboxSettings,
    pub(super) topic: String,
    pub(super) flow: FlowWatch,
}

/// Why a marker was not found.
enum Unmarked {
    /// There is none.
    Missing(String),
    /// The runtime ends: the next one looks again.
    Ending,
}

impl Feed<PubSubObject> for OutboxFeed {
    fn name(&self) -> &str {
        &self.topic
    }

    fn open(&self, broker: &PubSubObject, context: CallContext) -> AbiFuture<SourceObject> {
        let max_in_flight = u32::try_from(MAX_IN_FLIGHT).unwrap_or(u32::MAX);
        let topic = self.topic.as_str().into();
        broker.subscribe(context, SubscribeRequest { topic, metadata: Metadata::new(), max_in_flight })
    }

    fn max_in_flight(&self) -> usize {
        MAX_IN_FLIGHT
    }

    fn handle(&self, deliveries: Vec<Delivery>) -> Pending<'_, Vec<Settlement>> {
        Box::pin(async move {
            let mut settlements = Vec::with_capacity(deliveries.len());
            for delivery in deliveries {
                let outcome = self.pass_on(&delivery).await;
                let delay = if outcome == Outcome::RETRY { AGAIN } else { Duration::ZERO };
                let delay_ns = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
                settlements.push(Settlement { id: delivery.id, outcome, delay_ns });
            }
            settlements
        })
    }
}

impl OutboxFeed {
    async fn pass_on(&self, delivery: &Delivery) -> Outcome {
        let internal = match Internal::read(&delivery.data) {
            Ok(internal) => internal,
            Err(error) => {
                tracing::error!(topic = %self.topic, "a message of the outbox's own topic is none of an outbox: {error}");
                return Outcome::REJECT;
            }
        };
        let found = self.registry.load().state_store(&self.store).cloned();
        let Ok(store) = found else {
            tracing::error!("cannot get outbox state: state store {} not found", self.store);
            return Outcome::RETRY;
        };
        let carried = internal.carried();
        let name = || format!("{}{}", names::span::PUBSUB_PREFIX, self.topic);
        let (call, span) = received(&self.app, &self.telemetry, carried.borrowed(), name);
        let outcome = match self.marker(&call, &store, internal.marker()).await {
            Ok(()) => self.publish(&call, &store, internal, carried.headers()).await,
            Err(Unmarked::Ending) => Outcome::RETRY,
            Err(Unmarked::Missing(reason)) => self.give_up(&reason),
        };
        if let Some(mut span) = span {
            if outcome != Outcome::ACK {
                span.fail("the message did not go on");
            }
            span.end();
        }
        outcome
    }

    /// Waits until the transaction has written the marker.
    async fn marker(&self, call: &Call, store: &StateStore, key: &str) -> Result<(), Unmarked> {
        let (started, mut pause) = (Instant::now(), FIRST_PAUSE);
        loop {
            let request = GetRequest {
                key: key.into(),
                consistency: Consistency::UNSPECIFIED,
                metadata: Metadata::new(),
            };
            let reason = match store.get(call, request).await {
                Ok(Some(item)) if !item.value.is_empty() => return Ok(()),
                Ok(_) => format!(
                    "cannot publish outbox message to topic {} with pubsub {}: outbox state not found",
                    self.settings.publish_topic, self.settings.publish_pubsub
                ),
                Err(error) => error.to_string(),
            };
            if started.elapsed() >= PATIENCE {
                return Err(Unmarked::Missing(reason));
            }
            if !self.wait(pause).await {
                return Err(Unmarked::Ending);
            }
            pause = (pause * 3).min(LONGEST_PAUSE);
        }
    }

    /// Publishes to the real topic, then takes the marker away.
    async fn publish(
        &self,
        call: &Call,
        store: &StateStore,
        internal: Internal,
        headers: Metadata,
    ) -> Outcome {
        let OutboxSettings { publish_pubsub, publish_topic, .. } = &self.settings;
        let key = internal.marker().to_owned();
        let published = async {
            let event = internal.readdressed(publish_pubsub, publish_topic)?;
            let broker = allowed(&self.registry.load(), call, publish_pubsub, publish_topic)?;
            Ok::<_, OutboxError>(broker.publish(call, message(publish_topic, event, headers)).await?)
        };
        if let Err(error) = published.await {
            tracing::error!(
                "failed to publish outbox topic to pubsub {publish_pubsub}: {error}, rejecting for later processing"
            );
            return Outcome::RETRY;
        }
        self.clean(call, store, &key).await
    }

    async fn clean(&self, call: &Call, store: &StateStore, key: &str) -> Outcome {
        let (started, mut pause) = (Instant::now(), FIRST_PAUSE);
        loop {
            let request = DeleteRequest {
                key: key.into(),
                etag: None.into(),
                concurrency: Concurrency::UNSPECIFIED,
                consistency: Consistency::UNSPECIFIED,
                metadata: Metadata::new(),
            };
            let Err(error) = store.delete(call, request).await else { return Outcome::ACK };
            if started.elapsed() >= CLEANING || !self.wait(pause).await {
                tracing::error!("cannot delete outbox state {key}, its message will come again: {error}");
                return Outcome::RETRY;
            }
            pause = (pause * 3).min(LONGEST_PAUSE);
        }
    }

    /// The transaction failed, or something is slower than it may be.
    fn give_up(&self, reason: &str) -> Outcome {
        let pubsub = &self.settings.publish_pubsub;
        if self.settings.discards {
            tracing::error!(
                "failed to publish outbox topic to pubsub {pubsub}: {reason}, discarding message"
            );
            return Outcome::ACK;
        }
        tracing::error!(
            "failed to publish outbox topic to pubsub {pubsub}: {reason}, rejecting for later processing"
        );
        Outcome::RETRY
    }

    /// Sleeps; false when the runtime ends meanwhile.
    async fn wait(&self, pause: Duration) -> bool {
        let mut flow = self.flow.clone();
        let ended = async {
            while !flow.is_over() {
                flow.changed().await;
            }
        };
        tokio::time::timeout(pause, ended).await.is_err()
    }
}

/// The trace that a message carries.
struct OwnCarried {
    parent: Option<String>,
    state: Option<String>,
    baggage: Option<String>,
}

impl Internal {
    fn carried(&self) -> OwnCarried {
        let text = |name| self.text(name);
        OwnCarried {
            parent: text(names::header::TRACEPARENT).or_else(|| text("traceid")),
            state: text(names::header::TRACESTATE),
            baggage: text(names::header::BAGGAGE),
        }
    }
}

impl OwnCarried {
    fn borrowed(&self) -> Carried<'_> {
        Carried {
            parent: self.parent.as_deref(),
            state: self.state.as_deref(),
            baggage: self.baggage.as_deref(),
        }
    }

    /// For the broker's own headers.
    fn headers(&self) -> Metadata {
        let pairs = [
            (names::header::TRACEPARENT, &self.parent),
            (names::header::TRACESTATE, &self.state),
            (names::header::BAGGAGE, &self.baggage),
        ];
        pairs.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))).collect()
    }
}
