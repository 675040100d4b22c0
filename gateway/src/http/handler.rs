//! One HTTP request from its head to its answer.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use mecha_observability::{ActiveSpan, BaggageError, Propagated, names};
use mecha_resources::configuration::ApiProtocol;
use mecha_runtime::{Call, Runtime};

use super::body::{RequestBody, RequestStream, ResponseBody};
use super::cors::Cors;
use super::path::Path;
use super::request::Request;
use super::response::Reply;
use super::router::Route;
use crate::api::{health, invoke};
use crate::call::{begin, same_token};
use crate::error::ApiError;
use crate::middleware::{Entering, through};

const TOKEN: &str = "dapr-api-token";

/// The HTTP API of one runtime.
pub(crate) struct Edge {
    runtime: Arc<Runtime>,
    max_body_size: usize,
    log_calls: bool,
    cors: Option<Cors>,
    /// Health and metadata only, for anybody.
    is_public: bool,
}

impl Edge {
    pub(crate) fn new(
        runtime: Arc<Runtime>,
        max_body_size: usize,
        log_calls: bool,
        cors: Option<Cors>,
    ) -> Self {
        Self { runtime, max_body_size, log_calls, cors, is_public: false }
    }

    /// The part of the API that probes and monitors may reach without a token.
    pub(crate) fn public(runtime: Arc<Runtime>, max_body_size: usize, log_calls: bool) -> Self {
        Self { is_public: true, ..Self::new(runtime, max_body_size, log_calls, None) }
    }

    /// Answers one request. Never fails: every failure is an answer.
    pub(crate) async fn handle(
        self: Arc<Self>,
        request: http::Request<Incoming>,
        peer: Option<IpAddr>,
    ) -> Response<ResponseBody> {
        match &self.cors {
            Some(cors) if cors.concerns(&request) => {
                let edge = self.clone();
                let answer = |request| {
                    let edge = edge.clone();
                    async move { edge.answer(request, peer).await }
                };
                cors.guard(request, answer).await
            }
            _ => self.answer(request, peer).await,
        }
    }

    async fn answer(&self, request: http::Request<Incoming>, peer: Option<IpAddr>) -> Response<ResponseBody> {
        let started = Instant::now();
        let (head, body) = request.into_parts();
        let received = body.size_hint().lower();
        let body = RequestBody::Arriving(body);
        let reply = match (Path::parse(head.uri.path()), propagated(&head.headers)) {
            (None, _) => Reply::text(StatusCode::BAD_REQUEST, "invalid URL escape in the path\n"),
            (_, Err(error)) => {
                Reply::text(StatusCode::BAD_REQUEST, format!("invalid baggage header: {error}\n"))
            }
            (Some(path), Ok(incoming)) => {
                let route = Route::of(&head.method, &path);
                self.traced(&head, route, incoming, body, peer).await
            }
        };
        self.measure(&head, &reply, received, started);
        reply.into_response()
    }

    fn measure(&self, head: &Parts, reply: &Reply, received: u64, started: Instant) {
        let (elapsed, status, sent) =
            (started.elapsed(), reply.status.as_u16(), reply.body.len().unwrap_or_default());
        let path = head.uri.path();
        self.runtime.metrics().http.observe(head.method.as_str(), path, status, received, sent, elapsed);
        if self.log_calls {
            tracing::info!(
                scope = "dapr.runtime.http-info",
                method = %format_args!("{} {path}", head.method),
                useragent = head.headers.get("user-agent").and_then(|agent| agent.to_str().ok()).unwrap_or_default(),
                duration = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
                code = status,
                size = sent,
                "HTTP API Called"
            );
        }
    }

    /// Health is never traced; everything else has its place in a trace.
    async fn traced(
        &self,
        head: &Parts,
        route: Route<'_>,
        incoming: Propagated,
        body: RequestBody,
        peer: Option<IpAddr>,
    ) -> Reply {
        if let Route::Health(route) = route {
            return self.health(route, head, body, peer).await;
        }
        let (call, mut span) = begin(&self.runtime, incoming, head.uri.path());
        if let (Route::Unknown, Some(span)) = (&route, &mut span) {
            invoke::http::describe(span, head);
        }
        let mut reply = self.authorised(head, route, &call, body, peer).await;
        finish(span, head, &reply);
        if call.trace.context.is_valid() {
            reply.header(names::header::TRACEPARENT, call.trace.context.traceparent().as_str());
        }
        reply
    }

    async fn health(
        &self,
        route: health::http::Route,
        head: &Parts,
        body: RequestBody,
        peer: Option<IpAddr>,
    ) -> Reply {
        if self.is_public || self.runtime.http_pipeline().is_none() {
            return self.reply(health::http::answer(route, &self.runtime, head));
        }
        let (app, trace) = (self.runtime.app().clone(), Propagated::default());
        let call = Call { app, trace, deadline: None };
        self.surrounded(head, Route::Health(route), &call, body, peer).await
    }

    async fn authorised(
        &self,
        head: &Parts,
        route: Route<'_>,
        call: &Call,
        body: RequestBody,
        peer: Option<IpAddr>,
    ) -> Reply {
        if let Some(expected) = &self.runtime.app().api_token
            && !self.is_public
        {
            let given = head.headers.get(TOKEN).map(HeaderValue::as_bytes).unwrap_or_default();
            if !same_token(given, expected.as_bytes()) {
                return Reply::text(StatusCode::UNAUTHORIZED, "invalid api token\n");
            }
        }
        if self.is_public && !route.is_public() {
            return Reply::text(StatusCode::NOT_FOUND, "404 page not found\n");
        }
        self.surrounded(head, route, call, body, peer).await
    }

    /// Passes the middleware that a Configuration puts around the API; the public port has none, as in daprd.
    async fn surrounded(
        &self,
        head: &Parts,
        route: Route<'_>,
        call: &Call,
        body: RequestBody,
        peer: Option<IpAddr>,
    ) -> Reply {
        let pipeline = self.runtime.http_pipeline().filter(|_| !self.is_public);
        let Some(pipeline) = pipeline else { return self.routed(head, route, call, body).await };
        let entering = Entering { runtime: &self.runtime, call, peer, max_body_size: self.max_body_size };
        // In a box, so that requests without middleware need not make room for this.
        Box::pin(through(&pipeline, entering, head, body, |head, body| async move {
            match Path::parse(head.uri.path()) {
                Some(path) => self.routed(&head, Route::of(&head.method, &path), call, body).await,
                None => Reply::text(StatusCode::BAD_REQUEST, "invalid URL escape in the path\n"),
            }
        }))
        .await
    }

    async fn routed(&self, head: &Parts, route: Route<'_>, call: &Call, body: RequestBody) -> Reply {
        let route = if self.is_allowed(&route, head.uri.path()) { route } else { Route::Unknown };
        let (body, stream) = if route.wants_stream() {
            (Bytes::new(), RequestStream::new(body))
        } else {
            match self.read(&head.headers, body).await {
                Ok(body) => (body, RequestStream::none()),
                Err(reply) => return reply,
            }
        };
        let request = Request { runtime: &self.runtime, call, head, body: &body, stream: &stream };
        self.reply(route.answer(&request).await)
    }

    fn reply(&self, result: Result<Reply, ApiError>) -> Reply {
        result.unwrap_or_else(|error| {
            self.runtime.metrics().errors.record(error.code, error.category);
            tracing::debug!("{}", error.message);
            Reply::error(&error)
        })
    }

    /// A route that the Configuration does not allow is as if it did not exist.
    fn is_allowed(&self, route: &Route<'_>, path: &str) -> bool {
        let configuration = self.runtime.configuration();
        let api = &configuration.api;
        if api.allowed.is_empty() && api.denied.is_empty() {
            return true;
        }
        route.part().is_none_or(|part| api.is_allowed(ApiProtocol::Http, part, path.trim_start_matches('/')))
    }

    /// Reads a body whole. A body that its route takes as a stream does not come here, and has no limit.
    async fn read(&self, headers: &HeaderMap, body: RequestBody) -> Result<Bytes, Reply> {
        if body.is_end_stream() {
            return Ok(Bytes::new());
        }
        let too_large = || Reply::text(StatusCode::PAYLOAD_TOO_LARGE, "http: request body too large\n");
        let announced =
            headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        if announced.is_some_and(|length| length > self.max_body_size) {
            return Err(too_large());
        }
        match Limited::new(body, self.max_body_size).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
            Err(error) => Err(Reply::error(&ApiError::malformed_body(error))),
        }
    }
}

/// What the caller's headers say about the trace; invalid baggage is the caller's mistake.
fn propagated(headers: &HeaderMap) -> Result<Propagated, BaggageError> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    Propagated::from_headers(
        text(names::header::TRACEPARENT),
        text(names::header::TRACESTATE),
        baggage(headers).as_deref(),
    )
}

/// Several headers are one list. What is not ASCII is no baggage; the reader says so.
fn baggage(headers: &HeaderMap) -> Option<String> {
    let mut values = headers.get_all(names::header::BAGGAGE).iter();
    let mut list = String::from_utf8_lossy(values.next()?.as_bytes()).into_owned();
    for value in values {
        list.push(',');
        list.push_str(&String::from_utf8_lossy(value.as_bytes()));
    }
    Some(list)
}

fn finish(span: Option<ActiveSpan>, head: &Parts, reply: &Reply) {
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
