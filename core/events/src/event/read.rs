//! A message → the event in it.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{Event, Field, Form};
use crate::json::Key;
use crate::{content_type, field};

/// The headers of an event whose fields stand in headers begin with this.
const BINARY_PREFIX: &str = "ce_";

/// A message from a broker.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// The message.
    pub data: &'a [u8],
    /// Its content type; empty when the broker names none (then the header `content-type` counts).
    pub content_type: &'a str,
    /// The topic, as the application named it.
    pub topic: &'a str,
    /// The pub/sub component's name.
    pub pubsub: &'a str,
    /// Whether the subscription asks for messages without an envelope (`rawPayload`).
    pub raw_payload: bool,
}

/// Why a message is no event.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// It is no JSON object.
    #[error(transparent)]
    NotAnEvent(#[from] serde_json::Error),
}

/// What the headers of a message say.
#[derive(Default)]
struct Headers<'a> {
    content_type: Option<&'a str>,
    trace_id: Option<&'a str>,
    trace_parent: Option<&'a str>,
    trace_state: Option<&'a str>,
    baggage: Option<&'a str>,
    /// Fields of an event, without the prefix.
    fields: Vec<(Cow<'static, str>, Field<'a>)>,
}

impl<'a> Event<'a> {
    /// Reads the event in a message. The headers give the trace of an event that names none and, for a message in bytes
    /// (`application/octet-stream`), the event's fields (`ce_id` and so on).
    ///
    /// # Errors
    /// A message that ought to hold an event and does not.
    pub fn read(
        message: Message<'a>,
        headers: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, EventError> {
        let mut headers = Headers::read(headers);
        let content_type = Some(message.content_type).filter(|content_type| !content_type.is_empty());
        let content_type = content_type.or(headers.content_type).unwrap_or(content_type::DEFAULT_MESSAGE);
        let mut event = if message.raw_payload {
            Self::wrapping(message)
        } else if content_type::is_binary(content_type) {
            Self::from_headers(message.data, content_type, std::mem::take(&mut headers.fields))
        } else {
            Self::structured(message.data)?
        };
        event.take_trace(&headers);
        Ok(event)
    }

    /// An envelope around a message that has none. Its id is new for each delivery, and nothing is known about the data.
    fn wrapping(message: Message<'a>) -> Self {
        let text =
            |name: &'static str, value: &'a str| (Cow::Borrowed(name), Field::Text(Cow::Borrowed(value)));
        let id = Field::Text(Cow::Owned(Uuid::new_v4().hyphenated().to_string()));
        let mut fields = Vec::with_capacity(12);
        fields.extend([
            (Cow::Borrowed(field::DATA_BASE64), Field::Bytes(message.data)),
            text(field::DATA_CONTENT_TYPE, content_type::OCTET_STREAM),
            (Cow::Borrowed(field::ID), id),
            text(field::PUBSUB_NAME, message.pubsub),
            text(field::SOURCE, field::DEFAULT_SOURCE),
            text(field::SPEC_VERSION, field::DEFAULT_SPEC_VERSION),
            text(field::TOPIC, message.topic),
            text(field::TYPE, field::DEFAULT_TYPE),
        ]);
        Self { form: Form::Raw, text: Cow::Borrowed(""), fields }
    }

    fn from_headers(
        data: &'a [u8],
        content_type: &'a str,
        mut fields: Vec<(Cow<'static, str>, Field<'a>)>,
    ) -> Self {
        fields.retain(|(name, _)| name != field::DATA && name != field::DATA_CONTENT_TYPE);
        fields.push((Cow::Borrowed(field::DATA), Field::Bytes(data)));
        fields.push((Cow::Borrowed(field::DATA_CONTENT_TYPE), Field::Text(Cow::Borrowed(content_type))));
        Self { form: Form::Binary, text: Cow::Borrowed(""), fields }
    }

    fn structured(data: &'a [u8]) -> Result<Self, EventError> {
        let text = String::from_utf8_lossy(data);
        let mut reader = serde_json::Deserializer::from_str(&text);
        let fields = reader.deserialize_any(Fields { text: &text })?;
        reader.end()?;
        Ok(Self { form: Form::Structured, text, fields })
    }

    /// The headers' trace stands in for one that the event does not name; their traceparent goes before their traceid.
    fn take_trace(&mut self, headers: &Headers<'a>) {
        let names_parent = self.value(field::TRACE_PARENT).is_some();
        let parent = headers.trace_parent.filter(|_| !names_parent);
        if let Some(parent) = parent {
            self.fields.retain(|(name, _)| name != field::TRACE_ID);
            self.add(field::TRACE_PARENT, Some(parent));
        }
        for (name, value) in [
            (field::TRACE_ID, parent.or(headers.trace_id)),
            (field::TRACE_STATE, headers.trace_state),
            (field::BAGGAGE, headers.baggage),
        ] {
            if self.value(name).is_none() {
                self.add(name, value);
            }
        }
    }

    fn add(&mut self, name: &'static str, value: Option<&'a str>) {
        if let Some(value) = value {
            self.fields.push((Cow::Borrowed(name), Field::Text(Cow::Borrowed(value))));
        }
    }
}

impl<'a> Headers<'a> {
    fn read(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut headers = Self::default();
        for (name, value) in pairs {
            let known = [
                ("content-type", &mut headers.content_type),
                (field::TRACE_ID, &mut headers.trace_id),
                (field::TRACE_PARENT, &mut headers.trace_parent),
                (field::TRACE_STATE, &mut headers.trace_state),
                (field::BAGGAGE, &mut headers.baggage),
            ];
            if let Some((_, slot)) = known.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
                *slot = Some(value);
            } else if let Some(field) = without_prefix(name) {
                headers.fields.push((field, Field::Text(Cow::Borrowed(value))));
            }
        }
        headers
    }
}

fn without_prefix(name: &str) -> Option<Cow<'static, str>> {
    let (prefix, field) = name.split_at_checked(BINARY_PREFIX.len())?;
    prefix.eq_ignore_ascii_case(BINARY_PREFIX).then(|| owned_name(&field.to_ascii_lowercase()))
}

fn owned_name(name: &str) -> Cow<'static, str> {
    match field::KNOWN.into_iter().find(|known| *known == name) {
        Some(known) => Cow::Borrowed(known),
        None => Cow::Owned(name.to_owned()),
    }
}

/// Finds the fields of an object, each as a range of the text that is read.
struct Fields<'t> {
    text: &'t str,
}

impl<'de> Visitor<'de> for Fields<'de> {
    type Value = Vec<(Cow<'static, str>, Field<'static>)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a CloudEvent")
    }

    /// Go reads `null` as an object without fields.
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::with_capacity(16);
        while let Some((Key(name), value)) = from.next_entry::<Key<'de>, &'de RawValue>()? {
            // The value is borrowed from the text, so that the distance of their addresses is its place.
            let start = value.get().as_ptr().addr() - self.text.as_ptr().addr();
            fields.push((owned_name(&name), Field::Json(start..start + value.get().len())));
        }
        Ok(fields)
    }
}
