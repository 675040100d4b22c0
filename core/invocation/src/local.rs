//! Calls of the runtime's own application, over its channel.

use std::time::Instant;

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method};
use mecha_app_channel::{AppChannel, GrpcApp, HttpApp};
use mecha_observability::Propagated;
use mecha_proto::Message as _;
use mecha_proto::common::v1 as common;
use mecha_proto::internals::v1 as internals;
use tonic::{Code, Status};

use crate::Invocation;
use crate::error::InvokeError;
use crate::headers::{to_grpc, to_http};
use crate::method;
use crate::request::{Answer, InvokeRequest, RequestBody, verb, whole};

/// What an application that speaks gRPC is called by.
const ON_INVOKE: &str = "/dapr.proto.runtime.v1.AppCallback/OnInvoke";

impl Invocation {
    /// Calls the runtime's own application.
    pub(crate) async fn local(
        &self,
        request: InvokeRequest,
        trace: &Propagated,
    ) -> Result<Answer, InvokeError> {
        match self.channel.as_deref() {
            None => Err(InvokeError::NoApplication),
            Some(AppChannel::Http(app)) => self.over_http(app, request, trace).await,
            Some(AppChannel::Grpc(app)) => {
                let started = Instant::now();
                let answer = over_grpc(app, request, self.max_body_size, trace).await?;
                self.metrics.client.grpc(ON_INVOKE, Code::from(answer.status.code), started.elapsed());
                Ok(answer)
            }
        }
    }

    async fn over_http(
        &self,
        app: &HttpApp,
        request: InvokeRequest,
        trace: &Propagated,
    ) -> Result<Answer, InvokeError> {
        let Some(verb) = request.verb else {
            return Err(Status::invalid_argument("missing HTTP extension field").into());
        };
        if verb == Method::CONNECT {
            return Err(Status::invalid_argument("invalid HTTP verb").into());
        }
        let path = method::path(&request.method, &request.query);
        let headers = http_headers(&request.headers, &request.content_type, &request.body);
        let sent = match &request.body {
            RequestBody::Whole(body) => Some(body.len() as u64),
            RequestBody::Stream(_) => {
                headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok())
            }
        };
        let started = Instant::now();
        let answer = app.invoke(verb.clone(), &path, headers, request.body.outgoing(), trace).await?;
        let path = path.split_once('?').map_or(path.as_str(), |(path, _)| path);
        let status = answer.status().as_u16();
        self.metrics.client.http(verb.as_str(), path, status, sent, started.elapsed());
        Ok(http_answer(answer))
    }
}

/// The headers of a request over HTTP.
pub(crate) fn http_headers(headers: &HeaderMap, content_type: &str, body: &RequestBody) -> HeaderMap {
    let mut kept = to_http(headers);
    if let Some(content_type) = header_value(content_type) {
        kept.insert(CONTENT_TYPE, content_type);
    }
    // The length of a whole body is known; the one that a caller promised for a streamed one is kept to.
    if let (RequestBody::Stream(_), Some(length)) = (body, headers.get(CONTENT_LENGTH)) {
        kept.insert(CONTENT_LENGTH, length.clone());
    }
    kept
}

/// An answer over HTTP.
pub(crate) fn http_answer(answer: http::Response<mecha_app_channel::BodyStream>) -> Answer {
    let (head, body) = answer.into_parts();
    let content_type = head.headers.get(CONTENT_TYPE);
    let content_type = content_type.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    Answer {
        status: internals::Status { code: i32::from(head.status.as_u16()), ..Default::default() },
        headers: to_http(&head.headers),
        trailers: HeaderMap::new(),
        content_type: content_type.unwrap_or_default(),
        type_url: String::new(),
        body,
    }
}

fn header_value(text: &str) -> Option<HeaderValue> {
    if text.is_empty() { None } else { HeaderValue::try_from(text).ok() }
}

async fn over_grpc(
    app: &GrpcApp,
    request: InvokeRequest,
    limit: usize,
    trace: &Propagated,
) -> Result<Answer, InvokeError> {
    let metadata = to_grpc(&request.headers);
    let message = message(request, limit).await?;
    Ok(match app.invoke(message, metadata, trace).await {
        Ok(answer) => {
            let (metadata, answer, _) = answer.into_parts();
            let data = answer.data.unwrap_or_default();
            Answer {
                status: internals::Status::default(),
                headers: metadata.into_headers(),
                trailers: HeaderMap::new(),
                content_type: answer.content_type,
                type_url: data.type_url,
                body: whole(data.value.into()),
            }
        }
        Err(status) => failed(&status),
    })
}

/// A call as one message.
pub(crate) async fn message(
    request: InvokeRequest,
    limit: usize,
) -> Result<common::InvokeRequest, InvokeError> {
    let verb = verb(request.verb.as_ref());
    let extension = common::HttpExtension { verb: verb.into(), querystring: request.query };
    let value = request.body.whole(limit).await?;
    Ok(common::InvokeRequest {
        method: request.method,
        data: Some(any(request.type_url, value)),
        content_type: request.content_type,
        http_extension: request.verb.is_some().then_some(extension),
    })
}

pub(crate) fn any(type_url: String, value: bytes::Bytes) -> mecha_proto::Any {
    mecha_proto::Any { type_url, value: value.into() }
}

/// A gRPC application's error is an answer too.
fn failed(status: &Status) -> Answer {
    let details = mecha_proto::error_model::pb::Status::decode(status.details()).unwrap_or_default().details;
    let code = if status.code() == Code::Ok { Code::Unknown } else { status.code() };
    Answer {
        status: internals::Status { code: code.into(), message: status.message().to_owned(), details },
        headers: status.metadata().clone().into_headers(),
        trailers: HeaderMap::new(),
        content_type: String::new(),
        type_url: String::new(),
        body: whole(bytes::Bytes::new()),
    }
}
