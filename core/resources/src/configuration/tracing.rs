//! The tracing section.

use std::{fmt, time::Duration};

use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;

use crate::{component::REDACTED, lenient};

/// The share of calls that are sampled when no rate is set, or one that is not a number.
pub const DEFAULT_SAMPLING_RATE: f64 = 1e-4;

/// Traces.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Tracing {
    /// The sampling rate as written; [`Tracing::rate`] reads it.
    #[serde(deserialize_with = "lenient::text")]
    pub sampling_rate: String,
    /// Whether spans are written to standard output.
    #[serde(deserialize_with = "lenient::or_default")]
    pub stdout: bool,
    /// Zipkin.
    #[serde(deserialize_with = "lenient::or_default")]
    pub zipkin: Zipkin,
    /// OTLP.
    #[serde(deserialize_with = "lenient::or_default")]
    pub otel: Otel,
}

/// Where spans go in Zipkin's form.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Zipkin {
    /// The collector's URL; empty means none.
    #[serde(deserialize_with = "lenient::text")]
    pub endpoint_address: String,
}

/// Where spans go in OTLP.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Otel {
    /// `grpc` or `http`.
    #[serde(deserialize_with = "lenient::text")]
    pub protocol: String,
    /// Host and port of the collector; empty means none.
    #[serde(deserialize_with = "lenient::text")]
    pub endpoint_address: String,
    /// Whether the connection is encrypted; [`Otel::secure`] fills in the default.
    pub is_secure: Option<bool>,
    /// Headers to send along.
    pub headers: Headers,
    /// How long an export may take; `None` leaves it to the exporter.
    #[serde(deserialize_with = "lenient::optional_duration")]
    pub timeout: Option<Duration>,
}

/// Headers by name. They carry credentials, so `Debug` shows the names only.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Headers(pub Vec<(String, String)>);

impl Tracing {
    /// The share of calls that are sampled. Only an explicit 0 turns tracing off.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.sampling_rate.parse().unwrap_or(DEFAULT_SAMPLING_RATE)
    }

    /// Whether calls are traced at all.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.rate() != 0.0
    }
}

impl Otel {
    /// Whether the connection is encrypted (default: yes).
    #[must_use]
    pub fn secure(&self) -> bool {
        self.is_secure.unwrap_or(true)
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.iter().map(|(name, _)| (name, REDACTED))).finish()
    }
}

/// Entries are `name=value`, or `{name, value}` as Kubernetes resources have them.
impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let entries = Option::<Vec<Value>>::deserialize(from)?.unwrap_or_default();
        let header = |entry: &Value| {
            let pair = match entry {
                Value::String(text) => text.split_once('='),
                Value::Object(map) => {
                    map.get("name").and_then(Value::as_str).zip(map.get("value").and_then(Value::as_str))
                }
                _ => None,
            };
            let (name, value) = pair.ok_or_else(|| D::Error::custom("a header reads `name=value`"))?;
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        };
        entries.iter().map(header).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::read, *};

    #[test]
    fn reads_the_sampling_rate_as_dapr_does() {
        let rate = |text: &str| read(&format!("spec: {{tracing: {{samplingRate: {text}}}}}")).tracing.rate();
        assert_eq!(rate("1"), 1.0);
        assert_eq!(rate("'0.25'"), 0.25);
        assert_eq!(rate("often"), DEFAULT_SAMPLING_RATE);
        assert_eq!(rate("null"), DEFAULT_SAMPLING_RATE);
        assert_eq!(rate("0"), 0.0);
    }

    #[test]
    fn reads_otel_and_hides_headers() {
        let otel = read(
            "spec: {tracing: {otel: {endpointAddress: 'h:4317', protocol: grpc, isSecure: false, timeout: 2s,
             headers: ['api-key=top=secret', {name: b, value: c}]}}}",
        )
        .tracing
        .otel;
        assert!(!otel.secure());
        assert_eq!(otel.timeout, Some(Duration::from_secs(2)));
        assert_eq!(otel.headers.0[0], ("api-key".into(), "top=secret".into()));
        let text = format!("{otel:?}");
        assert!(text.contains("api-key") && !text.contains("top=secret"));
    }
}
