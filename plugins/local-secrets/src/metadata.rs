//! The components' metadata: Dapr's fields and their defaults.

use std::path::PathBuf;

use mecha_plugin_api::{ComponentSpec, Error, Result};

/// The field that every complaint about the file names.
pub(crate) const SECRETS_FILE: &str = "secretsFile";

/// What the author of a `secretstores.local.file` component asked for.
pub(crate) struct FileSettings {
    pub(crate) path: PathBuf,
    /// Stands between the names of nested keys.
    pub(crate) separator: String,
    /// Whether each top-level object is one secret with several keys.
    pub(crate) multi_valued: bool,
}

impl FileSettings {
    pub(crate) fn new(spec: &ComponentSpec) -> Result<Self> {
        let missing = || Error::invalid("missing local secrets file in metadata").with_field(SECRETS_FILE);
        Ok(Self {
            path: spec.text(SECRETS_FILE).ok_or_else(missing)?.into(),
            separator: spec.text("nestedSeparator").unwrap_or(":").to_owned(),
            multi_valued: flag(spec, "multiValued")?,
        })
    }
}

/// The prefix of a `secretstores.local.env` component; empty when there is none.
pub(crate) fn env_prefix(spec: &ComponentSpec) -> String {
    spec.text("prefix").unwrap_or_default().to_owned()
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
