//! Metadata over gRPC.

use mecha_proto::runtime::v1 as pb;
use mecha_runtime::Runtime;

use super::service;

pub(crate) fn get(runtime: &Runtime) -> pb::GetMetadataResponse {
    service::describe(runtime)
}

pub(crate) fn set(runtime: &Runtime, request: pb::SetMetadataRequest) {
    service::set(runtime, request.key, request.value);
}
