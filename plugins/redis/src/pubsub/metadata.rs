//! What a `pubsub.redis` component's metadata says beyond the connection.

use std::time::Duration;

use mecha_plugin_api::{ComponentSpec, Error, Result, parse_duration};

const DEFAULT_PROCESSING_TIMEOUT: Duration = Duration::from_secs(60);
const DEFAULT_REDELIVER_INTERVAL: Duration = Duration::from_secs(15);
const DEFAULT_QUEUE_DEPTH: usize = 100;
const DEFAULT_CONCURRENCY: usize = 10;

/// How streams are written and read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StreamSettings {
    /// Name of the consumer group and of the consumer in it, as in Dapr.
    pub(crate) consumer: String,
    /// When a message that nobody settled is given to somebody else; `None` = never.
    pub(crate) redelivery: Option<Redelivery>,
    /// How many messages are fetched ahead.
    pub(crate) queue_depth: usize,
    /// How many messages may be with the application; `None` = as the subscription says.
    pub(crate) concurrency: Option<usize>,
    pub(crate) trim: Trim,
}

/// The pace at which messages that nobody settled are looked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Redelivery {
    /// A message that was not touched for this long counts as abandoned.
    pub(crate) processing_timeout: Duration,
    pub(crate) interval: Duration,
}

/// What a publish removes from the stream's old end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Trim {
    Nothing,
    /// All but about so many entries.
    Length(u64),
    /// Entries older than this.
    Age(Duration),
}

impl StreamSettings {
    /// Reads a component's metadata.
    pub(crate) fn read(spec: &ComponentSpec) -> Result<Self> {
        Ok(Self {
            consumer: spec.text("consumerID").unwrap_or(&spec.app_id).to_owned(),
            redelivery: redelivery(spec)?,
            queue_depth: count(spec, "queueDepth")?.unwrap_or(DEFAULT_QUEUE_DEPTH),
            concurrency: count(spec, "concurrency")?,
            trim: trim(spec)?,
        })
    }

    /// How many messages of a subscription may be with the application at once.
    pub(crate) fn in_flight(&self, wanted: u32) -> usize {
        match (usize::try_from(wanted).unwrap_or(usize::MAX), self.concurrency) {
            (0, own) => own.unwrap_or(DEFAULT_CONCURRENCY),
            (wanted, None) => wanted,
            (wanted, Some(own)) => wanted.min(own),
        }
    }
}

fn redelivery(spec: &ComponentSpec) -> Result<Option<Redelivery>> {
    let processing_timeout = millis_or_duration(spec, "processingTimeout", DEFAULT_PROCESSING_TIMEOUT)?;
    let interval = millis_or_duration(spec, "redeliverInterval", DEFAULT_REDELIVER_INTERVAL)?;
    let is_on = !processing_timeout.is_zero() && !interval.is_zero();
    Ok(is_on.then_some(Redelivery { processing_timeout, interval }))
}

/// A bare number counts milliseconds here, and seconds in `streamTTL`: as in Dapr.
fn millis_or_duration(spec: &ComponentSpec, field: &str, default: Duration) -> Result<Duration> {
    let Some(text) = spec.text(field).map(str::trim) else { return Ok(default) };
    if let Ok(millis) = text.parse() {
        return Ok(Duration::from_millis(millis));
    }
    parse_duration(text).ok_or_else(|| {
        Error::invalid(format!("'{text}' is not a duration such as 15s or 500ms")).with_field(field)
    })
}

fn count(spec: &ComponentSpec, field: &str) -> Result<Option<usize>> {
    match spec.text(field) {
        None => Ok(None),
        Some(_) => match spec.parsed(field, 0_usize)? {
            0 => Err(Error::invalid("must be at least 1").with_field(field)),
            count => Ok(Some(count)),
        },
    }
}

fn trim(spec: &ComponentSpec) -> Result<Trim> {
    let length = spec.parsed("maxLenApprox", 0_i64)?;
    let age = spec.duration("streamTTL", Duration::ZERO)?;
    if length > 0 && !age.is_zero() {
        tracing::warn!("maxLenApprox and streamTTL exclude each other: streamTTL is not used");
    }
    Ok(match u64::try_from(length) {
        Ok(length) if length > 0 => Trim::Length(length),
        _ if !age.is_zero() => Trim::Age(age),
        _ => Trim::Nothing,
    })
}

#[cfg(test)]
mod tests {
    use mecha_plugin_api::Metadata;

    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<StreamSettings> {
        let metadata = Metadata::from_iter(pairs.iter().copied());
        StreamSettings::read(&ComponentSpec::new("orders", "pubsub.redis", metadata))
    }

    #[test]
    fn defaults_are_daprs() {
        let settings = read(&[]).unwrap();
        assert_eq!(settings.consumer, "app");
        let redelivery = settings.redelivery.unwrap();
        assert_eq!(redelivery.processing_timeout, Duration::from_secs(60));
        assert_eq!(redelivery.interval, Duration::from_secs(15));
        assert_eq!((settings.queue_depth, settings.in_flight(0)), (100, 10));
        assert_eq!(settings.trim, Trim::Nothing);
    }

    #[test]
    fn durations_have_their_units() {
        let settings =
            read(&[("processingTimeout", "500"), ("redeliverInterval", "2s"), ("streamTTL", "60")]).unwrap();
        let redelivery = settings.redelivery.unwrap();
        assert_eq!(redelivery.processing_timeout, Duration::from_millis(500));
        assert_eq!(redelivery.interval, Duration::from_secs(2));
        assert_eq!(settings.trim, Trim::Age(Duration::from_secs(60)));
        assert_eq!(read(&[("redeliverInterval", "0")]).unwrap().redelivery, None);
    }

    #[test]
    fn a_length_goes_before_an_age() {
        let settings = read(&[("maxLenApprox", "100"), ("streamTTL", "1h")]).unwrap();
        assert_eq!(settings.trim, Trim::Length(100));
        assert_eq!(read(&[("maxLenApprox", "-5")]).unwrap().trim, Trim::Nothing);
    }

    #[test]
    fn the_smaller_limit_holds_but_a_default_is_no_limit() {
        assert_eq!(read(&[]).unwrap().in_flight(50), 50);
        let settings = read(&[("concurrency", "5")]).unwrap();
        assert_eq!((settings.in_flight(50), settings.in_flight(2), settings.in_flight(0)), (5, 2, 5));
    }

    #[test]
    fn wrong_fields_are_named() {
        for (field, value) in [
            ("processingTimeout", "soon"),
            ("redeliverInterval", "-1"),
            ("queueDepth", "0"),
            ("queueDepth", "deep"),
            ("concurrency", "-3"),
            ("concurrency", "0"),
            ("maxLenApprox", "long"),
            ("streamTTL", "old"),
        ] {
            let error = read(&[(field, value)]).unwrap_err();
            assert_eq!(error.field(), Some(field), "{value}: {error}");
        }
    }
}
