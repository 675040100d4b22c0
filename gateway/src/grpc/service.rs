//! The Dapr service: each method is let in, traced, translated and measured, in one place.

use std::sync::Arc;
use std::time::Instant;

use http::StatusCode;
use mecha_observability::{Propagated, names};
use mecha_proto::Message;
use mecha_proto::common::v1 as common;
use mecha_proto::runtime::v1 as pb;
use mecha_proto::runtime::v1::dapr_server::Dapr;
use mecha_resources::configuration::ApiProtocol;
use mecha_runtime::{Call, Runtime};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Request, Response, Status, Streaming};

use crate::api::crypto::grpc::Down as Pieces;
use crate::api::{
    bindings, configuration, conversation, invoke, lock, metadata, publish, secrets, shutdown, state,
    subscribe,
};
use crate::call::{begin, same_token};
use crate::error::{ApiError, from_http_status};

pub(super) const TOKEN: &str = "dapr-api-token";

/// What goes down a stream.
type Down<T> = ReceiverStream<Result<T, Status>>;

/// A method of the service: its full name, and its part of the API as the Configuration's lists name it.
pub(super) struct Method {
    pub(super) name: &'static str,
    pub(super) part: &'static str,
}

/// A method of `dapr.proto.runtime.v1.Dapr`.
macro_rules! method {
    ($name:literal, $part:literal) => {
        &Method { name: concat!("/dapr.proto.runtime.v1.Dapr/", $name), part: $part }
    };
}

/// The Dapr service of one runtime.
pub(crate) struct DaprService {
    pub(super) runtime: Arc<Runtime>,
}

impl DaprService {
    pub(crate) fn new(runtime: Arc<Runtime>) -> Self {
        Self { runtime }
    }

    /// The way of every method with one request and one answer.
    pub(super) async fn serve<Q: Message, A: Message>(
        &self,
        method: &'static Method,
        request: Request<Q>,
        answer: impl AsyncFnOnce(&Runtime, &Call, Q) -> Result<A, ApiError>,
    ) -> Result<Response<A>, Status> {
        let started = Instant::now();
        let (metadata, _, message) = request.into_parts();
        let received = message.encoded_len() as u64;
        let result = self.answer(method, &metadata, message, answer).await;
        let (code, sent) = match &result {
            Ok(response) => (Code::Ok, response.get_ref().encoded_len() as u64),
            Err(status) => (status.code(), 0),
        };
        self.runtime.metrics().grpc.observe(method.name, code, Some((received, sent)), started.elapsed());
        result
    }

    /// A call that is let in, traced and answered; measuring it is left.
    pub(super) async fn answer<Q, A>(
        &self,
        method: &'static Method,
        metadata: &MetadataMap,
        message: Q,
        answer: impl AsyncFnOnce(&Runtime, &Call, Q) -> Result<A, ApiError>,
    ) -> Result<Response<A>, Status> {
        self.check_lists(method)?;
        self.check_token(metadata)?;
        let (call, span) = begin(&self.runtime, propagated(metadata)?, method.name);
        let result = answer(&self.runtime, &call, message).await;
        if let Some(mut span) = span {
            span.set_attribute(names::attribute::DAPR_PROTOCOL, names::attribute::value::GRPC);
            if let Err(error) = &result {
                span.fail(error.message.clone());
            }
            span.end();
        }
        let answer = result.map_err(|error| {
            self.runtime.metrics().errors.record(error.code, error.category);
            tracing::debug!("{}", error.message);
            error.status()
        })?;
        let mut response = Response::new(answer);
        if call.trace.context.is_valid() {
            let ids = MetadataValue::from_bytes(&call.trace.context.to_binary());
            response.metadata_mut().insert_bin(names::header::GRPC_TRACE_BIN, ids);
        }
        Ok(response)
    }

    /// An invocation's metadata goes both ways, and an application's error goes out as it is.
    async fn invoke(
        &self,
        method: &'static Method,
        request: Request<pb::InvokeServiceRequest>,
    ) -> Result<Response<common::InvokeResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        self.check_lists(method)?;
        self.check_token(&metadata)?;
        let (call, span) = begin(&self.runtime, propagated(&metadata)?, method.name);
        let result = invoke::grpc::invoke(&self.runtime, &call, &metadata, message).await;
        let result = result.map_err(|failure| match failure {
            invoke::grpc::Failure::Application(status) => *status,
            invoke::grpc::Failure::NoAnswer(error) => {
                self.runtime.metrics().errors.record(error.code, error.category);
                error.status()
            }
        });
        if let Some(mut span) = span {
            span.set_attribute(names::attribute::DAPR_PROTOCOL, names::attribute::value::GRPC);
            if let Err(status) = &result {
                span.fail(status.message().to_owned());
            }
            span.end();
        }
        result
    }

    /// The way of every method with a stream: let in, and given its place in a trace.
    fn enter(&self, method: &'static Method, metadata: &MetadataMap) -> Result<Call, Status> {
        self.check_lists(method)?;
        self.check_token(metadata)?;
        // A stream has no span: it may last as long as the application. What comes down it has spans of its own.
        let context = self.runtime.telemetry().begin(propagated(metadata)?.context);
        let trace = Propagated { context, ..propagated(metadata)? };
        Ok(Call { app: self.runtime.app().clone(), trace, deadline: None })
    }

    /// The answer of a method with a stream, measured when it is set up.
    fn streaming<T: Send + 'static>(
        &self,
        method: &'static Method,
        started: Instant,
        opened: Result<mpsc::Receiver<Result<T, Status>>, Status>,
    ) -> Result<Response<Down<T>>, Status> {
        let code = opened.as_ref().map_or_else(Status::code, |_| Code::Ok);
        self.runtime.metrics().grpc.observe(method.name, code, None, started.elapsed());
        Ok(Response::new(ReceiverStream::new(opened?)))
    }

    pub(super) fn check_token(&self, metadata: &MetadataMap) -> Result<(), Status> {
        let Some(expected) = &self.runtime.app().api_token else { return Ok(()) };
        let refused = |reason| Err(from_http_status(StatusCode::UNAUTHORIZED, Code::Unauthenticated, reason));
        match metadata.get(TOKEN) {
            None => refused("missing api token in request metadata"),
            Some(given) if same_token(given.as_encoded_bytes(), expected.as_bytes()) => Ok(()),
            Some(_) => refused("authentication error: api token mismatch"),
        }
    }

    /// A method that the Configuration does not allow is as if it did not exist.
    fn check_lists(&self, method: &Method) -> Result<(), Status> {
        let configuration = self.runtime.configuration();
        let api = &configuration.api;
        let everything = api.allowed.is_empty() && api.denied.is_empty();
        if everything || api.is_allowed(ApiProtocol::Grpc, method.part, "") {
            return Ok(());
        }
        let reason = "requested endpoint is not available";
        Err(from_http_status(StatusCode::NOT_IMPLEMENTED, Code::Unimplemented, reason))
    }
}

impl DaprService {
    async fn watch_configuration(
        &self,
        method: &'static Method,
        request: Request<pb::SubscribeConfigurationRequest>,
    ) -> Result<Response<Down<pb::SubscribeConfigurationResponse>>, Status> {
        let started = Instant::now();
        let call = self.enter(method, request.metadata())?;
        let opened = configuration::grpc::subscribe(&self.runtime, &call, request.into_inner()).await;
        let opened = opened.map_err(|error| {
            self.runtime.metrics().errors.record(error.code, error.category);
            error.status()
        });
        self.streaming(method, started, opened)
    }

    async fn unwatch_configuration(
        &self,
        method: &'static Method,
        request: Request<pb::UnsubscribeConfigurationRequest>,
    ) -> Result<Response<pb::UnsubscribeConfigurationResponse>, Status> {
        let end = async |runtime: &Runtime, _: &Call, message| {
            Ok(configuration::grpc::unsubscribe(runtime.configuration_watches(), &message))
        };
        self.serve(method, request, end).await
    }
}

pub(super) fn propagated(metadata: &MetadataMap) -> Result<Propagated, Status> {
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
    type SubscribeTopicEventsAlpha1Stream = Down<pb::SubscribeTopicEventsResponseAlpha1>;
    type SubscribeConfigurationStream = Down<pb::SubscribeConfigurationResponse>;
    type SubscribeConfigurationAlpha1Stream = Down<pb::SubscribeConfigurationResponse>;
    type EncryptAlpha1Stream = Pieces<pb::EncryptResponse>;
    type DecryptAlpha1Stream = Pieces<pb::DecryptResponse>;

    async fn invoke_service(
        &self,
        request: Request<pb::InvokeServiceRequest>,
    ) -> Result<Response<common::InvokeResponse>, Status> {
        let (started, method) = (Instant::now(), method!("InvokeService", "v1/invoke"));
        let received = request.get_ref().encoded_len() as u64;
        let result = self.invoke(method, request).await;
        let (code, sent) = match &result {
            Ok(response) => (Code::Ok, response.get_ref().encoded_len() as u64),
            Err(status) => (status.code(), 0),
        };
        self.runtime.metrics().grpc.observe(method.name, code, Some((received, sent)), started.elapsed());
        result
    }

    async fn get_state(
        &self,
        request: Request<pb::GetStateRequest>,
    ) -> Result<Response<pb::GetStateResponse>, Status> {
        self.serve(method!("GetState", "v1/state"), request, state::grpc::get).await
    }

    async fn get_bulk_state(
        &self,
        request: Request<pb::GetBulkStateRequest>,
    ) -> Result<Response<pb::GetBulkStateResponse>, Status> {
        self.serve(method!("GetBulkState", "v1/state"), request, state::grpc::bulk_get).await
    }

    async fn save_state(&self, request: Request<pb::SaveStateRequest>) -> Result<Response<()>, Status> {
        self.serve(method!("SaveState", "v1/state"), request, state::grpc::save).await
    }

    async fn query_state_alpha1(
        &self,
        request: Request<pb::QueryStateRequest>,
    ) -> Result<Response<pb::QueryStateResponse>, Status> {
        self.serve(method!("QueryStateAlpha1", "v1alpha1/state"), request, state::grpc::query).await
    }

    async fn delete_state(&self, request: Request<pb::DeleteStateRequest>) -> Result<Response<()>, Status> {
        self.serve(method!("DeleteState", "v1/state"), request, state::grpc::delete).await
    }

    async fn delete_bulk_state(
        &self,
        request: Request<pb::DeleteBulkStateRequest>,
    ) -> Result<Response<()>, Status> {
        self.serve(method!("DeleteBulkState", "v1/state"), request, state::grpc::bulk_delete).await
    }

    async fn execute_state_transaction(
        &self,
        request: Request<pb::ExecuteStateTransactionRequest>,
    ) -> Result<Response<()>, Status> {
        self.serve(method!("ExecuteStateTransaction", "v1/state"), request, state::grpc::transact).await
    }

    async fn publish_event(&self, request: Request<pb::PublishEventRequest>) -> Result<Response<()>, Status> {
        self.serve(method!("PublishEvent", "v1/publish"), request, publish::grpc::publish).await
    }

    async fn bulk_publish_event(
        &self,
        request: Request<pb::BulkPublishRequest>,
    ) -> Result<Response<pb::BulkPublishResponse>, Status> {
        self.serve(method!("BulkPublishEvent", "v1/publish"), request, publish::grpc::bulk_publish).await
    }

    async fn bulk_publish_event_alpha1(
        &self,
        request: Request<pb::BulkPublishRequest>,
    ) -> Result<Response<pb::BulkPublishResponse>, Status> {
        let method = method!("BulkPublishEventAlpha1", "v1alpha1/publish");
        self.serve(method, request, publish::grpc::bulk_publish).await
    }

    async fn subscribe_topic_events_alpha1(
        &self,
        request: Request<Streaming<pb::SubscribeTopicEventsRequestAlpha1>>,
    ) -> Result<Response<Self::SubscribeTopicEventsAlpha1Stream>, Status> {
        let (method, started) = (method!("SubscribeTopicEventsAlpha1", "v1alpha1/subscribe"), Instant::now());
        self.enter(method, request.metadata())?;
        let opened = subscribe::grpc::subscribe(&self.runtime, request.into_inner()).await;
        self.streaming(method, started, opened)
    }

    async fn get_configuration(
        &self,
        request: Request<pb::GetConfigurationRequest>,
    ) -> Result<Response<pb::GetConfigurationResponse>, Status> {
        self.serve(method!("GetConfiguration", "v1/configuration"), request, configuration::grpc::get).await
    }

    async fn get_configuration_alpha1(
        &self,
        request: Request<pb::GetConfigurationRequest>,
    ) -> Result<Response<pb::GetConfigurationResponse>, Status> {
        let method = method!("GetConfigurationAlpha1", "v1alpha1/configuration");
        self.serve(method, request, configuration::grpc::get).await
    }

    async fn subscribe_configuration(
        &self,
        request: Request<pb::SubscribeConfigurationRequest>,
    ) -> Result<Response<Self::SubscribeConfigurationStream>, Status> {
        self.watch_configuration(method!("SubscribeConfiguration", "v1/configuration"), request).await
    }

    async fn subscribe_configuration_alpha1(
        &self,
        request: Request<pb::SubscribeConfigurationRequest>,
    ) -> Result<Response<Self::SubscribeConfigurationAlpha1Stream>, Status> {
        let method = method!("SubscribeConfigurationAlpha1", "v1alpha1/configuration");
        self.watch_configuration(method, request).await
    }

    async fn unsubscribe_configuration(
        &self,
        request: Request<pb::UnsubscribeConfigurationRequest>,
    ) -> Result<Response<pb::UnsubscribeConfigurationResponse>, Status> {
        self.unwatch_configuration(method!("UnsubscribeConfiguration", "v1/configuration"), request).await
    }

    async fn unsubscribe_configuration_alpha1(
        &self,
        request: Request<pb::UnsubscribeConfigurationRequest>,
    ) -> Result<Response<pb::UnsubscribeConfigurationResponse>, Status> {
        let method = method!("UnsubscribeConfigurationAlpha1", "v1alpha1/configuration");
        self.unwatch_configuration(method, request).await
    }

    async fn try_lock_alpha1(
        &self,
        request: Request<pb::TryLockRequest>,
    ) -> Result<Response<pb::TryLockResponse>, Status> {
        self.serve(method!("TryLockAlpha1", "v1alpha1/lock"), request, lock::grpc::try_lock).await
    }

    async fn unlock_alpha1(
        &self,
        request: Request<pb::UnlockRequest>,
    ) -> Result<Response<pb::UnlockResponse>, Status> {
        self.serve(method!("UnlockAlpha1", "v1alpha1/unlock"), request, lock::grpc::unlock).await
    }

    async fn encrypt_alpha1(
        &self,
        request: Request<Streaming<pb::EncryptRequest>>,
    ) -> Result<Response<Self::EncryptAlpha1Stream>, Status> {
        self.encrypt(request).await
    }

    async fn decrypt_alpha1(
        &self,
        request: Request<Streaming<pb::DecryptRequest>>,
    ) -> Result<Response<Self::DecryptAlpha1Stream>, Status> {
        self.decrypt(request).await
    }

    async fn invoke_binding(
        &self,
        request: Request<pb::InvokeBindingRequest>,
    ) -> Result<Response<pb::InvokeBindingResponse>, Status> {
        self.serve(method!("InvokeBinding", "v1/bindings"), request, bindings::grpc::invoke).await
    }

    async fn get_secret(
        &self,
        request: Request<pb::GetSecretRequest>,
    ) -> Result<Response<pb::GetSecretResponse>, Status> {
        self.serve(method!("GetSecret", "v1/secrets"), request, secrets::grpc::get).await
    }

    async fn get_bulk_secret(
        &self,
        request: Request<pb::GetBulkSecretRequest>,
    ) -> Result<Response<pb::GetBulkSecretResponse>, Status> {
        self.serve(method!("GetBulkSecret", "v1/secrets"), request, secrets::grpc::bulk_get).await
    }

    async fn get_metadata(
        &self,
        request: Request<pb::GetMetadataRequest>,
    ) -> Result<Response<pb::GetMetadataResponse>, Status> {
        let get = async |runtime: &Runtime, _: &Call, _| Ok(metadata::grpc::get(runtime));
        self.serve(method!("GetMetadata", "v1/metadata"), request, get).await
    }

    async fn set_metadata(&self, request: Request<pb::SetMetadataRequest>) -> Result<Response<()>, Status> {
        let set = async |runtime: &Runtime, _: &Call, message| {
            metadata::grpc::set(runtime, message);
            Ok(())
        };
        self.serve(method!("SetMetadata", "v1/metadata"), request, set).await
    }

    async fn shutdown(&self, request: Request<pb::ShutdownRequest>) -> Result<Response<()>, Status> {
        let shutdown = async |runtime: &Runtime, _: &Call, _| {
            shutdown::grpc::shutdown(runtime);
            Ok(())
        };
        self.serve(method!("Shutdown", "v1/shutdown"), request, shutdown).await
    }

    async fn converse_alpha1(
        &self,
        request: Request<pb::ConversationRequest>,
    ) -> Result<Response<pb::ConversationResponse>, Status> {
        let method = method!("ConverseAlpha1", "v1alpha1/conversation");
        self.serve(method, request, conversation::grpc::alpha1).await
    }

    async fn converse_alpha2(
        &self,
        request: Request<pb::ConversationRequestAlpha2>,
    ) -> Result<Response<pb::ConversationResponseAlpha2>, Status> {
        let method = method!("ConverseAlpha2", "v1alpha2/conversation");
        self.serve(method, request, conversation::grpc::alpha2).await
    }
}
