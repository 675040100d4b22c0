//! What the host offers a plugin: a place for finished spans and for log events. Plain calls that never block.

use abi_stable::StableAbi;
use abi_stable::sabi_trait;
use abi_stable::std_types::{RBox, RString, RVec};

/// A value of a span's or an event's field.
#[repr(u8)]
#[derive(StableAbi, Clone, Debug, PartialEq)]
pub enum FieldValue {
    /// Text.
    Text(RString),
    /// A whole number.
    Int(i64),
    /// A fraction.
    Float(f64),
    /// Yes or no.
    Bool(bool),
}

/// A field of a span or an event.
#[repr(C)]
#[derive(StableAbi, Clone, Debug, PartialEq)]
pub struct Field {
    /// The field's name, e.g. `db.operation.name`.
    pub name: RString,
    /// Its value.
    pub value: FieldValue,
}

/// Severity, with `tracing`'s five levels: 0 off, 1 error, 2 warn, 3 info, 4 debug, 5 trace.
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct LogLevel(pub u8);

/// A span that has ended, with ids made by the plugin's side of the boundary.
#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct FinishedSpan {
    /// Trace that the call belongs to.
    pub trace_id: [u8; 16],
    /// This span.
    pub span_id: [u8; 8],
    /// The span it hangs under: another span of the plugin, or the host's span of the call.
    pub parent_span_id: [u8; 8],
    /// OpenTelemetry's span kind: 0 internal, 1 server, 2 client, 3 producer, 4 consumer (from the field `otel.kind`).
    pub kind: u8,
    /// OpenTelemetry's status: 0 unset, 1 ok, 2 error (from the field `otel.status_code`).
    pub status: u8,
    /// The name (from the field `otel.name`, else the span's own).
    pub name: RString,
    /// The module that opened it.
    pub target: RString,
    /// The component on whose call it was opened; empty outside a call.
    pub component: RString,
    /// Start, nanoseconds since the Unix epoch.
    pub start_unix_ns: u64,
    /// End, nanoseconds since the Unix epoch.
    pub end_unix_ns: u64,
    /// Message of an error status (from the field `otel.status_description`).
    pub status_message: RString,
    /// Attributes.
    pub fields: RVec<Field>,
    /// Events recorded inside it.
    pub events: RVec<SpanEvent>,
}

/// Something that happened inside a span.
#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct SpanEvent {
    /// When, nanoseconds since the Unix epoch.
    pub unix_ns: u64,
    /// The event's message.
    pub name: RString,
    /// Its other fields.
    pub fields: RVec<Field>,
}

/// A log line of a plugin.
#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct LogEvent {
    /// Severity.
    pub level: LogLevel,
    /// The module that logged.
    pub target: RString,
    /// The component on whose call it was logged; empty outside a call.
    pub component: RString,
    /// The message.
    pub message: RString,
    /// Its other fields.
    pub fields: RVec<Field>,
    /// The trace it belongs to; zero outside a call.
    pub trace_id: [u8; 16],
    /// The span it belongs to; zero outside a call.
    pub span_id: [u8; 8],
}

/// The services of the host. Every method returns at once; what cannot be kept is counted and dropped by the host.
#[sabi_trait]
pub trait HostServices: Send + Sync {
    /// Takes a span that has ended.
    fn span(&self, span: FinishedSpan);

    /// Takes a log line.
    #[sabi(last_prefix_field)]
    fn log(&self, event: LogEvent);
}

/// The host's services as they cross the boundary.
pub type HostObject = HostServices_TO<'static, RBox<()>>;
