//! Locks over gRPC.

use mecha_proto::runtime::v1 as pb;
use mecha_runtime::{Call, Runtime};

use super::service::{self, Claim};
use crate::error::ApiError;

pub(crate) async fn try_lock(
    runtime: &Runtime,
    call: &Call,
    request: pb::TryLockRequest,
) -> Result<pb::TryLockResponse, ApiError> {
    let claim =
        Claim { store: &request.store_name, resource: &request.resource_id, owner: &request.lock_owner };
    let success = service::try_lock(runtime, call, claim, request.expiry_in_seconds).await?;
    Ok(pb::TryLockResponse { success })
}

pub(crate) async fn unlock(
    runtime: &Runtime,
    call: &Call,
    request: pb::UnlockRequest,
) -> Result<pb::UnlockResponse, ApiError> {
    let claim =
        Claim { store: &request.store_name, resource: &request.resource_id, owner: &request.lock_owner };
    let outcome = service::unlock(runtime, call, claim).await?;
    // The numbers of the boundary are the protocol's.
    Ok(pb::UnlockResponse { status: outcome.0.into() })
}
