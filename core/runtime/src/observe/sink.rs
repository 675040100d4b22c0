//! Takes the spans and log lines of plugins into the runtime's own telemetry.

use mecha_observability::logs::FieldValue as LogValue;
use mecha_observability::span::{Attribute, time_from_unix_ns};
use mecha_observability::{
    AttributeValue, LogLevel, LogRecord, Logger, SpanEvent, SpanKind, SpanRecord, SpanStatus, Telemetry,
    TraceContext, names,
};
use mecha_plugin_api::host::{Field, FieldValue, FinishedSpan, LogEvent, LogLevel as PluginLevel};
use mecha_plugin_host::{PluginIdentity, PluginSink};

pub(super) struct Sink {
    pub(super) telemetry: Telemetry,
    pub(super) logger: Logger,
}

impl PluginSink for Sink {
    fn span(&self, plugin: &PluginIdentity, span: FinishedSpan) {
        // A plugin sends recorded spans only.
        let context =
            TraceContext { trace_id: span.trace_id, span_id: span.span_id, flags: TraceContext::SAMPLED };
        let mut record =
            SpanRecord::starting(context, span.name.to_string(), SpanKind::from_number(span.kind));
        record.parent_span_id = span.parent_span_id;
        record.scope = span.target.to_string().into();
        record.start = time_from_unix_ns(span.start_unix_ns);
        record.end = time_from_unix_ns(span.end_unix_ns);
        record.attributes = attributes(span.fields.into_iter());
        record.attributes.push((names::attribute::COMPONENT_NAME.into(), span.component.to_string().into()));
        record.attributes.push((names::attribute::PLUGIN_FILE.into(), plugin.file.clone().into()));
        record.events = span.events.into_iter().map(event).collect();
        record.status = SpanStatus::from_number(span.status, span.status_message.to_string());
        self.telemetry.export(record);
    }

    fn log(&self, plugin: &PluginIdentity, event: LogEvent) {
        let level = log_level(event.level);
        if !self.logger.is_enabled(level) {
            return;
        }
        let mut record = LogRecord::new(level, event.target.to_string(), event.message.to_string());
        record.trace = TraceContext { trace_id: event.trace_id, span_id: event.span_id, flags: 0 };
        record.fields = event
            .fields
            .into_iter()
            .map(|field| (field.name.to_string().into(), log_value(field.value)))
            .collect();
        if !event.component.is_empty() {
            record.fields.push(("component".into(), event.component.to_string().into()));
        }
        record.fields.push(("plugin".into(), plugin.file.clone().into()));
        self.logger.write(&record);
    }
}

fn event(event: mecha_plugin_api::host::SpanEvent) -> SpanEvent {
    SpanEvent {
        time: time_from_unix_ns(event.unix_ns),
        name: event.name.to_string().into(),
        attributes: attributes(event.fields.into_iter()),
    }
}

fn attributes(fields: impl Iterator<Item = Field>) -> Vec<Attribute> {
    fields.map(|field| (field.name.to_string().into(), value(field.value))).collect()
}

fn value(value: FieldValue) -> AttributeValue {
    match value {
        FieldValue::Text(text) => text.to_string().into(),
        FieldValue::Int(number) => number.into(),
        FieldValue::Float(number) => number.into(),
        FieldValue::Bool(flag) => flag.into(),
    }
}

fn log_level(level: PluginLevel) -> LogLevel {
    match level.0 {
        0 | 1 => LogLevel::Error,
        2 => LogLevel::Warn,
        3 => LogLevel::Info,
        4 => LogLevel::Debug,
        _ => LogLevel::Trace,
    }
}

fn log_value(value: FieldValue) -> LogValue {
    match value {
        FieldValue::Text(text) => text.to_string().into(),
        FieldValue::Int(number) => LogValue::Int(number),
        FieldValue::Float(number) => LogValue::Float(number),
        FieldValue::Bool(flag) => LogValue::Bool(flag),
    }
}
