//! The semantics of secrets, with Dapr's errors.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::StatusCode;
use mecha_plugin_api::Metadata;
use mecha_runtime::{Call, Missing, Runtime, SecretStore};
use tonic::Code;

use crate::error::ApiError;

pub(super) type Secret = BTreeMap<String, String>;

const CATEGORY: &str = "secret";

pub(super) async fn get(
    runtime: &Runtime,
    call: &Call,
    store: &str,
    key: &str,
    metadata: Metadata,
) -> Result<Secret, ApiError> {
    let open = find(runtime, store)?;
    if !is_allowed(runtime, store, key) {
        let message = format!("access denied by policy to get {key:?} from {store:?}");
        return Err(ApiError::new(
            "ERR_PERMISSION_DENIED",
            CATEGORY,
            StatusCode::FORBIDDEN,
            Code::PermissionDenied,
            message,
        ));
    }
    let data = open.get(call, key, metadata).await;
    let data = data.map_err(|error| {
        failed(format!("failed getting secret with key {key} from secret store {store}: {error}"))
    })?;
    Ok(owned(&data))
}

pub(super) async fn bulk_get(
    runtime: &Runtime,
    call: &Call,
    store: &str,
    metadata: Metadata,
) -> Result<BTreeMap<String, Secret>, ApiError> {
    let open = find(runtime, store)?;
    let secrets = open.bulk_get(call, metadata).await;
    let secrets = secrets
        .map_err(|error| failed(format!("failed getting secrets from secret store {store}: {error}")))?;
    let allowed = secrets.iter().filter(|secret| is_allowed(runtime, store, &secret.name));
    Ok(allowed.map(|secret| (secret.name.to_string(), owned(&secret.data))).collect())
}

fn find(runtime: &Runtime, store: &str) -> Result<Arc<SecretStore>, ApiError> {
    let registry = runtime.registry();
    registry.secret_store(store).cloned().map_err(|missing| match missing {
        Missing::NotConfigured => ApiError::new(
            "ERR_SECRET_STORES_NOT_CONFIGURED",
            CATEGORY,
            StatusCode::INTERNAL_SERVER_ERROR,
            Code::FailedPrecondition,
            "secret store is not configured",
        ),
        Missing::NotFound => ApiError::new(
            "ERR_SECRET_STORE_NOT_FOUND",
            CATEGORY,
            StatusCode::UNAUTHORIZED,
            Code::InvalidArgument,
            format!("failed finding secret store with key {store}"),
        ),
    })
}

fn is_allowed(runtime: &Runtime, store: &str, key: &str) -> bool {
    runtime.configuration().secret_scope(store).is_none_or(|scope| scope.allows(key))
}

fn failed(message: String) -> ApiError {
    ApiError::new("ERR_SECRET_GET", CATEGORY, StatusCode::INTERNAL_SERVER_ERROR, Code::Internal, message)
}

fn owned(data: &Metadata) -> Secret {
    data.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}
