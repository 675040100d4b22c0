//! Request metadata as headers, and response headers as metadata.

use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use mecha_plugin_api::{CallContext, Error, Metadata, Result};

use super::exact;
use crate::client::Answer;
use crate::metadata::Settings;

const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");
/// Carried from call to call; what the runtime put into the metadata wins over a header of the same name.
const PROPAGATED: [&str; 3] = ["traceparent", "tracestate", "baggage"];
/// Headers about the connection or the length of the body, which are the client's to set.
const NOT_THE_CALLERS: [&str; 8] = [
    "host",
    "content-length",
    "transfer-encoding",
    "trailer",
    "connection",
    "keep-alive",
    "proxy-connection",
    "upgrade",
];

/// The headers of a request: defaults, the component's token, metadata keys that begin with a capital, trace context.
pub(super) fn outgoing(
    context: &CallContext,
    metadata: &Metadata,
    settings: &Settings,
    has_body: bool,
) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    if has_body {
        headers.insert(CONTENT_TYPE, JSON);
    }
    headers.insert(ACCEPT, JSON);
    if let Some((name, token)) = &settings.security_token {
        headers.insert(name, token.clone());
    }
    for (key, value) in metadata.iter() {
        if key.starts_with(|c: char| c.is_ascii_uppercase()) {
            add(&mut headers, key, value)?;
        }
    }
    for key in PROPAGATED {
        if let Some(value) = exact(metadata, key).filter(|value| !value.is_empty()) {
            add(&mut headers, key, value)?;
        }
    }
    if !headers.contains_key("traceparent")
        && let Some(traceparent) = context.traceparent()
    {
        add(&mut headers, "traceparent", &traceparent)?;
    }
    Ok(headers)
}

fn add(headers: &mut HeaderMap, key: &str, value: &str) -> Result<()> {
    let wrong = |what: &str| Error::invalid(format!("{what} cannot be sent")).with_field(key);
    let name = HeaderName::try_from(key).map_err(|_| wrong("a header of this name"))?;
    if NOT_THE_CALLERS.contains(&name.as_str()) {
        return Ok(());
    }
    headers.insert(name, HeaderValue::try_from(value).map_err(|_| wrong("the header's value"))?);
    Ok(())
}

/// The status and every header of an answer; values of a repeated header are joined with a comma.
pub(super) fn response_metadata(answer: &Answer) -> Metadata {
    let mut metadata = Metadata::new();
    metadata.insert("statusCode", answer.status.as_str());
    metadata.insert("status", answer.status_text.as_str());
    for name in answer.headers.keys() {
        // The server's own word for the status must not hide the status.
        if metadata.get(name.as_str()).is_some() {
            continue;
        }
        let values: Vec<_> = answer
            .headers
            .get_all(name)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
            .collect();
        metadata.insert(canonical(name.as_str()), values.join(", "));
    }
    metadata
}

/// A header's name as Dapr's clients see it: `content-type` becomes `Content-Type`.
fn canonical(name: &str) -> String {
    let mut canonical = String::with_capacity(name.len());
    let mut begins = true;
    for c in name.chars() {
        canonical.push(if begins { c.to_ascii_uppercase() } else { c });
        begins = c == '-';
    }
    canonical
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_canonical() {
        for (name, expected) in
            [("content-type", "Content-Type"), ("x-a-1b", "X-A-1b"), ("etag", "Etag"), ("-x", "-X")]
        {
            assert_eq!(canonical(name), expected);
        }
    }

    #[test]
    fn what_belongs_to_the_connection_is_left_out() {
        let mut headers = HeaderMap::new();
        for name in ["Host", "Content-Length", "Connection", "X-Kept"] {
            add(&mut headers, name, "1").unwrap();
        }
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-kept"]);
        assert_eq!(add(&mut headers, "X Y", "1").unwrap_err().field(), Some("X Y"));
        assert_eq!(add(&mut headers, "X-Y", "a\nb").unwrap_err().field(), Some("X-Y"));
    }
}
