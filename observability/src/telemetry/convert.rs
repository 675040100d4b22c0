//! Turns a [`SpanRecord`] into the SDK's form.

use std::borrow::Cow;
use std::str::FromStr;

use opentelemetry::trace::{
    Event, Link, SpanContext, SpanId, SpanKind as OtelKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, Key, KeyValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use crate::context::TraceContext;
use crate::span::{Attribute, AttributeValue, SpanEvent, SpanKind, SpanLink, SpanRecord, SpanStatus};

/// The span as exporters take it. `runtime` is the scope of spans that name none.
pub(super) fn span_data(span: SpanRecord, runtime: &InstrumentationScope) -> SpanData {
    let tracestate = span.tracestate.as_deref().and_then(|state| TraceState::from_str(state).ok());
    let mut events = SpanEvents::default();
    events.events = span.events.into_iter().map(event).collect();
    let mut links = SpanLinks::default();
    links.links = span.links.into_iter().map(link).collect();
    SpanData {
        span_context: span_context(span.context, false, tracestate.unwrap_or_default()),
        parent_span_id: SpanId::from_bytes(span.parent_span_id),
        parent_span_is_remote: span.parent_is_remote,
        span_kind: kind(span.kind),
        name: span.name,
        start_time: span.start,
        end_time: span.end.max(span.start),
        attributes: attributes(span.attributes),
        dropped_attributes_count: 0,
        events,
        links,
        status: status(span.status),
        instrumentation_scope: scope(span.scope, runtime),
    }
}

fn span_context(context: TraceContext, is_remote: bool, tracestate: TraceState) -> SpanContext {
    SpanContext::new(
        TraceId::from_bytes(context.trace_id),
        SpanId::from_bytes(context.span_id),
        TraceFlags::new(context.flags),
        is_remote,
        tracestate,
    )
}

fn scope(name: Cow<'static, str>, runtime: &InstrumentationScope) -> InstrumentationScope {
    if name.is_empty() { runtime.clone() } else { InstrumentationScope::builder(name).build() }
}

fn kind(kind: SpanKind) -> OtelKind {
    match kind {
        SpanKind::Internal => OtelKind::Internal,
        SpanKind::Server => OtelKind::Server,
        SpanKind::Client => OtelKind::Client,
        SpanKind::Producer => OtelKind::Producer,
        SpanKind::Consumer => OtelKind::Consumer,
    }
}

fn status(status: SpanStatus) -> Status {
    match status {
        SpanStatus::Unset => Status::Unset,
        SpanStatus::Ok => Status::Ok,
        SpanStatus::Error(description) => Status::Error { description },
    }
}

fn event(event: SpanEvent) -> Event {
    Event::new(event.name, event.time, attributes(event.attributes), 0)
}

fn link(link: SpanLink) -> Link {
    Link::new(span_context(link.context, true, TraceState::NONE), attributes(link.attributes), 0)
}

fn attributes(attributes: Vec<Attribute>) -> Vec<KeyValue> {
    attributes.into_iter().map(|(key, value)| KeyValue::new(Key::from(key), otel_value(value))).collect()
}

fn otel_value(value: AttributeValue) -> Value {
    match value {
        AttributeValue::Text(text) => Value::String(text.into()),
        AttributeValue::Int(number) => Value::I64(number),
        AttributeValue::Float(number) => Value::F64(number),
        AttributeValue::Bool(flag) => Value::Bool(flag),
    }
}
