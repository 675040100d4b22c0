//! The outbox: messages that go out if, and only if, a transaction of a state store holds.
//!
//! A store that names a topic in its metadata ([`OutboxSettings`]) gets three more steps around each transaction, the same as
//! in Dapr, so that runtimes of both kinds can share brokers and stores. `publish.rs`: for each value a message goes to an
//! internal topic, and a marker under the message's id is written by the transaction itself. `feed.rs`: whoever reads the
//! internal topic looks for the marker, publishes to the real topic and takes the marker away; a message whose transaction
//! failed has none. `running.rs` keeps what is read equal to what is declared. `event.rs` makes and changes the messages.

mod event;
mod feed;
mod publish;
mod running;

use mecha_events::EnvelopeError;
use mecha_resources::component::Resolved;

use crate::{App, CallError};

pub use publish::OutboxChange;
pub use running::Outbox;

/// What the internal topic of a runtime without a namespace begins with, as in Dapr.
const DEFAULT_NAMESPACE: &str = "default";
/// What the ids of messages and the keys of markers begin with.
const MARKER: &str = "outbox-";

/// What a state store's metadata says of its outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OutboxSettings {
    /// Where messages go in the end.
    pub(crate) publish_pubsub: String,
    pub(crate) publish_topic: String,
    /// The broker of the internal topic.
    pub(crate) internal_pubsub: String,
    /// A message without a marker is dropped; otherwise its broker brings it again.
    pub(crate) discards: bool,
}

/// Why a transaction's messages could not be kept. The texts are Dapr's.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// The broker of the internal topic is not there.
    #[error("pubsub '{0}' not found")]
    NotFound(String),
    /// The broker's scopes keep the application from the topic.
    #[error("topic {topic} is not allowed for app id {app_id}")]
    Forbidden {
        /// The topic.
        topic: String,
        /// The application.
        app_id: String,
    },
    /// No message could be made.
    #[error(transparent)]
    Event(#[from] EnvelopeError),
    /// What should be a message is none.
    #[error("cannot read the message: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// The broker did not take it.
    #[error(transparent)]
    Publish(Box<CallError>),
}

impl From<CallError> for OutboxError {
    fn from(error: CallError) -> Self {
        Self::Publish(Box::new(error))
    }
}

impl OutboxSettings {
    /// `None` for a store that names no topic.
    pub(crate) fn read(resolved: &Resolved) -> Option<Self> {
        let value = |name: &str| {
            let property = resolved.properties.iter().rfind(|property| property.name == name);
            property.map(|property| property.value.as_str()).filter(|value| !value.is_empty())
        };
        let publish_pubsub = value("outboxPublishPubsub")?;
        Some(Self {
            publish_pubsub: publish_pubsub.to_owned(),
            publish_topic: value("outboxPublishTopic")?.to_owned(),
            internal_pubsub: value("outboxPubsub").unwrap_or(publish_pubsub).to_owned(),
            discards: value("outboxDiscardWhenMissingState").is_some_and(is_truthy),
        })
    }

    /// The topic that only runtimes of this application use.
    pub(crate) fn internal_topic(&self, app: &App) -> String {
        let namespace = if app.namespace.is_empty() { DEFAULT_NAMESPACE } else { &app.namespace };
        format!("{namespace}{}{}outbox", app.id, self.publish_topic)
    }
}

/// Go's words for yes, as Dapr takes them.
fn is_truthy(word: &str) -> bool {
    const WORDS: [&str; 6] = ["y", "yes", "true", "t", "on", "1"];
    WORDS.iter().any(|known| word.trim().eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use mecha_resources::component::{Property, ValueSource};

    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Option<OutboxSettings> {
        let property = |(name, value): &(&str, &str)| Property {
            name: (*name).to_owned(),
            value: (*value).to_owned(),
            source: ValueSource::Literal,
        };
        let properties = pairs.iter().map(property).collect();
        OutboxSettings::read(&Resolved { properties, refused: Vec::new(), missing: Vec::new() })
    }

    #[test]
    fn a_store_without_broker_and_topic_has_no_outbox() {
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[("outboxPublishPubsub", "ps")]), None);
        assert_eq!(read(&[("outboxPublishTopic", "t"), ("outboxPubsub", "ps")]), None);
        assert_eq!(read(&[("outboxPublishPubsub", ""), ("outboxPublishTopic", "t")]), None);
    }

    #[test]
    fn the_internal_topic_is_on_the_same_broker_unless_another_is_named() {
        let needed = [("outboxPublishPubsub", "ps"), ("outboxPublishTopic", "t")];
        let settings = read(&needed).unwrap();
        assert_eq!((settings.internal_pubsub.as_str(), settings.discards), ("ps", false));
        assert_eq!(settings.internal_topic(&App::new("app", "")), "defaultapptoutbox");
        assert_eq!(settings.internal_topic(&App::new("app", "ns")), "nsapptoutbox");
        let more = [needed[0], needed[1], ("outboxPubsub", "in"), ("outboxDiscardWhenMissingState", " Yes ")];
        let settings = read(&more).unwrap();
        assert_eq!((settings.internal_pubsub.as_str(), settings.discards), ("in", true));
    }
}
