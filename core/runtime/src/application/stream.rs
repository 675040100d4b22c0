//! Subscriptions that live as long as a stream of the application.

use std::collections::HashMap;
use std::sync::Arc;

use mecha_events::{Parts, RuleCompiler, SubscriptionError, SubscriptionSpec};
use tokio::sync::{mpsc, watch};

use super::Application;
use super::target::{StreamEvent, Target};
use crate::inbound::Flow;

/// Events that may wait for a slow stream.
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
    #[error("topic {topic} is not allowed for app id {app_id}")]
    Forbidden {
        /// The topic.
        topic: String,
        /// This application.
        app_id: String,
    },
}

/// A running subscription of a stream; it ends when this is dropped.
pub struct StreamSubscription {
    events: mpsc::Receiver<StreamEvent>,
    /// Its end is the feed's end.
    _flow: watch::Sender<Flow>,
}

impl StreamSubscription {
    /// The next event; `None` when there will be none.
    pub async fn event(&mut self) -> Option<StreamEvent> {
        self.events.recv().await
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
            let app_id = self.shared.app.id.to_string();
            return Err(StreamError::Forbidden { topic: topic.to_owned(), app_id });
        }
        let parts = Parts {
            pubsub: pubsub.to_owned(),
            topic: topic.to_owned(),
            metadata: metadata.into_iter().collect(),
            dead_letter_topic: dead_letter_topic.unwrap_or_default(),
            ..Parts::default()
        };
        let spec = SubscriptionSpec::streaming(parts, &RuleCompiler::new())?;
        let (sender, events) = mpsc::channel(WAITING);
        let (flow, flowing) = watch::channel(Flow::On);
        self.feed(Arc::new(spec), broker, Target::Stream(sender), flowing);
        Ok(StreamSubscription { events, _flow: flow })
    }
}
