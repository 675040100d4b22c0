//! The semantics of configuration, with Dapr's errors.

use std::sync::Arc;

use http::StatusCode;
use mecha_plugin_api::Metadata;
use mecha_plugin_api::configuration::ConfigurationItem;
use mecha_runtime::{Call, ConfigurationStore, ConfigurationWatch, Missing, Runtime};
use tonic::Code;

use crate::error::ApiError;

const CATEGORY: &str = "configuration";

pub(super) fn find(runtime: &Runtime, store: &str) -> Result<Arc<ConfigurationStore>, ApiError> {
    let registry = runtime.registry();
    registry.configuration_store(store).cloned().map_err(|missing| match missing {
        Missing::NotConfigured => ApiError::basic(
            "ERR_CONFIGURATION_STORE_NOT_CONFIGURED",
            CATEGORY,
            StatusCode::INTERNAL_SERVER_ERROR,
            Code::FailedPrecondition,
            "configuration stores not configured",
        ),
        Missing::NotFound => ApiError::basic(
            "ERR_CONFIGURATION_STORE_NOT_FOUND",
            CATEGORY,
            StatusCode::BAD_REQUEST,
            Code::InvalidArgument,
            format!("configuration store {store} not found"),
        ),
    })
}

pub(super) async fn get(
    store: &ConfigurationStore,
    call: &Call,
    keys: Vec<String>,
    metadata: Metadata,
) -> Result<Vec<ConfigurationItem>, ApiError> {
    let named = go_list(&keys);
    store.get(call, keys, metadata).await.map_err(|error| {
        let message = format!("failed to get {named} from Configuration store {}: {error}", store.name());
        let http = StatusCode::INTERNAL_SERVER_ERROR;
        ApiError::basic("ERR_CONFIGURATION_GET", CATEGORY, http, Code::Internal, message)
    })
}

pub(super) async fn subscribe(
    store: &Arc<ConfigurationStore>,
    call: &Call,
    keys: Vec<String>,
    metadata: Metadata,
) -> Result<ConfigurationWatch, ApiError> {
    let named = go_list(&keys);
    store.subscribe(call, keys, metadata).await.map_err(|error| {
        let message =
            format!("failed to subscribe {named} from Configuration store {}: {error}", store.name());
        let http = StatusCode::INTERNAL_SERVER_ERROR;
        ApiError::basic("ERR_CONFIGURATION_SUBSCRIBE", CATEGORY, http, Code::InvalidArgument, message)
    })
}

/// Why a watch could not be ended.
pub(super) fn not_unsubscribed(id: &str, reason: &str) -> String {
    format!("failed to unsubscribe to configuration request {id}: {reason}")
}

/// Nobody is there to bring changes to.
pub(super) fn no_app_channel() -> ApiError {
    let message = "app channel is not initialized. cannot subscribe to configuration updates";
    let http = StatusCode::INTERNAL_SERVER_ERROR;
    ApiError::new("ERR_APP_CHANNEL_NIL", "common", http, Code::FailedPrecondition, message)
}

/// As Go prints a list of strings.
fn go_list(keys: &[String]) -> String {
    format!("[{}]", keys.join(" "))
}
