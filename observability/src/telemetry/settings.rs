//! Where traces go, from Dapr's Configuration and the `OTEL_*` variables.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use percent_encoding::percent_decode_str;

use super::Service;
use crate::error::Error;
use crate::names::attribute;
use crate::sampling::Sampler;

const TRACES_PATH: &str = "/v1/traces";

/// The transport of OTLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OtlpProtocol {
    /// gRPC.
    #[default]
    Grpc,
    /// HTTP with protobuf bodies.
    Http,
}

impl FromStr for OtlpProtocol {
    type Err = Error;

    /// Dapr's `grpc` and `http`, or OpenTelemetry's `http/…`: as in daprd, bodies are protobuf whichever it names.
    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "grpc" => Ok(Self::Grpc),
            "http" | "http/protobuf" | "http/json" => Ok(Self::Http),
            _ => Err(Error::Protocol(text.to_owned())),
        }
    }
}

/// An OTLP collector.
#[derive(Clone, PartialEq, Eq)]
pub struct OtlpSettings {
    /// The transport.
    pub protocol: OtlpProtocol,
    /// `host:port` as in Dapr's Configuration, or a URL; for HTTP a URL without a path gets `/v1/traces`.
    pub endpoint: String,
    /// TLS, where the endpoint does not say it itself with `http://` or `https://`. Dapr's default is true.
    pub secure: bool,
    /// Headers or metadata of every request.
    pub headers: Vec<(String, String)>,
    /// Limit of one export, retries included.
    pub timeout: Duration,
    /// Root certificates (PEM) to trust in place of the system's.
    pub ca_file: Option<PathBuf>,
}

/// Leaves out what headers say: they hold credentials.
impl fmt::Debug for OtlpSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("OtlpSettings")
            .field("protocol", &self.protocol)
            .field("url", &self.url())
            .field("headers", &headers)
            .field("timeout", &self.timeout)
            .field("ca_file", &self.ca_file)
            .finish()
    }
}

impl Default for OtlpSettings {
    fn default() -> Self {
        Self {
            protocol: OtlpProtocol::Grpc,
            endpoint: String::new(),
            secure: true,
            headers: Vec::new(),
            timeout: Duration::from_secs(10),
            ca_file: None,
        }
    }
}

impl OtlpSettings {
    /// The URL that the exporter calls.
    pub fn url(&self) -> String {
        let scheme = if self.secure { "https://" } else { "http://" };
        let has_scheme = self.endpoint.contains("://");
        let url = if has_scheme { self.endpoint.clone() } else { format!("{scheme}{}", self.endpoint) };
        let path = url.split_once("://").and_then(|(_, rest)| rest.find('/').map(|at| &rest[at..]));
        let needs_path = self.protocol == OtlpProtocol::Http && matches!(path, None | Some("/"));
        if needs_path { format!("{}{TRACES_PATH}", url.trim_end_matches('/')) } else { url }
    }
}

/// The queue in front of the exporters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchSettings {
    /// Spans that may wait; more are dropped.
    pub queue_size: usize,
    /// Spans in one request.
    pub batch_size: usize,
    /// Longest wait for a batch to fill.
    pub delay: Duration,
}

impl Default for BatchSettings {
    fn default() -> Self {
        Self { queue_size: 2048, batch_size: 512, delay: Duration::from_secs(5) }
    }
}

/// `spec.tracing` of Dapr's Configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceSettings {
    /// Share of new traces that are recorded, as text; see [`Sampler::from_rate`].
    pub sampling_rate: String,
    /// Writes each span to the log.
    pub stdout: bool,
    /// URL of a Zipkin collector.
    pub zipkin_endpoint: Option<String>,
    /// An OTLP collector.
    pub otlp: Option<OtlpSettings>,
    /// The queue.
    pub batch: BatchSettings,
}

impl TraceSettings {
    /// The sampling rule.
    pub fn sampler(&self) -> Sampler {
        Sampler::from_rate(&self.sampling_rate)
    }

    /// Adds what the `OTEL_*` variables say. As in daprd an endpoint of the Configuration wins, and an endpoint by variable
    /// without a sampling rate records everything.
    pub fn with_environment(mut self, variables: &HashMap<String, String>) -> Result<Self, Error> {
        let variables = Variables(variables);
        if self.otlp.is_none() {
            self.otlp = variables.collector()?;
            if self.otlp.is_some() && self.sampling_rate.is_empty() {
                "1".clone_into(&mut self.sampling_rate);
            }
        }
        if let Some(otlp) = &mut self.otlp {
            variables.refine(otlp)?;
        }
        variables.batch(&mut self.batch)?;
        Ok(self)
    }
}

impl Service {
    /// Applies `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES`.
    pub fn with_environment(mut self, variables: &HashMap<String, String>) -> Self {
        let variables = Variables(variables);
        if let Some(attributes) = variables.get("OTEL_RESOURCE_ATTRIBUTES") {
            self.attributes.extend(pairs(attributes));
        }
        if let Some(name) = variables.get("OTEL_SERVICE_NAME") {
            self.attributes.push((attribute::SERVICE_NAME.to_owned(), name.to_owned()));
        }
        self
    }
}

struct Variables<'a>(&'a HashMap<String, String>);

impl<'a> Variables<'a> {
    /// An empty variable counts as unset.
    fn get(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The variable for traces, else the one for all signals.
    fn otlp(&self, name: &str) -> Option<&'a str> {
        self.get(&format!("OTEL_EXPORTER_OTLP_TRACES_{name}"))
            .or_else(|| self.get(&format!("OTEL_EXPORTER_OTLP_{name}")))
    }

    fn collector(&self) -> Result<Option<OtlpSettings>, Error> {
        let Some(endpoint) = self.otlp("ENDPOINT") else { return Ok(None) };
        let protocol = self.otlp("PROTOCOL").map_or(Ok(OtlpProtocol::Grpc), OtlpProtocol::from_str)?;
        let is_for_traces = self.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").is_some();
        let mut otlp = OtlpSettings { protocol, endpoint: endpoint.to_owned(), ..OtlpSettings::default() };
        otlp.secure = self.otlp("INSECURE") != Some("true");
        if protocol == OtlpProtocol::Http && !is_for_traces {
            // The variable for all signals is a base URL (OTLP exporter specification).
            otlp.endpoint = format!("{}{TRACES_PATH}", endpoint.trim_end_matches('/'));
        }
        Ok(Some(otlp))
    }

    fn refine(&self, otlp: &mut OtlpSettings) -> Result<(), Error> {
        if let Some(headers) = self.otlp("HEADERS") {
            let is_new = |name: &str| !otlp.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
            let added: Vec<_> = pairs(headers).filter(|(name, _)| is_new(name)).collect();
            otlp.headers.extend(added);
        }
        if otlp.ca_file.is_none() {
            otlp.ca_file = self.otlp("CERTIFICATE").map(PathBuf::from);
        }
        if let Some(timeout) =
            self.number("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT")?
        {
            otlp.timeout = Duration::from_millis(timeout);
        }
        Ok(())
    }

    fn batch(&self, batch: &mut BatchSettings) -> Result<(), Error> {
        let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        if let Some(number) = self.number("OTEL_BSP_MAX_QUEUE_SIZE", "")? {
            batch.queue_size = size(number);
        }
        if let Some(number) = self.number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "")? {
            batch.batch_size = size(number);
        }
        if let Some(number) = self.number("OTEL_BSP_SCHEDULE_DELAY", "")? {
            batch.delay = Duration::from_millis(number);
        }
        Ok(())
    }

    /// A positive number from the first variable that is set.
    fn number(&self, name: &str, or: &str) -> Result<Option<u64>, Error> {
        let set = [name, or].into_iter().find_map(|name| self.get(name).map(|value| (name, value)));
        let Some((name, value)) = set else { return Ok(None) };
        match value.parse::<u64>() {
            Ok(number) if number > 0 => Ok(Some(number)),
            _ => Err(Error::Setting {
                name: name.to_owned(),
                value: value.to_owned(),
                reason: "must be a whole number above 0".to_owned(),
            }),
        }
    }
}

/// `a=1,b=2` with percent-encoded values, as OpenTelemetry's variables have it.
fn pairs(text: &str) -> impl Iterator<Item = (String, String)> + '_ {
    let pair = |member: &str| {
        let (name, value) = member.split_once('=')?;
        let value = percent_decode_str(value.trim()).decode_utf8_lossy().into_owned();
        Some((name.trim().to_owned(), value)).filter(|(name, _)| !name.is_empty())
    };
    text.split(',').filter_map(pair)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(variables: &[(&str, &str)]) -> TraceSettings {
        let variables = variables.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        TraceSettings::default().with_environment(&variables).unwrap()
    }

    #[test]
    fn without_variables_nothing_changes() {
        assert_eq!(with(&[]), TraceSettings::default());
        assert_eq!(with(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]), TraceSettings::default());
    }

    #[test]
    fn an_endpoint_by_variable_records_everything() {
        let settings = with(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317")]);
        assert_eq!(settings.sampler(), Sampler::Ratio { threshold: 0 });
        let otlp = settings.otlp.unwrap();
        assert_eq!((otlp.protocol, otlp.url().as_str()), (OtlpProtocol::Grpc, "http://collector:4317"));
    }

    #[test]
    fn the_variable_for_traces_comes_first() {
        let otlp = with(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://all:4318"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces:4318/own/path"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "250"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20x,tenant = a"),
        ])
        .otlp
        .unwrap();
        assert_eq!(otlp.url(), "http://traces:4318/own/path");
        assert_eq!(otlp.timeout, Duration::from_millis(250));
        let expected = [("authorization", "Bearer x"), ("tenant", "a")];
        assert_eq!(otlp.headers, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn the_configuration_wins_over_variables() {
        let endpoint = "configured:4317".to_owned();
        let otlp = OtlpSettings {
            endpoint,
            headers: vec![("Tenant".into(), "b".into())],
            ..OtlpSettings::default()
        };
        let variables = HashMap::from([
            ("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), "http://other:1".to_owned()),
            ("OTEL_EXPORTER_OTLP_HEADERS".to_owned(), "tenant=a,key=k".to_owned()),
        ]);
        let settings = TraceSettings { otlp: Some(otlp), ..TraceSettings::default() };
        let settings = settings.with_environment(&variables).unwrap();
        assert_eq!(settings.sampling_rate, "");
        let otlp = settings.otlp.unwrap();
        assert_eq!(otlp.url(), "https://configured:4317");
        assert_eq!(otlp.headers, [("Tenant".to_owned(), "b".to_owned()), ("key".to_owned(), "k".to_owned())]);
    }

    #[test]
    fn urls_follow_protocol_and_security() {
        let url = |endpoint: &str, protocol, secure| {
            OtlpSettings { endpoint: endpoint.to_owned(), protocol, secure, ..OtlpSettings::default() }.url()
        };
        assert_eq!(url("c:4317", OtlpProtocol::Grpc, false), "http://c:4317");
        assert_eq!(url("c:4318", OtlpProtocol::Http, true), "https://c:4318/v1/traces");
        assert_eq!(url("http://c:4318/", OtlpProtocol::Http, true), "http://c:4318/v1/traces");
        assert_eq!(url("http://c:4318/x", OtlpProtocol::Http, true), "http://c:4318/x");
    }

    #[test]
    fn broken_variables_are_named() {
        let broken = |name: &str, value: &str| {
            let mut variables =
                HashMap::from([("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), "http://c:1".to_owned())]);
            variables.insert(name.to_owned(), value.to_owned());
            TraceSettings::default().with_environment(&variables).unwrap_err().to_string()
        };
        assert!(broken("OTEL_EXPORTER_OTLP_TIMEOUT", "soon").contains("OTEL_EXPORTER_OTLP_TIMEOUT"));
        assert_eq!(
            broken("OTEL_EXPORTER_OTLP_PROTOCOL", "udp"),
            "invalid protocol udp provided for Otel endpoint"
        );
    }
}
