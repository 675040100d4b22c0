//! Configuration stores: the trait that a plugin implements and its form at the boundary.

use std::future::Future;
use std::sync::Arc;

use abi_stable::StableAbi;
use abi_stable::sabi_trait;
use abi_stable::std_types::{RBox, RString, RVec};

use crate::instance::{AbiFuture, ComponentScope, Shared};
use crate::source::{SourceObject, Subscription};
use crate::{CallContext, Metadata, Result};

/// In a [`crate::source::Delivery`] of [`ConfigurationStore::subscribe`]: the metadata field that holds the item's version.
pub const VERSION: &str = "__version";

/// One item of a configuration.
#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct ConfigurationItem {
    /// The key.
    pub key: RString,
    /// The value.
    pub value: RString,
    /// Its version; empty when the store has none.
    pub version: RString,
    /// What else the store says about it.
    pub metadata: Metadata,
}

/// A configuration store, as a plugin implements it.
pub trait ConfigurationStore: Send + Sync + 'static {
    /// The items under `keys`, or every item when `keys` is empty; a key that is not there is left out.
    ///
    /// # Errors
    /// Any kind.
    fn get(
        &self,
        context: &CallContext,
        keys: Vec<String>,
        metadata: Metadata,
    ) -> impl Future<Output = Result<Vec<ConfigurationItem>>> + Send;

    /// Watches `keys`, or every key when there are none. Each change is one [`crate::source::Delivery`]: the key as its topic,
    /// the new value as its data (empty when the key was deleted), the item's metadata and [`VERSION`] as its metadata.
    /// Changes need no settlement.
    ///
    /// # Errors
    /// Any kind.
    fn subscribe(
        &self,
        context: &CallContext,
        keys: Vec<String>,
        metadata: Metadata,
    ) -> impl Future<Output = Result<Subscription>> + Send;

    /// Whether the back end answers.
    ///
    /// # Errors
    /// [`crate::ErrorKind::UNAVAILABLE`] when it does not.
    fn ping(&self, context: &CallContext) -> impl Future<Output = Result<()>> + Send {
        let _ = context;
        async { Ok(()) }
    }
}

/// [`ConfigurationStore`] at the boundary.
#[sabi_trait]
pub trait ConfigurationStoreAbi: Send + Sync {
    /// See [`ConfigurationStore::get`].
    fn get(
        &self,
        context: CallContext,
        keys: RVec<RString>,
        metadata: Metadata,
    ) -> AbiFuture<RVec<ConfigurationItem>>;
    /// See [`ConfigurationStore::subscribe`].
    fn subscribe(
        &self,
        context: CallContext,
        keys: RVec<RString>,
        metadata: Metadata,
    ) -> AbiFuture<SourceObject>;
    /// See [`ConfigurationStore::ping`].
    #[sabi(last_prefix_field)]
    fn ping(&self, context: CallContext) -> AbiFuture<()>;
}

/// An open configuration store as it crosses the boundary.
pub type ConfigurationStoreObject = ConfigurationStoreAbi_TO<'static, RBox<()>>;

struct Adapter<S: Send + Sync + 'static>(Shared<S>);

pub(crate) fn object<S: ConfigurationStore>(
    store: S,
    scope: Arc<ComponentScope>,
) -> ConfigurationStoreObject {
    ConfigurationStoreAbi_TO::from_value(
        Adapter(Shared::new(store, scope)),
        abi_stable::sabi_trait::TD_Opaque,
    )
}

fn owned(keys: RVec<RString>) -> Vec<String> {
    keys.into_iter().map(String::from).collect()
}

impl<S: ConfigurationStore> ConfigurationStoreAbi for Adapter<S> {
    fn get(
        &self,
        context: CallContext,
        keys: RVec<RString>,
        metadata: Metadata,
    ) -> AbiFuture<RVec<ConfigurationItem>> {
        self.0.call(context, |store, context| async move {
            store.get(&context, owned(keys), metadata).await.map(RVec::from)
        })
    }

    fn subscribe(
        &self,
        context: CallContext,
        keys: RVec<RString>,
        metadata: Metadata,
    ) -> AbiFuture<SourceObject> {
        let scope = self.0.scope();
        self.0.call(context, |store, context| async move {
            Ok(store.subscribe(&context, owned(keys), metadata).await?.into_object(scope))
        })
    }

    fn ping(&self, context: CallContext) -> AbiFuture<()> {
        self.0.call(context, |store, context| async move { store.ping(&context).await })
    }
}
