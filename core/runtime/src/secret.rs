//! Secret stores as the runtime calls them.

use mecha_observability::metrics::Operation as Measure;
use mecha_plugin_api::Metadata;
use mecha_plugin_api::secret::{Secret, SecretStoreObject};

use crate::call::{Call, CallError};
use crate::component::Component;
use crate::observe::Operation;

/// A secret store.
pub type SecretStore = Component<SecretStoreObject>;

const GET: Operation<'static> = Operation::new("get", Measure::Get);
const BULK_GET: Operation<'static> = Operation::new("bulk_get", Measure::BulkGet);

impl SecretStore {
    /// The keys and values of one secret.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn get(&self, call: &Call, name: &str, metadata: Metadata) -> Result<Metadata, CallError> {
        self.call(call, GET, metadata, |store, context, metadata| store.get(context, name.into(), metadata))
            .await
    }

    /// Every secret.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn bulk_get(&self, call: &Call, metadata: Metadata) -> Result<Vec<Secret>, CallError> {
        let secrets = self
            .call(call, BULK_GET, metadata, |store, context, metadata| store.bulk_get(context, metadata))
            .await?;
        Ok(secrets.into())
    }

    pub(crate) fn capabilities(&self) -> Vec<&'static str> {
        let multiple = self.read(|store| store.has_multiple_keys()).unwrap_or_default();
        if multiple { vec!["MULTIPLE_KEY_VALUES_PER_SECRET"] } else { Vec::new() }
    }
}
