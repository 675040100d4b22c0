//! Brokers as the runtime calls them.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use mecha_events::TopicScopes;
use mecha_plugin_api::pubsub::{BulkEntry, FailedEntry, PubSubFeatures, PubSubObject, PublishRequest};
use mecha_plugin_api::{Error, ErrorKind, Metadata, RString, RVec};
use mecha_resiliency::{Failure, Policy};
use mecha_resources::component::Resolved;

use crate::App;
use crate::call::{Call, CallError};
use crate::component::Component;
use crate::observe::Operation;
use crate::policies;

/// A broker.
pub type PubSub = Component<PubSubObject, PubSubSettings>;

/// What the runtime reads from a broker's metadata.
#[derive(Debug)]
pub struct PubSubSettings {
    scopes: TopicScopes,
}

impl PubSubSettings {
    pub(crate) fn read(app: &App, resolved: &Resolved) -> Self {
        let properties =
            resolved.properties.iter().map(|property| (property.name.as_str(), property.value.as_str()));
        Self { scopes: TopicScopes::for_app(&app.id, properties) }
    }
}

/// What an attempt to publish several messages left undone.
enum Unpublished {
    /// Nothing was published.
    All(CallError),
    /// These were not.
    Some(Vec<FailedEntry>),
}

impl From<CallError> for Unpublished {
    fn from(error: CallError) -> Self {
        Self::All(error)
    }
}

impl Failure for Unpublished {
    fn is_permanent(&self) -> bool {
        match self {
            Self::All(error) => error.is_permanent(),
            Self::Some(_) => false,
        }
    }
}

const PUBLISH: Operation<'static> = Operation::named("publish");
const BULK_PUBLISH: Operation<'static> = Operation::named("bulk_publish");

impl PubSub {
    /// Whether the application may publish to a topic.
    pub fn may_publish(&self, topic: &str) -> bool {
        self.settings().scopes.may_publish(topic)
    }

    /// Whether the application may subscribe to a topic. A broker that was never open is not asked yet: it says so when it is.
    pub(crate) fn may_subscribe(&self, topic: &str) -> bool {
        self.opened_settings().is_none_or(|settings| settings.scopes.may_subscribe(topic))
    }

    /// What the broker can do.
    pub fn features(&self) -> PubSubFeatures {
        self.read(|broker| broker.features()).unwrap_or_default()
    }

    /// Publishes one message; returns when the broker has it.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn publish(&self, call: &Call, request: PublishRequest) -> Result<(), CallError> {
        let (topic, started) = (request.topic.clone(), Instant::now());
        let result = self
            .call(call, PUBLISH, request, |broker, context, request| broker.publish(context, request))
            .await;
        self.observer().pubsub().published(&topic, result.is_ok(), started.elapsed());
        result
    }

    /// Publishes several messages to one topic and gives those that failed.
    ///
    /// # Errors
    /// [`CallError`] when nothing could be published at all.
    pub async fn bulk_publish(
        &self,
        call: &Call,
        topic: &str,
        entries: Vec<BulkEntry>,
        metadata: Metadata,
    ) -> Result<Vec<FailedEntry>, CallError> {
        let (count, started) = (entries.len() as u64, Instant::now());
        let result = match self.policies().outbound.get() {
            None => self.try_bulk_publish(call, 1, topic, entries, metadata).await,
            Some(policy) => Box::pin(self.insist(&policy, call, topic, entries, metadata)).await,
        };
        let failed = result.as_ref().map_or(count, |failed| failed.len() as u64);
        self.observer().pubsub().published_bulk(topic, count - failed, result.is_ok(), started.elapsed());
        result
    }

    /// Under a policy that repeats, what was published once is not published again.
    async fn insist(
        &self,
        policy: &Policy,
        call: &Call,
        topic: &str,
        entries: Vec<BulkEntry>,
        metadata: Metadata,
    ) -> Result<Vec<FailedEntry>, CallError> {
        let count = entries.len();
        let remaining = Mutex::new(entries);
        let left = || remaining.lock().unwrap_or_else(PoisonError::into_inner);
        let attempt = async |number| {
            let (entries, metadata) = (left().clone(), metadata.clone());
            let failed = self.try_bulk_publish(call, number, topic, entries, metadata).await?;
            if failed.is_empty() {
                return Ok(());
            }
            left().retain(|entry| failed.iter().any(|failed| failed.entry_id == entry.entry_id));
            Err(Unpublished::Some(failed))
        };
        match policies::run(policy, self.name(), call.deadline, attempt).await {
            Ok(()) => Ok(Vec::new()),
            Err(Unpublished::Some(failed)) => Ok(failed),
            Err(Unpublished::All(error)) if left().len() == count => Err(error),
            Err(Unpublished::All(error)) => {
                let failed = |entry: &BulkEntry| FailedEntry {
                    entry_id: entry.entry_id.clone(),
                    error: Error::new(ErrorKind::UNAVAILABLE, error.to_string()),
                };
                Ok(left().iter().map(failed).collect())
            }
        }
    }

    async fn try_bulk_publish(
        &self,
        call: &Call,
        attempt: u32,
        topic: &str,
        entries: Vec<BulkEntry>,
        metadata: Metadata,
    ) -> Result<Vec<FailedEntry>, CallError> {
        let (name, entries) = (RString::from(topic), RVec::from(entries));
        let open = self.hold().ok_or_else(|| self.gone())?;
        let publishing =
            |broker: &PubSubObject, context| broker.bulk_publish(context, name, entries, metadata);
        Ok(self.call_on(&open, call, BULK_PUBLISH.attempt(attempt), publishing).await?.into())
    }

    pub(crate) fn capabilities(&self) -> Vec<&'static str> {
        const WORDS: [(PubSubFeatures, &str); 2] = [
            (PubSubFeatures::MESSAGE_TTL, "MESSAGE_TTL"),
            (PubSubFeatures::SUBSCRIBE_WILDCARDS, "SUBSCRIBE_WILDCARDS"),
        ];
        let features = self.features();
        WORDS.iter().filter(|(feature, _)| features.has(*feature)).map(|(_, word)| *word).collect()
    }
}
