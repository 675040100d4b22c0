//! Writes each span as a log line, for `tracing.stdout` of Dapr's Configuration.

use opentelemetry::trace::SpanId;
use opentelemetry_sdk::trace::SpanData;

use crate::logs::{LogLevel, LogRecord, Logger};

/// Scope of the lines in daprd.
const SCOPE: &str = "dapr.runtime.trace";

/// Prints spans through the runtime's log.
#[derive(Debug)]
pub(super) struct StdoutExporter {
    logger: Logger,
}

impl StdoutExporter {
    pub(super) fn new(logger: Logger) -> Self {
        Self { logger }
    }

    pub(super) fn export(&self, batch: &[SpanData]) {
        for span in batch {
            self.logger.write(&LogRecord::new(LogLevel::Info, SCOPE, line(span)));
        }
    }
}

/// Dapr's order: name, trace, parent/span, times, events.
fn line(span: &SpanData) -> String {
    let time = |time| humantime::format_rfc3339_micros(time).to_string();
    let parent =
        if span.parent_span_id == SpanId::INVALID { String::new() } else { span.parent_span_id.to_string() };
    let events: Vec<&str> = span.events.iter().map(|event| event.name.as_ref()).collect();
    format!(
        "[{}] Trace: {} Span: {parent}/{} Time: [{} ->  {}] Annotations: {events:?}",
        span.name,
        span.span_context.trace_id(),
        span.span_context.span_id(),
        time(span.start_time),
        time(span.end_time),
    )
}
