//! The Component resource: one configured back end under a name.
//!
//! `read` types a document, `value` turns a metadata value into text, `template` and `env_ref` hold the rules for what
//! a value may refer to, `resolve` applies them, and `redact` keeps secrets out of logs.

mod env_ref;
mod read;
mod redact;
mod resolve;
mod template;
mod value;

use std::{fmt, time::Duration};

use crate::selection::Selectable;

pub(crate) use read::{Item, Reference, fix_item_cases};

pub use env_ref::{EnvRefRefused, resolve_env_ref};
pub use redact::{REDACTED, Redacted, names_a_secret};
pub use resolve::{Property, Resolved, Sources, ValueSource};
pub use template::{PodNameUnset, TemplateContext, expand};
pub use value::dynamic_text;

/// How long a component may take to start when its file does not say.
pub const DEFAULT_INIT_TIMEOUT: Duration = Duration::from_secs(5);

/// A component as its file declares it. Equality covers every field, so a reload that finds an equal one has nothing
/// to do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Component {
    /// The name that applications call it by.
    pub name: String,
    /// The namespace of its file; empty when the file names none.
    pub namespace: String,
    /// The component type, such as `state.redis`.
    pub component_type: String,
    /// The version as written, empty when the file has none; [`Component::version_or_default`] fills it in.
    pub version: String,
    /// Whether the runtime goes on without it when it fails to start.
    pub ignore_errors: bool,
    /// How long it may take to start.
    pub init_timeout: Duration,
    /// Its settings, in file order.
    pub metadata: Vec<MetadataItem>,
    /// The secret store that its `secretKeyRef`s refer to; `None` means the mode's default store.
    pub secret_store: Option<String>,
    /// The application ids that may use it; empty means all.
    pub scopes: Vec<String>,
}

/// One metadata entry. As in Dapr, a reference to a secret wins over a value, and a value over an `envRef`.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct MetadataItem {
    /// The entry's name.
    pub name: String,
    /// The value as text; `None` when the file has none, or `null`.
    pub value: Option<String>,
    /// The secret that holds the value.
    pub secret_key_ref: Option<SecretKeyRef>,
    /// The environment variable that holds the value.
    pub env_ref: Option<String>,
}

/// A place in a secret store.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SecretKeyRef {
    /// The secret's name.
    pub name: String,
    /// The field in the secret; empty means the field that is named as the secret.
    pub key: String,
}

impl SecretKeyRef {
    /// The field to read: `key`, or the secret's own name when `key` is empty.
    #[must_use]
    pub fn field(&self) -> &str {
        if self.key.is_empty() { &self.name } else { &self.key }
    }
}

impl Component {
    /// A component of this name and type, with every other field at its default.
    pub fn new(name: impl Into<String>, component_type: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            namespace: String::new(),
            component_type: component_type.into(),
            version: String::new(),
            ignore_errors: false,
            init_timeout: DEFAULT_INIT_TIMEOUT,
            metadata: Vec::new(),
            secret_store: None,
            scopes: Vec::new(),
        }
    }

    /// The version that a plugin is asked for: `v1` unless the file says otherwise.
    #[must_use]
    pub fn version_or_default(&self) -> &str {
        if self.version.is_empty() { "v1" } else { &self.version }
    }

    /// Whether an application may use it.
    #[must_use]
    pub fn is_in_scope(&self, app_id: &str) -> bool {
        Selectable::is_in_scope(self, app_id)
    }

    /// `NAME (TYPE/VERSION)`, as Dapr's log lines and errors name a component; without a version `NAME (TYPE)`.
    #[must_use]
    pub fn log_name(&self) -> String {
        Selectable::log_name(self)
    }

    /// The secrets it refers to, in file order, each once.
    #[must_use]
    pub fn secret_refs(&self) -> Vec<&SecretKeyRef> {
        let mut refs: Vec<&SecretKeyRef> = Vec::new();
        for reference in self.metadata.iter().filter_map(MetadataItem::secret) {
            if !refs.contains(&reference) {
                refs.push(reference);
            }
        }
        refs
    }
}

impl MetadataItem {
    /// A plain value.
    pub fn literal(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: Some(value.into()), ..Self::default() }
    }

    /// The secret to read, unless an `envRef` comes first (it does when there is no value).
    pub(crate) fn secret(&self) -> Option<&SecretKeyRef> {
        if self.environment().is_some() {
            return None;
        }
        self.secret_key_ref.as_ref()
    }

    /// The environment variable to read: only when there is no value.
    pub(crate) fn environment(&self) -> Option<&str> {
        if self.value.is_some() { None } else { self.env_ref.as_deref() }
    }
}

impl fmt::Debug for MetadataItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A value beside a secretKeyRef is a fallback for the secret, so it is treated as one.
        let secret = self.secret_key_ref.is_some() || names_a_secret(&self.name);
        f.debug_struct("MetadataItem")
            .field("name", &self.name)
            .field("value", &self.value.as_deref().map(|value| Redacted::new(value, secret)))
            .field("secret_key_ref", &self.secret_key_ref)
            .field("env_ref", &self.env_ref)
            .finish()
    }
}

impl Selectable for Component {
    const KIND: &'static str = "Component";

    fn name(&self) -> &str {
        &self.name
    }

    fn namespace(&self) -> &str {
        &self.namespace
    }

    fn scopes(&self) -> &[String] {
        &self.scopes
    }

    fn log_name(&self) -> String {
        match self.version.as_str() {
            "" => format!("{} ({})", self.name, self.component_type),
            version => format!("{} ({}/{version})", self.name, self.component_type),
        }
    }
}
