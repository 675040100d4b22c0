//! Rows: components to be checked, with what they do not do.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use mecha_plugin_api::{Metadata, parse_duration};
use mecha_resources::{Resource, yaml};
use serde::Deserialize;
use serde_json::Value;

/// The section of a resource that only the checks look at.
const SECTION: &str = "conformance";
/// How long a message may take at most, one that comes again included.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long it is quiet before nothing more is expected.
const QUIET: Duration = Duration::from_millis(300);

/// What a component may leave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lack {
    /// A message's media type is not kept.
    ContentType,
    /// Of a message's metadata only the trace is kept.
    Metadata,
    /// Messages of a topic do not come in the order of publishing.
    Order,
    /// A retried message comes again after the broker's own time, not after the one that was asked for.
    Delay,
    /// A topic is one queue, which all groups share.
    Groups,
    /// A secret that is not there reads as an empty one.
    NotFound,
    /// An object store takes any text for a cursor.
    Cursor,
    /// A resolver makes addresses out of names: nobody registers with it.
    Registration,
}

/// A key that a component holds.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// Its name.
    pub name: String,
    /// An algorithm that it is for.
    pub algorithm: String,
}

/// A component to be checked.
#[derive(Debug, Clone)]
pub struct Row {
    /// The component type.
    pub type_name: String,
    /// Its version.
    pub version: String,
    /// The component's metadata.
    pub metadata: Metadata,
    /// What it leaves out.
    pub without: BTreeSet<Lack>,
    /// What each publish gets along, such as the partition key that an order needs.
    pub publish_metadata: Metadata,
    /// Under which name a request to an output binding names a key.
    pub key: String,
    /// Keys to wrap and unwrap with.
    pub keys: Vec<Key>,
    /// The status with which a middleware answers a request without credentials; `None`: it lets it pass.
    pub answers: Option<u16>,
    /// How long a message may take at most.
    pub patience: Duration,
    /// How long it is quiet before nothing more is expected.
    pub quiet: Duration,
}

/// Why a row cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RowError {
    /// The file cannot be read.
    #[error("{file}: {source}")]
    Read {
        /// The file.
        file: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A document cannot be used.
    #[error("{file}, document {document}: {reason}")]
    Document {
        /// The file.
        file: String,
        /// Which document, from 1.
        document: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A value refers to an environment variable that is not set: the back end that the row needs is not there.
    #[error("{type_name} needs {variable}, which is not set")]
    Needs {
        /// The component type.
        type_name: String,
        /// The variable.
        variable: String,
    },
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct Section {
    without: BTreeSet<Lack>,
    publish_metadata: BTreeMap<String, String>,
    key: Option<String>,
    keys: Vec<Key>,
    answers: Option<u16>,
    patience: Option<String>,
    quiet: Option<String>,
}

/// The rows of a file. In the values of a component's metadata `{env:NAME}` stands for an environment variable, `{folder}` for
/// `folder`, `{here}` for the file's own folder, and `{unique}` for a text that no other row has.
///
/// # Errors
/// [`RowError::Read`]; what is wrong with a row is that row's alone.
pub fn rows(file: &Path, folder: &Path) -> Result<Vec<Result<Row, RowError>>, RowError> {
    rows_with(file, folder, &|name| std::env::var(name).ok())
}

/// The rows of a file, with somebody else's word for what `{env:NAME}` stands for.
///
/// # Errors
/// [`RowError::Read`]; what is wrong with a row is that row's alone.
pub fn rows_with(
    file: &Path,
    folder: &Path,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<Result<Row, RowError>>, RowError> {
    let name = file.display().to_string();
    let text =
        std::fs::read_to_string(file).map_err(|source| RowError::Read { file: name.clone(), source })?;
    let documents = yaml::split(&text).into_iter().enumerate();
    let row = |(index, document): (usize, &str)| {
        let wrong = |reason| RowError::Document { file: name.clone(), document: index + 1, reason };
        let value = match yaml::parse(document) {
            Ok(Value::Null) => return None,
            Ok(value) => value,
            Err(error) => return Some(Err(wrong(error.to_string()))),
        };
        let unique = format!("mecha{}x{index}", std::process::id());
        let here = file.parent().unwrap_or(Path::new(""));
        let places = Places { folder, here, unique: &unique, variable };
        Some(Row::read(value, &places).map_err(|problem| match problem {
            Problem::Wrong(reason) => wrong(reason),
            Problem::Needs(type_name, variable) => RowError::Needs { type_name, variable },
        }))
    };
    Ok(documents.filter_map(row).collect())
}

enum Problem {
    Wrong(String),
    Needs(String, String),
}

impl From<String> for Problem {
    fn from(reason: String) -> Self {
        Self::Wrong(reason)
    }
}

impl Row {
    fn read(mut document: Value, places: &Places<'_>) -> Result<Self, Problem> {
        let section = document.as_object_mut().and_then(|root| root.remove(SECTION));
        let section: Section = match section {
            Some(section) => {
                serde_json::from_value(section).map_err(|error| format!("{SECTION}: {error}"))?
            }
            None => Section::default(),
        };
        let component = match Resource::from_document(document) {
            Some(Ok(Resource::Component(component))) => component,
            Some(Err(error)) => return Err(error.to_string().into()),
            Some(Ok(_)) | None => return Err("it is no Component".to_owned().into()),
        };
        let type_name = component.component_type.clone();
        let mut metadata = Metadata::new();
        for item in &component.metadata {
            let value =
                item.value.clone().ok_or_else(|| format!("{}: only plain values are read", item.name))?;
            let value =
                places.fill(&value).map_err(|variable| Problem::Needs(type_name.clone(), variable))?;
            metadata.insert(item.name.as_str(), value.as_str());
        }
        let duration = |field: &str, text: Option<String>, default| {
            text.map_or(Ok(default), |text| {
                parse_duration(&text)
                    .ok_or_else(|| format!("{SECTION}.{field}: {text:?} is no duration such as 5s"))
            })
        };
        Ok(Self {
            version: component.version_or_default().to_owned(),
            type_name,
            metadata,
            without: section.without,
            publish_metadata: section
                .publish_metadata
                .iter()
                .map(|(key, value)| (key.as_str(), value.as_str()))
                .collect(),
            key: section.key.unwrap_or_else(|| "key".to_owned()),
            keys: section.keys,
            answers: section.answers,
            patience: duration("patience", section.patience, PATIENCE)?,
            quiet: duration("quiet", section.quiet, QUIET)?,
        })
    }

    /// A component without metadata that leaves nothing out.
    #[must_use]
    pub fn new(type_name: &str, version: &str) -> Self {
        Self {
            type_name: type_name.to_owned(),
            version: version.to_owned(),
            metadata: Metadata::new(),
            without: BTreeSet::new(),
            publish_metadata: Metadata::new(),
            key: "key".to_owned(),
            keys: Vec::new(),
            answers: None,
            patience: PATIENCE,
            quiet: QUIET,
        }
    }

    /// Whether the component does something that it could leave out.
    #[must_use]
    pub fn has(&self, ability: Lack) -> bool {
        !self.without.contains(&ability)
    }
}

/// What placeholders stand for.
struct Places<'a> {
    folder: &'a Path,
    here: &'a Path,
    unique: &'a str,
    variable: &'a dyn Fn(&str) -> Option<String>,
}

impl Places<'_> {
    /// A value with its placeholders filled in, or the variable that is missing.
    fn fill(&self, value: &str) -> Result<String, String> {
        let mut filled = value
            .replace("{folder}", &self.folder.display().to_string())
            .replace("{here}", &self.here.display().to_string())
            .replace("{unique}", self.unique);
        while let Some(start) = filled.find("{env:") {
            let Some(length) = filled[start..].find('}') else { break };
            let variable = filled[start + "{env:".len()..start + length].to_owned();
            let value = (self.variable)(&variable).ok_or(variable)?;
            filled.replace_range(start..=start + length, &value);
        }
        Ok(filled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<Result<Row, String>> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let rows = rows(file.path(), Path::new("/folder")).unwrap();
        rows.into_iter().map(|row| row.map_err(|error| error.to_string())).collect()
    }

    const BEGINNING: &str = "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: a}\n";

    #[test]
    fn a_row_is_a_component_with_a_section_of_its_own() {
        let text = format!(
            "{BEGINNING}spec:\n  type: pubsub.x\n  version: v2\n  metadata:\n  - {{name: file, value: '{{folder}}/{{unique}}.db'}}\nconformance:\n  without: [content-type, order]\n  publishMetadata: {{partitionKey: k}}\n  patience: 5s\n---\n{BEGINNING}spec: {{type: state.x, version: v1}}\n"
        );
        let found = read(&text);
        let row = found[0].as_ref().unwrap();
        assert_eq!((row.type_name.as_str(), row.version.as_str()), ("pubsub.x", "v2"));
        assert!(!row.has(Lack::Order) && !row.has(Lack::ContentType) && row.has(Lack::Metadata));
        assert_eq!(row.publish_metadata.get("partitionKey"), Some("k"));
        assert_eq!((row.patience, row.quiet), (Duration::from_secs(5), QUIET));
        let file = row.metadata.get("file").unwrap();
        assert!(file.starts_with("/folder/mecha") && file.ends_with("x0.db"), "{file}");
        assert_eq!(found[1].as_ref().unwrap().type_name, "state.x");
    }

    #[test]
    fn what_is_wrong_with_a_row_is_said() {
        let spec = "spec:\n  type: state.x\n  version: v1\n  metadata:\n";
        for (text, reason) in [
            ("kind: Nothing\n".to_owned(), "it is no Component"),
            (
                format!("{BEGINNING}{spec}  - {{name: a, value: '{{env:MECHA_NOT_SET}}'}}\n"),
                "state.x needs MECHA_NOT_SET",
            ),
            (
                format!(
                    "{BEGINNING}spec: {{type: state.x, version: v1}}\nconformance: {{without: [wings]}}\n"
                ),
                "wings",
            ),
            (
                format!("{BEGINNING}spec: {{type: state.x, version: v1}}\nconformance: {{patience: long}}\n"),
                "patience",
            ),
        ] {
            let found = read(&text);
            let error = found[0].as_ref().unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }
}
