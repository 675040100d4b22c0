//! Reads the secrets file once and lays its JSON out flat.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;

use mecha_plugin_api::{Error, Result};
use serde_json::{Map, Value};

use crate::metadata::{FileSettings, SECRETS_FILE};

/// Each secret's keys and values.
pub(crate) type Secrets = BTreeMap<String, BTreeMap<String, String>>;

/// Reads the file. Its content stays out of every message.
pub(crate) async fn read(settings: FileSettings) -> Result<Secrets> {
    let path = settings.path.clone();
    let read = tokio::task::spawn_blocking(move || std::fs::read(path));
    let bytes = read.await.map_err(std::io::Error::from).and_then(|bytes| bytes);
    let bytes = bytes.map_err(|error| wrong(&settings.path, format_args!("cannot be read: {error}")))?;
    let document: Value = serde_json::from_slice(&bytes)
        .map_err(|error| wrong(&settings.path, format_args!("is not JSON: {error}")))?;
    match document {
        Value::Object(top) => Ok(secrets(&settings, top)),
        // As in Dapr, an empty document has no secrets.
        Value::Null => Ok(Secrets::new()),
        _ => Err(wrong(&settings.path, "holds no JSON object")),
    }
}

fn wrong(path: &Path, what: impl std::fmt::Display) -> Error {
    Error::invalid(format!("the file {} {what}", path.display())).with_field(SECRETS_FILE)
}

fn secrets(settings: &FileSettings, top: Map<String, Value>) -> Secrets {
    if !settings.multi_valued {
        let flat = Flat::of(top, &settings.separator);
        return flat.into_iter().map(|(name, value)| (name.clone(), single(name, value))).collect();
    }
    let mut secrets = Secrets::new();
    for (name, value) in top {
        match value {
            Value::String(value) => secrets.insert(name.clone(), single(name, value)),
            Value::Object(keys) => secrets.insert(name, Flat::of(keys, &settings.separator)),
            // Dapr leaves out what is neither.
            _ => None,
        };
    }
    secrets
}

fn single(name: String, value: String) -> BTreeMap<String, String> {
    BTreeMap::from([(name, value)])
}

/// Nested keys on their way to one level.
struct Flat<'a> {
    separator: &'a str,
    values: BTreeMap<String, String>,
}

impl Flat<'_> {
    fn of(object: Map<String, Value>, separator: &str) -> BTreeMap<String, String> {
        let mut flat = Flat { separator, values: BTreeMap::new() };
        for (key, value) in object {
            flat.add(key, value);
        }
        flat.values
    }

    fn add(&mut self, path: String, value: Value) {
        let text = match value {
            Value::Object(object) => {
                for (key, value) in object {
                    self.add(format!("{path}{}{key}", self.separator), value);
                }
                return;
            }
            Value::Array(items) => {
                for (index, item) in items.into_iter().enumerate() {
                    self.add(format!("{path}{}{index}", self.separator), item);
                }
                return;
            }
            Value::String(text) => text,
            other => other.to_string(),
        };
        match self.values.entry(path) {
            Entry::Vacant(entry) => {
                entry.insert(text);
            }
            Entry::Occupied(entry) => {
                tracing::warn!(key = entry.key(), "the secrets file has two values under one flat name");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use mecha_plugin_api::ErrorKind;
    use serde_json::json;

    use super::*;

    fn settings(path: &Path, multi_valued: bool, separator: &str) -> FileSettings {
        FileSettings { path: path.to_owned(), separator: separator.to_owned(), multi_valued }
    }

    fn laid_out(document: Value, multi_valued: bool, separator: &str) -> Value {
        let Value::Object(top) = document else { panic!("an object is wanted") };
        json!(secrets(&settings(Path::new("x"), multi_valued, separator), top))
    }

    async fn failure(content: Option<&str>) -> Error {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets.json");
        if let Some(content) = content {
            std::fs::write(&path, content).unwrap();
        }
        read(settings(&path, false, ":")).await.unwrap_err()
    }

    #[test]
    fn nested_keys_and_arrays_become_one_level() {
        let document = json!({"plain": "p", "db": {"user": "u", "hosts": ["a", {"name": "b"}]}});
        let expected = json!({
            "plain": {"plain": "p"},
            "db:user": {"db:user": "u"},
            "db:hosts:0": {"db:hosts:0": "a"},
            "db:hosts:1:name": {"db:hosts:1:name": "b"},
        });
        assert_eq!(laid_out(document, false, ":"), expected);
        let dotted = laid_out(json!({"a": {"b": "c"}}), false, ".");
        assert_eq!(dotted, json!({"a.b": {"a.b": "c"}}));
    }

    #[test]
    fn multi_valued_secrets_keep_their_first_level() {
        let document = json!({
            "parent": {"child1": "12345", "child2": {"child3": "67890", "child4": "00000"}},
            "plain": "p",
            "number": 5,
            "list": ["left", "out"],
        });
        let expected = json!({
            "parent": {"child1": "12345", "child2:child3": "67890", "child2:child4": "00000"},
            "plain": {"plain": "p"},
        });
        assert_eq!(laid_out(document, true, ":"), expected);
    }

    #[test]
    fn values_that_are_no_text_read_as_their_json() {
        let document = json!({"port": 5432, "on": true, "none": null, "empty": {}, "share": 0.5});
        let expected = json!({
            "port": {"port": "5432"},
            "on": {"on": "true"},
            "none": {"none": "null"},
            "share": {"share": "0.5"},
        });
        assert_eq!(laid_out(document, false, ":"), expected);
    }

    #[test]
    fn of_two_values_with_one_flat_name_one_stays() {
        let flat = laid_out(json!({"a": {"b": "nested"}, "a:b": "flat", "c": "other"}), false, ":");
        assert_eq!(flat, json!({"a:b": {"a:b": "nested"}, "c": {"c": "other"}}));
    }

    #[tokio::test]
    async fn a_file_that_is_wrong_is_named_and_never_quoted() {
        for content in [None, Some("{\"password\": hunter2"), Some("[\"hunter2\"]"), Some("\"hunter2\"")] {
            let error = failure(content).await;
            assert_eq!((error.kind(), error.field()), (ErrorKind::INVALID, Some(SECRETS_FILE)), "{error}");
            assert!(error.message().contains("secrets.json"), "{error}");
            assert!(!error.message().contains("hunter2"), "{error}");
        }
    }
}
