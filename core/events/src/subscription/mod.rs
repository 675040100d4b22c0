//! Subscriptions, resolved: one type, whether a file declares them, the application names them or a stream asks for them.
//!
//! `programmatic` reads an HTTP application's list. [`in_scope`] and [`effective`] say which of all subscriptions hold.

mod programmatic;

use std::collections::BTreeMap;
use std::time::Duration;

use mecha_resources::{BulkSubscribe, Selectable as _, Subscription};

use crate::{MetadataError, Rule, RuleCompiler, RuleError, Rules, raw_payload};

pub use programmatic::{ListError, Programmatic, Refused, read_programmatic};

/// Most messages in one call when the subscription does not say.
const DEFAULT_MAX_MESSAGES: u32 = 100;
/// Longest wait for more messages when the subscription does not say.
const DEFAULT_MAX_AWAIT: Duration = Duration::from_secs(1);

/// One subscription, ready to be started. Two are equal when they mean the same.
#[derive(Debug, Clone, PartialEq)]
pub struct SubscriptionSpec {
    /// The resource's name, of a declarative one.
    pub name: Option<String>,
    /// The pub/sub component.
    pub pubsub: String,
    /// The topic.
    pub topic: String,
    /// What the pub/sub component is told when it subscribes.
    pub metadata: BTreeMap<String, String>,
    /// Where messages go that the application did not take.
    pub dead_letter_topic: Option<String>,
    /// Where messages go. Without rules they go nowhere.
    pub rules: Rules,
    /// Several messages in one call.
    pub bulk: Bulk,
    /// Where it comes from.
    pub origin: Origin,
}

/// Several messages in one call, with Dapr's defaults filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bulk {
    /// Whether they come so.
    pub enabled: bool,
    /// Most messages in one call.
    pub max_messages: u32,
    /// Longest wait for more messages.
    pub max_await: Duration,
}

/// Where a subscription comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A file.
    Declarative,
    /// The application's list.
    Programmatic,
    /// A stream that the application opened.
    Streaming,
}

/// A subscription in plain parts, as the gRPC messages have them.
#[derive(Debug, Clone, Default)]
pub struct Parts {
    /// The pub/sub component.
    pub pubsub: String,
    /// The topic.
    pub topic: String,
    /// What the pub/sub component is told when it subscribes.
    pub metadata: BTreeMap<String, String>,
    /// Where messages go that the application did not take; empty means nowhere.
    pub dead_letter_topic: String,
    /// Conditions and paths, in order.
    pub rules: Vec<(String, String)>,
    /// Where messages go that meet no rule; empty when they go nowhere.
    pub default_route: String,
    /// Several messages in one call.
    pub bulk: BulkSubscribe,
}

/// Why a subscription cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubscriptionError {
    /// It names no pub/sub component.
    #[error("it names no pub/sub component")]
    NoPubSub,
    /// It names no topic.
    #[error("it names no topic")]
    NoTopic,
    /// It has no route; the text is Dapr's.
    #[error("topic {0} has an empty routes. removing from subscriptions list")]
    NoRoute(String),
    /// A condition cannot be used.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// A field has the wrong type.
    #[error("{0}")]
    Shape(String),
}

impl SubscriptionSpec {
    /// From a resource. One without routes is valid: its messages go to the dead-letter topic or nowhere.
    ///
    /// # Errors
    /// A condition that cannot be used.
    pub fn declarative(resource: &Subscription, compiler: &RuleCompiler) -> Result<Self, RuleError> {
        let rules = resource.rules.iter().map(|rule| (rule.condition.as_str(), rule.path.as_str()));
        Ok(Self {
            name: Some(resource.name.clone()),
            pubsub: resource.pubsub_name.clone(),
            topic: resource.topic.clone(),
            metadata: resource.metadata.clone(),
            dead_letter_topic: resource.dead_letter_topic.clone(),
            rules: rules_of(rules, &resource.default_route, compiler)?,
            bulk: resource.bulk.into(),
            origin: Origin::Declarative,
        })
    }

    /// From an entry of an HTTP application's list, which must have a route.
    ///
    /// # Errors
    /// An entry that names no component, topic or route, or a condition that cannot be used.
    pub fn from_http(parts: Parts, compiler: &RuleCompiler) -> Result<Self, SubscriptionError> {
        if parts.rules.is_empty() && parts.default_route.is_empty() {
            return Err(SubscriptionError::NoRoute(parts.topic));
        }
        Self::programmatic(parts, compiler)
    }

    /// From an entry of a gRPC application's list. Without routes its messages go to the empty path.
    ///
    /// # Errors
    /// An entry that names no component or topic, or a condition that cannot be used.
    pub fn from_grpc(mut parts: Parts, compiler: &RuleCompiler) -> Result<Self, SubscriptionError> {
        if parts.rules.is_empty() && parts.default_route.is_empty() {
            parts.rules.push((String::new(), String::new()));
        }
        Self::programmatic(parts, compiler)
    }

    /// From the first message of a stream, whose routes and bulk section do not count: every message goes to the stream.
    ///
    /// # Errors
    /// A request that names no component or topic.
    pub fn streaming(parts: Parts, compiler: &RuleCompiler) -> Result<Self, SubscriptionError> {
        let rules = vec![(String::new(), "/".to_owned())];
        let parts = Parts { rules, default_route: String::new(), bulk: BulkSubscribe::default(), ..parts };
        Ok(Self { origin: Origin::Streaming, ..Self::programmatic(parts, compiler)? })
    }

    fn programmatic(parts: Parts, compiler: &RuleCompiler) -> Result<Self, SubscriptionError> {
        if parts.pubsub.is_empty() {
            return Err(SubscriptionError::NoPubSub);
        }
        if parts.topic.is_empty() {
            return Err(SubscriptionError::NoTopic);
        }
        let rules = parts.rules.iter().map(|(condition, path)| (condition.as_str(), path.as_str()));
        Ok(Self {
            name: None,
            rules: rules_of(rules, &parts.default_route, compiler)?,
            pubsub: parts.pubsub,
            topic: parts.topic,
            metadata: parts.metadata,
            dead_letter_topic: Some(parts.dead_letter_topic).filter(|topic| !topic.is_empty()),
            bulk: parts.bulk.into(),
            origin: Origin::Programmatic,
        })
    }

    /// Whether messages come without an envelope.
    ///
    /// # Errors
    /// `rawPayload` that is no boolean. Dapr finds that with each message, which it then retries or sends to the dead-letter topic.
    pub fn raw_payload(&self) -> Result<bool, MetadataError> {
        raw_payload(self.metadata.iter().map(|(name, value)| (name.as_str(), value.as_str())))
    }
}

impl From<BulkSubscribe> for Bulk {
    fn from(bulk: BulkSubscribe) -> Self {
        Self {
            enabled: bulk.enabled,
            max_messages: bulk.max_messages.unwrap_or(DEFAULT_MAX_MESSAGES),
            max_await: bulk.max_await.unwrap_or(DEFAULT_MAX_AWAIT),
        }
    }
}

/// The resources that are an application's. Of several with one name the last one counts, at its own place in the order.
#[must_use]
pub fn in_scope(resources: impl IntoIterator<Item = Subscription>, app_id: &str) -> Vec<Subscription> {
    let mut own: Vec<Subscription> = Vec::new();
    for resource in resources.into_iter().filter(|resource| resource.is_in_scope(app_id)) {
        own.retain(|other| other.name != resource.name);
        own.push(resource);
    }
    own
}

/// The subscriptions that hold, one for each topic of a component: the application's last word, or else the first declaration.
/// Streams are beside these.
#[must_use]
pub fn effective(
    declarative: impl IntoIterator<Item = SubscriptionSpec>,
    programmatic: impl IntoIterator<Item = SubscriptionSpec>,
) -> Vec<SubscriptionSpec> {
    let mut places = BTreeMap::new();
    let mut effective: Vec<SubscriptionSpec> = Vec::new();
    for spec in declarative.into_iter().chain(programmatic) {
        let key = (spec.pubsub.clone(), spec.topic.clone());
        let place = *places.entry(key).or_insert(effective.len());
        match effective.get_mut(place) {
            Some(_) if spec.origin == Origin::Declarative => {}
            Some(other) => *other = spec,
            None => effective.push(spec),
        }
    }
    effective
}

fn rules_of<'r>(
    rules: impl Iterator<Item = (&'r str, &'r str)>,
    default_route: &'r str,
    compiler: &RuleCompiler,
) -> Result<Rules, RuleError> {
    let default = Some(("", default_route)).filter(|(_, path)| !path.is_empty());
    let rules = rules.chain(default).map(|(condition, path)| compiler.rule(condition, path));
    Ok(compiler.rules(rules.collect::<Result<Vec<Rule>, RuleError>>()?))
}

#[cfg(test)]
mod tests;
