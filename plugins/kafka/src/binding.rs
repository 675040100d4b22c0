//! The binding `bindings.kafka`: `create` publishes to one topic, and the messages of some topics are events.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use mecha_plugin_api::binding::{InputBinding, InvokeRequest, InvokeResponse, OutputBinding};
use mecha_plugin_api::source::Subscription;
use mecha_plugin_api::{CallContext, ComponentSpec, Error, Result};

use crate::client::Cluster;
use crate::consumer::{Feed, GroupSource};
use crate::metadata::{Defaults, Settings};
use crate::producer::Producer;

const CREATE: &str = "create";
const PUBLISH_TOPIC: &str = "publishTopic";
const TOPICS: &str = "topics";
const DIRECTION: &str = "direction";
/// As in Dapr: a message that the application refused is not tried again unless the component says so.
const DEFAULTS: Defaults = Defaults { retries: false };

/// Whether `direction` says that the component is this; nothing when it says nothing.
fn is_meant_as(spec: &ComponentSpec, what: &str) -> Result<Option<bool>> {
    let Some(text) = spec.text(DIRECTION) else { return Ok(None) };
    let words: Vec<String> = text.split(',').map(|word| word.trim().to_ascii_lowercase()).collect();
    match words.iter().find(|word| !matches!(word.as_str(), "input" | "output")) {
        Some(word) => {
            Err(Error::invalid(format!("'{word}' is neither input nor output")).with_field(DIRECTION))
        }
        None => Ok(Some(words.iter().any(|word| word == what))),
    }
}

/// An open `bindings.kafka` as an output.
pub(crate) struct KafkaOutput {
    /// Only a component that names a topic connects: every binding is opened as an output as well.
    publishing: Option<(String, Producer)>,
}

impl KafkaOutput {
    /// Opens the binding: with a topic, a broker must be reachable and take the credentials.
    pub(crate) async fn open(spec: ComponentSpec) -> Result<Self> {
        let settings = Settings::read(&spec, DEFAULTS)?;
        let is_output = is_meant_as(&spec, "output")?;
        if is_output == Some(true) {
            spec.required(PUBLISH_TOPIC)?;
        }
        let topic = spec.text(PUBLISH_TOPIC).map(str::trim).filter(|_| is_output != Some(false));
        let Some(topic) = topic else { return Ok(Self { publishing: None }) };
        let producer = Producer::open(Cluster::prepare(settings).await?).await?;
        Ok(Self { publishing: Some((topic.to_owned(), producer)) })
    }
}

impl OutputBinding for KafkaOutput {
    fn operations(&self) -> Vec<&'static str> {
        vec![CREATE]
    }

    async fn invoke(&self, context: &CallContext, request: InvokeRequest) -> Result<InvokeResponse> {
        if request.operation != CREATE {
            return Err(Error::unsupported(format!("operation {} is not supported", request.operation)));
        }
        let Some((topic, producer)) = &self.publishing else {
            return Err(
                Error::invalid("the component names no topic to publish to").with_field(PUBLISH_TOPIC)
            );
        };
        producer.publish(context, topic, &request.data, &request.metadata).await?;
        Ok(InvokeResponse::default())
    }

    async fn ping(&self, _context: &CallContext) -> Result<()> {
        match &self.publishing {
            Some((topic, producer)) => producer.ping(Some(topic.clone())).await,
            None => Ok(()),
        }
    }
}

/// An open `bindings.kafka` as an input.
pub(crate) struct KafkaInput {
    cluster: Cluster,
    topics: Vec<String>,
    feed: Mutex<Weak<Feed>>,
}

impl KafkaInput {
    /// Opens the binding; it connects when it is read.
    pub(crate) async fn open(spec: ComponentSpec) -> Result<Self> {
        let settings = Settings::read(&spec, DEFAULTS)?;
        if is_meant_as(&spec, "input")? == Some(true) {
            spec.required(TOPICS)?;
        }
        let topics = spec.text(TOPICS).unwrap_or_default().split(',').map(str::trim);
        let topics: Vec<_> = topics.filter(|topic| !topic.is_empty()).map(str::to_owned).collect();
        if topics.is_empty() {
            return Err(Error::unsupported("the component names no topic to read").with_field(TOPICS));
        }
        Ok(Self { cluster: Cluster::prepare(settings).await?, topics, feed: Mutex::default() })
    }

    /// Joins the group.
    pub(crate) async fn source(&self) -> Result<GroupSource> {
        let limit = usize::try_from(self.cluster.settings.queue_depth).unwrap_or(usize::MAX);
        let feed = Arc::new(Feed::new(self.cluster.clone(), self.topics.clone(), limit));
        let watched = Arc::downgrade(&feed);
        let source = GroupSource::open(feed).await?;
        *self.feed.lock().unwrap_or_else(PoisonError::into_inner) = watched;
        Ok(source)
    }
}

impl InputBinding for KafkaInput {
    async fn read(&self, _context: &CallContext) -> Result<Subscription> {
        Ok(Subscription::new(self.source().await?))
    }

    /// What is read must not be in trouble.
    async fn ping(&self, _context: &CallContext) -> Result<()> {
        let feed = self.feed.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
        feed.filter(|feed| !feed.is_stopping()).and_then(|feed| feed.trouble()).map_or(Ok(()), Err)
    }
}
