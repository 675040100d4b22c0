//! The connection string, in the forms that Dapr takes: a path or a `file:` URI, with SQLite's own parameters and those of
//! Dapr's driver (`_pragma`, `_txlock`).

use std::path::PathBuf;

use mecha_plugin_api::{Error, Result};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use rusqlite::TransactionBehavior;

/// Pragmas that belong to a metadata field or to the schema.
const FORBIDDEN_PRAGMAS: [&str; 3] = ["busy_timeout", "journal_mode", "foreign_keys"];

/// A parsed connection string.
#[derive(Clone)]
pub(crate) struct ConnectionString {
    /// What SQLite is given.
    pub(crate) uri: String,
    /// The database file; `None` for a database in memory.
    pub(crate) file: Option<PathBuf>,
    pub(crate) read_only: bool,
    pub(crate) pragmas: Vec<String>,
    pub(crate) transaction: TransactionBehavior,
}

impl ConnectionString {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let (base, query) = text.split_once('?').unwrap_or((text, ""));
        let parameters = Parameters::parse(query);
        let lower = text.to_ascii_lowercase();
        let in_memory = lower.starts_with(":memory:")
            || lower.starts_with("file::memory:")
            || parameters.first("mode") == Some("memory");
        let uri = if lower.starts_with("file:") { base.to_owned() } else { format!("file:{base}") };
        let file = (!in_memory).then(|| path_of(&uri));
        Ok(Self {
            uri: uri + &parameters.for_sqlite(),
            file,
            read_only: parameters.first("mode") == Some("ro") || parameters.first("immutable") == Some("1"),
            pragmas: parameters.pragmas()?,
            transaction: parameters.transaction()?,
        })
    }

    pub(crate) fn is_in_memory(&self) -> bool {
        self.file.is_none()
    }
}

/// The query's pairs, decoded.
struct Parameters(Vec<(String, String)>);

impl Parameters {
    fn parse(query: &str) -> Self {
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name), decoded(value))
        });
        Self(pairs.collect())
    }

    fn first(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// The query that SQLite understands itself: each parameter once, the driver's own (`_…`) left out.
    fn for_sqlite(&self) -> String {
        let mut query = String::new();
        for (index, (name, value)) in self.0.iter().enumerate() {
            let repeated = self.0[..index].iter().any(|(earlier, _)| earlier == name);
            if name.starts_with('_') || repeated {
                continue;
            }
            query.push(if query.is_empty() { '?' } else { '&' });
            query.extend(utf8_percent_encode(name, NON_ALPHANUMERIC));
            query.push('=');
            query.extend(utf8_percent_encode(value, NON_ALPHANUMERIC));
        }
        query
    }

    fn pragmas(&self) -> Result<Vec<String>> {
        let pragmas = self.0.iter().filter(|(name, _)| name == "_pragma").map(|(_, pragma)| pragma);
        let checked = pragmas.map(|pragma| {
            let lower = pragma.to_ascii_lowercase();
            match FORBIDDEN_PRAGMAS.iter().find(|forbidden| lower.starts_with(**forbidden)) {
                Some(forbidden) => Err(Error::invalid(format!(
                    "found forbidden option '_pragma={forbidden}' in the connection string"
                ))),
                None => Ok(pragma.clone()),
            }
        });
        checked.collect()
    }

    fn transaction(&self) -> Result<TransactionBehavior> {
        match self.first("_txlock").map(str::to_ascii_lowercase).as_deref() {
            None | Some("immediate") => Ok(TransactionBehavior::Immediate),
            Some("deferred") => Ok(TransactionBehavior::Deferred),
            Some("exclusive") => Ok(TransactionBehavior::Exclusive),
            Some(other) => Err(Error::invalid(format!("'{other}' is not a value of _txlock"))),
        }
    }
}

fn decoded(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

/// The path in a `file:` URI, as SQLite reads it.
fn path_of(uri: &str) -> PathBuf {
    let rest = uri.get("file:".len()..).unwrap_or_default();
    let path = match rest.strip_prefix("//") {
        Some(authority) => authority.find('/').map_or("", |slash| &authority[slash..]),
        None => rest,
    };
    let path = path.split('#').next().unwrap_or_default();
    PathBuf::from(percent_decode_str(path).decode_utf8_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (String, Option<String>) {
        let parsed = ConnectionString::parse(text).unwrap();
        (parsed.uri, parsed.file.map(|file| file.to_str().unwrap().to_owned()))
    }

    #[test]
    fn paths_and_uris_name_the_same_file() {
        let file = |name: &str| Some(name.to_owned());
        assert_eq!(parsed("data.db"), ("file:data.db".into(), file("data.db")));
        assert_eq!(parsed("/var/data.db"), ("file:/var/data.db".into(), file("/var/data.db")));
        assert_eq!(parsed("file:data.db?cache=private").0, "file:data.db?cache=private");
        assert_eq!(parsed("file:///var/my%20data.db").1, file("/var/my data.db"));
        assert_eq!(parsed("FILE:data.db#x"), ("FILE:data.db#x".into(), file("data.db")));
    }

    #[test]
    fn databases_in_memory_have_no_file() {
        for text in [":memory:", ":MEMORY:?cache=shared", "file::memory:", "file:name?mode=memory"] {
            assert!(ConnectionString::parse(text).unwrap().is_in_memory(), "{text}");
        }
        assert_eq!(parsed(":memory:").0, "file::memory:");
    }

    #[test]
    fn parameters_go_to_whom_they_are_for() {
        let text = "data.db?mode=ro&_pragma=cache_size(-100)&mode=rw&_txlock=DEFERRED&vfs=unix%2Dexcl";
        let parsed = ConnectionString::parse(text).unwrap();
        assert_eq!(parsed.uri, "file:data.db?mode=ro&vfs=unix%2Dexcl");
        assert_eq!(parsed.pragmas, ["cache_size(-100)"]);
        assert!(parsed.read_only);
        assert!(matches!(parsed.transaction, TransactionBehavior::Deferred));
        assert!(ConnectionString::parse("data.db?immutable=1").unwrap().read_only);
    }

    #[test]
    fn pragmas_with_a_field_of_their_own_are_refused() {
        for pragma in ["busy_timeout(5)", "Journal_Mode=wal", "foreign_keys(1)"] {
            let error = ConnectionString::parse(&format!("data.db?_pragma={pragma}")).err().unwrap();
            assert!(error.message().contains("found forbidden option '_pragma="), "{error}");
        }
        assert!(ConnectionString::parse("data.db?_txlock=maybe").is_err());
    }
}
