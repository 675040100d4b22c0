//! Several Configuration files into one: a later file overwrites the fields it states.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::Configuration;
use crate::{
    error::{FileError, FileErrorKind},
    yaml,
};

/// Loads files in order. Mappings merge, everything else (lists such as `features` too) is replaced whole, and `null`
/// takes a section back to nothing. `$NAME` and `${NAME}` in a file are filled in from the environment. As in Dapr,
/// a file's first document counts, and a file that cannot be used is an error.
pub fn load_configuration(
    files: &[PathBuf],
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Configuration, FileError> {
    let mut merged = Value::Null;
    let mut configuration = Configuration::default();
    for file in files {
        let in_file = |kind| FileError { file: file.clone(), document: Some(0), kind };
        let document = read(file, env)?;
        // Typed alone first, so that an error names the file that holds it.
        Configuration::from_document(document.clone()).map_err(in_file)?;
        overlay(&mut merged, document);
        configuration = Configuration::from_document(merged.clone()).map_err(in_file)?;
    }
    Ok(configuration)
}

fn read(file: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Value, FileError> {
    let failed = |document, kind| FileError { file: file.to_owned(), document, kind };
    let text =
        fs::read_to_string(file).map_err(|error| failed(None, FileErrorKind::Io(error.to_string())))?;
    let text = expand_env(&text, env);
    // A leading `---` is cut off with what stands before it: nothing, or a comment.
    yaml::parse(&text).map_err(|error| failed(Some(0), error.into()))
}

fn overlay(under: &mut Value, over: Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            for (name, value) in over {
                overlay(under.entry(name).or_insert(Value::Null), value);
            }
        }
        (under, over) => *under = over,
    }
}

/// Fills in variables as Go's `os.ExpandEnv` does; an unset one is empty.
fn expand_env(text: &str, env: &dyn Fn(&str) -> Option<String>) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        expanded.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let (name, used) = variable(after);
        match name {
            Some(name) => expanded.push_str(&env(name).unwrap_or_default()),
            // A `$` that begins nothing stays; a broken `${` is dropped.
            None if used == 0 => expanded.push('$'),
            None => {}
        }
        rest = &after[used..];
    }
    expanded + rest
}

/// The variable that follows a `$`, and how much text it takes up.
fn variable(text: &str) -> (Option<&str>, usize) {
    let is_special = |c: char| "*#$@!?-".contains(c) || c.is_ascii_digit();
    let name_len =
        |text: &str| text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    match text.chars().next() {
        Some('{') => match text[1..].find('}') {
            Some(0) => (None, 2),
            Some(end) => (Some(&text[1..=end]), end + 2),
            None => (None, 1),
        },
        Some(c) if is_special(c) => (Some(&text[..1]), 1),
        _ => match name_len(text) {
            0 => (None, 0),
            len => (Some(&text[..len]), len),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(texts: &[&str]) -> Result<Configuration, FileError> {
        let folder = tempfile::tempdir().unwrap();
        let mut files = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            files.push(folder.path().join(format!("{index}.yaml")));
            fs::write(&files[index], text).unwrap();
        }
        load_configuration(&files, &|name| (name == "RATE").then(|| "0.5".to_owned()))
    }

    #[test]
    fn lays_later_files_over_earlier_ones() {
        let first = "---\nmetadata: {name: one}\nspec:
  tracing: {samplingRate: '1', otel: {endpointAddress: a, protocol: grpc}}
  features: [{name: A, enabled: true}]
  metric: {enabled: false}\n";
        let second = "spec:\n  tracing: {otel: {endpointAddress: b}}\n  features: [{name: B, enabled: true}]\n---\nspec: {metric: [broken]}\n";
        let merged = load(&[first, second]).unwrap();
        assert_eq!((merged.name.as_str(), merged.tracing.rate()), ("one", 1.0));
        assert_eq!(
            (merged.tracing.otel.endpoint_address.as_str(), merged.tracing.otel.protocol.as_str()),
            ("b", "grpc")
        );
        assert!(merged.is_feature_enabled("B") && !merged.is_feature_enabled("A"));
        assert!(!merged.metrics.is_enabled());
        let reset = load(&[first, "spec: {tracing: null}"]).unwrap();
        assert_eq!(reset.tracing, super::super::Tracing::default());
        assert_eq!(load(&[]).unwrap(), Configuration::default());
    }

    #[test]
    fn fills_in_the_environment() {
        assert_eq!(load(&["spec: {tracing: {samplingRate: '${RATE}'}}"]).unwrap().tracing.rate(), 0.5);
        let expand = |text: &str| expand_env(text, &|name| Some(format!("<{name}>")));
        for (text, expected) in [
            ("$A-${B}c$D_1.", "<A>-<B>c<D_1>."),
            ("100$ $", "100$ $"),
            ("a${}b${c", "abc"),
            ("$1x$$", "<1>x<$>"),
            ("ü$ü", "ü$ü"),
        ] {
            assert_eq!(expand(text), expected, "{text}");
        }
    }

    #[test]
    fn names_the_file_and_field_of_an_error() {
        let error = load(&["spec: {}", "spec: {metric: {enabled: perhaps}}"]).unwrap_err().to_string();
        assert!(error.contains("1.yaml, document 0: spec.metric.enabled: "), "{error}");
        assert!(load(&["spec: {secrets: {scopes: [{storeName: a}, {storeName: a}]}}"]).is_err());
        assert!(load_configuration(&["/nonexistent".into()], &|_| None).is_err());
    }
}
