//! What the policies are made of: a Resiliency resource as plain fields, texts where its file has texts.
//!
//! The fields have the names and meanings of the resource, so that a reader of files can hand them over one to one. An empty
//! text and `None` both mean that the file says nothing, and then Dapr's default holds.

use std::collections::BTreeMap;

use serde::Deserialize;

/// One resource. Whether its scopes admit the application is decided before it comes here.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Resiliency {
    /// Its name, a label of every metric.
    pub name: String,
    /// Its namespace, as well.
    pub namespace: String,
    /// The policies by name.
    pub policies: Policies,
    /// What they apply to.
    pub targets: Targets,
}

/// Policies by name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Policies {
    /// Durations: a Go duration, or a number of milliseconds.
    pub timeouts: BTreeMap<String, String>,
    /// Retries.
    pub retries: BTreeMap<String, Retry>,
    /// Circuit breakers.
    pub circuit_breakers: BTreeMap<String, CircuitBreaker>,
}

/// A retry policy.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Retry {
    /// `constant` (the default) or `exponential`, in any case.
    pub policy: String,
    /// The pause of `constant`; 5 s by default.
    pub duration: String,
    /// The longest pause of `exponential`; 60 s by default.
    pub max_interval: String,
    /// Most retries; below zero is without end, which is the default.
    pub max_retries: Option<i64>,
    /// Which failures are tried again; all by default.
    pub matching: Option<RetryMatching>,
}

/// Which failures are tried again.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RetryMatching {
    /// HTTP status codes such as `429,501-503`; empty means all.
    pub http_status_codes: String,
    /// gRPC status codes such as `1,3-14`; empty means all.
    #[serde(rename = "gRPCStatusCodes")]
    pub grpc_status_codes: String,
}

/// A circuit breaker.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct CircuitBreaker {
    /// Requests let through while it is half open; 1 by default.
    pub max_requests: Option<i64>,
    /// How often the counts start again while it is closed; never by default.
    pub interval: String,
    /// How long it stays open; 60 s by default.
    pub timeout: String,
    /// The CEL expression that says when it opens; `consecutiveFailures > 5` by default.
    pub trip: String,
}

/// What policies apply to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Targets {
    /// Invocations of an application, by its id.
    pub apps: BTreeMap<String, AppPolicies>,
    /// Calls of actors, by their type.
    pub actors: BTreeMap<String, ActorPolicies>,
    /// Calls of a component, by its name.
    pub components: BTreeMap<String, ComponentPolicies>,
}

/// The names of the policies of one direction; an empty name is none.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PolicyNames {
    /// A timeout.
    pub timeout: String,
    /// A retry policy.
    pub retry: String,
    /// A circuit breaker.
    pub circuit_breaker: String,
}

/// The policies of an application's invocations.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct AppPolicies {
    /// Their names.
    #[serde(flatten)]
    pub names: PolicyNames,
    /// How many circuit breakers are kept, one for each endpoint; 100 by default.
    pub circuit_breaker_cache_size: Option<i64>,
}

/// The policies of an actor type's calls.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ActorPolicies {
    /// Their names.
    #[serde(flatten)]
    pub names: PolicyNames,
    /// `id`, `type` or `both`: what shares a circuit breaker. It has no default.
    pub circuit_breaker_scope: String,
    /// How many circuit breakers are kept; 5000 by default.
    pub circuit_breaker_cache_size: Option<i64>,
}

/// The policies of a component's calls.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ComponentPolicies {
    /// From the component to the application: messages, events of input bindings.
    pub inbound: PolicyNames,
    /// From the application to the component.
    pub outbound: PolicyNames,
}
