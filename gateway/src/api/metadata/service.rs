//! The runtime's description of itself, in the protocol's message.

use std::collections::HashMap;

use mecha_events::{Origin, SubscriptionSpec};
use mecha_proto::runtime::v1 as pb;
use mecha_runtime::Runtime;

/// Shown beside what applications stored; SDKs read the first as the runtime's version.
const RUNTIME_VERSION: &str = "daprRuntimeVersion";
/// What Dapr says where no placement service is configured.
const NO_PLACEMENT: &str = "placement: disconnected";

pub(super) fn describe(runtime: &Runtime) -> pb::GetMetadataResponse {
    let registry = runtime.registry();
    let components = registry.components().iter().map(|component| pb::RegisteredComponents {
        name: component.name.clone(),
        r#type: component.type_name.clone(),
        version: component.version.clone(),
        capabilities: component.capabilities.iter().map(|word| (*word).to_owned()).collect(),
    });
    let connection = runtime.connection();
    let app_connection_properties = Some(pb::AppConnectionProperties {
        port: connection.port.map_or(0, i32::from),
        protocol: connection.protocol.clone(),
        channel_address: connection.channel_address.clone(),
        max_concurrency: connection.max_concurrency.max(0),
        health: None,
    });
    let configuration = runtime.configuration();
    pb::GetMetadataResponse {
        id: runtime.app().id.to_string(),
        runtime_version: crate::DAPR_VERSION.to_owned(),
        registered_components: components.collect(),
        extended_metadata: extended(runtime),
        enabled_features: configuration.enabled_features().into_iter().map(str::to_owned).collect(),
        app_connection_properties,
        http_endpoints: http_endpoints(runtime),
        subscriptions: runtime.subscriptions().iter().map(|spec| subscription(spec)).collect(),
        actor_runtime: Some(pb::ActorRuntime {
            runtime_status: pb::actor_runtime::ActorRuntimeStatus::Disabled.into(),
            placement: NO_PLACEMENT.to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn http_endpoints(runtime: &Runtime) -> Vec<pb::MetadataHttpEndpoint> {
    let names = runtime.invocation().endpoint_names().into_iter();
    names.map(|name| pb::MetadataHttpEndpoint { name }).collect()
}

fn subscription(spec: &SubscriptionSpec) -> pb::PubsubSubscription {
    let rules = spec.rules.as_slice().iter().map(|rule| pb::PubsubSubscriptionRule {
        r#match: rule.condition().to_owned(),
        path: rule.path().to_owned(),
    });
    let made = match spec.origin {
        Origin::Declarative => pb::PubsubSubscriptionType::Declarative,
        Origin::Programmatic => pb::PubsubSubscriptionType::Programmatic,
        Origin::Streaming => pb::PubsubSubscriptionType::Streaming,
    };
    pb::PubsubSubscription {
        pubsub_name: spec.pubsub.clone(),
        topic: spec.topic.clone(),
        metadata: spec.metadata.clone().into_iter().collect(),
        rules: Some(pb::PubsubSubscriptionRules { rules: rules.collect() }),
        dead_letter_topic: spec.dead_letter_topic.clone().unwrap_or_default(),
        r#type: made.into(),
    }
}

fn extended(runtime: &Runtime) -> HashMap<String, String> {
    let mut extended: HashMap<String, String> = runtime.extended_metadata().into_iter().collect();
    extended.insert(RUNTIME_VERSION.to_owned(), crate::DAPR_VERSION.to_owned());
    extended
}

/// Stores one value; as in Dapr an empty key is passed over.
pub(super) fn set(runtime: &Runtime, key: String, value: String) {
    if !key.is_empty() {
        runtime.set_extended_metadata(key, value);
    }
}
