//! What is published: data in a CloudEvent, as Dapr builds it.
//!
//! [`Envelope::for_publish`] writes the envelope in one pass into one buffer. Data that is JSON goes in as it stands, so that
//! its numbers keep every digit. Data that is a CloudEvent already goes through `existing`, which completes it.

mod existing;

use std::time::SystemTime;

use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::json::Object;
use crate::{PublishMetadata, content_type, field, time};

/// A publish request.
#[derive(Debug, Clone, Copy)]
pub struct Publish<'a> {
    /// The pub/sub component's name.
    pub pubsub: &'a str,
    /// The topic, as the application named it.
    pub topic: &'a str,
    /// The application that publishes; it becomes the event's source.
    pub app_id: &'a str,
    /// The data's content type; empty when the request has none.
    pub content_type: &'a str,
    /// The data.
    pub data: &'a [u8],
    /// The trace that the message belongs to.
    pub trace: Trace<'a>,
    /// What the request's metadata says about the envelope.
    pub metadata: PublishMetadata<'a>,
    /// The broker expires messages by itself, so that the envelope need not say when.
    pub native_ttl: bool,
    /// The time of the event.
    pub now: SystemTime,
}

/// The trace that a message belongs to, in W3C's texts; empty where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Trace<'a> {
    /// `traceparent`.
    pub parent: &'a str,
    /// `tracestate`.
    pub state: &'a str,
    /// `baggage`. Dapr's own envelopes have none; it is written only where there is some.
    pub baggage: &'a str,
}

/// Why no envelope could be made.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// The data is said to be a CloudEvent and is no JSON object.
    #[error("cannot read the cloud event: {0}")]
    NotAnEvent(#[from] serde_json::Error),
}

/// A CloudEvent in JSON, ready for the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope(String);

impl Envelope {
    /// Wraps the data of a request, or completes the data if it is a CloudEvent in JSON.
    ///
    /// # Errors
    /// Data that is said to be a CloudEvent and is none.
    pub fn for_publish(request: &Publish<'_>) -> Result<Self, EnvelopeError> {
        if content_type::is_cloud_event(request.content_type) {
            return existing::complete(request).map(Self);
        }
        Ok(Self(wrap(request)))
    }

    /// The envelope's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The envelope's bytes, without a copy.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0.into_bytes()
    }
}

/// The fields come in the order in which Dapr's appear: sorted.
fn wrap(request: &Publish<'_>) -> String {
    let overrides = &request.metadata.overrides;
    let trace = overridden_trace(request);
    let content_type = or_default(request.content_type, content_type::DEFAULT_DATA);
    let mut envelope = Object::with_capacity(capacity(request));
    if !trace.baggage.is_empty() {
        envelope.text(field::BAGGAGE, trace.baggage);
    }
    put_data(&mut envelope, content_type, request.data);
    envelope.text(field::DATA_CONTENT_TYPE, content_type);
    if let Some(expiration) = expiration(request) {
        envelope.text(field::EXPIRATION, &expiration);
    }
    match overrides.id.filter(|id| !id.is_empty()) {
        Some(id) => envelope.text(field::ID, id),
        None => {
            envelope.text(field::ID, Uuid::new_v4().hyphenated().encode_lower(&mut Uuid::encode_buffer()))
        }
    }
    envelope.text(field::PUBSUB_NAME, request.pubsub);
    envelope
        .text(field::SOURCE, or_default(overrides.source.unwrap_or(request.app_id), field::DEFAULT_SOURCE));
    envelope.text(field::SPEC_VERSION, field::DEFAULT_SPEC_VERSION);
    if let Some(subject) = overrides.subject.filter(|subject| !subject.is_empty()) {
        envelope.text(field::SUBJECT, subject);
    }
    envelope.text(field::TIME, &time::format(request.now));
    envelope.text(field::TOPIC, request.topic);
    envelope.text(field::TRACE_ID, trace.parent);
    envelope.text(field::TRACE_PARENT, trace.parent);
    envelope.text(field::TRACE_STATE, trace.state);
    envelope.text(field::TYPE, or_default(overrides.event_type.unwrap_or_default(), field::DEFAULT_TYPE));
    envelope.finish()
}

fn put_data(envelope: &mut Object, content_type: &str, data: &[u8]) {
    if content_type::is_json(content_type) {
        let text = String::from_utf8_lossy(data);
        return match first_value(&text) {
            Some(json) => envelope.json(field::DATA, json),
            None => envelope.bytes_as_text(field::DATA, data),
        };
    }
    if content_type::is_binary(content_type) || content_type::is_protobuf_event(content_type, data) {
        return envelope.base64(field::DATA_BASE64, data);
    }
    envelope.bytes_as_text(field::DATA, data);
}

/// The first JSON value of a text; Dapr does not look at what follows it.
fn first_value(text: &str) -> Option<&str> {
    // The common case, one value, avoids the stream's bookkeeping.
    if serde_json::from_str::<IgnoredAny>(text).is_ok() {
        return Some(text.trim_ascii());
    }
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
    values.next()?.ok().map(RawValue::get)
}

/// `traceid` and `traceparent` are one value; of their overrides that of `traceparent` wins.
fn overridden_trace<'a>(request: &Publish<'a>) -> Trace<'a> {
    let overrides = &request.metadata.overrides;
    let parent = overrides.trace_parent.filter(|parent| !parent.is_empty());
    Trace {
        parent: parent.or(overrides.trace_id).unwrap_or(request.trace.parent),
        state: overrides.trace_state.unwrap_or(request.trace.state),
        baggage: request.trace.baggage,
    }
}

fn expiration(request: &Publish<'_>) -> Option<String> {
    let ttl = request.metadata.ttl.filter(|_| !request.native_ttl)?;
    Some(time::format(time::after(request.now, ttl)))
}

fn or_default<'a>(text: &'a str, default: &'a str) -> &'a str {
    if text.is_empty() { default } else { text }
}

/// Enough for the fixed fields and for data in base64, so that the buffer does not grow.
fn capacity(request: &Publish<'_>) -> usize {
    let trace = request.trace.parent.len() * 2 + request.trace.state.len() + request.trace.baggage.len();
    request.data.len() + request.data.len() / 3 + request.topic.len() + request.pubsub.len() + trace + 448
}

#[cfg(test)]
mod tests;
