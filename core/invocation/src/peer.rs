//! Calls to other runtimes, over their internal port; by mutual TLS (`secure.rs`) where there are certificates.

mod secure;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, TE};
use http::{HeaderMap, Method, Request, Response, Uri, Version};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use mecha_app_channel::{BodyStream, BoxError, Outgoing};
use mecha_identity::{HandshakeError, Mtls};
use mecha_observability::{Propagated, names};
use mecha_proto::internals::v1 as internals;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

use crate::error::chain;
use crate::frames::{Framed, Messages, Payloads, frame};
use crate::headers::from_metadata;
use crate::request::{Answer, whole};
use crate::resolve::AppName;
use secure::Secure;

pub(crate) const STREAM: &str = "/dapr.proto.internals.v1.ServiceInvocation/CallLocalStream";
pub(crate) const UNARY: &str = "/dapr.proto.internals.v1.ServiceInvocation/CallLocal";
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A peer that is gone without a word is noticed after both.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// The connections to other runtimes: one each, for all calls.
pub(crate) struct Peers {
    way: Way,
    max_body_size: usize,
}

enum Way {
    Plain(Client<HttpConnector, BodyStream>),
    Secure(Secure),
}

impl Peers {
    pub(crate) fn new(max_body_size: usize, mtls: Option<Arc<Mtls>>) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let mut builder = Client::builder(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .http2_only(true)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .http2_keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
        let way = match mtls {
            None => Way::Plain(builder.build(tcp)),
            Some(mtls) => Way::Secure(Secure::new(mtls, tcp, builder)),
        };
        Self { way, max_body_size }
    }

    /// Calls a method over a stream.
    pub(crate) async fn stream(
        &self,
        app: &AppName,
        address: &str,
        head: internals::InternalInvokeRequest,
        body: Outgoing,
        trace: &Propagated,
    ) -> Result<Answer, Status> {
        let head = internals::InternalInvokeRequestStream { request: Some(head), payload: None };
        let body = Framed::request(frame(&head), body).boxed_unsync();
        let answer = self.call(app, address, STREAM, body, trace).await?;
        let mut messages = Messages::of_callee(answer.into_body(), self.message_limit());
        let first = messages.next::<internals::InternalInvokeResponseStream>().await;
        let first = first.unwrap_or_else(|| Err(Status::internal("the stream ended without an answer")))?;
        let missing =
            || Status::unknown("response does not contain the required fields in the leading chunk");
        let head = first.response.ok_or_else(missing)?;
        let payloads = Payloads::<_, internals::InternalInvokeResponseStream>::new(messages, first.payload);
        answered(head, Some(payloads.boxed_unsync())).ok_or_else(missing)
    }

    /// Calls a method of a runtime that knows no streams.
    pub(crate) async fn unary(
        &self,
        app: &AppName,
        address: &str,
        request: internals::InternalInvokeRequest,
        trace: &Propagated,
    ) -> Result<Answer, Status> {
        let body = whole(frame(&request));
        let answer = self.call(app, address, UNARY, body, trace).await?;
        let mut messages = Messages::of_callee(answer.into_body(), self.message_limit());
        let message = messages.next::<internals::InternalInvokeResponse>().await;
        let message = message.unwrap_or_else(|| Err(Status::internal("the call ended without an answer")))?;
        answered(message, None).ok_or_else(|| Status::unknown("the answer has no status"))
    }

    /// Passes any gRPC call through.
    pub(crate) async fn pass(
        &self,
        app: &AppName,
        address: &str,
        mut request: Request<BodyStream>,
    ) -> Result<Response<Incoming>, Status> {
        let path = request.uri().path().to_owned();
        *request.uri_mut() = self.uri(address, &path)?;
        *request.version_mut() = Version::HTTP_2;
        self.send(app, request).await
    }

    async fn send(&self, app: &AppName, request: Request<BodyStream>) -> Result<Response<Incoming>, Status> {
        let answer = match &self.way {
            Way::Plain(client) => client.request(request).await,
            Way::Secure(secure) => secure.client(app).request(request).await,
        };
        answer.map_err(|error| unavailable(&error))
    }

    fn uri(&self, address: &str, path: &str) -> Result<Uri, Status> {
        let scheme = match &self.way {
            Way::Plain(_) => "http",
            Way::Secure(_) => "https",
        };
        let uri = Uri::builder().scheme(scheme).authority(address).path_and_query(path).build();
        uri.map_err(|error| Status::unavailable(format!("{address} is no address: {error}")))
    }

    async fn call(
        &self,
        app: &AppName,
        address: &str,
        path: &'static str,
        body: UnsyncBoxBody<Bytes, BoxError>,
        trace: &Propagated,
    ) -> Result<Response<Incoming>, Status> {
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = self.uri(address, path)?;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, GRPC);
        headers.insert(TE, HeaderValue::from_static("trailers"));
        add_trace(headers, trace);
        let answer = self.send(app, request).await?;
        match Status::from_header_map(answer.headers()) {
            Some(status) if status.code() != Code::Ok => Err(status),
            Some(_) | None if answer.status() == http::StatusCode::OK => Ok(answer),
            Some(_) | None => Err(Status::unavailable(format!(
                "unexpected HTTP status code received from server: {}",
                answer.status()
            ))),
        }
    }

    /// Room for a whole body and the headers around it.
    fn message_limit(&self) -> usize {
        self.max_body_size.saturating_add(1 << 20)
    }
}

/// The trace as gRPC metadata, in both forms.
pub(crate) fn add_trace(headers: &mut HeaderMap, trace: &Propagated) {
    if !trace.context.is_valid() {
        return;
    }
    let mut put = |name: &'static str, value: &[u8]| {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.insert(name, value);
        }
    };
    put(names::header::TRACEPARENT, trace.context.traceparent().as_bytes());
    let binary = MetadataValue::from_bytes(&trace.context.to_binary());
    put(names::header::GRPC_TRACE_BIN, binary.as_encoded_bytes());
    if let Some(tracestate) = &trace.tracestate {
        put(names::header::TRACESTATE, tracestate.as_bytes());
    }
    if let Some(baggage) = &trace.baggage {
        put(names::header::BAGGAGE, baggage.as_bytes());
    }
}

/// Begins the message of a status that says that no connection was made.
const DIALING: &str = "connection error: desc = \"transport: Error while dialing: ";
/// The same where somebody was there, and one of the two did not want the other.
const HANDSHAKE: &str = "connection error: desc = \"transport: authentication handshake failed: ";

/// Whether a call failed because no connection was made.
pub(crate) fn is_dialing(status: &Status) -> bool {
    [DIALING, HANDSHAKE].iter().any(|begin| status.message().starts_with(begin))
}

/// As in Dapr's own client a connection that fails is an unavailable peer.
fn unavailable(error: &hyper_util::client::legacy::Error) -> Status {
    if let Some(reason) = handshake(error) {
        return Status::unavailable(format!("{HANDSHAKE}{reason}\""));
    }
    let text = chain(error);
    if error.is_connect() {
        Status::unavailable(format!("{DIALING}{text}\""))
    } else {
        Status::unavailable(text)
    }
}

/// What came of proving to each other who is there.
fn handshake<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a HandshakeError> {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.filter_map(|cause| cause.downcast_ref::<HandshakeError>()).next()
}

/// `None` without the status, which is required.
fn answered(head: internals::InternalInvokeResponse, body: Option<BodyStream>) -> Option<Answer> {
    let message = head.message.unwrap_or_default();
    let data = message.data.unwrap_or_default();
    Some(Answer {
        status: head.status?,
        headers: from_metadata(head.headers),
        trailers: from_metadata(head.trailers),
        content_type: message.content_type,
        type_url: data.type_url,
        body: body.unwrap_or_else(|| whole(data.value.into())),
    })
}
