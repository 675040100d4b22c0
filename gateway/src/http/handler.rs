//! One HTTP request from its head to its answer.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, IF_MATCH};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use mecha_observability::{ActiveSpan, BaggageError, Propagated, names};
use mecha_resources::configuration::ApiProtocol;
use mecha_runtime::{Call, Runtime};
use tonic::Code;

use super::request::Query;
use super::response::{Reply, empty};
use super::router::Route;
use crate::api::{bindings, metadata, secrets, state};
use crate::call::{begin, returns_ids, same_token};
use crate::error::ApiError;

const TOKEN: &str = "dapr-api-token";
const FORCE: &str = "dapr-force-shutdown";

/// The HTTP API of one runtime.
pub(crate) struct Edge {
    runtime: Arc<Runtime>,
    max_body_size: usize,
    log_calls: bool,
}

impl Edge {
    pub(crate) fn new(runtime: Arc<Runtime>, max_body_size: usize, log_calls: bool) -> Self {
        Self { runtime, max_body_size, log_calls }
    }

    /// Answers one request. Never fails: every failure is an answer.
    pub(crate) async fn handle(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let started = Instant::now();
        let (head, body) = request.into_parts();
        let route = Route::of(&head.method, head.uri.path());
        let received = body.size_hint().lower();
        let reply = match propagated(&head.headers) {
            Ok(incoming) => self.traced(&head, &route, incoming, body).await,
            Err(error) => invalid_baggage(&error),
        };
        let elapsed = started.elapsed();
        let metrics = &self.runtime.metrics().http;
        metrics.observe(
            head.method.as_str(),
            route.label(),
            reply.status.as_u16(),
            received,
            reply.body.len() as u64,
            elapsed,
        );
        if self.log_calls {
            tracing::info!(
                scope = "dapr.runtime.http-info",
                method = %format_args!("{} {}", head.method, head.uri.path()),
                useragent = head.headers.get("user-agent").and_then(|agent| agent.to_str().ok()).unwrap_or_default(),
                duration = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
                code = reply.status.as_u16(),
                size = reply.body.len(),
                "HTTP API Called"
            );
        }
        encode(reply)
    }

    /// Health is never traced; everything else has its place in a trace.
    async fn traced(
        &self,
        head: &http::request::Parts,
        route: &Route,
        incoming: Propagated,
        body: Incoming,
    ) -> Reply {
        if route.is_health() {
            return self.health(route, head);
        }
        let (call, span) = begin(&self.runtime, incoming, head.uri.path());
        let mut reply = self.authorised(head, route, &call, body).await;
        finish(span, head, &reply);
        if returns_ids(call.trace.context) {
            reply = reply.header(names::header::TRACEPARENT, call.trace.context.traceparent().as_str());
        }
        reply
    }

    async fn authorised(
        &self,
        head: &http::request::Parts,
        route: &Route,
        call: &Call,
        body: Incoming,
    ) -> Reply {
        if let Some(expected) = &self.runtime.app().api_token {
            let given = head.headers.get(TOKEN).map(HeaderValue::as_bytes).unwrap_or_default();
            if !same_token(given, expected.as_bytes()) {
                return Reply::text(StatusCode::UNAUTHORIZED, "invalid api token\n");
            }
        }
        let route = if self.is_allowed(route, head.uri.path()) { route } else { &Route::Unknown };
        let body = match self.read(&head.headers, body).await {
            Ok(body) => body,
            Err(reply) => return reply,
        };
        match self.answer(route, head, call, &body).await {
            Ok(reply) => reply,
            Err(error) => {
                self.runtime.metrics().errors.record(error.code, error.category);
                tracing::debug!("{}", error.message);
                Reply::error(&error)
            }
        }
    }

    /// A route that the Configuration does not allow is as if it did not exist.
    fn is_allowed(&self, route: &Route, path: &str) -> bool {
        let configuration = self.runtime.configuration();
        let api = &configuration.api;
        if api.allowed.is_empty() && api.denied.is_empty() {
            return true;
        }
        let part = |block| format!("v1.0/{block}");
        route
            .block()
            .is_none_or(|block| api.is_allowed(ApiProtocol::Http, &part(block), path.trim_matches('/')))
    }

    async fn read(&self, headers: &HeaderMap, body: Incoming) -> Result<Bytes, Reply> {
        let announced =
            headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        if announced.is_some_and(|length| length > self.max_body_size) {
            return Err(too_large());
        }
        match Limited::new(body, self.max_body_size).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
            Err(error) => Err(Reply::error(&ApiError::malformed(error))),
        }
    }

    async fn answer(
        &self,
        route: &Route,
        head: &http::request::Parts,
        call: &Call,
        body: &Bytes,
    ) -> Result<Reply, ApiError> {
        let runtime = &*self.runtime;
        let query = || Query::read(head.uri.query());
        match route {
            Route::GetState { store, key } => state::http::get(runtime, call, store, key, &query()).await,
            Route::SaveState { store } => state::http::save(runtime, call, store, body).await,
            Route::DeleteState { store, key } => {
                let etag = head.headers.get(IF_MATCH).and_then(|etag| etag.to_str().ok()).map(str::to_owned);
                state::http::delete(runtime, call, store, key, etag, &query()).await
            }
            Route::BulkGetState { store } => {
                state::http::bulk_get(runtime, call, store, &query(), body).await
            }
            Route::StateTransaction { store } => state::http::transact(runtime, call, store, body).await,
            Route::GetSecret { store, key } => secrets::http::get(runtime, call, store, key, &query()).await,
            Route::BulkGetSecret { store } => secrets::http::bulk_get(runtime, call, store, &query()).await,
            Route::InvokeBinding { name } => bindings::http::invoke(runtime, call, name, body).await,
            Route::GetMetadata => Ok(metadata::http::get(runtime)),
            Route::SetMetadata { key } => Ok(metadata::http::set(runtime, key, body)),
            Route::Health | Route::OutboundHealth => Ok(self.health(route, head)),
            Route::Shutdown => Ok(self.shut_down(&head.headers)),
            Route::BadPath => Ok(Reply::text(StatusCode::BAD_REQUEST, "invalid URL escape in the path\n")),
            Route::Unknown => Err(no_target()),
        }
    }

    fn shut_down(&self, headers: &HeaderMap) -> Reply {
        let force = headers.get(FORCE).is_some_and(|value| value == "true");
        self.runtime.request_shutdown(force);
        empty()
    }

    fn health(&self, route: &Route, head: &http::request::Parts) -> Reply {
        let health = self.runtime.health();
        let failed = |code, message: &str| {
            Reply::error(&ApiError::new(
                code,
                "health",
                StatusCode::INTERNAL_SERVER_ERROR,
                Code::Internal,
                message,
            ))
        };
        if *route == Route::OutboundHealth {
            return if health.outbound_ready {
                empty()
            } else {
                failed("ERR_OUTBOUND_HEALTH_NOT_READY", "dapr outbound is not ready")
            };
        }
        if !health.ready {
            return failed("ERR_HEALTH_NOT_READY", "dapr is not ready: [app channel is not ready]");
        }
        match Query::read(head.uri.query()).get("appid") {
            Some(app_id) if app_id != &*self.runtime.app().id => {
                failed("ERR_HEALTH_APPID_NOT_MATCH", "dapr app-id does not match")
            }
            _ => empty(),
        }
    }
}

fn no_target() -> ApiError {
    ApiError::new(
        "ERR_DIRECT_INVOKE",
        "service-invocation",
        StatusCode::NOT_FOUND,
        Code::NotFound,
        "failed getting app id either from the URL path or the header dapr-app-id",
    )
}

fn too_large() -> Reply {
    Reply::text(StatusCode::PAYLOAD_TOO_LARGE, "http: request body too large\n")
}

/// What the caller's headers say about the trace; invalid baggage is the caller's mistake.
fn propagated(headers: &HeaderMap) -> Result<Propagated, BaggageError> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    Propagated::from_headers(
        text(names::header::TRACEPARENT),
        text(names::header::TRACESTATE),
        text(names::header::BAGGAGE),
    )
}

fn invalid_baggage(error: &BaggageError) -> Reply {
    let mut reply = Reply::text(StatusCode::BAD_REQUEST, "");
    reply.body = format!("invalid baggage header: {error}\n").into();
    reply
}

fn finish(span: Option<ActiveSpan>, head: &http::request::Parts, reply: &Reply) {
    let Some(mut span) = span else { return };
    span.set_attribute(names::attribute::DAPR_PROTOCOL, names::attribute::value::HTTP);
    span.set_attribute(names::attribute::DAPR_STATUS_CODE, reply.status.as_u16());
    span.set_attribute(names::attribute::HTTP_REQUEST_METHOD, head.method.to_string());
    if reply.status.as_u16() >= 400 {
        let reason = reply.status.canonical_reason().unwrap_or_default();
        span.fail(format!("Code({}): {reason}", reply.status.as_u16()));
    }
    span.end();
}

fn encode(reply: Reply) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(reply.body));
    *response.status_mut() = reply.status;
    *response.headers_mut() = reply.headers;
    response
}
