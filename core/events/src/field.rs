//! The names of an envelope's fields, and the values that stand for absent ones.

pub(crate) const BAGGAGE: &str = "baggage";
pub(crate) const DATA: &str = "data";
pub(crate) const DATA_BASE64: &str = "data_base64";
pub(crate) const DATA_CONTENT_TYPE: &str = "datacontenttype";
pub(crate) const EXPIRATION: &str = "expiration";
pub(crate) const ID: &str = "id";
pub(crate) const PUBSUB_NAME: &str = "pubsubname";
pub(crate) const SOURCE: &str = "source";
pub(crate) const SPEC_VERSION: &str = "specversion";
pub(crate) const SUBJECT: &str = "subject";
pub(crate) const TIME: &str = "time";
pub(crate) const TOPIC: &str = "topic";
pub(crate) const TRACE_ID: &str = "traceid";
pub(crate) const TRACE_PARENT: &str = "traceparent";
pub(crate) const TRACE_STATE: &str = "tracestate";
pub(crate) const TYPE: &str = "type";

/// The names above: a key that is one of them needs no allocation.
pub(crate) const KNOWN: [&str; 16] = [
    BAGGAGE,
    DATA,
    DATA_BASE64,
    DATA_CONTENT_TYPE,
    EXPIRATION,
    ID,
    PUBSUB_NAME,
    SOURCE,
    SPEC_VERSION,
    SUBJECT,
    TIME,
    TOPIC,
    TRACE_ID,
    TRACE_PARENT,
    TRACE_STATE,
    TYPE,
];

pub(crate) const DEFAULT_SOURCE: &str = "Dapr";
pub(crate) const DEFAULT_TYPE: &str = "com.dapr.event.sent";
pub(crate) const DEFAULT_SPEC_VERSION: &str = "1.0";
/// The type of a bulk envelope.
pub const BULK_TYPE: &str = "com.dapr.event.sent.bulk";
