//! Object stores over HTTP.

use std::borrow::Cow;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::try_unfold;
use http::header::{CONTENT_RANGE, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use mecha_plugin_api::object::{
    ByteRange, Conditions, CopyRequest, DeleteRequest, GetRequest, ListRequest, ObjectHead, PresignRequest,
    PutRequest,
};
use mecha_runtime::{CallError, Download, ObjectSource};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::error::{Refusal, Why, incomplete, invalid};
use super::{headers, service};
use crate::error::ApiError;
use crate::http::body::{Body, Unbroken};
use crate::http::json::{Object, nullable, parse};
use crate::http::path::decoded;
use crate::http::request::Request;
use crate::http::response::{Reply, empty};

/// The routes of the block.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route<'a> {
    List { store: Cow<'a, str> },
    Copy { store: Cow<'a, str> },
    Presign { store: Cow<'a, str> },
    Put { store: Cow<'a, str>, key: String },
    Get { store: Cow<'a, str>, key: String },
    Head { store: Cow<'a, str>, key: String },
    Delete { store: Cow<'a, str>, key: String },
}

impl<'a> Route<'a> {
    pub(crate) fn of(method: &Method, rest: &'a str) -> Option<Self> {
        let (store, key) = rest.split_once('/').unwrap_or((rest, ""));
        let store = Some(decoded(store)).filter(|store| !store.is_empty())?;
        if key.is_empty() {
            return (method == Method::GET).then_some(Self::List { store });
        }
        if method == Method::POST {
            return match key {
                "copy" => Some(Self::Copy { store }),
                "presign" => Some(Self::Presign { store }),
                _ => None,
            };
        }
        // Other than in Dapr's paths, whose decoding is that of a query, a plus is a plus.
        let key = decoded(&key.replace('+', "%2B")).into_owned();
        match *method {
            Method::PUT => Some(Self::Put { store, key }),
            Method::GET => Some(Self::Get { store, key }),
            Method::HEAD => Some(Self::Head { store, key }),
            Method::DELETE => Some(Self::Delete { store, key }),
            _ => None,
        }
    }
}

pub(crate) async fn answer(route: Route<'_>, request: &Request<'_>) -> Result<Reply, ApiError> {
    match route {
        Route::List { store } => list(request, &store).await,
        Route::Copy { store } => copy(request, &store).await,
        Route::Presign { store } => presign(request, &store).await,
        Route::Put { store, key } => put(request, &store, key).await,
        Route::Get { store, key } => get(request, &store, key).await,
        Route::Head { store, key } => head(request, &store, key).await,
        Route::Delete { store, key } => delete(request, &store, key).await,
    }
}

async fn put(request: &Request<'_>, store: &str, key: String) -> Result<Reply, ApiError> {
    let given = &request.head.headers;
    let body = request.stream.take().ok_or_else(|| incomplete("the object's bytes were read before"))?;
    let put = PutRequest {
        key: key.into(),
        size: body.size_hint().exact().into(),
        content_type: request.header(CONTENT_TYPE).unwrap_or_default().into(),
        object_metadata: headers::object_metadata(given)?,
        conditions: headers::conditions(given)?,
        metadata: request.query().metadata(),
    };
    let head = service::put(
        request.runtime,
        request.call,
        store,
        put,
        Arriving(Unbroken::new(body, request.head.version)),
    )
    .await?;
    Ok(described(&head))
}

async fn get(request: &Request<'_>, store: &str, key: String) -> Result<Reply, ApiError> {
    let given = &request.head.headers;
    let (range, if_range) = (headers::range(given), headers::if_range(given));
    let whole = GetRequest {
        key: key.into(),
        range: ByteRange::WHOLE,
        conditions: headers::conditions(given)?,
        metadata: request.query().metadata(),
    };
    let part = GetRequest { range, ..whole.clone() };
    let open = async |asked: GetRequest| {
        let is_part = !asked.range.is_whole();
        service::get(request.runtime, request.call, store, asked).await.map(|opened| sent(opened, is_part))
    };
    let opened = match if_range {
        None => open(part).await,
        Some(None) => open(whole).await,
        // The part of this very object, or else the object that there is now.
        Some(Some(etag)) => {
            let if_match = vec![etag.into()].into();
            let conditions = Conditions { if_match, ..whole.conditions.clone() };
            match open(GetRequest { conditions, ..part }).await {
                Err(Refusal { why: Why::Changed, .. }) => open(whole).await,
                opened => opened,
            }
        }
    };
    match opened {
        Ok(reply) => Ok(reply),
        Err(refusal) => refused(request, refusal),
    }
}

fn sent(download: Download, is_part: bool) -> Reply {
    let (first, length, size) = (download.first, download.length, download.head.size);
    let status = if is_part { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    let head = download.head.clone();
    let mut reply = headers::reply(&head, status, length, Body::stream(pieces(download)));
    if is_part {
        reply
            .header("content-range", &format!("bytes {first}-{}/{size}", (first + length).saturating_sub(1)));
    }
    reply
}

/// The object's bytes, as the caller's socket asks for them.
fn pieces(download: Download) -> impl Stream<Item = Result<Bytes, CallError>> + Send + 'static {
    try_unfold(download, |mut download| async move {
        let piece =
            download.next().await.inspect_err(|error| tracing::debug!("an object broke off: {error}"))?;
        Ok(piece.map(|piece| (piece, download)))
    })
}

async fn head(request: &Request<'_>, store: &str, key: String) -> Result<Reply, ApiError> {
    let asked = GetRequest {
        key: key.into(),
        range: ByteRange::WHOLE,
        conditions: headers::conditions(&request.head.headers)?,
        metadata: request.query().metadata(),
    };
    match service::head(request.runtime, request.call, store, asked).await {
        Ok(head) => Ok(headers::reply(&head, StatusCode::OK, head.size, Body::Whole(Bytes::new()))),
        Err(refusal) => refused(request, refusal),
    }
}

/// A refusal to read, in HTTP's own words where it has some.
fn refused(request: &Request<'_>, refusal: Refusal) -> Result<Reply, ApiError> {
    match refusal.why {
        Why::Unchanged(etag) => {
            let mut headers = HeaderMap::new();
            headers::add_etag(&mut headers, &etag);
            Ok(Reply { status: StatusCode::NOT_MODIFIED, headers, body: Body::Whole(Bytes::new()) })
        }
        Why::Range(size) => {
            let error = refusal.error;
            request.runtime.metrics().errors.record(error.code, error.category);
            let mut reply = Reply::error(&error);
            if let Ok(value) = HeaderValue::try_from(format!("bytes */{size}")) {
                reply.headers.insert(CONTENT_RANGE, value);
            }
            Ok(reply)
        }
        Why::Changed | Why::Other => Err(refusal.error),
    }
}

async fn delete(request: &Request<'_>, store: &str, key: String) -> Result<Reply, ApiError> {
    let conditions = headers::conditions(&request.head.headers)?;
    let asked = DeleteRequest { key: key.into(), conditions, metadata: request.query().metadata() };
    service::delete(request.runtime, request.call, store, asked).await?;
    Ok(empty())
}

async fn list(request: &Request<'_>, store: &str) -> Result<Reply, ApiError> {
    let query = request.query();
    let text = |name| query.get(name).unwrap_or_default();
    let limit = match text("limit") {
        "" => 0,
        limit => limit.parse().map_err(|_| invalid(format!("limit {limit:?} is no number")))?,
    };
    let asked = ListRequest {
        prefix: text("prefix").into(),
        delimiter: text("delimiter").into(),
        cursor: text("cursor").into(),
        limit,
        metadata: query.metadata(),
    };
    let page = service::list(request.runtime, request.call, store, asked).await?;
    let objects: Vec<Value> = page.objects.iter().map(object).collect();
    let prefixes: Vec<&str> = page.prefixes.iter().map(|prefix| prefix.as_str()).collect();
    let mut answer = json!({"objects": objects, "prefixes": prefixes});
    if !page.cursor.is_empty() {
        answer["cursor"] = page.cursor.as_str().into();
    }
    Ok(Reply::of(&answer))
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Copy {
    #[serde(default, deserialize_with = "nullable")]
    source: String,
    #[serde(default, deserialize_with = "nullable")]
    target: String,
    source_if_match: Option<String>,
}

async fn copy(request: &Request<'_>, store: &str) -> Result<Reply, ApiError> {
    let asked = parse::<Object<Copy>>(request.body)?.0;
    let if_match = asked.source_if_match.into_iter().map(Into::into).collect();
    let copy = CopyRequest {
        source: asked.source.into(),
        target: asked.target.into(),
        source_conditions: Conditions { if_match, ..Conditions::default() },
        conditions: headers::conditions(&request.head.headers)?,
        metadata: request.query().metadata(),
    };
    Ok(described(&service::copy(request.runtime, request.call, store, copy).await?))
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Presign {
    #[serde(default, deserialize_with = "nullable")]
    key: String,
    #[serde(default, deserialize_with = "nullable")]
    method: String,
    #[serde(default, deserialize_with = "nullable")]
    expires_in_seconds: u32,
    #[serde(default, deserialize_with = "nullable")]
    content_type: String,
}

async fn presign(request: &Request<'_>, store: &str) -> Result<Reply, ApiError> {
    let asked = parse::<Object<Presign>>(request.body)?.0;
    let presign = PresignRequest {
        key: asked.key.into(),
        method: asked.method.into(),
        ttl_ns: 0,
        content_type: asked.content_type.into(),
        metadata: request.query().metadata(),
    };
    let seconds = asked.expires_in_seconds;
    let made = service::presign(request.runtime, request.call, store, presign, seconds).await?;
    let headers: Map<_, _> =
        made.headers.iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    Ok(Reply::of(&json!({"url": made.url.as_str(), "method": made.method.as_str(), "headers": headers})))
}

/// The answer to what made an object.
fn described(head: &ObjectHead) -> Reply {
    let mut reply = Reply::of(&object(head));
    headers::add_etag(&mut reply.headers, &head.etag);
    reply
}

/// An object as JSON; what is not known is left out.
fn object(head: &ObjectHead) -> Value {
    let mut object = json!({"key": head.key.as_str(), "size": head.size});
    for (name, text) in [("etag", &head.etag), ("contentType", &head.content_type)] {
        if !text.is_empty() {
            object[name] = text.as_str().into();
        }
    }
    if let Some(modified) = headers::rfc3339(head.modified_ms) {
        object["modified"] = modified.into();
    }
    if !head.metadata.is_empty() {
        let metadata = head.metadata.iter().map(|(name, value)| (name.to_owned(), Value::from(value)));
        object["metadata"] = Value::Object(metadata.collect());
    }
    object
}

/// A request's body.
struct Arriving(Unbroken);

impl ObjectSource for Arriving {
    async fn next(&mut self) -> Option<Result<Bytes, String>> {
        loop {
            match self.0.frame().await? {
                // What is not data are trailers.
                Ok(frame) => match frame.into_data() {
                    Ok(data) => return Some(Ok(data)),
                    Err(_) => continue,
                },
                Err(error) => return Some(Err(error.to_string())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_the_rest_of_the_path() {
        let of = |method: Method, rest: &'static str| Route::of(&method, rest);
        let (store, key) = (Cow::from("s"), "a/b c+d".to_owned());
        assert_eq!(of(Method::GET, "s/a/b%20c+d"), Some(Route::Get { store, key }));
        assert_eq!(of(Method::GET, "s"), Some(Route::List { store: "s".into() }));
        assert_eq!(of(Method::POST, "s/copy"), Some(Route::Copy { store: "s".into() }));
        let put = Route::Put { store: "s".into(), key: "copy".to_owned() };
        assert_eq!(of(Method::PUT, "s/copy"), Some(put));
        for (method, rest) in
            [(Method::PUT, "s"), (Method::POST, "s/x"), (Method::GET, ""), (Method::PATCH, "s/k")]
        {
            assert_eq!(of(method, rest), None, "{rest}");
        }
    }
}
