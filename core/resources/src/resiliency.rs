//! The Resiliency resource: named policies, and what they apply to.
//!
//! Durations, status codes and conditions stay the texts they are. What is wrong with one of them makes its policy unusable, not
//! the file, and Dapr says so when it makes policies of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;

use crate::{
    error::FileErrorKind,
    lenient,
    resource::{ObjectMeta, fix, typed},
    selection::Selectable,
};

/// Policies as a file declares them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Resiliency {
    /// Its name.
    pub name: String,
    /// The namespace of its file; empty when the file names none.
    pub namespace: String,
    /// The policies by name.
    pub policies: Policies,
    /// What they apply to.
    pub targets: Targets,
    /// The application ids that it is for; empty means all.
    pub scopes: Vec<String>,
}

/// Policies by name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Policies {
    /// Durations: a Go duration, or a number of milliseconds.
    #[serde(deserialize_with = "lenient::text_map")]
    pub timeouts: BTreeMap<String, String>,
    /// Retries.
    #[serde(deserialize_with = "lenient::named")]
    pub retries: BTreeMap<String, RetryPolicy>,
    /// Circuit breakers.
    #[serde(deserialize_with = "lenient::named")]
    pub circuit_breakers: BTreeMap<String, CircuitBreakerPolicy>,
}

/// A retry policy; an empty text means Dapr's default.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RetryPolicy {
    /// `constant` or `exponential`.
    #[serde(deserialize_with = "lenient::text")]
    pub policy: String,
    /// The pause of `constant`.
    #[serde(deserialize_with = "lenient::text")]
    pub duration: String,
    /// The longest pause of `exponential`.
    #[serde(deserialize_with = "lenient::text")]
    pub max_interval: String,
    /// Most retries; -1 is without end, `None` Dapr's default.
    #[serde(deserialize_with = "optional_number")]
    pub max_retries: Option<i64>,
    /// Which failures are tried again; `None` means all.
    pub matching: Option<RetryMatching>,
}

/// Which failures are tried again.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RetryMatching {
    /// HTTP status codes, such as `429,500-599`.
    #[serde(deserialize_with = "lenient::text")]
    pub http_status_codes: String,
    /// gRPC status codes.
    #[serde(rename = "gRPCStatusCodes", deserialize_with = "lenient::text")]
    pub grpc_status_codes: String,
}

/// A circuit breaker; an empty text means Dapr's default.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct CircuitBreakerPolicy {
    /// Requests let through while it is half open.
    #[serde(deserialize_with = "optional_number")]
    pub max_requests: Option<i64>,
    /// How often its counters start again while it is closed.
    #[serde(deserialize_with = "lenient::text")]
    pub interval: String,
    /// How long it stays open.
    #[serde(deserialize_with = "lenient::text")]
    pub timeout: String,
    /// A CEL expression over its counters that says when it opens.
    #[serde(deserialize_with = "lenient::text")]
    pub trip: String,
}

/// What policies apply to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Targets {
    /// Invocations of an application, by its id.
    #[serde(deserialize_with = "lenient::named")]
    pub apps: BTreeMap<String, AppPolicies>,
    /// Calls of actors, by their type.
    #[serde(deserialize_with = "lenient::named")]
    pub actors: BTreeMap<String, ActorPolicies>,
    /// Calls of a component, by its name.
    #[serde(deserialize_with = "lenient::named")]
    pub components: BTreeMap<String, ComponentPolicies>,
}

/// The names of the policies of one direction; an empty name is none.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PolicyNames {
    /// A timeout.
    #[serde(deserialize_with = "lenient::text")]
    pub timeout: String,
    /// A retry policy.
    #[serde(deserialize_with = "lenient::text")]
    pub retry: String,
    /// A circuit breaker.
    #[serde(deserialize_with = "lenient::text")]
    pub circuit_breaker: String,
}

/// The policies of an application's invocations.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct AppPolicies {
    /// Their names.
    #[serde(flatten)]
    pub names: PolicyNames,
    /// How many circuit breakers are kept; `None` means Dapr's default.
    #[serde(deserialize_with = "optional_number")]
    pub circuit_breaker_cache_size: Option<i64>,
}

/// The policies of an actor type's calls.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ActorPolicies {
    /// Their names.
    #[serde(flatten)]
    pub names: PolicyNames,
    /// `id`, `type` or `both`: what shares a circuit breaker.
    #[serde(deserialize_with = "lenient::text")]
    pub circuit_breaker_scope: String,
    /// How many circuit breakers are kept; `None` means Dapr's default.
    #[serde(deserialize_with = "optional_number")]
    pub circuit_breaker_cache_size: Option<i64>,
}

/// The policies of a component's calls.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct ComponentPolicies {
    /// From the component to the application: messages, events of input bindings.
    #[serde(deserialize_with = "lenient::or_default")]
    pub inbound: PolicyNames,
    /// From the application to the component.
    #[serde(deserialize_with = "lenient::or_default")]
    pub outbound: PolicyNames,
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
#[serde(default)]
struct Spec {
    #[serde(deserialize_with = "lenient::or_default")]
    policies: Policies,
    #[serde(deserialize_with = "lenient::or_default")]
    targets: Targets,
}

impl Resiliency {
    /// Types a document of kind Resiliency. It needs no name: Dapr puts the policies of all files together.
    pub fn from_document(mut document: Value) -> Result<Self, FileErrorKind> {
        fix_cases(&mut document);
        let Document { metadata, spec, scopes } = typed(document)?;
        let (name, namespace) = (metadata.name, metadata.namespace);
        Ok(Self { name, namespace, policies: spec.policies, targets: spec.targets, scopes })
    }
}

/// A whole number, as a number or as text.
fn optional_number<'de, D: Deserializer<'de>>(from: D) -> Result<Option<i64>, D::Error> {
    let value = Value::deserialize(from)?;
    let number = match &value {
        Value::Null => return Ok(None),
        Value::String(text) => text.trim().parse().ok(),
        other => other.as_i64(),
    };
    number.map(Some).ok_or_else(|| D::Error::custom(format!("{value} is not a whole number")))
}

fn fix_cases(document: &mut Value) {
    let Some(root) = document.as_object_mut() else { return };
    lenient::fix_case(root, &["metadata", "spec", "scopes"]);
    fix(root, "metadata", &["name", "namespace"]);
    let Some(spec) = fix(root, "spec", &["policies", "targets"]) else { return };
    if let Some(policies) = fix(spec, "policies", &["timeouts", "retries", "circuitBreakers"]) {
        fix_each(policies, "retries", &["policy", "duration", "maxInterval", "maxRetries", "matching"]);
        fix_each(policies, "circuitBreakers", &["maxRequests", "interval", "timeout", "trip"]);
        for retry in each(policies, "retries") {
            fix(retry, "matching", &["httpStatusCodes", "gRPCStatusCodes"]);
        }
    }
    let Some(targets) = fix(spec, "targets", &["apps", "actors", "components"]) else { return };
    let names = ["timeout", "retry", "circuitBreaker", "circuitBreakerScope", "circuitBreakerCacheSize"];
    fix_each(targets, "apps", &names);
    fix_each(targets, "actors", &names);
    fix_each(targets, "components", &["inbound", "outbound"]);
    for component in each(targets, "components") {
        fix(component, "inbound", &names[..3]);
        fix(component, "outbound", &names[..3]);
    }
}

type Map = serde_json::Map<String, Value>;

fn each<'a>(parent: &'a mut Map, field: &str) -> impl Iterator<Item = &'a mut Map> {
    let named = parent.get_mut(field).and_then(Value::as_object_mut);
    named.into_iter().flat_map(|named| named.values_mut()).filter_map(Value::as_object_mut)
}

fn fix_each(parent: &mut Map, field: &str, known: &[&str]) {
    each(parent, field).for_each(|map| lenient::fix_case(map, known));
}

impl Selectable for Resiliency {
    const KIND: &'static str = "Resiliency";

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

    fn read(text: &str) -> Result<Resiliency, FileErrorKind> {
        Resiliency::from_document(yaml::parse(text).unwrap())
    }

    #[test]
    fn reads_policies() {
        let resiliency = read("
metadata: {name: r}
spec:
  policies:
    timeouts: {general: 5s, plain: 500}
    retries:
      forever: {policy: exponential, maxInterval: 15s, maxRetries: -1}
      matching: {policy: constant, duration: 5s, maxRetries: 3, matching: {httpStatusCodes: 500, gRPCStatusCodes: '1,2-4'}}
      bare:
    circuitBreakers:
      cb: {maxRequests: 1, interval: 8s, timeout: 45s, trip: consecutiveFailures > 8}
scopes: [app]")
        .unwrap();
        let policies = &resiliency.policies;
        assert_eq!(
            (policies.timeouts["general"].as_str(), policies.timeouts["plain"].as_str()),
            ("5s", "500")
        );
        assert_eq!(
            (policies.retries["forever"].max_retries, &policies.retries["forever"].matching),
            (Some(-1), &None)
        );
        let matching = policies.retries["matching"].matching.as_ref().unwrap();
        assert_eq!(
            (matching.http_status_codes.as_str(), matching.grpc_status_codes.as_str()),
            ("500", "1,2-4")
        );
        let breaker = &policies.circuit_breakers["cb"];
        assert_eq!((breaker.max_requests, breaker.trip.as_str()), (Some(1), "consecutiveFailures > 8"));
        assert!(!resiliency.is_in_scope("other"));
    }

    #[test]
    fn reads_targets() {
        let resiliency = read("
metadata: {name: r}
spec:
  targets:
    apps: {appB: {timeout: general, retry: serviceRetry, circuitBreaker: serviceCB, circuitBreakerCacheSize: 100}}
    actors: {myType: {circuitbreaker: actorCB, circuitBreakerScope: both, circuitBreakerCacheSize: 5000}}
    components:
      pubsub2: {outbound: {retry: pubsubRetry}, inbound: {timeout: general, circuitBreaker: pubsubCB}}")
        .unwrap();
        let targets = &resiliency.targets;
        let app = &targets.apps["appB"];
        assert_eq!((app.names.retry.as_str(), app.circuit_breaker_cache_size), ("serviceRetry", Some(100)));
        let actor = &targets.actors["myType"];
        assert_eq!(
            (actor.names.circuit_breaker.as_str(), actor.circuit_breaker_scope.as_str()),
            ("actorCB", "both")
        );
        let component = &targets.components["pubsub2"];
        assert_eq!(
            (component.inbound.timeout.as_str(), component.outbound.timeout.as_str()),
            ("general", "")
        );
        assert_eq!(
            read("metadata: {name: r}").unwrap(),
            Resiliency { name: "r".into(), ..Resiliency::default() }
        );
    }

    #[test]
    fn refuses_what_has_the_wrong_shape() {
        for text in ["spec: {policies: {retries: {a: {maxRetries: many}}}}", "spec: {targets: {apps: [x]}}"] {
            assert!(read(&format!("metadata: {{name: r}}\n{text}")).is_err(), "{text}");
        }
    }
}
