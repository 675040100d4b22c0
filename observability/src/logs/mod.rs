//! Log lines in Dapr's shape, as text or JSON.
//!
//! A [`Logger`] is a value with an identity (application, host, version), a level that can change while running, and an
//! output. Lines come from `tracing` through [`Logger::layer`], and from plugins, which are outside of our `tracing`, through
//! [`Logger::write`].

mod format;
mod layer;
mod level;
mod output;

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

pub use level::LogLevel;
pub use output::LogOutput;

use crate::context::TraceContext;
use crate::error::Error;
use format::Line;
use level::LevelCell;
use output::Output;

/// The form of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// `time="…" level=info msg="…" …`.
    #[default]
    Text,
    /// One JSON object a line, with the same keys.
    Json,
}

/// How and where to log.
#[derive(Debug, Default)]
pub struct LogSettings {
    /// Lines below this are left out.
    pub level: LogLevel,
    /// Text or JSON.
    pub format: LogFormat,
    /// Standard output, a file, or a writer.
    pub output: LogOutput,
    /// The application id.
    pub app_id: String,
    /// The host, which Dapr calls the instance.
    pub host: String,
    /// The runtime's version.
    pub version: String,
}

impl LogSettings {
    /// The output for daprd's `--log-file`: standard output when there is none.
    pub fn with_file(mut self, file: Option<PathBuf>) -> Self {
        self.output = file.map_or(LogOutput::Stdout, LogOutput::File);
        self
    }
}

/// A value of a log line's field.
#[derive(Clone, Debug, PartialEq)]
pub enum FieldValue {
    /// Text.
    Text(Cow<'static, str>),
    /// A whole number.
    Int(i64),
    /// A whole number beyond `i64`.
    Unsigned(u64),
    /// A fraction.
    Float(f64),
    /// Yes or no.
    Bool(bool),
}

impl From<String> for FieldValue {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<&'static str> for FieldValue {
    fn from(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

/// A line that did not come through `tracing`, e.g. a plugin's.
#[derive(Clone, Debug)]
pub struct LogRecord {
    /// When.
    pub time: SystemTime,
    /// Severity.
    pub level: LogLevel,
    /// The module that logged; the scope is derived from it.
    pub target: Cow<'static, str>,
    /// The message.
    pub message: Cow<'static, str>,
    /// Fields, e.g. `component` and `plugin`.
    pub fields: Vec<(Cow<'static, str>, FieldValue)>,
    /// The trace it belongs to; [`TraceContext::NONE`] outside a call.
    pub trace: TraceContext,
}

impl LogRecord {
    /// A line of now without fields and trace.
    pub fn new(
        level: LogLevel,
        target: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            time: SystemTime::now(),
            level,
            target: target.into(),
            message: message.into(),
            fields: Vec::new(),
            trace: TraceContext::NONE,
        }
    }
}

/// A log: cheap to clone, every clone writes to the same output.
#[derive(Clone)]
pub struct Logger(Arc<Inner>);

struct Inner {
    level: LevelCell,
    format: LogFormat,
    output: Output,
    identity: Identity,
}

/// What every line says about its origin.
struct Identity {
    app_id: String,
    host: String,
    version: String,
}

impl Logger {
    /// Opens the output.
    pub fn new(settings: LogSettings) -> Result<Self, Error> {
        let LogSettings { level, format, output, app_id, host, version } = settings;
        let output = Output::open(output)?;
        let identity = Identity { app_id, host, version };
        Ok(Self(Arc::new(Inner { level: LevelCell::new(level), format, output, identity })))
    }

    /// The level in force.
    pub fn level(&self) -> LogLevel {
        self.0.level.get()
    }

    /// Changes the level of everything that logs through this logger.
    pub fn set_level(&self, level: LogLevel) {
        if self.0.level.replace(level) != level {
            // Callsites have cached whether anybody listens to them.
            tracing_core::callsite::rebuild_interest_cache();
        }
    }

    /// Whether a line of this level would be written.
    pub fn is_enabled(&self, level: LogLevel) -> bool {
        level <= self.level()
    }

    /// Writes a line. An output that fails loses it: there is nowhere to say so.
    pub fn write(&self, record: &LogRecord) {
        if !self.is_enabled(record.level) {
            return;
        }
        let mut line = self.line(record.time, record.level, &record.message, &record.target);
        for (name, value) in &record.fields {
            line.field(name, value.clone());
        }
        if record.trace.is_valid() {
            line.trace(record.trace);
        }
        self.0.output.write(&line.finish());
    }

    fn line(&self, time: SystemTime, level: LogLevel, message: &str, target: &str) -> Line {
        let mut line = Line::new(self.0.format);
        line.head(&self.0.identity, time, level, message, &format::scope_of(target));
        line
    }
}

impl std::fmt::Debug for Logger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Logger").field("level", &self.level()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
