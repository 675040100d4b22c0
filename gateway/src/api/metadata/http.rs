//! Metadata over HTTP.

use bytes::Bytes;
use mecha_runtime::Runtime;
use serde_json::{Value, json};

use super::service;
use crate::http::response::{Reply, empty};

pub(crate) fn get(runtime: &Runtime) -> Reply {
    let described = service::describe(runtime);
    let components: Vec<_> = described
        .registered_components
        .iter()
        .map(|component| {
            json!({
                "name": component.name,
                "type": component.r#type,
                "version": component.version,
                "capabilities": component.capabilities,
            })
        })
        .collect();
    let mut body = json!({
        "id": described.id,
        "runtimeVersion": described.runtime_version,
        "extended": described.extended_metadata,
        "components": components,
        "actorRuntime": {"runtimeStatus": "DISABLED", "hostReady": false, "placement": ""},
    });
    if !described.enabled_features.is_empty() {
        body["enabledFeatures"] = json!(described.enabled_features);
    }
    if let Some(connection) = described.app_connection_properties {
        body["appConnectionProperties"] = json!({
            "port": connection.port,
            "protocol": connection.protocol,
            "channelAddress": connection.channel_address,
            "maxConcurrency": connection.max_concurrency,
        });
    }
    Reply::of::<Value>(&body)
}

pub(crate) fn set(runtime: &Runtime, key: &str, body: &Bytes) -> Reply {
    runtime.set_extended_metadata(key.to_owned(), String::from_utf8_lossy(body).into_owned());
    empty()
}
