//! An event as the gRPC callback takes it.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use prost_types::{ListValue, NullValue, Struct, Value, value::Kind};

use super::{Event, FieldValue};
use crate::tree::{self, Tree};
use crate::{content_type, field, json};

/// The fields of a `TopicEventRequest` or `TopicEventCERequest` that come from the event.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "each field is named as the protocol's")]
pub struct TopicEvent<'e> {
    pub id: String,
    pub source: String,
    pub event_type: String,
    pub spec_version: String,
    pub data_content_type: String,
    pub data: Cow<'e, [u8]>,
    /// Every other field of the envelope.
    pub extensions: Struct,
}

/// Why an event cannot be handed over; it is to be delivered again.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// Data of a text type that is no text, or `data_base64` that is none.
    #[error("unexpected data type encountered in envelope")]
    UnexpectedType,
    /// `data_base64` is no base64.
    #[error("unable to base64 decode cloudEvent field data_base64: {0}")]
    Base64(#[from] base64::DecodeError),
    /// A field of the application's own nests too deep, or holds a number out of range.
    #[error(
        "error processing internal cloud event data: unable to unmarshal cloudEvent extensions to proto struct: {0}"
    )]
    Extensions(#[from] serde_json::Error),
}

/// The fields that have a place of their own.
const PLACED: [&str; 7] = [
    field::ID,
    field::SOURCE,
    field::DATA_CONTENT_TYPE,
    field::TYPE,
    field::SPEC_VERSION,
    field::DATA,
    field::DATA_BASE64,
];

impl Event<'_> {
    /// The event for a gRPC application. Data of a content type that is neither text, JSON nor bytes is left out: Dapr's rule.
    ///
    /// # Errors
    /// Data that is not what its content type says.
    pub fn topic_event(&self) -> Result<TopicEvent<'_>, DataError> {
        let text = |name| self.text(name).unwrap_or_default().into_owned();
        let data_content_type = text(field::DATA_CONTENT_TYPE);
        Ok(TopicEvent {
            id: text(field::ID),
            source: text(field::SOURCE),
            event_type: text(field::TYPE),
            spec_version: text(field::SPEC_VERSION),
            data: self.data(&data_content_type)?,
            data_content_type,
            extensions: self.extensions()?,
        })
    }

    fn data(&self, content_type: &str) -> Result<Cow<'_, [u8]>, DataError> {
        if !self.is_null(field::DATA_BASE64) {
            if let Some(FieldValue::Bytes(bytes)) = self.value(field::DATA_BASE64) {
                return Ok(Cow::Borrowed(bytes));
            }
            let text = self.text(field::DATA_BASE64).ok_or(DataError::UnexpectedType)?;
            return Ok(Cow::Owned(decode(&text)?));
        }
        match self.value(field::DATA) {
            None | Some(FieldValue::Json("null")) => Ok(Cow::Borrowed(&[])),
            Some(FieldValue::Bytes(bytes)) => Ok(Cow::Borrowed(bytes)),
            Some(FieldValue::Text(text)) => Ok(Cow::Borrowed(text.as_bytes())),
            Some(FieldValue::Json(json)) if content_type::is_text(content_type) => {
                Ok(bytes_of(json::text(json).ok_or(DataError::UnexpectedType)?))
            }
            Some(FieldValue::Json(json))
                if content_type::is_json(content_type) || content_type::is_cloud_event(content_type) =>
            {
                Ok(Cow::Borrowed(json.as_bytes()))
            }
            Some(FieldValue::Json(_)) => Ok(Cow::Borrowed(&[])),
        }
    }

    fn extensions(&self) -> Result<Struct, DataError> {
        let mut extensions = Struct::default();
        for (name, value) in self.values().filter(|(name, _)| !PLACED.contains(name)) {
            let value = match value {
                FieldValue::Json(json) => tree::read(json)?,
                FieldValue::Text(text) => Value::text(text.to_owned()),
                FieldValue::Bytes(bytes) => Value::text(STANDARD.encode(bytes)),
            };
            extensions.fields.insert(name.to_owned(), value);
        }
        Ok(extensions)
    }
}

/// Go's decoder passes over line breaks.
fn decode(text: &str) -> Result<Vec<u8>, base64::DecodeError> {
    if text.contains(['\r', '\n']) {
        return STANDARD.decode(text.replace(['\r', '\n'], ""));
    }
    STANDARD.decode(text)
}

fn bytes_of(text: Cow<'_, str>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

impl Tree for Value {
    fn null() -> Self {
        of(Kind::NullValue(NullValue::NullValue as i32))
    }

    fn boolean(value: bool) -> Self {
        of(Kind::BoolValue(value))
    }

    fn number(value: f64) -> Self {
        of(Kind::NumberValue(value))
    }

    fn text(value: String) -> Self {
        of(Kind::StringValue(value))
    }

    fn list(values: Vec<Self>) -> Self {
        of(Kind::ListValue(ListValue { values }))
    }

    fn map(entries: Vec<(String, Self)>) -> Self {
        of(Kind::StructValue(Struct { fields: entries.into_iter().collect() }))
    }
}

fn of(kind: Kind) -> Value {
    Value { kind: Some(kind) }
}
