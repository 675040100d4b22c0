//! Subscriptions that live as long as a stream of the application.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mecha_events::{Parts, RuleCompiler, SubscriptionError, SubscriptionSpec};
use tokio::sync::{mpsc, watch};

use super::Application;
use super::target::{StreamEvent, Target};
use crate::inbound::{Flow, FlowWatch, Pump, Tried};

/// Events that may wait for a slow stream; those beyond wait with the broker.
const WAITING: usize = 16;

/// Why a stream gets no subscription.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// No such broker is declared.
    #[error("pubsub {0} is not found")]
    NotFound(String),
    /// It names no broker or no topic.
    #[error(transparent)]
    Invalid(#[from] SubscriptionError),
    /// The broker's scopes say no.
    #[error(
        "failed to create subscription for {pubsub}: subscription to topic '{topic}' on pubsub '{pubsub}' is not allowed"
    )]
    Forbidden {
        /// The broker.
        pubsub: String,
        /// The topic.
        topic: String,
    },
    /// The process is about to end.
    #[error("subscriber is closed")]
    Closed,
}

/// The streams that are open.
#[derive(Default)]
pub(super) struct Streams(Mutex<Open>);

#[derive(Default)]
struct Open {
    next: u64,
    /// Nothing is opened any more.
    closed: bool,
    streams: BTreeMap<u64, Stream>,
}

struct Stream {
    spec: Arc<SubscriptionSpec>,
    flow: Arc<watch::Sender<Flow>>,
    pump: Pump,
}

impl Streams {
    /// What the streams are subscribed to.
    pub(super) fn subscriptions(&self) -> Vec<Arc<SubscriptionSpec>> {
        self.lock().streams.values().map(|stream| stream.spec.clone()).collect()
    }

    /// Takes nothing more in for any stream, and gives what waits for the end of what is out. The streams end by themselves
    /// after that.
    pub(super) fn close(&self) -> Vec<Pump> {
        let streams = {
            let mut open = self.lock();
            open.closed = true;
            std::mem::take(&mut open.streams)
        };
        let off = |stream: Stream| {
            stream.flow.send_replace(Flow::Off);
            stream.pump
        };
        streams.into_values().map(off).collect()
    }

    fn remove(&self, number: u64) {
        self.lock().streams.remove(&number);
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running subscription of a stream; it ends when this is dropped.
pub struct StreamSubscription {
    events: mpsc::Receiver<StreamEvent>,
    flow: Arc<watch::Sender<Flow>>,
    number: u64,
    tried: Tried,
    application: Arc<Application>,
}

impl StreamSubscription {
    /// Waits until it was opened, or cannot be now: what is published from then on comes down the stream.
    pub async fn opened(&self) {
        self.tried.clone().wait().await;
    }

    /// The next event; `None` when there will be none.
    pub async fn event(&mut self) -> Option<StreamEvent> {
        self.events.recv().await
    }
}

impl Drop for StreamSubscription {
    fn drop(&mut self) {
        self.flow.send_replace(Flow::Off);
        self.application.streams.remove(self.number);
    }
}

impl Application {
    /// Subscribes for a stream.
    pub(crate) fn subscribe_stream(
        self: &Arc<Self>,
        pubsub: &str,
        topic: &str,
        metadata: HashMap<String, String>,
        dead_letter_topic: Option<String>,
    ) -> Result<StreamSubscription, StreamError> {
        let broker = self.shared.registry.load().declared_pubsubs.get(pubsub).cloned();
        let broker = broker.ok_or_else(|| StreamError::NotFound(pubsub.to_owned()))?;
        if !broker.may_subscribe(topic) {
            return Err(StreamError::Forbidden { pubsub: pubsub.to_owned(), topic: topic.to_owned() });
        }
        let parts = Parts {
            pubsub: pubsub.to_owned(),
            topic: topic.to_owned(),
            metadata: metadata.into_iter().collect(),
            dead_letter_topic: dead_letter_topic.unwrap_or_default(),
            ..Parts::default()
        };
        let spec = Arc::new(SubscriptionSpec::streaming(parts, &RuleCompiler::new())?);
        let (sender, events) = mpsc::channel(WAITING);
        let flow = Arc::new(watch::Sender::new(Flow::On));
        let mut open = self.streams.lock();
        if open.closed {
            return Err(StreamError::Closed);
        }
        tracing::info!("Subscribing to pubsub '{pubsub}' topic '{topic}'");
        let pump = self.feed(spec.clone(), broker, Target::Stream(sender), FlowWatch::of(flow.subscribe()));
        open.next += 1;
        let number = open.next;
        let tried = pump.tried();
        open.streams.insert(number, Stream { spec, flow: flow.clone(), pump });
        drop(open);
        Ok(StreamSubscription { events, flow, number, tried, application: self.clone() })
    }
}
