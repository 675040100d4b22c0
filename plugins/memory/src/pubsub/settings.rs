//! The fields of `pubsub.in-memory`. Dapr's has none; all of these are ours and have defaults.

use std::time::Duration;

use mecha_plugin_api::{ComponentSpec, Error, Metadata, Result};

use super::queue::Limits;

const MAX_MESSAGES: &str = "maxQueueMessages";
const MAX_BYTES: &str = "maxQueueBytes";
const PUBLISH_TIMEOUT: &str = "publishTimeout";
const CONSUMER_ID: &str = "consumerID";
const CONCURRENCY_MODE: &str = "concurrencyMode";

/// What the component's author asked for.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) limits: Limits,
    /// How long a publish waits for room.
    pub(crate) publish_timeout: Duration,
    /// The group of subscriptions that name none.
    pub(crate) consumer: Option<String>,
    pub(crate) is_strict: bool,
}

impl Settings {
    pub(crate) fn new(spec: &ComponentSpec) -> Result<Self> {
        // A runtime puts the application's id there by itself; only another value is the author's wish.
        let consumer = spec.text(CONSUMER_ID).filter(|consumer| *consumer != spec.app_id.as_str());
        Ok(Self {
            limits: Limits {
                messages: positive(spec, MAX_MESSAGES, 65_536)?,
                bytes: positive(spec, MAX_BYTES, 256 << 20)?,
            },
            publish_timeout: spec.duration(PUBLISH_TIMEOUT, Duration::from_secs(20))?,
            consumer: consumer.map(str::to_owned),
            is_strict: is_strict(&spec.metadata)?.unwrap_or(false),
        })
    }

    /// The group of a subscription; `None` = one of its own.
    pub(crate) fn consumer_of(&self, subscription: &Metadata) -> Option<String> {
        let own = subscription.get(CONSUMER_ID).filter(|consumer| !consumer.is_empty());
        own.map(str::to_owned).or_else(|| self.consumer.clone())
    }

    /// Whether a subscription wants one message after the other.
    pub(crate) fn is_strict_for(&self, subscription: &Metadata) -> Result<bool> {
        Ok(is_strict(subscription)?.unwrap_or(self.is_strict))
    }
}

fn positive(spec: &ComponentSpec, field: &str, default: usize) -> Result<usize> {
    match spec.parsed(field, default)? {
        0 => Err(Error::invalid("must be at least 1").with_field(field)),
        number => Ok(number),
    }
}

fn is_strict(metadata: &Metadata) -> Result<Option<bool>> {
    match metadata.get(CONCURRENCY_MODE).unwrap_or_default().to_ascii_lowercase().as_str() {
        "" => Ok(None),
        "parallel" => Ok(Some(false)),
        "single" => Ok(Some(true)),
        other => {
            let message = format!("'{other}' is neither 'parallel' nor 'single'");
            Err(Error::invalid(message).with_field(CONCURRENCY_MODE))
        }
    }
}

#[cfg(test)]
mod tests {
    use mecha_plugin_api::ErrorKind;

    use super::*;

    fn settings(fields: &[(&str, &str)]) -> Result<Settings> {
        let metadata = Metadata::from_iter(fields.iter().copied());
        Settings::new(&ComponentSpec::new("pubsub", "pubsub.in-memory", metadata))
    }

    #[test]
    fn a_subscription_says_more_than_its_component() {
        let settings = settings(&[("consumerID", "all"), ("concurrencyMode", "single")]).unwrap();
        assert_eq!(settings.consumer_of(&Metadata::new()).as_deref(), Some("all"));
        let own = Metadata::from_iter([("consumerid", "mine"), ("concurrencyMode", "Parallel")]);
        assert_eq!(settings.consumer_of(&own).as_deref(), Some("mine"));
        assert!(!settings.is_strict_for(&own).unwrap());
        assert!(settings.is_strict_for(&Metadata::new()).unwrap());
    }

    #[test]
    fn the_application_s_id_as_consumer_is_not_a_wish() {
        let settings = settings(&[("consumerID", "app")]).unwrap();
        assert_eq!(settings.consumer_of(&Metadata::new()), None);
    }

    #[test]
    fn a_wrong_value_names_its_field() {
        let wrong =
            [(MAX_MESSAGES, "0"), (MAX_BYTES, "much"), (PUBLISH_TIMEOUT, "soon"), (CONCURRENCY_MODE, "both")];
        for (field, value) in wrong {
            let error = settings(&[(field, value)]).err().unwrap();
            assert_eq!((error.kind(), error.field()), (ErrorKind::INVALID, Some(field)));
        }
    }
}
