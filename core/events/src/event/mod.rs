//! What a broker delivers: a message, read as the event that the application gets.
//!
//! [`Event::read`] finds the fields of the envelope and leaves their values as the JSON they are: an HTTP callback posts the
//! message's own bytes, so that most values are never looked into. `topic_event` is the form of the gRPC callback, `bulk` that
//! of several events in one call; routing rules take what they name.

mod bulk;
mod read;
mod topic_event;

use std::borrow::Cow;
use std::ops::Range;
use std::time::SystemTime;

use crate::json::{self, Object};
use crate::{field, time};

pub use bulk::{BulkEntry, BulkEnvelope};
pub use read::{EventError, Message};
pub use topic_event::{DataError, TopicEvent};

/// An event as a broker delivered it. It borrows the message.
#[derive(Debug)]
pub struct Event<'a> {
    form: Form,
    /// The envelope's text; empty when there was none.
    text: Cow<'a, str>,
    fields: Vec<(Cow<'static, str>, Field<'a>)>,
}

/// How the event stood in the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// As JSON.
    Structured,
    /// Its fields as headers, its data as the message.
    Binary,
    /// Not at all: the message is data, and the envelope is made here.
    Raw,
}

/// The value of a field.
#[derive(Debug)]
pub(crate) enum Field<'a> {
    /// JSON, somewhere in the envelope's text.
    Json(Range<usize>),
    /// Text that does not stand in the envelope.
    Text(Cow<'a, str>),
    /// The message itself.
    Bytes(&'a [u8]),
}

/// A field's value, to be looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) enum FieldValue<'e> {
    Json(&'e str),
    Text(&'e str),
    Bytes(&'e [u8]),
}

/// What is posted to an HTTP application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// The message's bytes, untouched: post them without a copy.
    AsReceived,
    /// An envelope that was made here.
    Json(String),
}

impl<'a> Event<'a> {
    /// A field that is a text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        match self.value(name)? {
            FieldValue::Json(json) => json::text(json),
            FieldValue::Text(text) => Some(Cow::Borrowed(text)),
            FieldValue::Bytes(_) => None,
        }
    }

    /// The event's id; empty when it has none.
    #[must_use]
    pub fn id(&self) -> Cow<'_, str> {
        self.text(field::ID).unwrap_or_default()
    }

    /// When the event expires, as it stands in the envelope.
    #[must_use]
    pub fn expiration(&self) -> Option<Cow<'_, str>> {
        self.text(field::EXPIRATION)
    }

    /// Whether the event's time is over.
    #[must_use]
    pub fn has_expired(&self, now: SystemTime) -> bool {
        self.expiration().is_some_and(|expiration| time::is_past(&expiration, now))
    }

    /// The trace that the event belongs to: `traceparent`, or `traceid` where that is absent. `None` as well when the value is
    /// no text.
    #[must_use]
    pub fn trace_parent(&self) -> Option<Cow<'_, str>> {
        if self.is_null(field::TRACE_PARENT) {
            self.text(field::TRACE_ID)
        } else {
            self.text(field::TRACE_PARENT)
        }
    }

    /// W3C's `tracestate`.
    #[must_use]
    pub fn trace_state(&self) -> Option<Cow<'_, str>> {
        self.text(field::TRACE_STATE)
    }

    /// W3C's `baggage`.
    #[must_use]
    pub fn baggage(&self) -> Option<Cow<'_, str>> {
        self.text(field::BAGGAGE)
    }

    /// What an HTTP application is posted, always as `application/cloudevents+json`. Only a raw payload gets an envelope; a
    /// message whose event stood in its headers is posted as it came, as Dapr does ([`Event::to_json`] has the whole event).
    #[must_use]
    pub fn body(&self) -> Body {
        match self.form {
            Form::Structured | Form::Binary => Body::AsReceived,
            Form::Raw => Body::Json(self.to_json()),
        }
    }

    /// The whole event as JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        if self.form == Form::Structured {
            return self.text.clone().into_owned();
        }
        let data: usize = self.fields.iter().map(|(name, value)| name.len() + value.len() + 8).sum();
        let mut object = Object::with_capacity(data + data / 3 + 16);
        for (name, value) in self.values() {
            match value {
                FieldValue::Json(json) => object.foreign(name, json),
                FieldValue::Text(text) => object.foreign_text(name, text),
                // Bytes have a field of their own in JSON.
                FieldValue::Bytes(bytes) => object.base64(field::DATA_BASE64, bytes),
            }
        }
        object.finish()
    }

    /// The value of a field; of fields with the same name the last one counts.
    pub(crate) fn value(&self, name: &str) -> Option<FieldValue<'_>> {
        let (_, value) = self.fields.iter().rev().find(|(known, _)| known == name)?;
        Some(self.look(value))
    }

    /// Every field, in the envelope's order.
    pub(crate) fn values(&self) -> impl Iterator<Item = (&str, FieldValue<'_>)> {
        self.fields.iter().map(|(name, value)| (name.as_ref(), self.look(value)))
    }

    fn look<'e>(&'e self, value: &'e Field<'a>) -> FieldValue<'e> {
        match value {
            Field::Json(range) => FieldValue::Json(&self.text[range.clone()]),
            Field::Text(text) => FieldValue::Text(text),
            Field::Bytes(bytes) => FieldValue::Bytes(bytes),
        }
    }

    /// The message, where the event is made of it.
    fn message(&self) -> &[u8] {
        let bytes = self.values().find_map(|(_, value)| match value {
            FieldValue::Bytes(bytes) => Some(bytes),
            FieldValue::Json(_) | FieldValue::Text(_) => None,
        });
        bytes.unwrap_or_default()
    }

    fn is_null(&self, name: &str) -> bool {
        matches!(self.value(name), None | Some(FieldValue::Json("null")))
    }
}

impl Field<'_> {
    fn len(&self) -> usize {
        match self {
            Field::Json(range) => range.len(),
            Field::Text(text) => text.len(),
            Field::Bytes(bytes) => bytes.len(),
        }
    }
}

#[cfg(test)]
mod tests;
