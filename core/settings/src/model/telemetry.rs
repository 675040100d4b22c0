//! Traces and logs.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use mecha_resources::component::REDACTED;
use serde::{Deserialize, Serialize};

use super::{LogLevel, OtlpProtocol};

/// Traces. What is set here wins over a Dapr Configuration and over `OTEL_*`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Tracing {
    /// The share of calls that are sampled, 0 to 1. Default: none, which leaves it to the Configuration (0.0001).
    pub sampling_rate: Option<f64>,
    /// The service's name on its spans. Default: none, which means the application's id.
    pub service_name: Option<String>,
    /// Where spans are sent.
    pub otlp: Otlp,
}

/// Where spans are sent.
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Otlp {
    /// The collector, as `host:port` or a URL; `https://` encrypts. Default: none.
    pub endpoint: Option<String>,
    /// The transport: grpc, http. Default: none, which means grpc.
    pub protocol: Option<OtlpProtocol>,
    /// Headers to send along, by name; shown nowhere. Default: none.
    pub headers: BTreeMap<String, String>,
}

impl fmt::Debug for Otlp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: BTreeMap<&str, &str> =
            self.headers.keys().map(|name| (name.as_str(), REDACTED)).collect();
        f.debug_struct("Otlp")
            .field("endpoint", &self.endpoint)
            .field("protocol", &self.protocol)
            .field("headers", &headers)
            .finish()
    }
}

/// Logs.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Log {
    /// The least severe entries that are logged: debug, info, warn, error, fatal. Default: info.
    pub level: LogLevel,
    /// Whether entries are JSON objects; text otherwise. Default: false.
    pub json: bool,
    /// The file they are written to. Default: none, which means standard output.
    pub file: Option<PathBuf>,
    /// Whether API calls are logged. Default: none, which leaves it to the Configuration (no).
    pub api_calls: Option<bool>,
}
