//! Settings as text, each with its origin: what `mecha config show` prints. The text is YAML and could be read again.

use std::collections::BTreeMap;

use mecha_resources::{component::REDACTED, yaml};
use serde_json::Value;

use crate::{Origins, Settings, keys, model::shown_key};

/// Column of the origins, unless a value reaches further.
const ORIGIN_COLUMN: usize = 44;

/// Every setting on a line of its own with the layer that set it. Secrets are replaced.
#[must_use]
pub fn render(settings: &Settings, origins: &Origins) -> String {
    let mut text = String::new();
    let mut open: Vec<String> = Vec::new();
    for (key, value) in ordered(settings) {
        let mut words: Vec<String> = key.split('.').map(str::to_owned).collect();
        let name = words.pop().unwrap_or_default();
        let shared = open.iter().zip(&words).take_while(|(a, b)| a == b).count();
        for (depth, section) in words.iter().enumerate().skip(shared) {
            text += &format!("{}{section}:\n", "  ".repeat(depth));
        }
        let line = format!("{}{name}: {}", "  ".repeat(words.len()), value);
        text += &format!("{line:<ORIGIN_COLUMN$} # {}\n", origins.of(&key));
        open = words;
    }
    text
}

/// Settings in the order of their sections' names, plain settings before nested sections: a section that is left is
/// not opened again.
fn ordered(settings: &Settings) -> Vec<(String, String)> {
    let shown: BTreeMap<String, String> = shown(settings);
    let mut lines: Vec<(String, String)> = shown.into_iter().collect();
    lines.sort_by_cached_key(|(key, _)| {
        let (section, name) = key.rsplit_once('.').unwrap_or(("", key));
        (section.to_owned(), name.to_owned())
    });
    lines
}

fn shown(settings: &Settings) -> BTreeMap<String, String> {
    let mut leaves = keys::flat(settings);
    let definitions = settings.components.define.iter().map(keys::shown_definition).collect();
    leaves.insert("components.define".to_owned(), definitions);
    if let Some(Value::Object(headers)) = leaves.get_mut("tracing.otlp.headers") {
        headers.values_mut().for_each(|value| *value = Value::from(REDACTED));
    }
    if let Some(Value::String(key)) = leaves.get_mut("mtls.key") {
        *key = shown_key(key).to_owned();
    }
    leaves.into_iter().map(|(key, value)| (key, inline(&value))).collect()
}

/// A value as YAML on one line.
fn inline(value: &Value) -> String {
    match value {
        Value::String(text) if is_plain(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let entries = map
                .iter()
                .map(|(name, value)| format!("{}: {}", inline(&Value::from(name.as_str())), inline(value)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// Whether text reads as the same text without quotes.
fn is_plain(text: &str) -> bool {
    let harmless = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/')
        && text.chars().all(harmless)
        && yaml::parse(text).is_ok_and(|read| read == text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Origin, model::Definition};

    #[test]
    fn prints_yaml_with_origins() {
        let mut origins = Origins::default();
        origins.set("http.port", Origin::Environment("MECHA__HTTP__PORT".into()));
        let text = render(&Settings::default(), &origins);
        let line =
            |start: &str| text.lines().find(|line| line.trim_start().starts_with(start)).unwrap().to_owned();
        assert!(line("port: 3500").ends_with("# environment MECHA__HTTP__PORT"));
        assert!(line("max-body-size: 4Mi").ends_with("# default"));
        assert!(line("public-listen-address: \"\"").ends_with("# default"));
        assert_eq!(text.lines().filter(|line| line.starts_with("app:")).count(), 1);
        let read: Settings = serde_json::from_value(yaml::parse(&text).unwrap()).unwrap();
        assert_eq!(read, Settings::default());
    }

    #[test]
    fn hides_secrets() {
        let mut settings = Settings::default();
        settings.tracing.otlp.headers.insert("api-key".into(), "topsecret".into());
        settings.mtls.key = Some("-----BEGIN PRIVATE KEY-----\ntopsecret".into());
        let definition = serde_json::json!({"name": "s", "type": "t", "metadata": {"password": "topsecret", "host": "h:1"}});
        settings.components.define.push(serde_json::from_value::<Definition>(definition).unwrap());
        let text = render(&settings, &Origins::default());
        assert!(!text.contains("topsecret"), "{text}");
        assert!(!format!("{settings:?}").contains("topsecret"));
        assert!(text.contains("headers: {api-key: \"***\"}") && text.contains("host: \"h:1\""), "{text}");
    }
}
