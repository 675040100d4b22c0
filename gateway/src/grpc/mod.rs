//! The gRPC edge: the Dapr service, object stores, reflection and health on one port, told apart by the path;
//! what is none of these passes through to another application.
//!
//! tonic's generated service and codec are served by hyper directly, which keeps what tonic's own server spends per call.

mod crypto;
mod internal;
mod objects;
mod service;

use std::sync::Arc;

use http::header::HeaderValue;
use http::{HeaderMap, Request, Response, Version};
use hyper::body::Incoming;
use mecha_observability::{Propagated, names};
use mecha_proto::objects::v1::objects_server::ObjectsServer;
use mecha_proto::runtime::v1::dapr_server::DaprServer;
use mecha_runtime::Runtime;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::metadata::MetadataMap;
use tonic::service::Routes;
use tonic_reflection::server as reflection;

use crate::http::body::{RequestBody, Unbroken};
pub(crate) use internal::InternalEdge;
use service::{DaprService, TOKEN};

const STATUS: &str = "grpc-status";
/// How tonic begins its refusal of a message that is too large; it counts it as out of range, gRPC elsewhere as an exhausted
/// resource.
const TOO_LARGE: &str = "Error, decoded message length too large";

/// What the gRPC port serves.
pub(crate) struct GrpcEdge {
    runtime: Arc<Runtime>,
    service: Arc<DaprService>,
    dapr: DaprServer<DaprService>,
    objects: ObjectsServer<DaprService>,
    /// Health and reflection.
    standard: Routes,
}

impl GrpcEdge {
    pub(crate) async fn new(runtime: Arc<Runtime>, max_size: usize) -> Result<Self, reflection::Error> {
        let service = Arc::new(DaprService::new(runtime.clone()));
        let objects = ObjectsServer::from_arc(service.clone()).max_decoding_message_size(max_size);
        let dapr = DaprServer::from_arc(service.clone())
            .max_decoding_message_size(max_size)
            .max_encoding_message_size(max_size);
        let (reporter, health) = tonic_health::server::health_reporter();
        reporter.set_serving::<DaprServer<DaprService>>().await;
        reporter.set_serving::<ObjectsServer<DaprService>>().await;
        let standard = Routes::new(health)
            .add_service(described().build_v1()?)
            .add_service(described().build_v1alpha()?);
        Ok(Self { runtime, service, dapr, objects, standard: standard.prepare() })
    }

    /// Dapr takes a call of an unknown service for one to another application.
    async fn pass(&self, mut request: Request<Incoming>) -> Response<Body> {
        if let Err(status) = self.service.check_token(&MetadataMap::from_headers(token(request.headers()))) {
            return status.into_http();
        }
        if self.runtime.app().api_token.is_some() {
            request.headers_mut().remove(TOKEN);
        }
        match propagated(request.headers()) {
            Ok(incoming) => internal::pass(&self.runtime, request, incoming).await,
            Err(status) => status.into_http(),
        }
    }

    /// Answers one call.
    pub(crate) async fn handle(&self, request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path();
        let service = path.get(1..).and_then(|path| path.split_once('/')).map_or("", |(service, _)| service);
        let answered = match service {
            "dapr.proto.runtime.v1.Dapr" => self.dapr.clone().call(request).await,
            "mecha.objects.v1.Objects" => {
                let request = request.map(|body| Unbroken::new(RequestBody::Arriving(body), Version::HTTP_2));
                self.objects.clone().call(request).await
            }
            "grpc.health.v1.Health"
            | "grpc.reflection.v1.ServerReflection"
            | "grpc.reflection.v1alpha.ServerReflection" => self.standard.clone().call(request).await,
            _ => return self.pass(request).await,
        };
        corrected(answered.unwrap_or_else(|never| match never {}))
    }
}

fn described() -> reflection::Builder<'static> {
    reflection::Builder::configure().register_encoded_file_descriptor_set(mecha_proto::FILE_DESCRIPTOR_SET)
}

/// The token alone: the other headers of a call that passes through are not looked at.
fn token(headers: &HeaderMap) -> HeaderMap {
    headers
        .get(TOKEN)
        .map(|token| (http::HeaderName::from_static(TOKEN), token.clone()))
        .into_iter()
        .collect()
}

/// What the caller's metadata says about the trace.
fn propagated(headers: &HeaderMap) -> Result<Propagated, Status> {
    service::propagated(&MetadataMap::from_headers(trace_headers(headers)))
}

fn trace_headers(headers: &HeaderMap) -> HeaderMap {
    let names = [
        names::header::TRACEPARENT,
        names::header::TRACESTATE,
        names::header::BAGGAGE,
        names::header::GRPC_TRACE_BIN,
    ];
    let found = names
        .into_iter()
        .filter_map(|name| Some((http::HeaderName::from_static(name), headers.get(name)?.clone())));
    found.collect()
}

fn corrected(mut response: Response<Body>) -> Response<Body> {
    // Only a call that failed before its first message has its status among the headers.
    let Some(status) = response.headers().get(STATUS) else { return response };
    let is_out_of_range = status.as_bytes() == b"11";
    let status = is_out_of_range.then(|| Status::from_header_map(response.headers())).flatten();
    if status.is_some_and(|status| status.message().starts_with(TOO_LARGE)) {
        response.headers_mut().insert(STATUS, HeaderValue::from_static("8"));
    }
    response
}
