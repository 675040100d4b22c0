//! An HTTP application's list of subscriptions: what it answers to `GET /dapr/subscribe`.

use std::collections::BTreeMap;
use std::fmt;

use mecha_resources::BulkSubscribe;
use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};

use super::{Parts, SubscriptionError, SubscriptionSpec};
use crate::RuleCompiler;

/// An application's subscriptions.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Programmatic {
    /// Those that can be used, in the list's order.
    pub subscriptions: Vec<SubscriptionSpec>,
    /// Those that cannot, each to be warned of; the others hold all the same.
    pub refused: Vec<Refused>,
}

/// An entry of the list that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Its place in the list, from 0.
    pub index: usize,
    /// Its topic; empty when it names none.
    pub topic: String,
    /// Why.
    pub reason: SubscriptionError,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { index, topic, reason } = self;
        write!(f, "entry {index} (topic {topic:?}) of the application's subscriptions is not used: {reason}")
    }
}

/// The answer is no list; the text is Dapr's.
#[derive(Debug, thiserror::Error)]
#[error("error getting topics from app: {0}")]
pub struct ListError(#[from] serde_json::Error);

/// One entry, with its keys in lower case: Go's reader ignores their case.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Entry {
    pubsubname: Option<String>,
    topic: Option<String>,
    deadlettertopic: Option<String>,
    metadata: Option<BTreeMap<String, Value>>,
    route: Option<String>,
    routes: Option<Routes>,
    bulksubscribe: Option<Bulk>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Routes {
    rules: Option<Vec<Option<Condition>>>,
    default: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Condition {
    r#match: Option<String>,
    path: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Bulk {
    enabled: Option<bool>,
    maxmessagescount: Option<i32>,
    maxawaitdurationms: Option<i32>,
}

/// Reads an application's answer. An empty one and `null` are an empty list; what follows the list is not looked at.
///
/// # Errors
/// An answer that is no JSON list.
pub fn read_programmatic(answer: &[u8], compiler: &RuleCompiler) -> Result<Programmatic, ListError> {
    let text = String::from_utf8_lossy(answer);
    let mut values = serde_json::Deserializer::from_str(&text).into_iter::<Option<Vec<&RawValue>>>();
    let entries = values.next().transpose()?.flatten().unwrap_or_default();
    let mut read = Programmatic::default();
    for (index, entry) in entries.into_iter().enumerate() {
        let parts = parts_of(entry.get());
        let topic = parts.as_ref().map(|parts| parts.topic.clone()).unwrap_or_default();
        match parts.and_then(|parts| SubscriptionSpec::from_http(parts, compiler)) {
            Ok(subscription) => read.subscriptions.push(subscription),
            Err(reason) => read.refused.push(Refused { index, topic, reason }),
        }
    }
    Ok(read)
}

fn parts_of(entry: &str) -> Result<Parts, SubscriptionError> {
    let shape = |error: serde_json::Error| SubscriptionError::Shape(error.to_string());
    let mut value: Value = serde_json::from_str(entry).map_err(shape)?;
    lower_keys(&mut value);
    let entry = Option::<Entry>::deserialize(value).map_err(shape)?.unwrap_or_default();
    let routes = entry.routes.unwrap_or_default();
    let rules = routes.rules.unwrap_or_default().into_iter().map(|rule| {
        let rule = rule.unwrap_or_default();
        (rule.r#match.unwrap_or_default(), rule.path.unwrap_or_default())
    });
    let default = routes.default.filter(|path| !path.is_empty()).or(entry.route);
    let bulk = entry.bulksubscribe.unwrap_or_default();
    Ok(Parts {
        pubsub: entry.pubsubname.unwrap_or_default(),
        topic: entry.topic.unwrap_or_default(),
        metadata: entry.metadata.unwrap_or_default().into_iter().map(text_of).collect::<Result<_, _>>()?,
        dead_letter_topic: entry.deadlettertopic.unwrap_or_default(),
        rules: rules.collect(),
        default_route: default.unwrap_or_default(),
        bulk: BulkSubscribe::new(
            bulk.enabled.unwrap_or_default(),
            bulk.maxmessagescount.unwrap_or_default(),
            bulk.maxawaitdurationms.unwrap_or_default(),
        ),
    })
}

/// Dapr takes texts only; a number or boolean means what it looks like.
fn text_of((name, value): (String, Value)) -> Result<(String, String), SubscriptionError> {
    let text = match value {
        Value::Null => String::new(),
        Value::String(text) => text,
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(_) | Value::Object(_) => {
            return Err(SubscriptionError::Shape(format!("metadata.{name} is no text")));
        }
    };
    Ok((name, text))
}

/// Lowers the keys that are the protocol's, not those of metadata.
fn lower_keys(entry: &mut Value) {
    let Some(entry) = lowered(entry) else { return };
    entry.get_mut("bulksubscribe").and_then(lowered);
    let Some(routes) = entry.get_mut("routes").and_then(lowered) else { return };
    let rules = routes.get_mut("rules").and_then(Value::as_array_mut);
    for rule in rules.into_iter().flatten() {
        lowered(rule);
    }
}

fn lowered(value: &mut Value) -> Option<&mut Map<String, Value>> {
    let map = value.as_object_mut()?;
    *map = std::mem::take(map).into_iter().map(|(key, value)| (key.to_ascii_lowercase(), value)).collect();
    Some(map)
}
