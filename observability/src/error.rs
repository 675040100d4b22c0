//! What can go wrong while telemetry is set up or shut down. Nothing in here can fail a call.

use std::path::PathBuf;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A metric could not be registered.
    #[error("cannot register a metric: {0}")]
    Metric(#[from] prometheus::Error),
    /// The OTLP protocol is neither `grpc` nor `http`.
    #[error("invalid protocol {0} provided for Otel endpoint")]
    Protocol(String),
    /// An exporter's endpoint cannot be used.
    #[error("invalid trace endpoint '{endpoint}': {reason}")]
    Endpoint {
        /// The endpoint as configured.
        endpoint: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A setting of an exporter, or a variable for it, cannot be read.
    #[error("invalid value '{value}' for {name}: {reason}")]
    Setting {
        /// The setting or variable.
        name: String,
        /// Its value.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An exporter could not be built.
    #[error("cannot set up the trace exporter: {0}")]
    Exporter(String),
    /// The last spans could not be handed over in time.
    #[error("cannot flush traces: {0}")]
    Flush(String),
    /// The log level is none of Dapr's.
    #[error("unknown log level '{0}': use debug, info, warn, error or fatal")]
    LogLevel(String),
    /// The log file cannot be opened.
    #[error("cannot open log file {path}: {source}")]
    LogFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The process has a `tracing` subscriber already.
    #[error("a tracing subscriber is already installed in this process")]
    SubscriberInstalled,
}
