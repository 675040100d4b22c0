//! The keys that exist, taken from the built-in defaults, and the nearest one to a key that does not.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::{Settings, model::Definition};

/// Keys that name a file or folder; in a settings file a relative one is meant from that file's folder.
pub(crate) const PATH_KEYS: [&str; 9] = [
    "plugins.dirs",
    "components.sockets-folder",
    "resources.paths",
    "resources.configurations",
    "log.file",
    "http.unix-domain-socket",
    // Unless they are PEM text.
    "mtls.trust-anchors",
    "mtls.certificate-chain",
    "mtls.key",
];

/// Every setting as a dotted key with its default.
#[derive(Debug)]
pub(crate) struct KnownKeys {
    defaults: BTreeMap<String, Value>,
}

impl KnownKeys {
    pub(crate) fn new() -> Self {
        Self { defaults: flat(&Settings::default()) }
    }

    /// The default of a setting; `None` when there is no such setting.
    pub(crate) fn default_of(&self, key: &str) -> Option<&Value> {
        self.defaults.get(key)
    }

    /// Whether settings stand below this key.
    pub(crate) fn is_section(&self, key: &str) -> bool {
        self.defaults.keys().any(|known| known.strip_prefix(key).is_some_and(|rest| rest.starts_with('.')))
    }

    /// The setting or section that a mistyped key most likely means: a few letters away, or the right word in the
    /// wrong section.
    pub(crate) fn nearest(&self, key: &str) -> Option<String> {
        let mut candidates: Vec<&str> = self.defaults.keys().map(String::as_str).collect();
        candidates.extend(self.defaults.keys().filter_map(|known| Some(known.rsplit_once('.')?.0)));
        let by_letters = candidates
            .iter()
            .map(|known| (strsim::damerau_levenshtein(key, known), *known))
            .min()
            .filter(|(distance, _)| *distance <= (key.len() / 3).clamp(1, 4));
        let word = last_word(key);
        let by_word = || self.defaults.keys().map(String::as_str).find(|known| last_word(known) == word);
        by_letters.map(|(_, known)| known).or_else(by_word).map(str::to_owned)
    }
}

/// Settings as dotted keys. A mapping without entries is a value: its names are free (`tracing.otlp.headers`).
pub(crate) fn flat(settings: &Settings) -> BTreeMap<String, Value> {
    let mut leaves = BTreeMap::new();
    // Serialising plain structs with text keys cannot fail; an empty tree would show in every test.
    if let Ok(Value::Object(sections)) = serde_json::to_value(settings) {
        collect("", sections, &mut leaves);
    }
    leaves
}

fn collect(prefix: &str, section: Map<String, Value>, leaves: &mut BTreeMap<String, Value>) {
    for (name, value) in section {
        let key = join(prefix, &name);
        match value {
            Value::Object(inner) if !inner.is_empty() && !is_open(&key) => collect(&key, inner, leaves),
            leaf => {
                leaves.insert(key, leaf);
            }
        }
    }
}

/// Mappings whose names are the user's.
fn is_open(key: &str) -> bool {
    key == "tracing.otlp.headers"
}

pub(crate) fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") }
}

fn last_word(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}

/// The definitions of `components.define` as they may be shown.
pub(crate) fn shown_definition(definition: &Definition) -> Value {
    let mut shown = serde_json::to_value(definition).unwrap_or_default();
    if let Some(Value::Object(metadata)) = shown.get_mut("metadata") {
        for (name, value) in metadata {
            *value = crate::model::shown(name, value);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_settings_and_sections() {
        let known = KnownKeys::new();
        assert_eq!(known.default_of("http.port"), Some(&Value::from(3500)));
        assert_eq!(known.default_of("http.max-body-size"), Some(&Value::from("4Mi")));
        assert_eq!(known.default_of("app.id"), Some(&Value::Null));
        assert!(known.default_of("http").is_none() && known.is_section("app.health"));
        assert!(!known.is_section("ht") && !known.is_section("tracing.otlp.headers"));
        for key in PATH_KEYS {
            assert!(known.default_of(key).is_some(), "{key}");
        }
    }

    #[test]
    fn finds_the_nearest_key() {
        let known = KnownKeys::new();
        for (given, nearest) in [
            ("http.prot", Some("http.port")),
            ("htttp", Some("http")),
            ("plugin.dirs", Some("plugins.dirs")),
            ("http.maxBodySize", Some("http.max-body-size")),
            ("runtime.drain-deadline", Some("plugins.drain-deadline")),
            ("entirely.different-thing", None),
        ] {
            assert_eq!(known.nearest(given).as_deref(), nearest, "{given}");
        }
    }
}
