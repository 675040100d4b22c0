//! A span as a value: built while a sampled call runs, handed over whole when it ends.

use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::context::TraceContext;
use crate::telemetry::Telemetry;

/// Most attributes, events or links of one span, as in the OpenTelemetry SDK.
pub(crate) const MAX_ITEMS: usize = 128;

/// A value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum AttributeValue {
    /// Text.
    Text(Cow<'static, str>),
    /// A whole number.
    Int(i64),
    /// A fraction.
    Float(f64),
    /// Yes or no.
    Bool(bool),
}

impl From<&'static str> for AttributeValue {
    fn from(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for AttributeValue {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<Cow<'static, str>> for AttributeValue {
    fn from(text: Cow<'static, str>) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for AttributeValue {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<u16> for AttributeValue {
    fn from(number: u16) -> Self {
        Self::Int(number.into())
    }
}

impl From<f64> for AttributeValue {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}

impl From<bool> for AttributeValue {
    fn from(flag: bool) -> Self {
        Self::Bool(flag)
    }
}

/// A named value of a span or an event.
pub type Attribute = (Cow<'static, str>, AttributeValue);

/// The span's place between caller and callee.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum SpanKind {
    /// Work inside the process.
    #[default]
    Internal,
    /// Serves a call.
    Server,
    /// Makes a call.
    Client,
    /// Hands a message to a broker.
    Producer,
    /// Takes a message from a broker.
    Consumer,
}

impl SpanKind {
    /// From the number that crosses the plugin boundary (0 internal, 1 server, 2 client, 3 producer, 4 consumer); an unknown
    /// number is internal.
    pub fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Server,
            2 => Self::Client,
            3 => Self::Producer,
            4 => Self::Consumer,
            _ => Self::Internal,
        }
    }
}

/// How the span ended.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum SpanStatus {
    /// Nothing was said, which reads as success.
    #[default]
    Unset,
    /// Success, said explicitly.
    Ok,
    /// Failure and why.
    Error(Cow<'static, str>),
}

impl SpanStatus {
    /// From the number that crosses the plugin boundary (0 unset, 1 ok, 2 error); an unknown number is unset.
    pub fn from_number(number: u8, message: impl Into<Cow<'static, str>>) -> Self {
        match number {
            1 => Self::Ok,
            2 => Self::Error(message.into()),
            _ => Self::Unset,
        }
    }
}

/// Something that happened inside a span.
#[derive(Clone, Debug, PartialEq)]
pub struct SpanEvent {
    /// When.
    pub time: SystemTime,
    /// What.
    pub name: Cow<'static, str>,
    /// Details.
    pub attributes: Vec<Attribute>,
}

/// A span elsewhere that this one follows from without being its child.
#[derive(Clone, Debug, PartialEq)]
pub struct SpanLink {
    /// The other span.
    pub context: TraceContext,
    /// Details.
    pub attributes: Vec<Attribute>,
}

/// A span that has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct SpanRecord {
    /// Its ids.
    pub context: TraceContext,
    /// The span it hangs under; zero for a root.
    pub parent_span_id: [u8; 8],
    /// Whether that span belongs to another process.
    pub parent_is_remote: bool,
    /// W3C `tracestate` of the trace.
    pub tracestate: Option<Box<str>>,
    /// What was done.
    pub name: Cow<'static, str>,
    /// Its place between caller and callee.
    pub kind: SpanKind,
    /// The code that made it: the runtime when empty, else e.g. a plugin's module.
    pub scope: Cow<'static, str>,
    /// Begin.
    pub start: SystemTime,
    /// End.
    pub end: SystemTime,
    /// Attributes.
    pub attributes: Vec<Attribute>,
    /// Events in order of time.
    pub events: Vec<SpanEvent>,
    /// Links.
    pub links: Vec<SpanLink>,
    /// How it ended.
    pub status: SpanStatus,
}

impl SpanRecord {
    /// A span of the runtime that begins now.
    pub fn starting(context: TraceContext, name: impl Into<Cow<'static, str>>, kind: SpanKind) -> Self {
        let now = SystemTime::now();
        Self {
            context,
            parent_span_id: [0; 8],
            parent_is_remote: false,
            tracestate: None,
            name: name.into(),
            kind,
            scope: Cow::Borrowed(""),
            start: now,
            end: now,
            attributes: Vec::new(),
            events: Vec::new(),
            links: Vec::new(),
            status: SpanStatus::Unset,
        }
    }
}

/// A point in time from nanoseconds since the Unix epoch, as plugins send it.
pub fn time_from_unix_ns(nanoseconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(nanoseconds)
}

/// A span of a sampled call that is still running.
///
/// It is exported when it ends or is dropped, so that a call that was cancelled is seen as well.
#[derive(Debug)]
pub struct ActiveSpan {
    /// Taken out once, at the end.
    record: Option<Box<SpanRecord>>,
    context: TraceContext,
    telemetry: Telemetry,
}

impl ActiveSpan {
    pub(crate) fn new(record: SpanRecord, telemetry: Telemetry) -> Self {
        Self { context: record.context, record: Some(Box::new(record)), telemetry }
    }

    /// The ids of this span, to hand to what it calls.
    pub fn context(&self) -> TraceContext {
        self.context
    }

    /// Names the span when more is known than at its start.
    pub fn set_name(&mut self, name: impl Into<Cow<'static, str>>) {
        if let Some(record) = &mut self.record {
            record.name = name.into();
        }
    }

    /// Carries the caller's `tracestate` with the span.
    pub fn set_tracestate(&mut self, tracestate: Option<Box<str>>) {
        if let Some(record) = &mut self.record {
            record.tracestate = tracestate;
        }
    }

    /// Adds an attribute; a key must be added once only.
    pub fn set_attribute(&mut self, key: impl Into<Cow<'static, str>>, value: impl Into<AttributeValue>) {
        if let Some(record) = &mut self.record
            && record.attributes.len() < MAX_ITEMS
        {
            record.attributes.push((key.into(), value.into()));
        }
    }

    /// Notes something that happens now.
    pub fn add_event(&mut self, name: impl Into<Cow<'static, str>>, attributes: Vec<Attribute>) {
        if let Some(record) = &mut self.record
            && record.events.len() < MAX_ITEMS
        {
            record.events.push(SpanEvent { time: SystemTime::now(), name: name.into(), attributes });
        }
    }

    /// Links a span that is not the parent.
    pub fn add_link(&mut self, context: TraceContext, attributes: Vec<Attribute>) {
        if let Some(record) = &mut self.record
            && record.links.len() < MAX_ITEMS
        {
            record.links.push(SpanLink { context, attributes });
        }
    }

    /// Marks the span as failed.
    pub fn fail(&mut self, message: impl Into<Cow<'static, str>>) {
        if let Some(record) = &mut self.record {
            record.status = SpanStatus::Error(message.into());
        }
    }

    /// Ends the span and hands it to the exporters.
    pub fn end(self) {
        drop(self);
    }
}

impl Drop for ActiveSpan {
    fn drop(&mut self) {
        if let Some(mut record) = self.record.take() {
            record.end = SystemTime::now();
            self.telemetry.export(*record);
        }
    }
}
