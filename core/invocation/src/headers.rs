//! Headers on their way from one application to the other: which go on, under which name, and what the runtimes add.

use std::collections::HashMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use http::{HeaderMap, header};
use mecha_observability::names;
use mecha_proto::internals::v1::ListStringValue;

use crate::request::Origin;

/// Who called, for the application that is called.
pub(crate) const CALLER_ID: HeaderName = HeaderName::from_static("dapr-caller-app-id");
/// The caller's namespace.
pub(crate) const CALLER_NAMESPACE: HeaderName = HeaderName::from_static("dapr-caller-namespace");
/// Who is called.
pub(crate) const CALLEE_ID: HeaderName = HeaderName::from_static("dapr-callee-app-id");
/// Who is called, between runtimes only.
const DESTINATION_ID: &str = "destination-app-id";
/// Metadata with this ending holds bytes.
const BINARY: &str = "-bin";
const GRPC: &str = "grpc-";

/// Headers that belong to one connection.
fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
            | "te"
            | "trailer"
            | "proxy-authorization"
            | "proxy-authenticate"
    )
}

/// Headers that are HTTP's own: among metadata they stand behind a prefix.
fn is_http_s_own(name: &str) -> bool {
    const NAMES: [HeaderName; 20] = [
        header::ACCEPT,
        header::ACCEPT_CHARSET,
        header::ACCEPT_LANGUAGE,
        header::ACCEPT_RANGES,
        header::CACHE_CONTROL,
        header::CONTENT_TYPE,
        header::CONTENT_LENGTH,
        header::COOKIE,
        header::DATE,
        header::EXPECT,
        header::FROM,
        header::HOST,
        header::IF_MATCH,
        header::IF_MODIFIED_SINCE,
        header::IF_NONE_MATCH,
        header::IF_UNMODIFIED_SINCE,
        header::MAX_FORWARDS,
        header::ORIGIN,
        header::PRAGMA,
        header::REFERER,
    ];
    matches!(
        name,
        "via" | "warning" | "if-schedule-tag-match" | "connection" | "keep-alive" | "proxy-connection"
    ) || matches!(name, "transfer-encoding" | "upgrade")
        || NAMES.iter().any(|known| known == name)
}

/// The trace goes on with the runtime's own span.
fn is_trace(name: &str) -> bool {
    name == names::header::TRACEPARENT
        || name == names::header::TRACESTATE
        || name == names::header::GRPC_TRACE_BIN
}

/// The headers that go on to an application over HTTP, or back to a caller over HTTP. Media type and length are apart.
pub fn to_http(headers: &HeaderMap) -> HeaderMap {
    let nominated = nominated(headers);
    let mut kept = HeaderMap::with_capacity(headers.len() + 8);
    for (name, value) in headers {
        let text = name.as_str();
        let is_dropped = is_hop_by_hop(text)
            || is_trace(text)
            || text == DESTINATION_ID
            || text.ends_with(BINARY)
            || *name == CONTENT_TYPE
            || *name == CONTENT_LENGTH
            || *name == HOST
            || nominated.iter().any(|nominated| nominated == text);
        if is_dropped {
            continue;
        }
        if text.starts_with(GRPC)
            && let Ok(renamed) = HeaderName::try_from(format!("dapr-{text}"))
        {
            kept.append(renamed, value.clone());
            continue;
        }
        kept.append(name, value.clone());
    }
    kept
}

/// Names that `Connection` makes headers of this connection only.
fn nominated(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all(CONNECTION).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|name| name.trim().to_ascii_lowercase()).collect()
}

/// The headers as metadata of a gRPC call.
pub fn to_grpc(headers: &HeaderMap) -> HeaderMap {
    let mut metadata = HeaderMap::with_capacity(headers.len() + 8);
    for (name, value) in headers {
        let text = name.as_str();
        let is_grpc_s = text.starts_with(GRPC) || text == "te" || text == "user-agent";
        if is_trace(text) || text == DESTINATION_ID || is_grpc_s {
            continue;
        }
        if is_http_s_own(text) {
            if let Ok(renamed) = HeaderName::try_from(format!("dapr-{text}")) {
                metadata.append(renamed, value.clone());
            }
            continue;
        }
        metadata.append(name, value.clone());
    }
    metadata
}

/// Replaces whatever the caller says of itself by what is true.
pub(crate) fn identify(headers: &mut HeaderMap, caller: &str, namespace: &str, callee: &str) {
    for (name, text) in [(CALLER_ID, caller), (CALLER_NAMESPACE, namespace), (CALLEE_ID, callee)] {
        headers.remove(&name);
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.insert(name, value);
        }
    }
}

/// Headers as the messages between runtimes carry them.
pub(crate) fn to_metadata(headers: &HeaderMap, origin: Origin) -> HashMap<String, ListStringValue> {
    let mut metadata: HashMap<String, ListStringValue> = HashMap::with_capacity(headers.len() + 1);
    for name in headers.keys() {
        let is_binary = name.as_str().ends_with(BINARY);
        let values = headers.get_all(name).iter().map(|value| {
            let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
            if is_binary { padded(text) } else { text }
        });
        let values = values.collect();
        let is_ours = [CALLER_ID, CALLER_NAMESPACE, CALLEE_ID].contains(name);
        let key = match origin {
            Origin::Http if !is_ours => canonical(name.as_str()),
            Origin::Http | Origin::Grpc => name.to_string(),
        };
        metadata.insert(key, ListStringValue { values });
    }
    metadata
}

/// Adds for whom the call is.
pub(crate) fn add_destination(metadata: &mut HashMap<String, ListStringValue>, app_id: &str) {
    metadata.insert(DESTINATION_ID.to_owned(), ListStringValue { values: vec![app_id.to_owned()] });
}

/// Headers out of a message between runtimes; what HTTP cannot carry is left out.
pub(crate) fn from_metadata(metadata: HashMap<String, ListStringValue>) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(metadata.len());
    for (name, list) in metadata {
        let Ok(name) = HeaderName::try_from(name) else { continue };
        for value in list.values {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.append(&name, value);
            }
        }
    }
    headers
}

/// Dapr wants base64 with its padding, gRPC sends it without.
fn padded(mut text: String) -> String {
    if BASE64_STANDARD_NO_PAD.decode(&text).is_ok() {
        text.extend(std::iter::repeat_n('=', (4 - text.len() % 4) % 4));
    }
    text
}

/// A header's name as Go writes it: `Content-Type`.
fn canonical(name: &str) -> String {
    let mut upper = true;
    let letter = |letter: char| {
        let written = if upper { letter.to_ascii_uppercase() } else { letter };
        upper = letter == '-';
        written
    };
    name.chars().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn what_belongs_to_one_connection_stays_there() {
        let given = headers(&[
            ("connection", "close, X-Mine"),
            ("x-mine", "1"),
            ("te", "trailers"),
            ("content-length", "5"),
            ("host", "h"),
            ("key-bin", "AA"),
            ("traceparent", "t"),
            ("x-two", "a"),
            ("x-two", "b"),
            ("cookie", "c"),
            ("grpc-timeout", "1S"),
        ]);
        let kept = to_http(&given);
        let expected =
            headers(&[("x-two", "a"), ("x-two", "b"), ("cookie", "c"), ("dapr-grpc-timeout", "1S")]);
        assert_eq!(kept, expected);
    }

    #[test]
    fn between_runtimes_names_are_go_s_and_ours_are_not() {
        let mut given = headers(&[("x-lower", "1"), ("dapr-caller-app-id", "liar"), ("b-bin", "AAE")]);
        identify(&mut given, "me", "default", "you");
        let metadata = to_metadata(&given, Origin::Http);
        let value = |key: &str| metadata[key].values.join(",");
        assert_eq!((value("X-Lower"), value("dapr-caller-app-id")), ("1".into(), "me".into()));
        assert_eq!((value("B-Bin"), value("dapr-callee-app-id")), ("AAE=".into(), "you".into()));
        assert_eq!(from_metadata(metadata)["x-lower"], "1");
    }

    #[test]
    fn http_s_own_headers_are_prefixed_among_metadata() {
        let metadata = to_grpc(&headers(&[("accept", "a"), ("x-a", "b"), ("traceparent", "t")]));
        assert_eq!(metadata, headers(&[("dapr-accept", "a"), ("x-a", "b")]));
    }
}
