//! A message's metadata as headers of the call.

use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, TE, TRAILER, TRANSFER_ENCODING,
    UPGRADE,
};

/// Under this name the application learns which broker an event came from.
pub(crate) const PUBSUB_NAME: &str = "pubsubName";
/// Headers that say how a message is framed or who is called: a publisher's own word for them is not the runtime's.
const FRAMING: [HeaderName; 7] = [CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION, HOST, TE, TRAILER, UPGRADE];
/// What gRPC keeps for itself.
const GRPC: &str = "grpc-";

/// Adds a message's metadata. What headers cannot carry is left out, and what the runtime says itself stands: the trace goes on
/// with the delivery's own span, not with the publisher's.
pub(crate) fn add<'a>(headers: &mut HeaderMap, metadata: impl IntoIterator<Item = (&'a str, &'a str)>) {
    for (name, value) in metadata {
        let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) else {
            continue;
        };
        let is_ours = FRAMING.contains(&name) || name.as_str().starts_with(GRPC);
        if !is_ours && !headers.contains_key(&name) {
            headers.insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_does_not_replace_what_the_runtime_says() {
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", HeaderValue::from_static("the delivery's"));
        let metadata = [
            ("traceparent", "the publisher's"),
            ("Content-Length", "5"),
            ("grpc-timeout", "1n"),
            (PUBSUB_NAME, "ps"),
            ("no name", "c"),
        ];
        add(&mut headers, metadata);
        assert_eq!(headers.len(), 2);
        assert_eq!(headers["traceparent"], "the delivery's");
        assert_eq!(headers["pubsubname"], "ps");
    }
}
