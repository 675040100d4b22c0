//! A component as it was declared, and its way to what a plugin opens: secrets and placeholders resolved.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;

use mecha_plugin_api::{ComponentSpec, Metadata};
use mecha_resources::component::{PodNameUnset, Resolved, Sources, TemplateContext};
use mecha_resources::{Component as Resource, SecretKeyRef};

use crate::registry::Registry;
use crate::{App, Call, CallError};

/// A declared component.
pub struct Definition {
    /// The resource.
    pub resource: Resource,
    /// Where it was declared: a file or a settings layer.
    pub origin: String,
}

/// Why a declaration cannot be turned into something to open.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ResolveError {
    /// A secret is referred to, but no store is named.
    #[error("metadata field {field} refers to a secret, but auth.secretStore names no secret store")]
    NoSecretStore {
        /// The metadata field.
        field: String,
    },
    /// The named store is not there (yet).
    #[error("secret store {store} is not available; it is needed by metadata field {field}")]
    SecretStoreMissing {
        /// The store.
        store: String,
        /// The metadata field.
        field: String,
    },
    /// The store did not give the secret.
    #[error("cannot read secret {secret} from {store} for metadata field {field}: {source}")]
    Secret {
        /// The store.
        store: String,
        /// The secret.
        secret: String,
        /// The metadata field.
        field: String,
        /// What the store said.
        source: CallError,
    },
    /// `{podName}` is used and there is no pod.
    #[error(transparent)]
    PodName(#[from] PodNameUnset),
}

impl Definition {
    /// `NAME (TYPE/VERSION)`, as log lines name it.
    pub fn log_name(&self) -> String {
        let resource = &self.resource;
        format!("{} ({}/{})", resource.name, resource.component_type, resource.version_or_default())
    }

    /// The resolved properties.
    ///
    /// # Errors
    /// [`ResolveError`] naming the field.
    pub(crate) async fn resolve(
        &self,
        app: &Arc<App>,
        registry: &Registry,
        env: &HashMap<String, String>,
    ) -> Result<Resolved, ResolveError> {
        let secrets = self.fetch_secrets(app, registry).await?;
        let uuid = || uuid::Uuid::new_v4().to_string();
        let template = TemplateContext {
            app_id: &app.id,
            namespace: &app.namespace,
            pod_name: app.pod_name.as_deref(),
            uuid: &uuid,
        };
        let env = |name: &str| env.get(name).cloned();
        let secret = |reference: &SecretKeyRef| {
            secrets.get(&reference.name).and_then(|data| data.get(reference.field())).map(str::to_owned)
        };
        let resolved = self.resource.resolve(&Sources { template, env: &env, secret: &secret })?;
        for refused in &resolved.refused {
            tracing::warn!(component = %self.resource.name, "{refused}");
        }
        for missing in &resolved.missing {
            tracing::warn!(component = %self.resource.name, secret = %missing.name, key = %missing.key, "secret has no such key");
        }
        Ok(resolved)
    }

    async fn fetch_secrets(
        &self,
        app: &Arc<App>,
        registry: &Registry,
    ) -> Result<HashMap<String, Metadata>, ResolveError> {
        let mut secrets = HashMap::new();
        for reference in self.resource.secret_refs() {
            if secrets.contains_key(&reference.name) {
                continue;
            }
            let field = || self.field_of(reference);
            let Some(store) = self.resource.secret_store.as_deref() else {
                return Err(ResolveError::NoSecretStore { field: field() });
            };
            let Ok(open) = registry.secret_store(store) else {
                return Err(ResolveError::SecretStoreMissing { store: store.to_owned(), field: field() });
            };
            let call =
                Call { app: app.clone(), trace: mecha_observability::Propagated::default(), deadline: None };
            let data = open.get(&call, &reference.name, Metadata::new()).await.map_err(|source| {
                let (store, secret) = (store.to_owned(), reference.name.clone());
                ResolveError::Secret { store, secret, field: field(), source }
            })?;
            secrets.insert(reference.name.clone(), data);
        }
        Ok(secrets)
    }

    fn field_of(&self, reference: &SecretKeyRef) -> String {
        let item = self.resource.metadata.iter().find(|item| item.secret_key_ref.as_ref() == Some(reference));
        item.map(|item| item.name.clone()).unwrap_or_default()
    }

    /// Tells whether what stands behind the references changed, without keeping it.
    pub(crate) fn secrets_digest(&self, resolved: &Resolved, hashes: &impl BuildHasher) -> u64 {
        let is_secret = |name: &str| {
            let items = &self.resource.metadata;
            items.iter().any(|item| item.name == name && item.secret_key_ref.is_some())
        };
        let secrets = resolved.properties.iter().filter(|property| is_secret(&property.name));
        let pairs: Vec<_> = secrets.map(|property| (&property.name, &property.value)).collect();
        hashes.hash_one(pairs)
    }

    /// What a plugin opens.
    pub(crate) fn spec(&self, app: &App, resolved: &Resolved) -> ComponentSpec {
        let pairs =
            resolved.properties.iter().map(|property| (property.name.as_str(), property.value.as_str()));
        ComponentSpec {
            name: self.resource.name.as_str().into(),
            type_name: self.resource.component_type.as_str().into(),
            version: self.resource.version_or_default().into(),
            app_id: (&*app.id).into(),
            metadata: pairs.collect(),
        }
    }
}
