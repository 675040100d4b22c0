//! The two stores: `secretstores.local.file` and `secretstores.local.env`.

use std::collections::BTreeMap;
use std::ffi::OsString;

use mecha_plugin_api::secret::{Secret, SecretStore};
use mecha_plugin_api::{CallContext, ComponentSpec, Error, ErrorKind, Metadata, Result};

use crate::client::{self, Secrets};
use crate::metadata::{FileSettings, env_prefix};

/// The secrets of a JSON file, as it was when the component was opened.
pub(crate) struct FileSecrets {
    secrets: Secrets,
    multi_valued: bool,
}

impl FileSecrets {
    pub(crate) async fn open(spec: ComponentSpec) -> Result<Self> {
        let settings = FileSettings::new(&spec)?;
        let multi_valued = settings.multi_valued;
        Ok(Self { secrets: client::read(settings).await?, multi_valued })
    }
}

impl SecretStore for FileSecrets {
    fn has_multiple_keys(&self) -> bool {
        self.multi_valued
    }

    async fn get(&self, _context: &CallContext, name: &str, _metadata: Metadata) -> Result<Metadata> {
        let _span = tracing::debug_span!("secrets file get").entered();
        match self.secrets.get(name) {
            Some(data) => Ok(metadata(data)),
            None => Err(Error::new(ErrorKind::NOT_FOUND, format!("secret {name} not found"))),
        }
    }

    async fn bulk_get(&self, _context: &CallContext, _metadata: Metadata) -> Result<Vec<Secret>> {
        let _span = tracing::debug_span!("secrets file bulk get").entered();
        let secrets = self.secrets.iter();
        Ok(secrets.map(|(name, data)| Secret { name: name.as_str().into(), data: metadata(data) }).collect())
    }
}

fn metadata(data: &BTreeMap<String, String>) -> Metadata {
    data.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
}

/// The process's environment, except what belongs to the runtime itself.
pub(crate) struct EnvSecrets {
    prefix: String,
}

impl EnvSecrets {
    pub(crate) async fn open(spec: ComponentSpec) -> Result<Self> {
        Ok(Self { prefix: env_prefix(&spec) })
    }

    /// The variables that may be seen, without the prefix.
    fn visible(&self, variables: impl Iterator<Item = (OsString, OsString)>) -> Vec<Secret> {
        let mut secrets = Vec::new();
        for (variable, value) in variables {
            let variable = variable.to_string_lossy();
            let Some(name) = variable.strip_prefix(self.prefix.as_str()) else { continue };
            if !name.is_empty() && is_allowed(&variable) {
                secrets.push(one_value(name, &value.to_string_lossy()));
            }
        }
        secrets
    }
}

impl SecretStore for EnvSecrets {
    /// As in Dapr, a variable that is not set, or that may not be seen, is an empty secret and no error.
    async fn get(&self, _context: &CallContext, name: &str, _metadata: Metadata) -> Result<Metadata> {
        let _span = tracing::debug_span!("environment get").entered();
        let variable = format!("{}{name}", self.prefix);
        if !is_allowed(&variable) {
            tracing::warn!(variable = name, "access to this environment variable is forbidden");
            return Ok(one_value(name, "").data);
        }
        let value = std::env::var_os(&variable).unwrap_or_default();
        Ok(one_value(name, &value.to_string_lossy()).data)
    }

    async fn bulk_get(&self, _context: &CallContext, _metadata: Metadata) -> Result<Vec<Secret>> {
        let _span = tracing::debug_span!("environment bulk get").entered();
        Ok(self.visible(std::env::vars_os()))
    }
}

/// The tokens between the application, the runtime and its control plane are nobody else's business.
fn is_allowed(variable: &str) -> bool {
    let variable = variable.to_uppercase();
    variable != "APP_API_TOKEN" && !variable.starts_with("DAPR_")
}

fn one_value(name: &str, value: &str) -> Secret {
    Secret { name: name.into(), data: Metadata::from_iter([(name, value)]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> CallContext {
        CallContext::background("app")
    }

    fn spec(type_name: &str, fields: &[(&str, &str)]) -> ComponentSpec {
        ComponentSpec::new("secrets", type_name, Metadata::from_iter(fields.iter().copied()))
    }

    async fn file(content: &str, fields: &[(&str, &str)]) -> FileSecrets {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets.json");
        std::fs::write(&path, content).unwrap();
        let mut spec = spec("secretstores.local.file", fields);
        spec.metadata.insert("secretsfile", path.to_str().unwrap());
        FileSecrets::open(spec).await.unwrap()
    }

    async fn env(prefix: &str) -> EnvSecrets {
        EnvSecrets::open(spec("secretstores.local.env", &[("prefix", prefix)])).await.unwrap()
    }

    fn pairs(data: &Metadata) -> Vec<(&str, &str)> {
        data.iter().collect()
    }

    fn names(secrets: &[Secret]) -> Vec<&str> {
        secrets.iter().map(|secret| secret.name.as_str()).collect()
    }

    #[tokio::test]
    async fn a_file_gives_one_secret_or_all() {
        let store = file(r#"{"a": "1", "b": {"c": "2"}}"#, &[]).await;
        assert!(!store.has_multiple_keys());
        let data = store.get(&context(), "b:c", Metadata::new()).await.unwrap();
        assert_eq!(pairs(&data), [("b:c", "2")]);
        let all = store.bulk_get(&context(), Metadata::new()).await.unwrap();
        assert_eq!(names(&all), ["a", "b:c"]);
        let error = store.get(&context(), "B:C", Metadata::new()).await.unwrap_err();
        assert_eq!((error.kind(), error.message()), (ErrorKind::NOT_FOUND, "secret B:C not found"));
    }

    #[tokio::test]
    async fn a_file_with_several_keys_a_secret_gives_them_together() {
        let fields = [("multiValued", "true"), ("nestedSeparator", ".")];
        let store = file(r#"{"db": {"user": "u", "tls": {"key": "k"}}, "token": "t"}"#, &fields).await;
        assert!(store.has_multiple_keys());
        let data = store.get(&context(), "db", Metadata::new()).await.unwrap();
        assert_eq!(pairs(&data), [("tls.key", "k"), ("user", "u")]);
        let token = store.get(&context(), "token", Metadata::new()).await.unwrap();
        assert_eq!(pairs(&token), [("token", "t")]);
    }

    #[tokio::test]
    async fn an_empty_document_has_no_secrets() {
        for content in ["{}", "null"] {
            assert!(file(content, &[]).await.bulk_get(&context(), Metadata::new()).await.unwrap().is_empty());
        }
    }

    #[tokio::test]
    async fn a_file_must_be_named() {
        let error = FileSecrets::open(spec("secretstores.local.file", &[])).await.err().unwrap();
        assert_eq!((error.kind(), error.field()), (ErrorKind::INVALID, Some("secretsFile")));
        assert_eq!(error.message(), "missing local secrets file in metadata");
    }

    #[tokio::test]
    async fn a_variable_is_read_with_the_prefix_and_named_without() {
        // Cargo sets this one for every test.
        let store = env("CARGO_PKG_").await;
        let data = store.get(&context(), "NAME", Metadata::new()).await.unwrap();
        assert_eq!(pairs(&data), [("NAME", "mecha-plugin-local-secrets")]);
        let all = store.bulk_get(&context(), Metadata::new()).await.unwrap();
        assert!(names(&all).contains(&"NAME"));
        assert!(!names(&all).contains(&"CARGO_PKG_NAME"));
        assert!(!store.has_multiple_keys());
    }

    #[tokio::test]
    async fn what_is_not_set_or_not_allowed_is_empty() {
        let (all, dapr) = (env("").await, env("dapr_").await);
        let asked =
            [(&all, "NO_SUCH_VARIABLE"), (&all, "APP_API_TOKEN"), (&all, "dapr_x"), (&dapr, "API_TOKEN")];
        for (store, name) in asked {
            let data = store.get(&context(), name, Metadata::new()).await.unwrap();
            assert_eq!(pairs(&data), [(name, "")]);
        }
        for odd in ["", "A=B", "A\0B"] {
            assert_eq!(pairs(&all.get(&context(), odd, Metadata::new()).await.unwrap()), [(odd, "")]);
        }
    }

    #[tokio::test]
    async fn a_listing_leaves_out_what_is_not_allowed() {
        let variables = [
            ("FOO", "1"),
            ("foo", "2"),
            ("APP_API_TOKEN", "3"),
            ("app_api_token", "4"),
            ("DAPR_API_TOKEN", "5"),
            ("dapr_x", "6"),
            ("FOO_BAR", "7"),
        ];
        let variables = || variables.iter().map(|&(name, value)| (name.into(), value.into()));
        assert_eq!(names(&env("").await.visible(variables())), ["FOO", "foo", "FOO_BAR"]);
        assert_eq!(names(&env("FOO").await.visible(variables())), ["_BAR"]);
        assert!(env("DAPR_").await.visible(variables()).is_empty());
        assert_eq!(names(&env("APP_API_").await.visible(variables())), [""; 0]);
    }
}
