//! Secrets over gRPC.

use mecha_proto::runtime::v1 as pb;
use mecha_runtime::{Call, Runtime};

use super::service;
use crate::error::ApiError;

pub(crate) async fn get(
    runtime: &Runtime,
    call: &Call,
    request: pb::GetSecretRequest,
) -> Result<pb::GetSecretResponse, ApiError> {
    let metadata = request.metadata.into_iter().collect();
    let data = service::get(runtime, call, &request.store_name, &request.key, metadata).await?;
    Ok(pb::GetSecretResponse { data: data.into_iter().collect() })
}

pub(crate) async fn bulk_get(
    runtime: &Runtime,
    call: &Call,
    request: pb::GetBulkSecretRequest,
) -> Result<pb::GetBulkSecretResponse, ApiError> {
    let metadata = request.metadata.into_iter().collect();
    let secrets = service::bulk_get(runtime, call, &request.store_name, metadata).await?;
    let data = secrets
        .into_iter()
        .map(|(name, data)| (name, pb::SecretResponse { secrets: data.into_iter().collect() }));
    Ok(pb::GetBulkSecretResponse { data: data.collect() })
}
