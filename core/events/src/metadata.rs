//! What request and subscription metadata say about an envelope.

use std::time::Duration;

use mecha_resources::duration;

/// A metadata value that cannot be used; the text is Dapr's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// `rawPayload` is no boolean.
    #[error("rawPayload value must be a valid boolean: actual is '{0}'")]
    RawPayload(String),
}

/// The part of a publish request's metadata that concerns the envelope. Read once, in one pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PublishMetadata<'a> {
    /// The data goes out as it is, without an envelope.
    pub raw_payload: bool,
    /// How long the message is worth delivering.
    pub ttl: Option<Duration>,
    /// What replaces fields of the envelope; an empty text restores the field's default.
    pub overrides: Overrides<'a>,
}

/// Fields of an envelope that metadata (`cloudevent.id` and so on) replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "each field is named as the envelope's")]
pub struct Overrides<'a> {
    pub id: Option<&'a str>,
    pub source: Option<&'a str>,
    pub event_type: Option<&'a str>,
    pub subject: Option<&'a str>,
    pub trace_id: Option<&'a str>,
    pub trace_parent: Option<&'a str>,
    pub trace_state: Option<&'a str>,
}

impl<'a> PublishMetadata<'a> {
    /// Reads a request's metadata.
    ///
    /// # Errors
    /// `rawPayload` that is no boolean.
    pub fn read(metadata: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, MetadataError> {
        let mut read = Self::default();
        let (mut ttl, mut ttl_in_seconds) = (None, None);
        for (key, value) in metadata {
            match key {
                "rawPayload" => read.raw_payload = parse_raw_payload(value)?,
                _ if key.eq_ignore_ascii_case("ttl") => ttl = Some(value),
                _ if key.eq_ignore_ascii_case("ttlInSeconds") => ttl_in_seconds = Some(value),
                _ => read.overrides.take(key, value),
            }
        }
        read.ttl = ttl.or(ttl_in_seconds).and_then(parse_ttl);
        Ok(read)
    }
}

impl<'a> Overrides<'a> {
    fn take(&mut self, key: &str, value: &'a str) {
        const PREFIX: &str = "cloudevent.";
        let Some((prefix, field)) = key.split_at_checked(PREFIX.len()) else { return };
        if !prefix.eq_ignore_ascii_case(PREFIX) {
            return;
        }
        let known = [
            ("id", &mut self.id),
            ("source", &mut self.source),
            ("type", &mut self.event_type),
            ("subject", &mut self.subject),
            ("traceid", &mut self.trace_id),
            ("traceparent", &mut self.trace_parent),
            ("tracestate", &mut self.trace_state),
        ];
        if let Some((_, slot)) = known.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(field)) {
            *slot = Some(value);
        }
    }
}

/// Whether metadata asks for messages without an envelope.
///
/// # Errors
/// `rawPayload` that is no boolean.
pub fn raw_payload<'a>(
    metadata: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<bool, MetadataError> {
    let value = metadata.into_iter().find(|(key, _)| *key == "rawPayload");
    value.map_or(Ok(false), |(_, value)| parse_raw_payload(value))
}

fn parse_raw_payload(value: &str) -> Result<bool, MetadataError> {
    match value {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "" | "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        other => Err(MetadataError::RawPayload(other.to_owned())),
    }
}

/// A Go duration, where a negative one is zero, or a positive number of seconds. Anything else is no time to live: Dapr
/// publishes the message without one.
fn parse_ttl(value: &str) -> Option<Duration> {
    let magnitude = value.strip_prefix('-');
    match duration::parse(magnitude.unwrap_or(value)) {
        Some(_) if magnitude.is_some() => Some(Duration::ZERO),
        Some(ttl) => Some(ttl),
        None => value
            .parse::<i64>()
            .ok()
            .filter(|seconds| *seconds > 0)
            .map(|s| Duration::from_secs(s.unsigned_abs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_time_to_live_as_dapr_does() {
        let ttl = |pairs: &[(&'static str, &'static str)]| {
            PublishMetadata::read(pairs.iter().copied()).unwrap().ttl
        };
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(ttl(&[("ttlInSeconds", "10")]), seconds(10));
        assert_eq!(ttl(&[("TTLINSECONDS", "1m")]), seconds(60));
        assert_eq!(ttl(&[("ttlInSeconds", "9223372036854775807")]), seconds(i64::MAX as u64));
        assert_eq!(ttl(&[("ttlInSeconds", "10"), ("ttl", "5s")]), seconds(5));
        assert_eq!(ttl(&[("ttl", "-5s")]), Some(Duration::ZERO));
        assert_eq!(ttl(&[("ttl", "0")]), Some(Duration::ZERO));
        for value in ["", "-5", "soon", "1.5", "99999999999999999999"] {
            assert_eq!(ttl(&[("ttlInSeconds", value)]), None, "{value}");
        }
        assert_eq!(ttl(&[("ttl", ""), ("ttlInSeconds", "10")]), None);
    }

    #[test]
    fn reads_raw_payload_as_go_reads_booleans() {
        let raw = |value| raw_payload([("a", "b"), ("rawPayload", value)]);
        assert_eq!((raw("true"), raw("1"), raw("F"), raw("")), (Ok(true), Ok(true), Ok(false), Ok(false)));
        assert_eq!(raw_payload([]), Ok(false));
        assert_eq!(raw_payload([("RAWPAYLOAD", "true")]), Ok(false));
        let error = PublishMetadata::read([("rawPayload", "yes")]).unwrap_err();
        assert_eq!(error.to_string(), "rawPayload value must be a valid boolean: actual is 'yes'");
    }

    #[test]
    fn takes_overrides_in_any_case() {
        let read =
            PublishMetadata::read([("CloudEvent.ID", "x"), ("cloudevent.topic", "t"), ("é", "y")]).unwrap();
        assert_eq!(read.overrides, Overrides { id: Some("x"), ..Overrides::default() });
    }
}
