//! The semantics of locks, with Dapr's errors.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use mecha_plugin_api::Metadata;
use mecha_plugin_api::lock::{LockRequest, UnlockOutcome};
use mecha_runtime::{Call, LockStore, Missing, Runtime};
use tonic::Code;

use crate::error::ApiError;

const CATEGORY: &str = "lock";

/// Who asks for what.
pub(super) struct Claim<'a> {
    pub(super) store: &'a str,
    pub(super) resource: &'a str,
    pub(super) owner: &'a str,
}

/// Takes the lock; whether it was free.
pub(super) async fn try_lock(
    runtime: &Runtime,
    call: &Call,
    claim: Claim<'_>,
    seconds: i32,
) -> Result<bool, ApiError> {
    let seconds = match u64::try_from(seconds) {
        Ok(seconds) if seconds > 0 => seconds,
        _ => return Err(malformed(format!("ExpiryInSeconds is not positive in lock store {}", claim.store))),
    };
    let store = find(runtime, &claim)?;
    let failed = |reason: String| internal("ERR_TRY_LOCK", format!("failed to try acquiring lock: {reason}"));
    let resource =
        store.full_resource(&call.app, claim.resource).map_err(|illegal| failed(illegal.to_string()))?;
    let expiry = Duration::from_secs(seconds);
    let request = LockRequest {
        resource: resource.into(),
        owner: claim.owner.into(),
        expiry_ns: u64::try_from(expiry.as_nanos()).unwrap_or(u64::MAX),
        metadata: Metadata::new(),
    };
    let lease = store.try_lock(call, request).await.map_err(|error| failed(error.to_string()))?;
    Ok(lease.is_some())
}

/// Gives the lock back.
pub(super) async fn unlock(
    runtime: &Runtime,
    call: &Call,
    claim: Claim<'_>,
) -> Result<UnlockOutcome, ApiError> {
    let store = find(runtime, &claim)?;
    let failed = |reason: String| internal("ERR_UNLOCK", format!("failed to release lock: {reason}"));
    let resource =
        store.full_resource(&call.app, claim.resource).map_err(|illegal| failed(illegal.to_string()))?;
    store.unlock(call, &resource, claim.owner).await.map_err(|error| failed(error.to_string()))
}

/// The store, once the claim was found whole; in the order in which Dapr looks.
fn find(runtime: &Runtime, claim: &Claim<'_>) -> Result<Arc<LockStore>, ApiError> {
    let registry = runtime.registry();
    let found = registry.lock_store(claim.store);
    if let Err(Missing::NotConfigured) = found {
        let (http, grpc) = (StatusCode::INTERNAL_SERVER_ERROR, Code::FailedPrecondition);
        let message = "lock store is not configured";
        return Err(ApiError::new("ERR_LOCK_STORE_NOT_CONFIGURED", CATEGORY, http, grpc, message));
    }
    if claim.resource.is_empty() {
        return Err(malformed(format!("ResourceId is empty in lock store {}", claim.store)));
    }
    if claim.owner.is_empty() {
        return Err(malformed(format!("LockOwner is empty in lock store {}", claim.store)));
    }
    found.cloned().map_err(|_| {
        let message = format!("lock store {} not found", claim.store);
        let (http, grpc) = (StatusCode::BAD_REQUEST, Code::InvalidArgument);
        ApiError::new("ERR_LOCK_STORE_NOT_FOUND", CATEGORY, http, grpc, message)
    })
}

fn malformed(message: String) -> ApiError {
    ApiError::malformed(message)
}

fn internal(code: &'static str, message: String) -> ApiError {
    ApiError::new(code, CATEGORY, StatusCode::INTERNAL_SERVER_ERROR, Code::Internal, message)
}
