//! Data that is a CloudEvent already: it is completed, not wrapped.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize as _;
use serde_json::value::RawValue;

use super::{EnvelopeError, Publish, expiration};
use crate::json::{Key, Object, push_text};
use crate::{field, time};

/// An event's fields by name. Of fields with the same name the last one counts.
type Fields<'a> = BTreeMap<Key<'a>, Cow<'a, str>>;

/// Fills in what an event lacks and sets what is not the application's to say: topic and pub/sub name. The application's own
/// trace, time and every field of its own stay as they are.
pub(super) fn complete(request: &Publish<'_>) -> Result<String, EnvelopeError> {
    let text = String::from_utf8_lossy(request.data);
    // Dapr reads the first value and ignores what follows.
    let mut reader = serde_json::Deserializer::from_str(&text);
    let read = BTreeMap::<Key<'_>, &RawValue>::deserialize(&mut reader)?;
    let mut fields: Fields<'_> =
        read.into_iter().map(|(key, value)| (key, Cow::Borrowed(value.get()))).collect();
    fill(&mut fields, request);
    let mut event = Object::with_capacity(text.len() + 384);
    for (key, value) in &fields {
        event.foreign(&key.0, value);
    }
    Ok(event.finish())
}

fn fill(fields: &mut Fields<'_>, request: &Publish<'_>) {
    if !fields.contains_key(field::TIME) {
        set(fields, field::TIME, &time::format(request.now));
    }
    // An event without traceid takes part in the request's trace, whatever its traceparent: that is Dapr's rule.
    if !fields.contains_key(field::TRACE_ID) {
        set(fields, field::TRACE_ID, request.trace.parent);
        set(fields, field::TRACE_PARENT, request.trace.parent);
    }
    if !fields.contains_key(field::TRACE_STATE) {
        set(fields, field::TRACE_STATE, request.trace.state);
    }
    if !request.trace.baggage.is_empty() && !fields.contains_key(field::BAGGAGE) {
        set(fields, field::BAGGAGE, request.trace.baggage);
    }
    set(fields, field::TOPIC, request.topic);
    set(fields, field::PUBSUB_NAME, request.pubsub);
    for (name, default) in [
        (field::SOURCE, field::DEFAULT_SOURCE),
        (field::TYPE, field::DEFAULT_TYPE),
        (field::SPEC_VERSION, field::DEFAULT_SPEC_VERSION),
    ] {
        if fields.get(name).is_none_or(|value| value == "null") {
            set(fields, name, default);
        }
    }
    if let Some(expiration) = expiration(request) {
        set(fields, field::EXPIRATION, &expiration);
    }
}

fn set(fields: &mut Fields<'_>, name: &'static str, value: &str) {
    let mut json = String::with_capacity(value.len() + 2);
    push_text(&mut json, value);
    fields.insert(Key(Cow::Borrowed(name)), Cow::Owned(json));
}
