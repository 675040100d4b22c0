//! Dapr's fields of the table, their aliases and their defaults.

use std::time::Duration;

use mecha_plugin_api::{ComponentSpec, Error, Result, parse_duration};

use super::connection_string::ConnectionString;

const SECOND: Duration = Duration::from_secs(1);
const BUSY_TIMEOUT: Duration = Duration::from_millis(800);
const UPDATE_INTERVAL: Duration = Duration::from_secs(5);
const CLEANUP_INTERVAL: Duration = Duration::from_secs(3600);

/// Which table, and how it is kept.
pub(super) struct Settings {
    pub(super) connection: ConnectionString,
    pub(super) table: String,
    pub(super) metadata_table: String,
    /// How long a row counts.
    pub(super) update_interval: Duration,
    /// `None` = old rows stay in the file.
    pub(super) cleanup_interval: Option<Duration>,
    /// How long a call waits for the database.
    pub(super) timeout: Duration,
    /// How long SQLite waits for another process's lock.
    pub(super) busy_timeout: Duration,
    pub(super) disable_wal: bool,
}

impl Settings {
    pub(super) fn new(spec: &ComponentSpec) -> Result<Self> {
        let timeout = duration(spec, ["timeout", "timeoutInSeconds"], SECOND)?;
        if timeout < SECOND {
            let message = "invalid value for 'timeout': must be greater than 1s";
            return Err(Error::invalid(message).with_field("timeout"));
        }
        let cleanup_interval =
            duration(spec, ["cleanupInterval", "cleanupIntervalInSeconds"], CLEANUP_INTERVAL)?;
        let settings = Self {
            connection: connection(spec)?,
            table: identifier(spec, "tableName", "hosts", "table name")?,
            metadata_table: identifier(spec, "metadataTableName", "metadata", "metadata table name")?,
            update_interval: update_interval(spec, timeout)?,
            cleanup_interval: (!cleanup_interval.is_zero()).then_some(cleanup_interval),
            timeout,
            busy_timeout: duration(spec, ["busyTimeout"; 2], BUSY_TIMEOUT)?,
            disable_wal: spec.flag("disableWAL"),
        };
        Ok(settings)
    }
}

fn connection(spec: &ComponentSpec) -> Result<ConnectionString> {
    let text = spec.text("connectionString").or_else(|| spec.text("url"));
    let named = |error: Error| error.with_field("connectionString");
    let text = text.ok_or_else(|| named(Error::invalid("missing connection string")))?;
    ConnectionString::parse(text).map_err(named)
}

fn update_interval(spec: &ComponentSpec, timeout: Duration) -> Result<Duration> {
    let interval = duration(spec, ["updateInterval"; 2], UPDATE_INTERVAL)?;
    let invalid = |message: &str| Err(Error::invalid(message).with_field("updateInterval"));
    if interval.subsec_nanos() != 0 {
        return invalid("update interval must not contain fractions of seconds");
    }
    if interval < timeout + SECOND {
        return invalid("update interval must be at least 1s greater than timeout");
    }
    Ok(interval)
}

/// A duration under the first of its names that is present; Dapr takes a negative one as "none".
fn duration(spec: &ComponentSpec, names: [&'static str; 2], default: Duration) -> Result<Duration> {
    let field = names.into_iter().find(|name| spec.text(name).is_some()).unwrap_or(names[0]);
    let text = spec.text(field).map(str::trim);
    let negative = text.and_then(|text| text.strip_prefix('-')).and_then(parse_duration);
    if negative.is_some() { Ok(Duration::ZERO) } else { spec.duration(field, default) }
}

/// A table's name, which stands in the SQL as it is.
fn identifier(spec: &ComponentSpec, field: &str, default: &str, what: &str) -> Result<String> {
    let name = spec.text(field).unwrap_or(default);
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Err(Error::invalid(format!("invalid identifier for {what}: {name}")).with_field(field));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use mecha_plugin_api::Metadata;

    use super::*;

    fn settings(fields: &[(&str, &str)]) -> Result<Settings> {
        let metadata = Metadata::from_iter(fields.iter().copied());
        Settings::new(&ComponentSpec::new("nr", "nameresolution.sqlite", metadata))
    }

    #[test]
    fn defaults_are_those_of_dapr() {
        let settings = settings(&[("connectionString", "nr.db")]).unwrap();
        assert_eq!((settings.table.as_str(), settings.metadata_table.as_str()), ("hosts", "metadata"));
        assert_eq!((settings.update_interval, settings.timeout), (UPDATE_INTERVAL, SECOND));
        assert_eq!(settings.cleanup_interval, Some(CLEANUP_INTERVAL));
        assert_eq!(settings.busy_timeout, BUSY_TIMEOUT);
        assert!(!settings.disable_wal);
    }

    #[test]
    fn every_field_is_read_by_its_name_or_its_alias() {
        let fields = [
            ("url", "nr.db"),
            ("timeoutInSeconds", "2"),
            ("updateInterval", "10s"),
            ("cleanupIntervalInSeconds", "-1"),
            ("tableName", "runtimes"),
            ("metadataTableName", "m"),
            ("disableWAL", "true"),
        ];
        let settings = settings(&fields).unwrap();
        assert_eq!(settings.update_interval, Duration::from_secs(10));
        assert_eq!((settings.timeout, settings.cleanup_interval), (Duration::from_secs(2), None));
        assert_eq!((settings.table.as_str(), settings.metadata_table.as_str()), ("runtimes", "m"));
        assert!(settings.disable_wal);
    }

    #[test]
    fn a_wrong_value_is_refused_in_the_words_of_dapr() {
        let cases = [
            ("connectionString", "", "missing connection string"),
            ("timeout", "100ms", "invalid value for 'timeout': must be greater than 1s"),
            ("updateInterval", "2500ms", "update interval must not contain fractions of seconds"),
            ("updateInterval", "1s", "update interval must be at least 1s greater than timeout"),
            ("tableName", "a b", "invalid identifier for table name: a b"),
            ("metadataTableName", "a;b", "invalid identifier for metadata table name: a;b"),
        ];
        for (field, value, message) in cases {
            let error = settings(&[("connectionString", "nr.db"), (field, value)]).err().unwrap();
            assert_eq!((error.field(), error.message()), (Some(field), message));
        }
    }
}
