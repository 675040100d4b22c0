//! Headers and metadata, both ways, in Dapr's names.

use bytes::Bytes;
use mecha_plugin_api::{CallContext, Error, Metadata, Result};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rdkafka::Message;
use rdkafka::message::{BorrowedMessage, Header, Headers, OwnedHeaders};

use crate::metadata::HeaderRules;

const PARTITION_KEY: &str = "partitionKey";
const PARTITION_NUMBER: &str = "partitionNumber";
const KEY: &str = "__key";
const TOPIC: &str = "__topic";
const PARTITION: &str = "__partition";
const OFFSET: &str = "__offset";
const TIMESTAMP: &str = "__timestamp";
const TRACEPARENT: &str = "traceparent";
const CONTENT_TYPE: &str = "content-type";
/// What Go's `url.QueryEscape` leaves as it is; the space becomes a plus by hand.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b' ');

/// What metadata settles of a message that goes out.
#[derive(Debug)]
pub(crate) struct Outgoing<'a> {
    pub(crate) key: Option<&'a str>,
    pub(crate) partition: Option<i32>,
    pub(crate) headers: OwnedHeaders,
}

impl<'a> Outgoing<'a> {
    /// From the request's metadata and the message's own, which wins; the call's trace goes along unless they have one.
    pub(crate) fn new(
        context: &CallContext,
        request: &'a Metadata,
        own: &'a Metadata,
        rules: &HeaderRules,
    ) -> Result<Self> {
        let find = |name: &str| own.get(name).or_else(|| request.get(name));
        let key = find(PARTITION_KEY).or_else(|| find(KEY));
        let partition = find(PARTITION_NUMBER).map(partition_number).transpose()?;
        let mut headers = OwnedHeaders::new_with_capacity(request.len() + own.len() + 1);
        let inherited = request.iter().filter(|(name, _)| own.get(name).is_none());
        for (name, value) in inherited.chain(own.iter()) {
            headers = add(headers, name, value, rules)?;
        }
        if find(TRACEPARENT).is_none()
            && let Some(traceparent) = context.traceparent()
        {
            headers = add(headers, TRACEPARENT, &traceparent, rules)?;
        }
        Ok(Self { key, partition, headers })
    }
}

fn add(headers: OwnedHeaders, name: &str, value: &str, rules: &HeaderRules) -> Result<OwnedHeaders> {
    if rules.exclude.as_ref().is_some_and(|exclude| exclude.is_match(name)) {
        return Ok(headers);
    }
    if name.contains('\0') {
        return Err(Error::invalid("a header's name must not hold a zero byte").with_field("metadata"));
    }
    Ok(headers.insert(Header { key: name, value: Some(value) }))
}

fn partition_number(text: &str) -> Result<i32> {
    match text.parse::<i32>() {
        Ok(number) if number >= 0 => Ok(number),
        _ => {
            let message = format!("'{text}' is not the number of a partition");
            Err(Error::invalid(message).with_field(PARTITION_NUMBER))
        }
    }
}

/// A message that came in.
#[derive(Clone, Debug)]
pub(crate) struct Incoming {
    pub(crate) offset: i64,
    pub(crate) data: Bytes,
    pub(crate) content_type: String,
    pub(crate) metadata: Metadata,
}

impl Incoming {
    /// Copies a message out of librdkafka's memory.
    pub(crate) fn new(message: &BorrowedMessage<'_>, rules: &HeaderRules) -> Self {
        // A message without a value deletes its key; Dapr hands it on as JSON's null.
        let data = message.payload().map_or(Bytes::from_static(b"null"), Bytes::copy_from_slice);
        let metadata = metadata(message, rules);
        let content_type = metadata.get(CONTENT_TYPE).unwrap_or_default().to_owned();
        Self { offset: message.offset(), data, content_type, metadata }
    }
}

fn metadata(message: &BorrowedMessage<'_>, rules: &HeaderRules) -> Metadata {
    let mut metadata = Metadata::new();
    if let Some(key) = message.key() {
        metadata.insert(KEY, text(key, rules.escape));
    }
    metadata.insert(OFFSET, message.offset().to_string());
    metadata.insert(TOPIC, message.topic());
    metadata.insert(TIMESTAMP, message.timestamp().to_millis().unwrap_or(-1).to_string());
    metadata.insert(PARTITION, message.partition().to_string());
    let Some(headers) = message.headers() else { return metadata };
    for header in headers.iter() {
        if !rules.exclude.as_ref().is_some_and(|exclude| exclude.is_match(header.key)) {
            metadata.insert(header.key, text(header.value.unwrap_or_default(), rules.escape));
        }
    }
    metadata
}

fn text(bytes: &[u8], escape: bool) -> String {
    let text = String::from_utf8_lossy(bytes);
    if !escape {
        return text.into_owned();
    }
    utf8_percent_encode(&text, QUERY).to_string().replace(' ', "+")
}

#[cfg(test)]
mod tests {
    use regex_lite::Regex;

    use super::*;

    fn pairs(outgoing: &Outgoing<'_>) -> Vec<(String, String)> {
        let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap().to_vec()).unwrap();
        outgoing.headers.iter().map(|header| (header.key.to_owned(), text(header.value))).collect()
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn metadata_becomes_headers_and_the_messages_own_wins() {
        let request = Metadata::from_iter([("a", "1"), ("partitionKey", "request")]);
        let own = Metadata::from_iter([("partitionKey", "own"), ("partitionNumber", "3")]);
        let context = CallContext::background("app");
        let outgoing = Outgoing::new(&context, &request, &own, &HeaderRules::default()).unwrap();
        assert_eq!((outgoing.key, outgoing.partition), (Some("own"), Some(3)));
        let expected = [pair("a", "1"), pair("partitionKey", "own"), pair("partitionNumber", "3")];
        assert_eq!(pairs(&outgoing), expected);
    }

    #[test]
    fn the_calls_trace_goes_along_unless_the_message_has_its_own() {
        let context = CallContext { trace_id: [1; 16], span_id: [2; 8], ..CallContext::background("app") };
        let none = Metadata::new();
        let outgoing = Outgoing::new(&context, &none, &none, &HeaderRules::default()).unwrap();
        assert!(pairs(&outgoing)[0].1.starts_with("00-0101"));
        let own = Metadata::from_iter([("traceparent", "00-x")]);
        let outgoing = Outgoing::new(&context, &none, &own, &HeaderRules::default()).unwrap();
        assert_eq!(pairs(&outgoing), [pair("traceparent", "00-x")]);
    }

    #[test]
    fn excluded_names_stay_out() {
        let exclude = Some(Regex::new("^rawPayload|valueSchemaType$").unwrap());
        let rules = HeaderRules { escape: false, exclude };
        let request = Metadata::from_iter([("rawPayload", "true"), ("__key", "k")]);
        let (context, none) = (CallContext::background("app"), Metadata::new());
        let outgoing = Outgoing::new(&context, &request, &none, &rules).unwrap();
        assert_eq!(pairs(&outgoing), [pair("__key", "k")]);
        assert_eq!(outgoing.key, Some("k"));
    }

    #[test]
    fn what_cannot_be_sent_is_named() {
        let (context, none) = (CallContext::background("app"), Metadata::new());
        for number in ["-1", "first", "4294967296"] {
            let request = Metadata::from_iter([("partitionNumber", number)]);
            let error = Outgoing::new(&context, &request, &none, &HeaderRules::default()).unwrap_err();
            assert_eq!(error.field(), Some("partitionNumber"));
        }
        let request = Metadata::from_iter([("a\0b", "x")]);
        assert!(Outgoing::new(&context, &request, &none, &HeaderRules::default()).is_err());
    }

    #[test]
    fn values_are_escaped_like_gos() {
        assert_eq!(text("a b/ü~*".as_bytes(), true), "a+b%2F%C3%BC~%2A");
        assert_eq!(text("a b/ü".as_bytes(), false), "a b/ü");
    }
}
