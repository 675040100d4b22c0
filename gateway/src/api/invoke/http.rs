//! Service invocation over HTTP: everything that no other block answers. Bodies pass through as they come, both ways.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use mecha_invocation::{Answer, InvokeRequest, Origin, RequestBody as InvokeBody, collect, to_http};
use mecha_observability::{ActiveSpan, names};
use mecha_resources::configuration::ApiProtocol;
use serde_json::json;
use tonic::Code;

use super::service::{failed, http_status};
use crate::error::ApiError;
use crate::http::body::{Body, RequestBody};
use crate::http::path::{decoded_path, unescape};
use crate::http::request::Request;
use crate::http::response::Reply;

/// The block's part of the API as the Configuration's lists name it.
const PART: &str = "v1.0/invoke";
const APP_ID: &str = "dapr-app-id";
const TOKEN: &str = "dapr-api-token";
const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");
const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");

/// Whom a request is for.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    id: String,
    method: String,
    /// Named by a header that is for the runtime only.
    by_header: bool,
}

pub(crate) async fn answer(request: &Request<'_>) -> Result<Reply, ApiError> {
    let head = request.head;
    let path = decoded_path(head.uri.path());
    let target = target(&path, &head.headers).filter(|_| is_allowed(request));
    let target = target.ok_or_else(ApiError::no_target)?;
    let mut headers = head.headers.clone();
    if target.by_header {
        headers.remove(APP_ID);
    }
    if request.runtime.app().api_token.is_some() {
        // It was for this runtime, and is nobody else's business.
        headers.remove(TOKEN);
    }
    let content_type = request.header(CONTENT_TYPE).unwrap_or_default().to_owned();
    let wants_events = wants_events(&head.headers);
    let invocation = InvokeRequest {
        method: target.method,
        verb: Some(head.method.clone()),
        query: head.uri.query().unwrap_or_default().to_owned(),
        content_type,
        type_url: String::new(),
        headers,
        origin: Origin::Http,
        body: body(request).await?,
    };
    let answer = request.runtime.invocation().invoke(&target.id, invocation, &request.call.trace).await;
    let answer = answer.map_err(|error| failed(&target.id, &error))?;
    let mut reply = reply(answer);
    if wants_events && reply.status.is_success() {
        reply.headers.insert(CONTENT_TYPE, EVENTS);
        reply.headers.insert(CACHE_CONTROL, NO_CACHE);
    }
    Ok(reply)
}

/// Says in a request's span whom it calls; nothing of a request that calls nobody.
pub(crate) fn describe(span: &mut ActiveSpan, head: &Parts) {
    let Some(Target { id, method, .. }) = target(&decoded_path(head.uri.path()), &head.headers) else {
        return;
    };
    span.set_name(format!("{}{id}/{method}", names::span::CALL_LOCAL_PREFIX));
    span.set_attribute(names::attribute::RPC_SERVICE, names::attribute::value::SERVICE_INVOCATION);
    span.set_attribute(names::attribute::NET_PEER_NAME, id);
}

/// A body of a length that fits is read whole, so that it can be sent again; any other passes through.
async fn body(request: &Request<'_>) -> Result<InvokeBody, ApiError> {
    let Some(body) = request.stream.take().filter(|body| !body.is_end_stream()) else {
        return Ok(InvokeBody::Whole(Bytes::new()));
    };
    let limit = request.runtime.invocation().max_body_size();
    let length = request.header(CONTENT_LENGTH).and_then(|length| length.parse::<usize>().ok());
    let body = stream(body);
    if length.is_none_or(|length| length > limit) {
        return Ok(InvokeBody::Stream(body));
    }
    collect(body, limit).await.map(InvokeBody::Whole).map_err(ApiError::malformed_body)
}

fn stream(body: RequestBody) -> mecha_invocation::BodyStream {
    body.map_err(Into::into).boxed_unsync()
}

fn is_allowed(request: &Request<'_>) -> bool {
    let configuration = request.runtime.configuration();
    let api = &configuration.api;
    let everything = api.allowed.is_empty() && api.denied.is_empty();
    let path = request.head.uri.path().trim_start_matches('/');
    everything || api.is_allowed(ApiProtocol::Http, PART, path)
}

fn wants_events(headers: &HeaderMap) -> bool {
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    accept.trim().eq_ignore_ascii_case("text/event-stream")
}

fn reply(answer: Answer) -> Reply {
    if !answer.is_http() {
        return grpc_reply(answer);
    }
    let status = u16::try_from(answer.status.code).ok().and_then(|code| StatusCode::from_u16(code).ok());
    let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = headers(&answer);
    Reply { status, headers, body: Body::Stream(answer.body) }
}

/// The answer of an application that speaks gRPC; its error becomes a JSON body.
fn grpc_reply(answer: Answer) -> Reply {
    let code = Code::from(answer.status.code);
    let status = http_status(code);
    let mut headers = headers(&answer);
    if code == Code::Ok {
        return Reply { status, headers, body: Body::Stream(answer.body) };
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let body = json!({"code": answer.status.code, "message": answer.status.message});
    Reply { status, headers, body: Body::Whole(body.to_string().into()) }
}

fn headers(answer: &Answer) -> HeaderMap {
    let mut headers = to_http(&answer.headers);
    let content_type = match answer.type_url.as_str() {
        "" => answer.content_type.as_str(),
        _ => "application/x-protobuf",
    };
    if !content_type.is_empty()
        && let Ok(content_type) = HeaderValue::try_from(content_type)
    {
        headers.insert(CONTENT_TYPE, content_type);
    }
    headers
}

/// By the header, by basic authentication, or by the path, in this order.
fn target(path: &str, headers: &HeaderMap) -> Option<Target> {
    let method = || path.trim_start_matches('/').to_owned();
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let named = text(APP_ID);
    if !named.is_empty() {
        return Some(Target { id: named.to_owned(), method: method(), by_header: true });
    }
    if let Some(id) = by_basic_auth(text(AUTHORIZATION.as_str())) {
        return Some(Target { id, method: method(), by_header: false });
    }
    let (id, method) = by_path(path)?;
    Some(Target { id, method, by_header: false })
}

fn by_basic_auth(authorization: &str) -> Option<String> {
    let decoded = BASE64_STANDARD.decode(authorization.strip_prefix("Basic ")?).ok()?;
    let (name, id) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    let names_one = name.eq_ignore_ascii_case(APP_ID) && !id.contains(':') && !id.is_empty();
    names_one.then(|| id.to_owned())
}

/// `v1.0/invoke/<id>/method/<method>`. The id may be a URL, whose slashes count.
fn by_path(path: &str) -> Option<(String, String)> {
    let rest = path.trim_start_matches('/').strip_prefix("v1.0/")?;
    let rest = rest.trim_start_matches('/').strip_prefix("invoke/")?.trim_start_matches('/');
    let (id, method) = rest.split_once("/method/").or_else(|| Some((rest.strip_suffix("/method")?, "")))?;
    if id.is_empty() {
        return None;
    }
    let id = unescape(id).filter(|id| !id.is_empty()).map_or_else(|| id.to_owned(), |id| id.into_owned());
    Some((id, method.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(http::HeaderName::from_static(name), HeaderValue::try_from(value).unwrap())])
    }

    fn found(path: &str, headers: &HeaderMap) -> Option<(String, String)> {
        target(path, headers).map(|target| (target.id, target.method))
    }

    #[test]
    fn a_target_stands_in_the_path() {
        let none = HeaderMap::new();
        for (path, id, method) in [
            ("/v1.0/invoke/a/method/m/n", "a", "m/n"),
            ("//v1.0//invoke//a.ns/method/m", "a.ns", "m"),
            ("/v1.0/invoke/http://h:1/x/method/m", "http://h:1/x", "m"),
            ("/v1.0/invoke/http%3A%2F%2Fh/method/m", "http://h", "m"),
            ("/v1.0/invoke/a/method/", "a", ""),
            ("/v1.0/invoke/a/method/m/method/n", "a", "m/method/n"),
        ] {
            assert_eq!(found(path, &none), Some((id.to_owned(), method.to_owned())), "{path}");
        }
        for path in ["/v1.0/invoke/a", "/v1.0/invoke//method/m", "/x", "/v2.0/invoke/a/method/m"] {
            assert_eq!(found(path, &none), None, "{path}");
        }
    }

    #[test]
    fn a_header_and_basic_auth_go_before_the_path() {
        let whole = Some(("b".to_owned(), "v1.0/invoke/a/method/m".to_owned()));
        assert_eq!(found("/v1.0/invoke/a/method/m", &headers("dapr-app-id", "b")), whole);
        let basic = |text: &str| headers("authorization", &format!("Basic {}", BASE64_STANDARD.encode(text)));
        assert_eq!(found("/v1.0/invoke/a/method/m", &basic("Dapr-App-Id:b")), whole);
        for other in ["dapr-app-id:b:c", "user:b", "dapr-app-id"] {
            assert_eq!(found("/m", &basic(other)), None, "{other}");
        }
    }
}
