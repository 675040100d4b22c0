//! Output bindings over gRPC.

use mecha_proto::runtime::v1 as pb;
use mecha_runtime::{Call, Runtime};

use super::service;
use crate::error::ApiError;

pub(crate) async fn invoke(
    runtime: &Runtime,
    call: &Call,
    request: pb::InvokeBindingRequest,
) -> Result<pb::InvokeBindingResponse, ApiError> {
    let metadata = request.metadata.into_iter().collect();
    let answer =
        service::invoke(runtime, call, &request.name, &request.operation, request.data.into(), metadata)
            .await?;
    let metadata = answer.metadata.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    Ok(pb::InvokeBindingResponse { data: answer.data.into_bytes(), metadata })
}
