//! One layer of settings: dotted keys with values, and where each came from.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use config::{Map as ConfigMap, Source, Value as ConfigValue, ValueKind};
use mecha_resources::{configuration::parse_headers, yaml};
use serde_json::{Map, Value};

use crate::{
    Error,
    keys::{KnownKeys, PATH_KEYS, join},
    model::is_pem,
};

/// The layer that set a value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Origin {
    /// The built-in default.
    #[default]
    Default,
    /// `mecha.yaml` of the settings folder.
    File(PathBuf),
    /// The profile's file of the settings folder.
    Profile(PathBuf),
    /// An environment variable.
    Environment(String),
    /// A flag, without dashes.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(file) => write!(f, "file {}", file.display()),
            Self::Profile(file) => write!(f, "profile {}", file.display()),
            Self::Environment(variable) => write!(f, "environment {variable}"),
            Self::Flag(flag) => write!(f, "flag --{flag}"),
        }
    }
}

/// Where each setting came from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origins(BTreeMap<String, Origin>);

impl Origins {
    /// Where a setting came from; [`Origin::Default`] for one that no layer sets.
    #[must_use]
    pub fn of(&self, key: &str) -> Origin {
        self.0.get(key).cloned().unwrap_or_default()
    }

    /// The settings that some layer sets, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Origin)> {
        self.0.iter().map(|(key, origin)| (key.as_str(), origin))
    }

    pub(crate) fn set(&mut self, key: &str, origin: Origin) {
        self.0.insert(key.to_owned(), origin);
    }
}

/// One setting of a layer.
#[derive(Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) value: Value,
    pub(crate) origin: Origin,
}

/// Settings of one layer, in the order in which they apply.
#[derive(Clone, PartialEq, Default)]
pub(crate) struct Layer(pub(crate) Vec<Entry>);

impl Layer {
    /// Reads a settings file. A section or setting without a value counts as absent, so that a template can be left
    /// half filled in.
    pub(crate) fn from_file(file: &Path, origin: &Origin, known: &KnownKeys) -> Result<Self, Error> {
        let failed = |reason: String| Error::File { file: file.to_owned(), reason };
        let text = std::fs::read_to_string(file).map_err(|error| failed(error.to_string()))?;
        let sections = match yaml::parse(&text).map_err(|error| failed(error.to_string()))? {
            Value::Object(sections) => sections,
            Value::Null => return Ok(Self::default()),
            _ => return Err(failed("the file holds no mapping".to_owned())),
        };
        let mut reader = FileReader { file, origin, known, entries: Vec::new() };
        reader.section("", sections)?;
        Ok(Self(reader.entries))
    }

    /// Reads one setting that stands as text in a variable or flag. Lists are comma-separated, headers `name=value`;
    /// text that begins with a bracket is YAML.
    pub(crate) fn text_value(key: &str, text: &str, known: &KnownKeys) -> Result<Value, String> {
        if text.starts_with(['[', '{']) {
            return yaml::parse(text).map_err(|error| error.to_string());
        }
        match known.default_of(key) {
            Some(Value::Array(_)) => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                Ok(items.map(Value::from).collect())
            }
            Some(Value::Object(_)) => {
                let headers = parse_headers(text).map_err(|error| error.to_string())?;
                Ok(headers.0.into_iter().map(|(name, value)| (name, Value::from(value))).collect())
            }
            _ => Ok(Value::from(text)),
        }
    }

    pub(crate) fn push(&mut self, key: impl Into<String>, value: impl Into<Value>, origin: Origin) {
        self.0.push(Entry { key: key.into(), value: value.into(), origin });
    }
}

struct FileReader<'a> {
    file: &'a Path,
    origin: &'a Origin,
    known: &'a KnownKeys,
    entries: Vec<Entry>,
}

impl FileReader<'_> {
    fn section(&mut self, prefix: &str, section: Map<String, Value>) -> Result<(), Error> {
        for (name, value) in section {
            let key = join(prefix, &name);
            if self.known.default_of(&key).is_some() {
                self.setting(key, value)?;
                continue;
            }
            match value {
                Value::Object(inner) if self.known.is_section(&key) => self.section(&key, inner)?,
                Value::Null if self.known.is_section(&key) => {}
                _ if self.known.is_section(&key) => {
                    return Err(Error::Value(format!("`{key}` in {} is a section", self.file.display())));
                }
                _ => {
                    let nearest = self.known.nearest(&key);
                    return Err(Error::UnknownSetting {
                        key,
                        place: self.file.display().to_string(),
                        nearest,
                    });
                }
            }
        }
        Ok(())
    }

    fn setting(&mut self, key: String, value: Value) -> Result<(), Error> {
        let default = self.known.default_of(&key);
        let value = match (value, default) {
            // A `null` where null is the default is a value: a profile may take back what mecha.yaml sets.
            (Value::Null, Some(default)) if !default.is_null() => return Ok(()),
            // Headers are often pasted as OpenTelemetry's one-line form.
            (Value::String(text), Some(Value::Object(_))) => Layer::text_value(&key, &text, self.known)
                .map_err(|reason| Error::Value(format!("setting `{key}` ({}): {reason}", self.origin)))?,
            (value, _) if PATH_KEYS.contains(&key.as_str()) => self.beside_file(value),
            (value, _) => value,
        };
        self.entries.push(Entry { key, value, origin: self.origin.clone() });
        Ok(())
    }

    fn beside_file(&self, value: Value) -> Value {
        match value {
            Value::String(text) if is_pem(&text) => Value::String(text),
            Value::String(path) => {
                let folder = self.file.parent().unwrap_or(Path::new(""));
                Value::from(folder.join(path).to_string_lossy())
            }
            Value::Array(paths) => paths.into_iter().map(|path| self.beside_file(path)).collect(),
            other => other,
        }
    }
}

/// Values may be secrets, so only keys show.
impl fmt::Debug for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|entry| (&entry.key, &entry.origin))).finish()
    }
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<ConfigMap<String, ConfigValue>, config::ConfigError> {
        let settings = self.0.iter();
        Ok(settings.map(|entry| (entry.key.clone(), config_value(&entry.value, &entry.origin))).collect())
    }
}

fn config_value(value: &Value, origin: &Origin) -> ConfigValue {
    let kind = match value {
        Value::Null => ValueKind::Nil,
        Value::Bool(flag) => ValueKind::Boolean(*flag),
        Value::String(text) => ValueKind::String(text.clone()),
        Value::Number(number) => number
            .as_i64()
            .map(ValueKind::I64)
            .or_else(|| number.as_u64().map(ValueKind::U64))
            .unwrap_or_else(|| ValueKind::Float(number.as_f64().unwrap_or_default())),
        Value::Array(items) => {
            ValueKind::Array(items.iter().map(|item| config_value(item, origin)).collect())
        }
        Value::Object(map) => ValueKind::Table(
            map.iter().map(|(name, value)| (name.clone(), config_value(value, origin))).collect(),
        ),
    };
    ConfigValue::new(Some(&origin.to_string()), kind)
}
