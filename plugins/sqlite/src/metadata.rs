//! The component's metadata: Dapr's fields, their aliases and their defaults.

mod connection_string;

use std::time::Duration;

use mecha_plugin_api::{ComponentSpec, Error, Result, parse_duration};

pub(crate) use self::connection_string::ConnectionString;

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(20);
const DEFAULT_BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// The fields that say which database and how it is used.
#[derive(Clone)]
pub(crate) struct Database {
    pub(crate) connection: ConnectionString,
    /// How long a call waits for the database.
    pub(crate) timeout: Duration,
    /// How long SQLite waits for another process's lock.
    pub(crate) busy_timeout: Duration,
    pub(crate) disable_wal: bool,
}

/// What the author of a state store asked for.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) database: Database,
    pub(crate) table: String,
    pub(crate) metadata_table: String,
    /// `None` = expired rows stay in the file until they are written again.
    pub(crate) cleanup_interval: Option<Duration>,
}

impl Database {
    pub(crate) fn new(spec: &ComponentSpec) -> Result<Self> {
        let timeout_field = present(spec, ["timeout", "timeoutInSeconds"]);
        let timeout = duration(spec, timeout_field, DEFAULT_TIMEOUT)?;
        if timeout < Duration::from_secs(1) {
            return Err(Error::invalid("must be at least 1s").with_field(timeout_field));
        }
        Ok(Self {
            connection: connection(spec)?,
            timeout,
            busy_timeout: duration(spec, "busyTimeout", DEFAULT_BUSY_TIMEOUT)?,
            disable_wal: flag(spec, "disableWAL")?,
        })
    }
}

impl Settings {
    pub(crate) fn new(spec: &ComponentSpec) -> Result<Self> {
        let database = Database::new(spec)?;
        let cleanup_field = present(spec, ["cleanupInterval", "cleanupIntervalInSeconds"]);
        let cleanup_interval = duration(spec, cleanup_field, Duration::ZERO)?;
        Ok(Self {
            database,
            table: identifier(spec, "tableName", "state")?,
            metadata_table: identifier(spec, "metadataTableName", "metadata")?,
            cleanup_interval: (!cleanup_interval.is_zero()).then_some(cleanup_interval),
        })
    }
}

fn connection(spec: &ComponentSpec) -> Result<ConnectionString> {
    let field = present(spec, ["connectionString", "url"]);
    let text =
        spec.text(field).ok_or_else(|| Error::invalid("missing connection string").with_field(field))?;
    ConnectionString::parse(text).map_err(|error| error.with_field(field))
}

/// The first of a field's names that is present, else its main name.
fn present(spec: &ComponentSpec, names: [&'static str; 2]) -> &'static str {
    names.into_iter().find(|name| spec.text(name).is_some()).unwrap_or(names[0])
}

/// A duration; Dapr takes a negative one as "none".
fn duration(spec: &ComponentSpec, field: &str, default: Duration) -> Result<Duration> {
    let text = spec.text(field).map(str::trim);
    let negative = text.and_then(|text| text.strip_prefix('-')).and_then(parse_duration);
    if negative.is_some() { Ok(Duration::ZERO) } else { spec.duration(field, default) }
}

/// A table's name, which stands in the SQL as it is.
pub(crate) fn identifier(spec: &ComponentSpec, field: &str, default: &str) -> Result<String> {
    let name = spec.text(field).unwrap_or(default);
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Err(Error::invalid(format!("invalid identifier: {name}")).with_field(field));
    }
    Ok(name.to_owned())
}

/// A yes/no field. Dapr takes anything that is not a yes for a no, a typing error as well.
fn flag(spec: &ComponentSpec, name: &str) -> Result<bool> {
    let text = spec.text(name).unwrap_or_default().trim().to_ascii_lowercase();
    match text.as_str() {
        "" | "false" | "no" | "n" | "off" | "0" | "f" => Ok(false),
        _ if spec.flag(name) => Ok(true),
        _ => Err(Error::invalid(format!("'{text}' is neither true nor false")).with_field(name)),
    }
}

#[cfg(test)]
mod tests {
    use mecha_plugin_api::{ErrorKind, Metadata};

    use super::*;

    fn settings(fields: &[(&str, &str)]) -> Result<Settings> {
        let metadata = Metadata::from_iter(fields.iter().copied());
        Settings::new(&ComponentSpec::new("store", "state.sqlite", metadata))
    }

    #[test]
    fn defaults_are_those_of_dapr() {
        let settings = settings(&[("connectionString", "data.db")]).unwrap();
        assert_eq!(settings.database.timeout, Duration::from_secs(20));
        assert_eq!(settings.database.busy_timeout, Duration::from_secs(2));
        assert_eq!((settings.table.as_str(), settings.metadata_table.as_str()), ("state", "metadata"));
        assert_eq!(settings.cleanup_interval, None);
        assert!(!settings.database.disable_wal);
    }

    #[test]
    fn every_field_is_read_by_its_name_or_its_alias() {
        let settings = settings(&[
            ("url", "data.db"),
            ("timeoutInSeconds", "5"),
            ("busyTimeout", "-1"),
            ("CleanupIntervalInSeconds", "30"),
            ("tablename", "t_1"),
            ("metadataTableName", "m"),
            ("disableWAL", "yes"),
        ])
        .unwrap();
        assert_eq!(settings.database.timeout, Duration::from_secs(5));
        assert_eq!(settings.database.busy_timeout, Duration::ZERO);
        assert_eq!(settings.cleanup_interval, Some(Duration::from_secs(30)));
        assert_eq!((settings.table.as_str(), settings.metadata_table.as_str()), ("t_1", "m"));
        assert!(settings.database.disable_wal);
    }

    #[test]
    fn a_wrong_value_names_its_field() {
        for (field, value) in [
            ("connectionString", ""),
            ("connectionString", "data.db?_pragma=busy_timeout(1)"),
            ("timeout", "100ms"),
            ("timeout", "soon"),
            ("busyTimeout", "soon"),
            ("disableWAL", "ture"),
            ("cleanupInterval", "-soon"),
            ("tableName", "state; drop table state"),
            ("metadataTableName", "a-b"),
        ] {
            let error = settings(&[("connectionString", "data.db"), (field, value)]).err().unwrap();
            assert_eq!((error.kind(), error.field()), (ErrorKind::INVALID, Some(field)), "{value}");
        }
    }
}
