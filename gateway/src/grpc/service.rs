//! The Dapr service: each method checks the token, begins its trace, translates and is measured, in one place.

use std::sync::Arc;
use std::time::Instant;

use mecha_observability::{Propagated, names};
use mecha_proto::runtime::v1 as pb;
use mecha_proto::runtime::v1::dapr_server::Dapr;
use mecha_resources::configuration::ApiProtocol;
use mecha_runtime::{Call, Runtime};
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Request, Response, Status};

use crate::api::{bindings, metadata, secrets, state};
use crate::call::{begin, returns_ids, same_token};
use crate::error::ApiError;

const TOKEN: &str = "dapr-api-token";
const PREFIX: &str = "/dapr.proto.runtime.v1.Dapr/";

/// The Dapr service of one runtime.
pub(crate) struct DaprService(pub(crate) Arc<Runtime>);

impl DaprService {
    /// The way of every method.
    async fn serve<Q, A>(
        &self,
        method: &'static str,
        block: &'static str,
        request: Request<Q>,
        answer: impl AsyncFnOnce(&Runtime, &Call, Q) -> Result<A, ApiError>,
    ) -> Result<Response<A>, Status> {
        let started = Instant::now();
        let (metadata, _, message) = request.into_parts();
        let result = self.answer(method, block, &metadata, message, answer).await;
        let code = result.as_ref().map_or_else(Status::code, |_| Code::Ok);
        let name = names_of(method);
        self.0.metrics().grpc.observe(&name, code, None, started.elapsed());
        result
    }

    async fn answer<Q, A>(
        &self,
        method: &'static str,
        block: &'static str,
        metadata: &MetadataMap,
        message: Q,
        answer: impl AsyncFnOnce(&Runtime, &Call, Q) -> Result<A, ApiError>,
    ) -> Result<Response<A>, Status> {
        self.check_token(metadata)?;
        self.check_lists(method, block)?;
        let (call, span) = begin(&self.0, propagated(metadata)?, &names_of(method));
        let result = answer(&self.0, &call, message).await;
        if let Some(mut span) = span {
            span.set_attribute(names::attribute::DAPR_PROTOCOL, names::attribute::value::GRPC);
            if let Err(error) = &result {
                span.fail(error.message.clone());
            }
            span.end();
        }
        let answer = result.map_err(|error| {
            self.0.metrics().errors.record(error.code, error.category);
            error.status()
        })?;
        let mut response = Response::new(answer);
        if returns_ids(call.trace.context) {
            let ids = MetadataValue::from_bytes(&call.trace.context.to_binary());
            response.metadata_mut().insert_bin(names::header::GRPC_TRACE_BIN, ids);
        }
        Ok(response)
    }

    fn check_token(&self, metadata: &MetadataMap) -> Result<(), Status> {
        let Some(expected) = &self.0.app().api_token else { return Ok(()) };
        match metadata.get(TOKEN) {
            None => Err(Status::unauthenticated("missing api token in request metadata")),
            Some(given) if same_token(given.as_encoded_bytes(), expected.as_bytes()) => Ok(()),
            Some(_) => Err(Status::unauthenticated("authentication error: api token mismatch")),
        }
    }

    /// A method that the Configuration does not allow is as if it did not exist.
    fn check_lists(&self, method: &str, block: &str) -> Result<(), Status> {
        let configuration = self.0.configuration();
        let api = &configuration.api;
        if api.allowed.is_empty() && api.denied.is_empty() {
            return Ok(());
        }
        if api.is_allowed(ApiProtocol::Grpc, &format!("v1/{block}"), "") {
            return Ok(());
        }
        Err(Status::unimplemented(format!("requested endpoint {PREFIX}{method} is not available")))
    }
}

fn names_of(method: &str) -> String {
    format!("{PREFIX}{method}")
}

fn propagated(metadata: &MetadataMap) -> Result<Propagated, Status> {
    let text = |name: &str| metadata.get(name).and_then(|value| value.to_str().ok());
    let binary = metadata.get_bin(names::header::GRPC_TRACE_BIN).and_then(|value| value.to_bytes().ok());
    let read = Propagated::from_grpc(
        binary.as_deref(),
        text(names::header::TRACEPARENT),
        text(names::header::TRACESTATE),
        text(names::header::BAGGAGE),
    );
    read.map_err(|error| Status::invalid_argument(format!("invalid baggage header: {error}")))
}

#[tonic::async_trait]
impl Dapr for DaprService {
    async fn get_state(
        &self,
        request: Request<pb::GetStateRequest>,
    ) -> Result<Response<pb::GetStateResponse>, Status> {
        self.serve("GetState", "state", request, state::grpc::get).await
    }

    async fn get_bulk_state(
        &self,
        request: Request<pb::GetBulkStateRequest>,
    ) -> Result<Response<pb::GetBulkStateResponse>, Status> {
        self.serve("GetBulkState", "state", request, state::grpc::bulk_get).await
    }

    async fn save_state(&self, request: Request<pb::SaveStateRequest>) -> Result<Response<()>, Status> {
        self.serve("SaveState", "state", request, state::grpc::save).await
    }

    async fn delete_state(&self, request: Request<pb::DeleteStateRequest>) -> Result<Response<()>, Status> {
        self.serve("DeleteState", "state", request, state::grpc::delete).await
    }

    async fn delete_bulk_state(
        &self,
        request: Request<pb::DeleteBulkStateRequest>,
    ) -> Result<Response<()>, Status> {
        self.serve("DeleteBulkState", "state", request, state::grpc::bulk_delete).await
    }

    async fn execute_state_transaction(
        &self,
        request: Request<pb::ExecuteStateTransactionRequest>,
    ) -> Result<Response<()>, Status> {
        self.serve("ExecuteStateTransaction", "state", request, state::grpc::transact).await
    }

    async fn invoke_binding(
        &self,
        request: Request<pb::InvokeBindingRequest>,
    ) -> Result<Response<pb::InvokeBindingResponse>, Status> {
        self.serve("InvokeBinding", "bindings", request, bindings::grpc::invoke).await
    }

    async fn get_secret(
        &self,
        request: Request<pb::GetSecretRequest>,
    ) -> Result<Response<pb::GetSecretResponse>, Status> {
        self.serve("GetSecret", "secrets", request, secrets::grpc::get).await
    }

    async fn get_bulk_secret(
        &self,
        request: Request<pb::GetBulkSecretRequest>,
    ) -> Result<Response<pb::GetBulkSecretResponse>, Status> {
        self.serve("GetBulkSecret", "secrets", request, secrets::grpc::bulk_get).await
    }

    async fn get_metadata(
        &self,
        request: Request<pb::GetMetadataRequest>,
    ) -> Result<Response<pb::GetMetadataResponse>, Status> {
        self.serve("GetMetadata", "metadata", request, async |runtime, _, _| Ok(metadata::grpc::get(runtime)))
            .await
    }

    async fn set_metadata(&self, request: Request<pb::SetMetadataRequest>) -> Result<Response<()>, Status> {
        self.serve("SetMetadata", "metadata", request, async |runtime, _, message| {
            metadata::grpc::set(runtime, message);
            Ok(())
        })
        .await
    }

    async fn shutdown(&self, request: Request<pb::ShutdownRequest>) -> Result<Response<()>, Status> {
        self.serve("Shutdown", "shutdown", request, async |runtime, _, _| {
            runtime.request_shutdown(false);
            Ok(())
        })
        .await
    }
}
