//! The other end of the internal port: calls of other runtimes for this one's application.

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method, Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use mecha_app_channel::BodyStream;
use mecha_observability::Propagated;
use mecha_proto::common::v1 as common;
use mecha_proto::common::v1::http_extension::Verb;
use mecha_proto::internals::v1 as internals;
use tonic::{Code, Status};

use crate::Invocation;
use crate::access::{Asked, Identity};
use crate::error::{InvokeError, rpc_text};
use crate::frames::{Framed, Messages, Payloads, frame};
use crate::headers::{CALLER_ID, from_metadata, identify, to_metadata};
use crate::local::any;
use crate::method::normalise;
use crate::peer::{STREAM, UNARY};
use crate::request::{Answer, InvokeRequest, Origin, RequestBody, collect, method, whole};

/// The service of the internal port.
pub const SERVICE: &str = "dapr.proto.internals.v1.ServiceInvocation";
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
/// The operation that a peer called, among the extensions of its answer; only of calls that are traced.
#[derive(Debug, Clone)]
pub struct Called(pub String);

/// Who calls when nobody says so.
const UNKNOWN: &str = "unknown";

impl Invocation {
    /// Answers a call of [`SERVICE`].
    ///
    /// # Errors
    /// What the other runtime is told in place of an answer.
    pub async fn serve(
        &self,
        request: Request<Incoming>,
        trace: &Propagated,
    ) -> Result<Response<BodyStream>, Status> {
        let limit = self.max_body_size.saturating_add(1 << 20);
        let (head, body) = request.into_parts();
        let messages = Messages::of_caller(body, limit);
        let caller = head.extensions.get::<Identity>();
        match head.uri.path() {
            STREAM => self.serve_stream(messages, caller, trace).await,
            UNARY => self.serve_unary(messages, caller, trace).await,
            other => Err(Status::unimplemented(format!("unknown method {other}"))),
        }
    }

    async fn serve_stream(
        &self,
        mut messages: Messages<Incoming>,
        caller: Option<&Identity>,
        trace: &Propagated,
    ) -> Result<Response<BodyStream>, Status> {
        let missing = || malformed("request does not contain the required fields in the leading chunk");
        let first = messages.next::<internals::InternalInvokeRequestStream>().await;
        let mut first = first.unwrap_or_else(|| Err(missing()))?;
        let head = first.request.take().filter(|head| !head.metadata.is_empty()).ok_or_else(missing)?;
        let mut request = self.called(head).ok_or_else(missing)??;
        self.may_call(caller, &mut request)?;
        request.body = body(request.verb.as_ref(), &request.headers, messages, first.payload).await?;
        let called = called(&request, trace);
        let answer = self.called_by_peer(request, trace).await?;
        let (head, body) = split(answer);
        let head = internals::InternalInvokeResponseStream { response: Some(head), payload: None };
        Ok(response(Framed::response(frame(&head), body).boxed_unsync(), called))
    }

    async fn serve_unary(
        &self,
        mut messages: Messages<Incoming>,
        caller: Option<&Identity>,
        trace: &Propagated,
    ) -> Result<Response<BodyStream>, Status> {
        let message = messages.next::<internals::InternalInvokeRequest>().await;
        let message = message.unwrap_or_else(|| Err(malformed("there is no request")))?;
        let mut request = self.called(message).ok_or_else(|| malformed("field Message is nil"))??;
        self.may_call(caller, &mut request)?;
        let called = called(&request, trace);
        let answer = self.called_by_peer(request, trace).await?;
        let (mut head, body) = split(answer);
        let body = collect(body, self.max_body_size).await.map_err(Status::internal)?;
        if let Some(data) = head.message.as_mut().and_then(|message| message.data.as_mut()) {
            data.value = body.into();
        }
        Ok(response(Framed::response(frame(&head), whole(bytes::Bytes::new())).boxed_unsync(), called))
    }

    /// Whether it may; who it is, its certificate says and no header.
    fn may_call(&self, caller: Option<&Identity>, request: &mut InvokeRequest) -> Result<(), Status> {
        if self.channel.is_none() {
            return Err(refused(&InvokeError::NoApplication));
        }
        if let Some(caller) = caller {
            identify(&mut request.headers, &caller.app_id, &caller.namespace, &self.app_id);
        }
        let verb = request.verb.as_ref().map_or("NONE", Method::as_str);
        self.check_access(Asked { caller, operation: &request.method, verb })
    }

    /// Calls the application, and counts.
    async fn called_by_peer(&self, request: InvokeRequest, trace: &Propagated) -> Result<Answer, Status> {
        let caller = request.headers.get(CALLER_ID).cloned();
        let caller = caller.as_ref().and_then(|caller| caller.to_str().ok()).unwrap_or(UNKNOWN);
        let metrics = &self.metrics.invocation;
        metrics.request_received(caller);
        let answer = self.local(request, trace).await;
        let status = answer.as_ref().map_or(Code::Internal.into(), |answer| answer.status.code);
        metrics.response_sent(caller, status);
        answer.map_err(|error| refused(&error))
    }

    /// The call in a message; `None` when there is none in it.
    fn called(&self, request: internals::InternalInvokeRequest) -> Option<Result<InvokeRequest, Status>> {
        let message = request.message?;
        let name = match normalise(&message.method) {
            Ok(name) => name,
            Err(reason) => return Some(Err(Status::invalid_argument(format!("invalid method: {reason}")))),
        };
        let extension = message.http_extension;
        let data = message.data.unwrap_or_default();
        let verb = extension
            .as_ref()
            .and_then(|extension| method(Verb::try_from(extension.verb).unwrap_or(Verb::None)));
        let is_grpc = request
            .metadata
            .get(CONTENT_TYPE.as_str())
            .and_then(|list| list.values.first())
            .is_some_and(|content_type| content_type.starts_with("application/grpc"));
        Some(Ok(InvokeRequest {
            method: name,
            verb,
            query: extension.map(|extension| extension.querystring).unwrap_or_default(),
            content_type: message.content_type,
            type_url: data.type_url,
            headers: from_metadata(request.metadata),
            origin: if is_grpc { Origin::Grpc } else { Origin::Http },
            body: RequestBody::Whole(data.value.into()),
        }))
    }
}

/// The body of a streamed call; empty at once where there is none, so that the application is not promised one.
async fn body(
    verb: Option<&Method>,
    headers: &HeaderMap,
    mut messages: Messages<Incoming>,
    first: Option<common::StreamPayload>,
) -> Result<RequestBody, Status> {
    let has_none = [Method::GET, Method::HEAD, Method::DELETE, Method::OPTIONS, Method::TRACE];
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let has_none = verb.is_some_and(|verb| has_none.contains(verb));
    let first = match first {
        None if length == Some(0) => return Ok(RequestBody::Whole(bytes::Bytes::new())),
        None if length.is_none() && has_none => {
            match messages.next::<internals::InternalInvokeRequestStream>().await {
                None => return Ok(RequestBody::Whole(bytes::Bytes::new())),
                Some(next) => next?.payload,
            }
        }
        first => first,
    };
    let payloads = Payloads::<_, internals::InternalInvokeRequestStream>::new(messages, first);
    Ok(RequestBody::Stream(payloads.boxed_unsync()))
}

fn split(answer: Answer) -> (internals::InternalInvokeResponse, BodyStream) {
    let origin = if answer.is_http() { Origin::Http } else { Origin::Grpc };
    let data = any(answer.type_url, bytes::Bytes::new());
    let message = common::InvokeResponse { data: Some(data), content_type: answer.content_type };
    let head = internals::InternalInvokeResponse {
        status: Some(answer.status),
        headers: to_metadata(&answer.headers, origin),
        trailers: to_metadata(&answer.trailers, Origin::Grpc),
        message: Some(message),
    };
    (head, answer.body)
}

fn called(request: &InvokeRequest, trace: &Propagated) -> Option<Called> {
    trace.context.is_sampled().then(|| Called(request.method.clone()))
}

fn response(body: BodyStream, called: Option<Called>) -> Response<BodyStream> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, GRPC);
    if let Some(called) = called {
        response.extensions_mut().insert(called);
    }
    response
}

fn malformed(reason: &str) -> Status {
    Status::invalid_argument(format!("parsing InternalInvokeRequest error: {reason}"))
}

fn refused(error: &InvokeError) -> Status {
    match error {
        InvokeError::NoApplication => Status::internal("app channel is not initialized"),
        InvokeError::Rpc(status) => {
            Status::internal(format!("error invoking app channel: {}", rpc_text(status)))
        }
        other => Status::internal(format!("error invoking app channel: {other}")),
    }
}
