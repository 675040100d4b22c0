//! Several events in one HTTP call.

use uuid::Uuid;

use super::{Event, Form};
use crate::json::{Object, push_base64, push_text};
use crate::{content_type, field};

/// One message of a bulk call.
#[derive(Debug)]
pub struct BulkEntry<'a> {
    /// The number that the application answers with.
    pub entry_id: &'a str,
    /// The message's event.
    pub event: &'a Event<'a>,
    /// The message's content type; empty when the broker names none.
    pub content_type: &'a str,
}

/// The body of a bulk call, written entry by entry.
#[derive(Debug)]
pub struct BulkEnvelope(String);

impl BulkEnvelope {
    /// A body without entries.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        let mut body = String::with_capacity(capacity + 256);
        body.push_str("{\"entries\":[");
        Self(body)
    }

    /// Adds a message and its metadata. The event of a raw payload is its data in base64.
    pub fn push<'m>(
        &mut self,
        entry: &BulkEntry<'_>,
        metadata: impl IntoIterator<Item = (&'m str, &'m str)>,
    ) {
        if !self.0.ends_with('[') {
            self.0.push(',');
        }
        self.0.push_str("{\"entryId\":");
        push_text(&mut self.0, entry.entry_id);
        self.0.push_str(",\"event\":");
        let default = push_event(&mut self.0, entry.event);
        self.0.push_str(",\"metadata\":");
        push_map(&mut self.0, metadata);
        self.0.push_str(",\"contentType\":");
        push_text(&mut self.0, if entry.content_type.is_empty() { default } else { entry.content_type });
        self.0.push('}');
    }

    /// Ends the body. It is posted as `application/json`.
    #[must_use]
    pub fn finish<'m>(
        self,
        pubsub: &str,
        topic: &str,
        metadata: impl IntoIterator<Item = (&'m str, &'m str)>,
    ) -> Vec<u8> {
        let mut body = self.0;
        body.push_str("],\"id\":");
        push_text(&mut body, Uuid::new_v4().hyphenated().encode_lower(&mut Uuid::encode_buffer()));
        body.push_str(",\"metadata\":");
        push_map(&mut body, metadata);
        for (name, value) in
            [(field::PUBSUB_NAME, pubsub), (field::TOPIC, topic), (field::TYPE, field::BULK_TYPE)]
        {
            body.push(',');
            push_text(&mut body, name);
            body.push(':');
            push_text(&mut body, value);
        }
        body.push('}');
        body.into_bytes()
    }
}

/// Writes the event and gives the content type of one that names none.
fn push_event(out: &mut String, event: &Event<'_>) -> &'static str {
    match event.form {
        Form::Raw => {
            push_base64(out, event.message());
            content_type::OCTET_STREAM
        }
        Form::Structured => {
            out.push_str(&event.text);
            content_type::CLOUD_EVENT
        }
        Form::Binary => {
            out.push_str(&event.to_json());
            content_type::CLOUD_EVENT
        }
    }
}

fn push_map<'m>(out: &mut String, pairs: impl IntoIterator<Item = (&'m str, &'m str)>) {
    let mut map = Object::with_capacity(0);
    for (key, value) in pairs {
        map.foreign_text(key, value);
    }
    out.push_str(&map.finish());
}
