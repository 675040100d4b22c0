//! The Subscription resource: a topic whose messages go to paths of the application.
//!
//! Two versions of it exist. `v1alpha1` names one route, `v2alpha1` rules and a default; both become one type.

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;
use serde_json::Value;

use crate::{
    error::FileErrorKind,
    lenient,
    resource::{ObjectMeta, fix, typed},
    selection::Selectable,
};

/// A subscription as its file declares it. Equality covers every field, so a reload that finds an equal one has nothing to do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Subscription {
    /// Its name.
    pub name: String,
    /// The namespace of its file; empty when the file names none.
    pub namespace: String,
    /// The pub/sub component.
    pub pubsub_name: String,
    /// The topic.
    pub topic: String,
    /// What the pub/sub component is told when it subscribes, and `rawPayload`.
    pub metadata: BTreeMap<String, String>,
    /// Where messages go, in the order in which the rules are tried.
    pub rules: Vec<SubscriptionRule>,
    /// Where messages go that meet no rule; empty when they go nowhere.
    pub default_route: String,
    /// Where messages go that the application did not take; `None` means nowhere.
    pub dead_letter_topic: Option<String>,
    /// Several messages in one call.
    pub bulk: BulkSubscribe,
    /// The application ids that it is for; empty means all.
    pub scopes: Vec<String>,
}

/// A condition and the path of the messages that meet it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct SubscriptionRule {
    /// A CEL expression over `event`; empty when every message meets it.
    #[serde(rename = "match", deserialize_with = "lenient::text")]
    pub condition: String,
    /// The path.
    #[serde(deserialize_with = "lenient::text")]
    pub path: String,
}

/// Several messages in one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BulkSubscribe {
    /// Whether they come so.
    pub enabled: bool,
    /// Most messages at once; `None` means Dapr's default.
    pub max_messages: Option<u32>,
    /// Longest wait for more messages; `None` means Dapr's default.
    pub max_await: Option<Duration>,
}

/// A bulk section as Dapr's files and applications write it.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Bulk {
    #[serde(deserialize_with = "lenient::or_default")]
    enabled: bool,
    #[serde(deserialize_with = "lenient::or_default")]
    max_messages_count: i32,
    #[serde(deserialize_with = "lenient::or_default")]
    max_await_duration_ms: i32,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Document {
    #[serde(deserialize_with = "lenient::or_default")]
    metadata: ObjectMeta,
    #[serde(deserialize_with = "lenient::or_default")]
    spec: Spec,
    #[serde(deserialize_with = "lenient::texts")]
    scopes: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    #[serde(deserialize_with = "lenient::text")]
    pubsubname: String,
    #[serde(deserialize_with = "lenient::text")]
    topic: String,
    #[serde(deserialize_with = "lenient::text_map")]
    metadata: BTreeMap<String, String>,
    #[serde(deserialize_with = "lenient::text")]
    route: String,
    #[serde(deserialize_with = "lenient::or_default")]
    routes: Routes,
    #[serde(deserialize_with = "lenient::optional_text")]
    dead_letter_topic: Option<String>,
    #[serde(deserialize_with = "lenient::or_default")]
    bulk_subscribe: Bulk,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Routes {
    #[serde(deserialize_with = "lenient::or_default")]
    rules: Vec<SubscriptionRule>,
    #[serde(deserialize_with = "lenient::text")]
    default: String,
}

impl Subscription {
    /// Types a document of kind Subscription in version `dapr.io/v1alpha1`.
    pub fn from_v1_document(document: Value) -> Result<Self, FileErrorKind> {
        let document = read(document)?;
        let routes = Routes { rules: Vec::new(), default: document.spec.route.clone() };
        Ok(Self::new(document, routes))
    }

    /// Types a document of kind Subscription in version `dapr.io/v2alpha1`.
    pub fn from_v2_document(document: Value) -> Result<Self, FileErrorKind> {
        let mut document = read(document)?;
        let routes = std::mem::take(&mut document.spec.routes);
        Ok(Self::new(document, routes))
    }

    fn new(document: Document, routes: Routes) -> Self {
        let Document { metadata, spec, scopes } = document;
        Self {
            name: metadata.name,
            namespace: metadata.namespace,
            pubsub_name: spec.pubsubname,
            topic: spec.topic,
            metadata: spec.metadata,
            rules: routes.rules,
            default_route: routes.default,
            dead_letter_topic: spec.dead_letter_topic,
            bulk: BulkSubscribe::new(
                spec.bulk_subscribe.enabled,
                spec.bulk_subscribe.max_messages_count,
                spec.bulk_subscribe.max_await_duration_ms,
            ),
            scopes,
        }
    }
}

impl BulkSubscribe {
    /// From the numbers on the wire, where one that is not positive means the default.
    #[must_use]
    pub fn new(enabled: bool, max_messages_count: i32, max_await_duration_ms: i32) -> Self {
        let positive = |number: i32| u32::try_from(number).ok().filter(|number| *number > 0);
        Self {
            enabled,
            max_messages: positive(max_messages_count),
            max_await: positive(max_await_duration_ms).map(|ms| Duration::from_millis(ms.into())),
        }
    }
}

fn read(mut document: Value) -> Result<Document, FileErrorKind> {
    fix_cases(&mut document);
    let document: Document = typed(document)?;
    document.metadata.check(<Subscription as Selectable>::KIND)?;
    Ok(document)
}

fn fix_cases(document: &mut Value) {
    let Some(root) = document.as_object_mut() else { return };
    lenient::fix_case(root, &["metadata", "spec", "scopes"]);
    fix(root, "metadata", &["name", "namespace"]);
    let known = ["pubsubname", "topic", "metadata", "route", "routes", "deadLetterTopic", "bulkSubscribe"];
    let Some(spec) = fix(root, "spec", &known) else { return };
    fix(spec, "bulkSubscribe", &["enabled", "maxMessagesCount", "maxAwaitDurationMs"]);
    let Some(routes) = fix(spec, "routes", &["rules", "default"]) else { return };
    let rules = routes.get_mut("rules").and_then(Value::as_array_mut);
    for rule in rules.into_iter().flatten().filter_map(Value::as_object_mut) {
        lenient::fix_case(rule, &["match", "path"]);
    }
}

impl Selectable for Subscription {
    const KIND: &'static str = "Subscription";

    fn name(&self) -> &str {
        &self.name
    }

    fn namespace(&self) -> &str {
        &self.namespace
    }

    fn scopes(&self) -> &[String] {
        &self.scopes
    }

    fn log_name(&self) -> String {
        self.name.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml;

    fn v1(text: &str) -> Result<Subscription, FileErrorKind> {
        Subscription::from_v1_document(yaml::parse(text).unwrap())
    }

    fn v2(text: &str) -> Result<Subscription, FileErrorKind> {
        Subscription::from_v2_document(yaml::parse(text).unwrap())
    }

    #[test]
    fn reads_one_route() {
        let subscription = v1("
metadata: {name: mysub, namespace: prod}
spec:
  pubsubname: mypub
  topic: a
  route: /a
  routes: {default: /ignored}
  deadLetterTopic: dead
  metadata: {rawPayload: true, count: 5}
  bulkSubscribe: {enabled: true, maxMessagesCount: 100, maxAwaitDurationMs: 40}
scopes: [app1, app2]")
        .unwrap();
        let metadata =
            [("count", "5"), ("rawPayload", "true")].map(|(name, value)| (name.into(), value.into()));
        let bulk = BulkSubscribe {
            enabled: true,
            max_messages: Some(100),
            max_await: Some(Duration::from_millis(40)),
        };
        let expected = Subscription {
            name: "mysub".into(),
            namespace: "prod".into(),
            pubsub_name: "mypub".into(),
            topic: "a".into(),
            metadata: metadata.into(),
            rules: Vec::new(),
            default_route: "/a".into(),
            dead_letter_topic: Some("dead".into()),
            bulk,
            scopes: vec!["app1".into(), "app2".into()],
        };
        assert_eq!(subscription, expected);
        assert!(subscription.is_in_scope("app2") && !subscription.is_in_scope("app3"));
    }

    #[test]
    fn reads_rules_and_a_default() {
        let subscription = v2("
metadata: {name: mysub}
spec:
  PubsubName: mypub
  topic: a
  route: /ignored
  routes:
    default: /def
    rules:
    - {match: event.type == 'x', path: /x}
    - {path: /y}
    - {Match: null, path: /z}
  deadLetterTopic: ''
  bulkSubscribe: {enabled: false, maxMessagesCount: -1, maxAwaitDurationMs: 0}")
        .unwrap();
        let rules: Vec<_> =
            subscription.rules.iter().map(|r| (r.condition.as_str(), r.path.as_str())).collect();
        assert_eq!(rules, [("event.type == 'x'", "/x"), ("", "/y"), ("", "/z")]);
        assert_eq!(
            (subscription.default_route.as_str(), subscription.pubsub_name.as_str()),
            ("/def", "mypub")
        );
        assert_eq!((subscription.dead_letter_topic, subscription.bulk), (None, BulkSubscribe::default()));
    }

    #[test]
    fn names_the_field_that_is_wrong() {
        for (text, field) in [
            ("metadata: {name: s}\nspec: {routes: {rules: [{match: [x]}]}}", "spec.routes.rules[0].match"),
            (
                "metadata: {name: s}\nspec: {bulkSubscribe: {maxMessagesCount: many}}",
                "spec.bulkSubscribe.maxMessagesCount",
            ),
            ("metadata: {name: s}\nspec: {metadata: {a: {b: c}}}", "spec.metadata"),
            ("spec: {topic: t}", "metadata.name"),
        ] {
            match v2(text).unwrap_err() {
                FileErrorKind::Field { field: found, .. } => assert_eq!(found, field),
                other => panic!("{other:?}"),
            }
        }
    }
}
