//! Takes the lines of our own process from `tracing`.

use std::time::SystemTime;

use tracing::field::{Field, Visit};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_core::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, Filter};
use tracing_subscriber::registry::LookupSpan;

use super::{FieldValue, LogLevel, Logger};

/// Field that names the scope outright.
const SCOPE: &str = "scope";
/// Field that makes an error event a fatal one; `tracing` has no such level.
const FATAL: &str = "fatal";

impl Logger {
    /// The layer that writes events as lines. It has its own filter: raising or lowering the level leaves other layers alone.
    pub fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        LogLayer(self.clone()).with_filter(Threshold(self.clone()))
    }
}

struct LogLayer(Logger);

impl<S: Subscriber> Layer<S> for LogLayer {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = if fields.fatal { LogLevel::Fatal } else { LogLevel::of(*event.metadata().level()) };
        if !self.0.is_enabled(level) {
            return;
        }
        let target = fields.scope.as_deref().unwrap_or(event.metadata().target());
        let mut line = self.0.line(SystemTime::now(), level, &fields.message, target);
        for (name, value) in fields.others {
            line.field(name, value);
        }
        self.0.0.output.write(&line.finish());
    }
}

struct Threshold(Logger);

impl<S> Filter<S> for Threshold {
    fn enabled(&self, metadata: &Metadata<'_>, _context: &Context<'_, S>) -> bool {
        metadata.is_event() && *metadata.level() <= self.0.level().filter()
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        let wanted = metadata.is_event() && *metadata.level() <= self.0.level().filter();
        if wanted { Interest::always() } else { Interest::never() }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.0.level().filter())
    }
}

/// The fields of one event, message and scope taken out.
#[derive(Default)]
struct Fields {
    message: String,
    scope: Option<String>,
    fatal: bool,
    others: Vec<(&'static str, FieldValue)>,
}

impl Fields {
    fn text(&mut self, field: &Field, text: String) {
        match field.name() {
            "message" => self.message = text,
            SCOPE => self.scope = Some(text),
            name => self.others.push((name, text.into())),
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.text(field, format!("{value:?}"));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.text(field, value.to_string());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        match field.name() {
            FATAL => self.fatal = value,
            name => self.others.push((name, FieldValue::Bool(value))),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.others.push((field.name(), FieldValue::Int(value)));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.others.push((field.name(), FieldValue::Unsigned(value)));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.others.push((field.name(), FieldValue::Float(value)));
    }
}
