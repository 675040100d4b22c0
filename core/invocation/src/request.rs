//! A call and its answer, whatever protocol they came in or go out by.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method};
use http_body_util::{BodyExt as _, Full};
use mecha_app_channel::{BodyStream, BoxError, Outgoing};
use mecha_proto::common::v1::http_extension::Verb;
use mecha_proto::internals::v1 as internals;

use crate::error::InvokeError;

/// Which protocol a call came in by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// HTTP: header names are written as Go writes them.
    Http,
    /// gRPC: metadata stays in lower case.
    Grpc,
}

/// A call of a method.
pub struct InvokeRequest<B = RequestBody> {
    /// The method, decoded; for an HTTP application a path.
    pub method: String,
    /// The verb; `None` for a call without one.
    pub verb: Option<Method>,
    /// The query as it was sent.
    pub query: String,
    /// Media type of the body; empty when there is none.
    pub content_type: String,
    /// Type of a body that is a protobuf message; empty for others.
    pub type_url: String,
    /// The caller's headers or metadata.
    pub headers: HeaderMap,
    /// Which protocol it came in by.
    pub origin: Origin,
    /// The body.
    pub body: B,
}

impl InvokeRequest {
    /// The call as one that can be made again; itself when its body can be sent only once.
    pub(crate) fn repeatable(self) -> Result<InvokeRequest<Bytes>, Box<Self>> {
        match self.body {
            RequestBody::Whole(bytes) => Ok(InvokeRequest {
                method: self.method,
                verb: self.verb,
                query: self.query,
                content_type: self.content_type,
                type_url: self.type_url,
                headers: self.headers,
                origin: self.origin,
                body: bytes,
            }),
            RequestBody::Stream(_) => Err(Box::new(self)),
        }
    }
}

impl InvokeRequest<Bytes> {
    /// The call, to be made now.
    pub(crate) fn again(&self) -> InvokeRequest {
        InvokeRequest {
            method: self.method.clone(),
            verb: self.verb.clone(),
            query: self.query.clone(),
            content_type: self.content_type.clone(),
            type_url: self.type_url.clone(),
            headers: self.headers.clone(),
            origin: self.origin,
            body: RequestBody::Whole(self.body.clone()),
        }
    }
}

/// The body of a call.
pub enum RequestBody {
    /// Can be sent again.
    Whole(Bytes),
    /// Can be sent once.
    Stream(BodyStream),
}

impl RequestBody {
    pub(crate) fn outgoing(self) -> Outgoing {
        match self {
            Self::Whole(bytes) => Outgoing::from(bytes),
            Self::Stream(stream) => Outgoing::Stream(stream),
        }
    }

    /// For who takes messages only.
    pub(crate) async fn whole(self, limit: usize) -> Result<Bytes, InvokeError> {
        match self {
            Self::Whole(bytes) => Ok(bytes),
            Self::Stream(stream) => collect(stream, limit).await.map_err(InvokeError::Body),
        }
    }
}

/// Reads a body to its end.
///
/// # Errors
/// What broke it off, or that it is too large.
pub async fn collect(mut body: BodyStream, limit: usize) -> Result<Bytes, String> {
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|error| error.to_string())?.into_data() else { continue };
        if first.len() + all.len() + data.len() > limit {
            return Err(format!("the body is larger than {limit} bytes; --max-body-size sets the limit"));
        }
        // A body that comes in one piece is not copied.
        if first.is_empty() && all.is_empty() {
            first = data;
            continue;
        }
        all.extend_from_slice(&std::mem::take(&mut first));
        all.extend_from_slice(&data);
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

/// What the called application answered.
pub struct Answer {
    /// An HTTP status, or a gRPC code, with what a gRPC application says besides.
    pub status: internals::Status,
    /// Headers or metadata.
    pub headers: HeaderMap,
    /// What followed the body of a gRPC application.
    pub trailers: HeaderMap,
    /// Media type of the body; empty when there is none.
    pub content_type: String,
    /// Type of a body that is a protobuf message; empty for others.
    pub type_url: String,
    /// The body.
    pub body: BodyStream,
}

impl Answer {
    /// Whether the status is one of HTTP.
    pub fn is_http(&self) -> bool {
        self.status.code >= 100
    }
}

/// A body that is there.
pub(crate) fn whole(bytes: Bytes) -> BodyStream {
    Full::new(bytes).map_err(|never| -> BoxError { match never {} }).boxed_unsync()
}

/// The protocol's verb for a method; `None` is a call without one.
pub(crate) fn verb(method: Option<&Method>) -> Verb {
    match method.map(Method::as_str) {
        Some("GET") => Verb::Get,
        Some("HEAD") => Verb::Head,
        Some("POST") => Verb::Post,
        Some("PUT") => Verb::Put,
        Some("DELETE") => Verb::Delete,
        Some("CONNECT") => Verb::Connect,
        Some("OPTIONS") => Verb::Options,
        Some("TRACE") => Verb::Trace,
        Some("PATCH") => Verb::Patch,
        Some(_) | None => Verb::None,
    }
}

/// The method of the protocol's verb.
pub fn method(verb: Verb) -> Option<Method> {
    Some(match verb {
        Verb::None => return None,
        Verb::Get => Method::GET,
        Verb::Head => Method::HEAD,
        Verb::Post => Method::POST,
        Verb::Put => Method::PUT,
        Verb::Delete => Method::DELETE,
        Verb::Connect => Method::CONNECT,
        Verb::Options => Method::OPTIONS,
        Verb::Trace => Method::TRACE,
        Verb::Patch => Method::PATCH,
    })
}
