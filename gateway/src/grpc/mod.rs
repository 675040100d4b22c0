//! The gRPC edge: the Dapr service, reflection and health on one port, told apart by the path.
//!
//! tonic's generated service and codec are served by hyper directly, which keeps what tonic's own server spends per call.

mod service;

use std::sync::Arc;

use http::header::HeaderValue;
use http::{Request, Response};
use hyper::body::Incoming;
use mecha_proto::runtime::v1::dapr_server::DaprServer;
use mecha_runtime::Runtime;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::service::Routes;
use tonic::{Code, Status};
use tonic_reflection::server as reflection;

use service::DaprService;

const STATUS: &str = "grpc-status";
/// How tonic begins its refusal of a message that is too large; it counts it as out of range, gRPC elsewhere as an exhausted
/// resource.
const TOO_LARGE: &str = "Error, decoded message length too large";

/// What the gRPC port serves.
pub(crate) struct GrpcEdge {
    dapr: DaprServer<DaprService>,
    /// Health and reflection.
    standard: Routes,
}

impl GrpcEdge {
    pub(crate) async fn new(runtime: Arc<Runtime>, max_size: usize) -> Result<Self, reflection::Error> {
        let dapr = DaprServer::new(DaprService::new(runtime))
            .max_decoding_message_size(max_size)
            .max_encoding_message_size(max_size);
        let (reporter, health) = tonic_health::server::health_reporter();
        reporter.set_serving::<DaprServer<DaprService>>().await;
        let standard = Routes::new(health)
            .add_service(described().build_v1()?)
            .add_service(described().build_v1alpha()?);
        Ok(Self { dapr, standard: standard.prepare() })
    }

    /// Answers one call.
    pub(crate) async fn handle(&self, request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path();
        let service = path.get(1..).and_then(|path| path.split_once('/')).map_or("", |(service, _)| service);
        let answered = match service {
            "dapr.proto.runtime.v1.Dapr" => self.dapr.clone().call(request).await,
            "grpc.health.v1.Health"
            | "grpc.reflection.v1.ServerReflection"
            | "grpc.reflection.v1alpha.ServerReflection" => self.standard.clone().call(request).await,
            _ => return no_target().into_http(),
        };
        corrected(answered.unwrap_or_else(|never| match never {}))
    }
}

fn described() -> reflection::Builder<'static> {
    reflection::Builder::configure().register_encoded_file_descriptor_set(mecha_proto::FILE_DESCRIPTOR_SET)
}

/// Dapr takes a call of an unknown service for one to another application, and says which name is missing.
fn no_target() -> Status {
    Status::new(
        Code::Unknown,
        "failed to proxy request: required metadata dapr-callee-app-id or dapr-app-id not found",
    )
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
