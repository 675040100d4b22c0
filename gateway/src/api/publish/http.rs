//! Publishing over HTTP.

use std::borrow::Cow;
use std::collections::HashSet;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::Method;
use http::header::CONTENT_TYPE;
use mecha_events::content_type;
use mecha_plugin_api::Metadata;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;
use serde_json::value::RawValue;

use super::error::Fault;
use super::service::{BulkFailure, Entry, Event, Target};
use crate::error::ApiError;
use crate::http::json::{MetadataObject, Object, compact, nullable};
use crate::http::path::decoded;
use crate::http::request::Request;
use crate::http::response::{Reply, empty};

/// The routes of the block; a topic may contain slashes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route<'a> {
    Publish { pubsub: Cow<'a, str>, topic: Cow<'a, str> },
    Bulk { pubsub: Cow<'a, str>, topic: Cow<'a, str> },
}

impl<'a> Route<'a> {
    pub(crate) fn of(version: &str, method: &Method, rest: &'a str) -> Option<Self> {
        if method != Method::POST && method != Method::PUT {
            return None;
        }
        let bulk = rest.strip_prefix("bulk/").and_then(|rest| rest.split_once('/'));
        if let Some((pubsub, topic)) = bulk {
            return Some(Self::Bulk { pubsub: decoded(pubsub), topic: decoded(topic) });
        }
        // Without a topic it is no route: Dapr takes it for an invocation.
        let (pubsub, topic) = rest.split_once('/')?;
        (version == "v1.0").then(|| Self::Publish { pubsub: decoded(pubsub), topic: decoded(topic) })
    }
}

pub(crate) async fn answer(route: Route<'_>, request: &Request<'_>) -> Result<Reply, ApiError> {
    let metadata = request.query().metadata();
    let find = |pubsub, topic| Target::find(request.runtime, request.call, pubsub, topic, &metadata);
    match &route {
        Route::Publish { pubsub, topic } => {
            let content_type = request.header(CONTENT_TYPE).unwrap_or_default().to_owned();
            let target = find(pubsub, topic)?;
            let event = Event { data: request.body.clone(), content_type, metadata: metadata.clone() };
            target.publish(event).await?;
            Ok(empty())
        }
        Route::Bulk { pubsub, topic } => {
            let target = find(pubsub, topic)?;
            let entries = entries(&target, request.body, &metadata)?;
            match target.bulk_publish(entries, metadata.clone(), request.runtime).await {
                Ok(()) => Ok(empty()),
                Err(failure) if failure.failed.is_empty() => Err(*failure.error),
                Err(failure) => Ok(bulk_failure(&failure, request)),
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BulkEntry<'a> {
    #[serde(default, deserialize_with = "nullable")]
    entry_id: String,
    #[serde(borrow, default)]
    event: Option<&'a RawValue>,
    #[serde(default, deserialize_with = "nullable")]
    content_type: String,
    #[serde(default)]
    metadata: Option<MetadataObject>,
}

fn entries(target: &Target<'_>, body: &Bytes, metadata: &Metadata) -> Result<Vec<Entry>, ApiError> {
    let mut read =
        serde_json::Deserializer::from_slice(body).into_iter::<Option<Vec<Object<BulkEntry<'_>>>>>();
    let read = match read.next() {
        Some(Ok(read)) => Ok(read.unwrap_or_default()),
        Some(Err(error)) => Err(go_text(&error, body)),
        None => Err("EOF".to_owned()),
    };
    let read = read.map_err(|reason| target.fault(&Fault::Unmarshal(reason), metadata))?;
    let mut ids = HashSet::with_capacity(read.len());
    let mut entry = |Object(entry): Object<BulkEntry<'_>>| {
        let data = bytes_of(entry.event.map_or("null", RawValue::get), &entry.content_type, body);
        let data = data.map_err(|reason| target.fault(&Fault::Entry(reason), metadata))?;
        target.check_id(&mut ids, &entry.entry_id, metadata)?;
        // As in Dapr the request's metadata reaches only entries that have metadata of their own.
        let metadata = entry.metadata.map(|own| own.over(metadata)).unwrap_or_default();
        let event = Event { data, content_type: entry.content_type, metadata };
        Ok(Entry { entry_id: entry.entry_id, event })
    };
    read.into_iter().map(&mut entry).collect()
}

/// What Go's reader says of a list of entries that it cannot read; clients compare the first two.
fn go_text(error: &serde_json::Error, body: &[u8]) -> String {
    // Go looks at the whole text before it looks at what the text holds.
    let mut whole = serde_json::Deserializer::from_slice(body).into_iter::<IgnoredAny>();
    if let Some(Err(syntax)) = whole.next() {
        return if syntax.is_eof() { "unexpected EOF".to_owned() } else { syntax.to_string() };
    }
    let kind = match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{') => "object",
        Some(b'"') => "string",
        Some(b't' | b'f') => "bool",
        Some(b'-' | b'0'..=b'9') => "number",
        _ => return error.to_string(),
    };
    format!("json: cannot unmarshal {kind} into Go value of type []http.bulkPublishMessageEntry")
}

/// An entry's event as bytes: what its content type says decides how JSON carries it.
fn bytes_of(json: &str, media_type: &str, body: &Bytes) -> Result<Bytes, String> {
    let mismatch = || "error: mismatch between contentType and event".to_owned();
    if content_type::is_binary(media_type) {
        let text: String = serde_json::from_str(json).map_err(|_| mismatch())?;
        let decoded = BASE64_STANDARD.decode(text);
        return decoded.map(Bytes::from).map_err(|error| {
            format!("error: unable to decode base64 application/octect-stream data: {error}")
        });
    }
    if content_type::is_text(media_type) {
        return serde_json::from_str::<String>(json).map(Bytes::from).map_err(|_| mismatch());
    }
    if content_type::is_json(media_type) || content_type::is_cloud_event(media_type) {
        return Ok(compact(json, body));
    }
    Err(mismatch())
}

/// Dapr tells of entries that failed in the body and in headers.
fn bulk_failure(failure: &BulkFailure, request: &Request<'_>) -> Reply {
    let error = &*failure.error;
    request.runtime.metrics().errors.record(error.code, error.category);
    let entries: Vec<_> = failure
        .failed
        .iter()
        .map(|failed| json!({"entryId": failed.entry_id, "error": failed.reason}))
        .collect();
    let body = json!({"failedEntries": entries, "errorCode": error.code}).to_string();
    let mut metadata = Metadata::new();
    metadata.insert("responseData", body.as_str());
    metadata.insert("error", error.message.as_str());
    let mut reply = Reply::json(error.http, body.into());
    reply.metadata(&metadata);
    reply
}
