//! Secret stores: the trait that a plugin implements and its form at the boundary.

use std::future::Future;
use std::sync::Arc;

use abi_stable::StableAbi;
use abi_stable::sabi_trait;
use abi_stable::std_types::{RBox, RString, RVec};

use crate::instance::{AbiFuture, ComponentScope, Shared};
use crate::{CallContext, Metadata, Result};

/// One secret with its keys and values.
#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct Secret {
    /// The secret's name.
    pub name: RString,
    /// Its keys and values; a store with one value per secret uses the name as key.
    pub data: Metadata,
}

/// A secret store, as a plugin implements it.
pub trait SecretStore: Send + Sync + 'static {
    /// Whether one secret may hold several keys.
    fn has_multiple_keys(&self) -> bool {
        false
    }

    /// The keys and values of the secret `name`.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NOT_FOUND`] when there is none, or any kind.
    fn get(
        &self,
        context: &CallContext,
        name: &str,
        metadata: Metadata,
    ) -> impl Future<Output = Result<Metadata>> + Send;

    /// Every secret that the store's credentials may read.
    ///
    /// # Errors
    /// Any kind.
    fn bulk_get(
        &self,
        context: &CallContext,
        metadata: Metadata,
    ) -> impl Future<Output = Result<Vec<Secret>>> + Send;

    /// Whether the back end answers.
    ///
    /// # Errors
    /// [`crate::ErrorKind::UNAVAILABLE`] when it does not.
    fn ping(&self, context: &CallContext) -> impl Future<Output = Result<()>> + Send {
        let _ = context;
        async { Ok(()) }
    }
}

/// [`SecretStore`] at the boundary.
#[sabi_trait]
pub trait SecretStoreAbi: Send + Sync {
    /// See [`SecretStore::has_multiple_keys`].
    fn has_multiple_keys(&self) -> bool;
    /// See [`SecretStore::get`].
    fn get(&self, context: CallContext, name: RString, metadata: Metadata) -> AbiFuture<Metadata>;
    /// See [`SecretStore::bulk_get`].
    fn bulk_get(&self, context: CallContext, metadata: Metadata) -> AbiFuture<RVec<Secret>>;
    /// See [`SecretStore::ping`].
    #[sabi(last_prefix_field)]
    fn ping(&self, context: CallContext) -> AbiFuture<()>;
}

/// An open secret store as it crosses the boundary.
pub type SecretStoreObject = SecretStoreAbi_TO<'static, RBox<()>>;

struct Adapter<S: Send + Sync + 'static>(Shared<S>);

pub(crate) fn object<S: SecretStore>(store: S, scope: Arc<ComponentScope>) -> SecretStoreObject {
    SecretStoreAbi_TO::from_value(Adapter(Shared::new(store, scope)), abi_stable::sabi_trait::TD_Opaque)
}

impl<S: SecretStore> SecretStoreAbi for Adapter<S> {
    fn has_multiple_keys(&self) -> bool {
        self.0.with(|store| store.has_multiple_keys()).unwrap_or_default()
    }

    fn get(&self, context: CallContext, name: RString, metadata: Metadata) -> AbiFuture<Metadata> {
        self.0.call(context, |store, context| async move { store.get(&context, &name, metadata).await })
    }

    fn bulk_get(&self, context: CallContext, metadata: Metadata) -> AbiFuture<RVec<Secret>> {
        self.0.call(context, |store, context| async move {
            store.bulk_get(&context, metadata).await.map(RVec::from)
        })
    }

    fn ping(&self, context: CallContext) -> AbiFuture<()> {
        self.0.call(context, |store, context| async move { store.ping(&context).await })
    }
}
