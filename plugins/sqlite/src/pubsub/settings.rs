//! The fields of `pubsub.sqlite`, beside those that say which database it is.

use std::time::Duration;

use mecha_plugin_api::{ComponentSpec, Error, Metadata, Result};

use crate::metadata::{Database, identifier};

const CONSUMER_ID: &str = "consumerID";
const CONCURRENCY_MODE: &str = "concurrencyMode";
const VISIBILITY_TIMEOUT: &str = "visibilityTimeout";
const POLL_INTERVAL: &str = "pollInterval";

/// What the component's author asked for.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) database: Database,
    /// What the names of the tables begin with.
    pub(crate) prefix: String,
    /// The group of subscriptions that name none.
    pub(crate) consumer: String,
    /// After what time without a sign of life another consumer may have a message.
    pub(crate) visibility_timeout: Duration,
    /// How often the file is looked at for what other processes did.
    pub(crate) poll_interval: Duration,
    /// After how many deliveries a message is dead; `None` = never.
    pub(crate) max_deliveries: Option<u32>,
    /// How long dead messages, and those of topics that nobody ever read, are kept.
    pub(crate) retention: Duration,
    pub(crate) is_strict: bool,
}

impl Settings {
    pub(crate) fn new(spec: &ComponentSpec) -> Result<Self> {
        let database = Database::new(spec)?;
        if database.connection.read_only {
            return Err(
                Error::invalid("a broker cannot work on a read-only database").with_field("connectionString")
            );
        }
        let max_deliveries = spec.parsed("maxDeliveries", 0)?;
        Ok(Self {
            database,
            prefix: identifier(spec, "tableName", "pubsub")?,
            consumer: spec.text(CONSUMER_ID).unwrap_or(&spec.app_id).to_owned(),
            visibility_timeout: at_least(spec, VISIBILITY_TIMEOUT, "10s", Duration::from_secs(1))?,
            poll_interval: at_least(spec, POLL_INTERVAL, "100ms", Duration::from_millis(10))?,
            max_deliveries: (max_deliveries > 0).then_some(max_deliveries),
            retention: spec.duration("retention", Duration::from_secs(7 * 24 * 3600))?,
            is_strict: is_strict(&spec.metadata)?.unwrap_or(false),
        })
    }

    /// The group of a subscription.
    pub(crate) fn consumer_of(&self, subscription: &Metadata) -> String {
        let own = subscription.get(CONSUMER_ID).filter(|consumer| !consumer.is_empty());
        own.unwrap_or(&self.consumer).to_owned()
    }

    /// Whether a subscription wants one message after the other.
    pub(crate) fn is_strict_for(&self, subscription: &Metadata) -> Result<bool> {
        Ok(is_strict(subscription)?.unwrap_or(self.is_strict))
    }
}

fn at_least(spec: &ComponentSpec, field: &str, default: &str, least: Duration) -> Result<Duration> {
    let default = mecha_plugin_api::parse_duration(default).unwrap_or(least);
    let duration = spec.duration(field, default)?;
    if duration < least {
        return Err(Error::invalid(format!("must be at least {least:?}")).with_field(field));
    }
    Ok(duration)
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
        Settings::new(&ComponentSpec::new("pubsub", "pubsub.sqlite", metadata))
    }

    #[test]
    fn the_group_is_the_subscription_s_the_component_s_or_the_application() {
        let plain = settings(&[("connectionString", "data.db")]).unwrap();
        assert_eq!(plain.consumer_of(&Metadata::new()), "app");
        assert_eq!(plain.visibility_timeout, Duration::from_secs(10));
        assert_eq!((plain.prefix.as_str(), plain.max_deliveries), ("pubsub", None));
        let named = settings(&[("connectionString", "data.db"), ("consumerID", "all")]).unwrap();
        assert_eq!(named.consumer_of(&Metadata::new()), "all");
        assert_eq!(named.consumer_of(&Metadata::from_iter([("ConsumerId", "mine")])), "mine");
    }

    #[test]
    fn a_wrong_value_names_its_field() {
        for (field, value) in [
            ("connectionString", "data.db?mode=ro"),
            ("tableName", "a-b"),
            (VISIBILITY_TIMEOUT, "10ms"),
            (POLL_INTERVAL, "0"),
            ("maxDeliveries", "-1"),
            ("retention", "long"),
            (CONCURRENCY_MODE, "both"),
        ] {
            let error = settings(&[("connectionString", "data.db"), (field, value)]).err().unwrap();
            assert_eq!((error.kind(), error.field()), (ErrorKind::INVALID, Some(field)), "{value}");
        }
    }
}
