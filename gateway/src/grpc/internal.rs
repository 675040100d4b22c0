//! The port for other runtimes: calls of this one's application, and gRPC calls that pass through to it.

use std::sync::Arc;

use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use mecha_invocation::{Called, SERVICE};
use mecha_observability::{Propagated, names};
use mecha_runtime::Runtime;
use tonic::Status;
use tonic::body::Body;

use super::propagated;
use crate::call::begin;

/// What the internal port serves.
pub(crate) struct InternalEdge {
    runtime: Arc<Runtime>,
}

impl InternalEdge {
    pub(crate) fn new(runtime: Arc<Runtime>) -> Self {
        Self { runtime }
    }

    /// Answers one call.
    pub(crate) async fn handle(&self, request: Request<Incoming>) -> Response<Body> {
        let incoming = match propagated(request.headers()) {
            Ok(incoming) => incoming,
            Err(status) => return status.into_http(),
        };
        let path = request.uri().path();
        let is_ours = path.strip_prefix('/').and_then(|path| path.strip_prefix(SERVICE)).is_some();
        if !is_ours {
            return pass(&self.runtime, request, incoming).await;
        }
        let (call, span) = begin(&self.runtime, incoming, path);
        let answer = self.runtime.invocation().serve(request, &call.trace).await;
        if let Some(mut span) = span {
            span.set_attribute(names::attribute::DAPR_PROTOCOL, names::attribute::value::GRPC);
            span.set_attribute(names::attribute::RPC_SERVICE, names::attribute::value::SERVICE_INVOCATION);
            match &answer {
                Ok(answer) => {
                    if let Some(Called(method)) = answer.extensions().get() {
                        let app_id = &self.runtime.app().id;
                        span.set_name(format!("{}{app_id}/{method}", names::span::CALL_LOCAL_PREFIX));
                        span.set_attribute(names::attribute::DAPR_INVOKE_METHOD, method.clone());
                    }
                }
                Err(status) => span.fail(status.message().to_owned()),
            }
            span.end();
        }
        answer.map_or_else(Status::into_http, |answer| answer.map(Body::new))
    }
}

/// Passes a call of a service that is not the runtime's through to an application.
pub(super) async fn pass(
    runtime: &Runtime,
    request: Request<Incoming>,
    incoming: Propagated,
) -> Response<Body> {
    let (call, span) = begin(runtime, incoming, request.uri().path());
    let request = request.map(|body| body.map_err(Into::into).boxed_unsync());
    let answer = runtime.invocation().proxy(request, &call.trace).await;
    if let Some(mut span) = span {
        span.set_attribute(names::attribute::DAPR_PROTOCOL, names::attribute::value::GRPC);
        if let Err(status) = &answer {
            span.fail(status.message().to_owned());
        }
        span.end();
    }
    answer.map_or_else(Status::into_http, |answer| answer.map(Body::new))
}
