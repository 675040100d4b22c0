//! Collects the fields of spans and events, with OpenTelemetry's special names (`otel.name`, `otel.kind`, …).

use std::fmt;

use abi_stable::std_types::RString;
use tracing_core::field::{Field as Key, Visit};

use crate::host::FieldValue;
use crate::telemetry::{Fields, field};

/// A span's fields.
#[derive(Default)]
pub(crate) struct SpanFields {
    pub(crate) name: Option<RString>,
    pub(crate) kind: u8,
    pub(crate) status: u8,
    pub(crate) status_message: RString,
    pub(crate) attributes: Vec<crate::host::Field>,
}

impl SpanFields {
    fn text(&mut self, key: &Key, text: String) {
        match key.name() {
            "otel.name" => self.name = Some(text.into()),
            "otel.kind" => self.kind = kind_number(&text),
            "otel.status_code" => self.status = status_number(&text),
            "otel.status_description" => self.status_message = text.into(),
            name => self.attributes.push(field(name, FieldValue::Text(text.into()))),
        }
    }
}

fn kind_number(kind: &str) -> u8 {
    match kind.to_ascii_lowercase().as_str() {
        "server" => 1,
        "client" => 2,
        "producer" => 3,
        "consumer" => 4,
        _ => 0,
    }
}

fn status_number(status: &str) -> u8 {
    match status.to_ascii_lowercase().as_str() {
        "ok" => 1,
        "error" => 2,
        _ => 0,
    }
}

impl Visit for SpanFields {
    fn record_debug(&mut self, key: &Key, value: &dyn fmt::Debug) {
        self.text(key, format!("{value:?}"));
    }

    fn record_str(&mut self, key: &Key, value: &str) {
        self.text(key, value.to_owned());
    }

    fn record_i64(&mut self, key: &Key, value: i64) {
        self.attributes.push(field(key.name(), FieldValue::Int(value)));
    }

    fn record_u64(&mut self, key: &Key, value: u64) {
        self.attributes.push(field(key.name(), whole(value)));
    }

    fn record_f64(&mut self, key: &Key, value: f64) {
        self.attributes.push(field(key.name(), FieldValue::Float(value)));
    }

    fn record_bool(&mut self, key: &Key, value: bool) {
        self.attributes.push(field(key.name(), FieldValue::Bool(value)));
    }
}

/// An event's message and other fields.
#[derive(Default)]
pub(crate) struct EventFields {
    message: String,
    fields: Vec<crate::host::Field>,
}

impl EventFields {
    pub(crate) fn message(&self) -> RString {
        self.message.as_str().into()
    }

    pub(crate) fn values(&self) -> Fields {
        self.fields.clone().into()
    }

    fn push(&mut self, key: &Key, value: FieldValue) {
        self.fields.push(field(key.name(), value));
    }
}

impl Visit for EventFields {
    fn record_debug(&mut self, key: &Key, value: &dyn fmt::Debug) {
        match key.name() {
            "message" => self.message = format!("{value:?}"),
            _ => self.push(key, FieldValue::Text(format!("{value:?}").into())),
        }
    }

    fn record_str(&mut self, key: &Key, value: &str) {
        match key.name() {
            "message" => value.clone_into(&mut self.message),
            _ => self.push(key, FieldValue::Text(value.into())),
        }
    }

    fn record_i64(&mut self, key: &Key, value: i64) {
        self.push(key, FieldValue::Int(value));
    }

    fn record_u64(&mut self, key: &Key, value: u64) {
        self.push(key, whole(value));
    }

    fn record_f64(&mut self, key: &Key, value: f64) {
        self.push(key, FieldValue::Float(value));
    }

    fn record_bool(&mut self, key: &Key, value: bool) {
        self.push(key, FieldValue::Bool(value));
    }
}

fn whole(value: u64) -> FieldValue {
    i64::try_from(value).map_or_else(|_| FieldValue::Text(value.to_string().into()), FieldValue::Int)
}
