//! The messages of the outbox: made for the internal topic, changed for the real one.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::SystemTime;

use mecha_events::{Envelope, Overrides, Publish, PublishMetadata, Trace, content_type};
use mecha_observability::Propagated;
use mecha_plugin_api::Metadata;
use mecha_plugin_api::state::ValueKind;
use serde_json::value::{RawValue, to_raw_value};

use super::{MARKER, OutboxError};

const DATA: &str = "data";
const DATA_CONTENT_TYPE: &str = "datacontenttype";
const ID: &str = "id";
const PUBSUB_NAME: &str = "pubsubname";
const TOPIC: &str = "topic";

/// What a message is made from.
pub(super) struct Change<'a> {
    /// Its id, which is the marker's key.
    pub(super) id: &'a str,
    /// The broker of the internal topic.
    pub(super) pubsub: &'a str,
    pub(super) app_id: &'a str,
    pub(super) value: &'a [u8],
    pub(super) kind: ValueKind,
    /// Empty when the request says nothing.
    pub(super) content_type: &'a str,
    /// The operation's metadata. As in Dapr each pair becomes a field of the event as it stands.
    pub(super) metadata: &'a Metadata,
}

impl Change<'_> {
    /// The event for the internal topic.
    pub(super) fn event(&self, trace: &Propagated) -> Result<Vec<u8>, OutboxError> {
        // A value that is an event already is text to Dapr: the outbox has the say over the id.
        let is_event = content_type::is_cloud_event(self.content_type);
        let parent = trace.context.is_valid().then(|| trace.context.traceparent());
        let envelope = Envelope::for_publish(&Publish {
            pubsub: self.pubsub,
            topic: "",
            app_id: self.app_id,
            content_type: if is_event { content_type::DEFAULT_DATA } else { self.content_type },
            data: &self.data(),
            trace: Trace {
                parent: parent.as_ref().map_or("", |parent| parent.as_str()),
                state: trace.tracestate.as_deref().unwrap_or_default(),
                baggage: trace.baggage.as_deref().unwrap_or_default(),
            },
            metadata: PublishMetadata {
                overrides: Overrides { id: Some(self.id), ..Overrides::default() },
                ..PublishMetadata::default()
            },
            native_ttl: false,
            now: SystemTime::now(),
        })?;
        if !is_event && self.metadata.iter().next().is_none() {
            return Ok(envelope.into_bytes());
        }
        let mut fields: Fields = serde_json::from_slice(&envelope.into_bytes())?;
        if is_event {
            fields.set(DATA_CONTENT_TYPE, self.content_type)?;
        }
        for (key, value) in self.metadata.iter().filter(|(key, _)| *key != DATA && *key != ID) {
            fields.set(key, value)?;
        }
        fields.into_bytes()
    }

    /// The value as data: a JSON text that nobody calls JSON goes without its quotes.
    fn data(&self) -> Cow<'_, [u8]> {
        if self.kind != ValueKind::JSON || content_type::is_json(self.content_type) {
            return Cow::Borrowed(self.value);
        }
        match serde_json::from_slice::<String>(self.value) {
            Ok(text) => Cow::Owned(text.into_bytes()),
            Err(_) => Cow::Borrowed(self.value),
        }
    }
}

/// The fields of an event. Their values stay the JSON that they are, so that numbers keep every digit.
#[derive(serde::Deserialize, serde::Serialize)]
#[serde(transparent)]
struct Fields(BTreeMap<String, Box<RawValue>>);

impl Fields {
    fn set(&mut self, name: &str, value: &str) -> Result<(), OutboxError> {
        self.0.insert(name.to_owned(), to_raw_value(value)?);
        Ok(())
    }

    fn text(&self, name: &str) -> Option<String> {
        serde_json::from_str(self.0.get(name)?.get()).ok()
    }

    fn into_bytes(self) -> Result<Vec<u8>, OutboxError> {
        Ok(serde_json::to_vec(&self)?)
    }
}

/// A message of the internal topic.
pub(super) struct Internal {
    fields: Fields,
    id: String,
}

impl Internal {
    /// Reads a message. One that does not name a marker is not of an outbox: whatever else it names is the application's own.
    pub(super) fn read(data: &[u8]) -> Result<Self, OutboxError> {
        let fields: Fields = serde_json::from_slice(data)?;
        let id = fields.text(ID).filter(|id| id.starts_with(MARKER));
        let id = id.ok_or_else(|| serde::de::Error::custom("its id is none of an outbox"));
        let id = id.map_err(OutboxError::Unreadable)?;
        Ok(Self { fields, id })
    }

    /// The key of its marker.
    pub(super) fn marker(&self) -> &str {
        &self.id
    }

    /// One of its fields, as far as it is a text that says something.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.fields.text(name).filter(|text| !text.is_empty())
    }

    /// The event for the topic that it is meant for.
    pub(super) fn readdressed(mut self, pubsub: &str, topic: &str) -> Result<Vec<u8>, OutboxError> {
        self.fields.set(TOPIC, topic)?;
        self.fields.set(PUBSUB_NAME, pubsub)?;
        self.fields.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn change<'a>(value: &'a [u8], content_type: &'a str, metadata: &'a Metadata) -> Change<'a> {
        let (id, pubsub, app_id) = ("outbox-1", "in", "app");
        Change { id, pubsub, app_id, value, kind: ValueKind::JSON, content_type, metadata }
    }

    fn event(change: &Change<'_>) -> Value {
        serde_json::from_slice(&change.event(&Propagated::default()).unwrap()).unwrap()
    }

    #[test]
    fn a_value_becomes_the_data_of_an_event() {
        let none = Metadata::new();
        for (value, content_type, expected) in [
            (&br#""te\nxt""#[..], "", json!("te\nxt")),
            (br#""text""#, "application/json", json!("text")),
            (br#"{"a":1}"#, "", json!("{\"a\":1}")),
            (br#"{"a":1}"#, "application/json", json!({"a": 1})),
            (b"5", "text/plain", json!("5")),
        ] {
            assert_eq!(event(&change(value, content_type, &none))["data"], expected, "{content_type}");
        }
        let bytes = Change { kind: ValueKind::BYTES, ..change(b"\"2\"", "", &none) };
        assert_eq!(event(&bytes)["data"], "\"2\"");
        let binary = Change { kind: ValueKind::BYTES, ..change(b"\xff", "application/octet-stream", &none) };
        assert_eq!(event(&binary)["data_base64"], "/w==");
    }

    #[test]
    fn metadata_becomes_fields_save_what_is_the_outboxs_own() {
        let metadata: Metadata = [("data", "x"), ("id", "x"), ("outbox.cloudevent.a", "1"), ("type", "mine")]
            .into_iter()
            .collect();
        let made = event(&change(br#""2""#, "", &metadata));
        let shown = |name: &str| made[name].as_str().unwrap_or_default().to_owned();
        let names = ["id", "data", "outbox.cloudevent.a", "type", "source", "topic", "pubsubname"];
        assert_eq!(names.map(shown), ["outbox-1", "2", "1", "mine", "app", "", "in"]);
    }

    #[test]
    fn a_value_that_is_an_event_is_text() {
        let inner = br#"{"id":"own","data":1}"#;
        let made = event(&change(inner, "application/cloudevents+json", &Metadata::new()));
        assert_eq!(made["id"], "outbox-1");
        assert_eq!(made["data"], String::from_utf8_lossy(inner).as_ref());
        assert_eq!(made["datacontenttype"], "application/cloudevents+json");
    }

    #[test]
    fn readdressing_keeps_every_digit() {
        let data = br#"{"id":"outbox-1","data":{"n":637831415180045507123,"x":1.50},"traceid":"00-a","topic":"","tracestate":""}"#;
        let internal = Internal::read(data).unwrap();
        assert_eq!((internal.marker(), internal.text("traceid").as_deref()), ("outbox-1", Some("00-a")));
        assert_eq!((internal.text("tracestate"), internal.text("data")), (None, None));
        let text = String::from_utf8(internal.readdressed("ps", "t").unwrap()).unwrap();
        assert!(text.contains(r#""data":{"n":637831415180045507123,"x":1.50}"#), "{text}");
        let read: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&read["topic"], &read["pubsubname"]), (&json!("t"), &json!("ps")));
    }

    #[test]
    fn what_names_no_marker_is_no_message() {
        for data in [&b""[..], b"[]", b"\"x\"", b"{}", br#"{"id":5}"#, br#"{"id":"app||key"}"#, b"\xff"] {
            assert!(Internal::read(data).is_err(), "{data:?}");
        }
    }
}
