//! Metadata over HTTP.

use std::borrow::Cow;

use http::Method;
use mecha_proto::runtime::v1 as pb;
use mecha_runtime::ComponentHealth;
use serde_json::{Map, Value, json};

use super::service;
use crate::http::path::decoded;
use crate::http::request::Request;
use crate::http::response::{Reply, empty};

/// The routes of the block.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route<'a> {
    Get,
    Set { key: Cow<'a, str> },
}

impl<'a> Route<'a> {
    pub(crate) fn of(method: &Method, rest: &'a str) -> Option<Self> {
        match rest {
            "" if method == Method::GET => Some(Self::Get),
            key if method == Method::PUT && !key.is_empty() && !key.contains('/') => {
                Some(Self::Set { key: decoded(key) })
            }
            _ => None,
        }
    }
}

pub(crate) fn answer(route: Route<'_>, request: &Request<'_>) -> Reply {
    match route {
        Route::Get => {
            let mut body = described(service::describe(request.runtime));
            let health: Vec<_> = request.runtime.component_health().iter().map(health).collect();
            if !health.is_empty() {
                body.insert("componentHealth".to_owned(), health.into());
            }
            Reply::of(&body)
        }
        Route::Set { key } => {
            let value = String::from_utf8_lossy(request.body).into_owned();
            service::set(request.runtime, key.into_owned(), value);
            empty()
        }
    }
}

/// The message as Dapr's HTTP API shows it: its own names, and nothing where there is nothing.
fn described(message: pb::GetMetadataResponse) -> Map<String, Value> {
    let mut body = Map::new();
    let mut put = |name: &str, value: Value| {
        if !is_empty(&value) {
            body.insert(name.to_owned(), value);
        }
    };
    put("id", message.id.into());
    put("runtimeVersion", message.runtime_version.into());
    put("enabledFeatures", message.enabled_features.into());
    put("components", message.registered_components.into_iter().map(component).collect());
    put("subscriptions", message.subscriptions.into_iter().map(subscription).collect());
    let endpoints = message.http_endpoints.into_iter();
    put("httpEndpoints", endpoints.map(|endpoint| json!({"name": endpoint.name})).collect());
    put("extended", json!(message.extended_metadata));
    put("appConnectionProperties", message.app_connection_properties.map_or(Value::Null, connection));
    let actors = message.actor_runtime.unwrap_or_default();
    put(
        "actorRuntime",
        json!({
            "runtimeStatus": actors.runtime_status().as_str_name(),
            "hostReady": actors.host_ready,
            "placement": actors.placement,
        }),
    );
    body
}

/// Ours, beside what Dapr shows: whether a component's back end answers, and since when that is so.
fn health(health: &ComponentHealth) -> Value {
    let since = humantime::format_rfc3339_seconds(health.since).to_string();
    let mut shown = json!({"name": health.name, "healthy": health.is_healthy(), "since": since});
    if let Some(error) = &health.error {
        shown["error"] = error.as_str().into();
    }
    shown
}

fn component(component: pb::RegisteredComponents) -> Value {
    let mut described = json!({
        "name": component.name,
        "type": component.r#type,
        "version": component.version,
    });
    if !component.capabilities.is_empty() {
        described["capabilities"] = component.capabilities.into();
    }
    described
}

fn subscription(subscription: pb::PubsubSubscription) -> Value {
    let made = subscription.r#type().as_str_name();
    let mut described = json!({
        "pubsubname": subscription.pubsub_name,
        "topic": subscription.topic,
        "deadLetterTopic": subscription.dead_letter_topic,
        "type": made,
    });
    if !subscription.metadata.is_empty() {
        described["metadata"] = json!(subscription.metadata);
    }
    let rules: Vec<_> = subscription.rules.unwrap_or_default().rules.into_iter().map(rule).collect();
    if !rules.is_empty() {
        described["rules"] = rules.into();
    }
    described
}

fn rule(rule: pb::PubsubSubscriptionRule) -> Value {
    let fields = [("match", Value::from(rule.r#match)), ("path", rule.path.into())];
    let present = fields.into_iter().filter(|(_, value)| !is_empty(value));
    present.map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>().into()
}

fn connection(connection: pb::AppConnectionProperties) -> Value {
    let fields = [
        ("port", json!(connection.port)),
        ("protocol", connection.protocol.into()),
        ("channelAddress", connection.channel_address.into()),
        ("maxConcurrency", json!(connection.max_concurrency)),
    ];
    let present = fields.into_iter().filter(|(_, value)| !is_empty(value));
    present.map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>().into()
}

/// As Go's `omitempty` has it.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(object) => object.is_empty(),
    }
}
