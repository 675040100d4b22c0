//! `OTEL_*` variables over a Configuration, by Dapr's rules: a file's endpoint wins, headers add up.

use std::time::Duration;

use super::{Headers, Tracing};

/// A header list that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// An entry without `=`.
    #[error("missing '=' in header entry {0}")]
    NoValue(usize),
    /// A name with characters that HTTP does not allow.
    #[error("invalid header key {0:?}")]
    Name(String),
    /// A value that is not percent-encoded text.
    #[error("the value of header {0} is not percent-encoded text")]
    Escape(String),
}

/// An `OTEL_*` variable that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OtelVariableError {
    /// The header list cannot be read.
    #[error(transparent)]
    Headers(#[from] HeaderError),
    /// The timeout is not a count of milliseconds.
    #[error("OTLP timeout {0:?} is not a number of milliseconds")]
    Timeout(String),
}

impl Tracing {
    /// Fills in what the environment says about OTLP. Traces' own variables come before the general ones.
    pub fn apply_environment(
        &mut self,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<(), OtelVariableError> {
        // A file's endpoint keeps the environment out altogether.
        if !self.otel.endpoint_address.is_empty() {
            return Ok(());
        }
        let setting = |name: &str| {
            let of =
                |prefix: &str| env(&format!("OTEL_EXPORTER_OTLP_{prefix}{name}")).filter(|v| !v.is_empty());
            of("TRACES_").or_else(|| of(""))
        };
        if let Some(endpoint) = setting("ENDPOINT") {
            self.use_endpoint(&endpoint, setting("PROTOCOL").as_deref());
            if env("OTEL_EXPORTER_OTLP_INSECURE").as_deref() == Some("true") {
                self.otel.is_secure = Some(false);
            }
        }
        if let Some(headers) = setting("HEADERS") {
            self.otel.headers.0.extend(parse_headers(&headers)?.0);
        }
        if let Some(timeout) = setting("TIMEOUT") {
            let millis: i64 = timeout.parse().map_err(|_| OtelVariableError::Timeout(timeout))?;
            let millis = u64::try_from(millis).unwrap_or(0);
            if millis > 0 {
                self.otel.timeout = Some(Duration::from_millis(millis));
            }
        }
        Ok(())
    }

    fn use_endpoint(&mut self, endpoint: &str, protocol: Option<&str>) {
        let address = endpoint.strip_prefix("http://").unwrap_or(endpoint);
        let address = address.strip_prefix("https://").unwrap_or(address);
        self.otel.endpoint_address = address.to_owned();
        if self.sampling_rate.is_empty() {
            self.sampling_rate = "1".to_owned();
        }
        // OTLP's names are `grpc`, `http/protobuf` and `http/json`.
        let http = protocol.is_some_and(|protocol| protocol.starts_with("http"));
        self.otel.protocol = if http { "http" } else { "grpc" }.to_owned();
    }
}

/// Reads `name=value,name=value`, with percent-encoded values, as OpenTelemetry defines it.
pub fn parse_headers(text: &str) -> Result<Headers, HeaderError> {
    let mut headers = Vec::new();
    for (index, entry) in text.split(',').enumerate() {
        let (name, value) = entry.split_once('=').ok_or(HeaderError::NoValue(index))?;
        let name = name.trim();
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(HeaderError::Name(name.to_owned()));
        }
        let value = unescaped(value).ok_or_else(|| HeaderError::Escape(name.to_owned()))?;
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    Ok(Headers(headers))
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        if byte == b'%' {
            let digits = std::str::from_utf8(after.get(..2)?).ok()?;
            // from_str_radix alone would also take `+5`.
            if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return None;
            }
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &after[2..];
        } else {
            bytes.push(byte);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(mut tracing: Tracing, env: &[(&str, &str)]) -> Result<Tracing, OtelVariableError> {
        let lookup =
            |key: &str| env.iter().find(|(name, _)| *name == key).map(|(_, value)| (*value).to_owned());
        tracing.apply_environment(&lookup).map(|()| tracing)
    }

    #[test]
    fn takes_an_endpoint_from_the_environment() {
        let env = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://general:4318"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://traces:4318"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_EXPORTER_OTLP_INSECURE", "true"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=b%20c,d=e"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1500"),
        ];
        let tracing = applied(Tracing::default(), &env).unwrap();
        assert_eq!((tracing.rate(), tracing.otel.protocol.as_str()), (1.0, "http"));
        assert_eq!((tracing.otel.endpoint_address.as_str(), tracing.otel.secure()), ("traces:4318", false));
        assert_eq!(tracing.otel.headers.0, [("a".into(), "b c".into()), ("d".into(), "e".into())]);
        assert_eq!(tracing.otel.timeout, Some(Duration::from_millis(1500)));
    }

    #[test]
    fn leaves_a_files_endpoint_alone() {
        let mut tracing = Tracing::default();
        tracing.otel.endpoint_address = "file:4317".into();
        let env = [("OTEL_EXPORTER_OTLP_ENDPOINT", "env:4317"), ("OTEL_EXPORTER_OTLP_HEADERS", "broken")];
        assert_eq!(applied(tracing.clone(), &env).unwrap(), tracing);
    }

    #[test]
    fn refuses_broken_variables() {
        for env in [
            ("OTEL_EXPORTER_OTLP_HEADERS", "a"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a b=c"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=%zz"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=%+5"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
        ] {
            assert!(applied(Tracing::default(), &[env]).is_err(), "{env:?}");
        }
    }
}
