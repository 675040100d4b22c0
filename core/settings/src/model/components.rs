//! Plugins, components and the resource files that declare them.

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

use mecha_resources::{
    Component, MetadataItem, SecretKeyRef,
    component::{DEFAULT_INIT_TIMEOUT, REDACTED, dynamic_text},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::MissingType;
use crate::text;

/// Plugin libraries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Plugins {
    /// Folders that are watched for libraries; an earlier one wins where two offer the same type. None means the
    /// folder `plugins` beside the binary. Default: none.
    pub dirs: Vec<PathBuf>,
    /// How long a file must not have changed before it is read. Default: 200ms.
    #[serde(with = "text::duration")]
    pub settle: Duration,
    /// How long a replaced generation may take to finish its calls. Default: 30s.
    #[serde(with = "text::duration")]
    pub drain_deadline: Duration,
    /// Generations loaded since the start after which the log warns: their code stays mapped. Default: 50.
    pub generation_limit: u32,
    /// A poll of a plugin that holds a worker longer than this is reported. Default: 10ms.
    #[serde(with = "text::duration")]
    pub slow_poll: Duration,
}

/// Components.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Components {
    /// What happens to a component whose type no plugin offers: wait, fail. Default: wait.
    pub missing: MissingType,
    /// Folder of the sockets of Dapr's pluggable components. Default: /tmp/dapr-components-sockets.
    pub sockets_folder: PathBuf,
    /// Components that are declared right here, beside those of the resource files. Default: none.
    pub define: Vec<Definition>,
}

/// Dapr resource files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Resources {
    /// Folders of resource files. Default: none.
    pub paths: Vec<PathBuf>,
    /// Files of kind Configuration; a later one overwrites what it states. Default: none.
    pub configurations: Vec<PathBuf>,
    /// Whether changes of the files are applied while running. Default: true.
    pub watch: bool,
    /// Time between two looks at the files in case a change went unnoticed. Default: 1m0s.
    #[serde(with = "text::duration")]
    pub reconcile_interval: Duration,
}

/// A component declared in the settings: the Component resource, flattened.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Definition {
    /// The name that applications call it by.
    pub name: String,
    /// The component type, such as `state.redis`.
    #[serde(rename = "type")]
    pub component_type: String,
    /// The component's version. Default: v1.
    #[serde(default = "Definition::default_version")]
    pub version: String,
    /// Whether the process goes on without it when it fails to start. Default: false.
    #[serde(default)]
    pub ignore_errors: bool,
    /// How long it may take to start. Default: 5s.
    #[serde(default = "Definition::default_init_timeout", with = "text::duration")]
    pub init_timeout: Duration,
    /// The secret store that its references mean. Default: none.
    #[serde(default)]
    pub secret_store: Option<String>,
    /// The applications that may use it; none means all. Default: none.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// Its metadata by name: a value, `{secret-key-ref: {name, key}}` or `{env-ref: NAME}`. Default: none.
    #[serde(default)]
    pub metadata: BTreeMap<String, Value>,
}

/// A metadata value that stands elsewhere. Dapr's spelling is taken too, so that a resource can be pasted.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
enum Reference {
    #[serde(alias = "secretKeyRef")]
    SecretKeyRef(SecretPlace),
    #[serde(alias = "envRef")]
    EnvRef(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretPlace {
    name: String,
    #[serde(default)]
    key: String,
}

impl Definition {
    fn default_version() -> String {
        "v1".to_owned()
    }

    fn default_init_timeout() -> Duration {
        DEFAULT_INIT_TIMEOUT
    }

    /// The same component as a resource.
    #[must_use]
    pub fn to_component(&self) -> Component {
        Component {
            version: self.version.clone(),
            ignore_errors: self.ignore_errors,
            init_timeout: self.init_timeout,
            metadata: self.metadata.iter().map(|(name, value)| item(name, value)).collect(),
            secret_store: self.secret_store.clone(),
            scopes: self.scopes.clone(),
            ..Component::new(&self.name, &self.component_type)
        }
    }
}

/// Values are hidden: a definition may hold a password in plain.
impl fmt::Debug for Definition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_component(), f)
    }
}

fn item(name: &str, value: &Value) -> MetadataItem {
    let mut item = MetadataItem { name: name.to_owned(), ..MetadataItem::default() };
    match value.is_object().then(|| Reference::deserialize(value)) {
        Some(Ok(Reference::SecretKeyRef(place))) => {
            item.secret_key_ref = Some(SecretKeyRef { name: place.name, key: place.key });
        }
        Some(Ok(Reference::EnvRef(variable))) => item.env_ref = Some(variable),
        // A mapping of any other shape is a value that happens to be JSON, as in Dapr.
        Some(Err(_)) | None => item.value = dynamic_text(value),
    }
    item
}

/// A metadata value for a page or a log: references as they are, a secret hidden.
pub(crate) fn shown(name: &str, value: &Value) -> Value {
    let item = item(name, value);
    let hidden = item.value.is_some() && mecha_resources::component::names_a_secret(name);
    if hidden { Value::from(REDACTED) } else { value.clone() }
}

impl Default for Plugins {
    fn default() -> Self {
        Self {
            dirs: Vec::new(),
            settle: Duration::from_millis(200),
            drain_deadline: Duration::from_secs(30),
            generation_limit: 50,
            slow_poll: Duration::from_millis(10),
        }
    }
}

impl Default for Components {
    fn default() -> Self {
        Self {
            missing: MissingType::Wait,
            sockets_folder: PathBuf::from("/tmp/dapr-components-sockets"),
            define: Vec::new(),
        }
    }
}

impl Default for Resources {
    fn default() -> Self {
        Self {
            paths: Vec::new(),
            configurations: Vec::new(),
            watch: true,
            reconcile_interval: Duration::from_secs(60),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn becomes_a_component() {
        let definition: Definition = serde_json::from_value(json!({
            "name": "store", "type": "state.redis", "init-timeout": "1m", "secret-store": "vault", "scopes": ["a"],
            "metadata": {
                "host": "h:6379",
                "db": 3,
                "pass": {"secret-key-ref": {"name": "redis", "key": "password"}},
                "user": {"envRef": "REDIS_USER"},
                "json": {"a": 1},
            },
        }))
        .unwrap();
        let component = definition.to_component();
        assert_eq!(component.log_name(), "store (state.redis/v1)");
        assert_eq!((component.init_timeout, component.ignore_errors), (Duration::from_secs(60), false));
        let item = |name: &str| component.metadata.iter().find(|item| item.name == name).unwrap();
        assert_eq!(item("db").value.as_deref(), Some("3"));
        assert_eq!(item("json").value.as_deref(), Some(r#"{"a":1}"#));
        assert_eq!(item("pass").secret_key_ref.as_ref().unwrap().field(), "password");
        assert_eq!(item("user").env_ref.as_deref(), Some("REDIS_USER"));
    }

    #[test]
    fn refuses_unknown_fields_and_hides_secrets() {
        let read = |value| serde_json::from_value::<Definition>(value);
        assert!(read(json!({"name": "a", "type": "b", "scope": []})).is_err());
        let definition =
            read(json!({"name": "a", "type": "b", "metadata": {"password": "hunter2"}})).unwrap();
        assert!(!format!("{definition:?}").contains("hunter2"));
        assert_eq!(shown("password", &json!("hunter2")), json!("***"));
        assert_eq!(shown("password", &json!({"env-ref": "P"})), json!({"env-ref": "P"}));
    }
}
