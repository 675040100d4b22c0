//! Traces, metrics and logs of the runtime, as values: nothing here is global except [`install_subscriber`], which only the
//! binary calls.
//!
//! A call passes through in this order:
//! 1. [`context`]: the caller's `traceparent`, `tracestate` and `baggage` become a [`Propagated`].
//! 2. [`sampling`]: [`Telemetry::begin`] decides from ids alone. An unsampled call goes on with its ids and nothing else.
//! 3. [`span`]: a sampled call gets an [`ActiveSpan`]; when it ends, its [`SpanRecord`] goes to the exporters in [`telemetry`].
//!    A plugin's finished spans arrive as [`SpanRecord`]s and take the same way.
//! 4. [`metrics`]: handles that the caller resolved once; recording is an atomic add.
//! 5. [`logs`]: lines in Dapr's shape, of the runtime and of plugins.

pub mod baggage;
pub mod context;
mod error;
mod install;
pub mod logs;
pub mod metrics;
pub mod names;
pub mod sampling;
pub mod span;
pub mod telemetry;

pub use baggage::BaggageError;
pub use context::{Propagated, TraceContext, Traceparent};
pub use error::Error;
pub use install::install_subscriber;
pub use logs::{LogFormat, LogLevel, LogOutput, LogRecord, LogSettings, Logger};
pub use metrics::{Metrics, MetricsSettings};
pub use sampling::Sampler;
pub use span::{ActiveSpan, AttributeValue, SpanEvent, SpanKind, SpanLink, SpanRecord, SpanStatus};
pub use telemetry::{BatchSettings, OtlpProtocol, OtlpSettings, Service, Telemetry, TraceSettings};
