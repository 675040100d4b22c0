//! Messages, envelopes, and the conditions that choose where they go.

use std::time::{Duration, SystemTime};

use mecha_events::{Envelope, Event, Message, Publish, PublishMetadata, RuleCompiler, Trace, content_type};
use mecha_resiliency::breaker::{Counts, TripCompiler};

use crate::texts;

const JSON: &str = "application/json";

/// The first line is a content type, the rest a message: published, taken from a broker and delivered.
pub(crate) fn cloud_events(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == b'\n');
    let content_type = String::from_utf8_lossy(parts.next().unwrap_or_default());
    let data = parts.next().unwrap_or_default();
    delivered(data, &content_type, false);
    delivered(data, &content_type, true);
    let request = Publish {
        topic: "topic",
        pubsub: "pubsub",
        app_id: "app",
        content_type: &content_type,
        data,
        trace: Trace::default(),
        metadata: PublishMetadata::default(),
        native_ttl: false,
        now: SystemTime::UNIX_EPOCH + Duration::from_secs(1),
    };
    let Ok(envelope) = Envelope::for_publish(&request) else {
        assert!(content_type::is_cloud_event(&content_type), "whatever is no event can be put into one");
        return;
    };
    let written: serde_json::Value = serde_json::from_str(envelope.as_str()).expect("an envelope is JSON");
    assert!(written.is_object(), "{written}");
    assert!(delivered(envelope.as_str().as_bytes(), content_type::DEFAULT_MESSAGE, false), "{written}");
}

/// Whether it is an event.
fn delivered(data: &[u8], content_type: &str, raw_payload: bool) -> bool {
    let message = Message { data, content_type, topic: "topic", pubsub: "pubsub", raw_payload };
    let Ok(event) = Event::read(message, [("traceparent", "x")]) else { return false };
    let json: serde_json::Value = serde_json::from_str(&event.to_json()).expect("an event is JSON");
    assert!(json.is_object(), "{json}");
    let _ = (event.body(), event.has_expired(SystemTime::now()), event.topic_event().is_ok());
    true
}

/// The first line is a condition: of a route over the event in the rest, and of a breaker.
pub(crate) fn cel(data: &[u8]) {
    let [condition, event] = texts(data);
    let compiler = RuleCompiler::new();
    if let Ok(rule) = compiler.rule(&condition, "/route") {
        let rules = compiler.rules(vec![rule]);
        let event = if event.is_empty() { "{\"id\":\"1\",\"data\":{\"n\":1}}" } else { &event };
        let message = Message {
            data: event.as_bytes(),
            content_type: JSON,
            topic: "topic",
            pubsub: "pubsub",
            raw_payload: false,
        };
        if let Ok(event) = Event::read(message, []) {
            // Any answer will do, also that it cannot be evaluated.
            let _ = rules.route(&event);
        }
        let _ = rules.route_raw(event.as_bytes());
    }
    if let Ok(trip) = TripCompiler::default().compile(&condition) {
        let _ = trip.is_met(&Counts { requests: 3, total_failures: 2, ..Counts::default() });
    }
}
