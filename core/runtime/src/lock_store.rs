//! Lock stores as the runtime calls them.

use mecha_plugin_api::Error;
use mecha_plugin_api::lock::{LockLease, LockRequest, LockStoreObject, UnlockOutcome};
use mecha_resources::component::Resolved;

use crate::App;
use crate::call::{Call, CallError};
use crate::component::Component;
use crate::observe::Operation;
use crate::state::key_prefix;
use crate::state::prefix::{IllegalKey, KeyPrefix};

/// A lock store.
pub type LockStore = Component<LockStoreObject, LockSettings>;

/// What the runtime reads from a lock store's metadata.
#[derive(Debug, Default)]
pub struct LockSettings {
    key_prefix: KeyPrefix,
}

impl LockSettings {
    pub(crate) fn read(resolved: &Resolved) -> Result<Self, Error> {
        Ok(Self { key_prefix: key_prefix(resolved)? })
    }
}

/// What every lock's key begins with, so that locks and state can share a back end.
const KIND: &str = "lock||";

const TRY_LOCK: Operation<'static> = Operation::named("try_lock");
const UNLOCK: Operation<'static> = Operation::named("unlock");

impl LockStore {
    /// The resource as the store sees it.
    ///
    /// # Errors
    /// [`IllegalKey`] when it contains the separator of prefixes.
    pub fn full_resource(&self, app: &App, resource: &str) -> Result<String, IllegalKey> {
        Ok(format!("{KIND}{}", self.settings().key_prefix.apply(app, self.name(), resource)?))
    }

    /// Takes a lock if it is free.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn try_lock(&self, call: &Call, request: LockRequest) -> Result<Option<LockLease>, CallError> {
        Ok(self
            .call(call, TRY_LOCK, request, |store, context, request| store.try_lock(context, request))
            .await?
            .into())
    }

    /// Gives a lock back.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn unlock(&self, call: &Call, resource: &str, owner: &str) -> Result<UnlockOutcome, CallError> {
        self.call(call, UNLOCK, (), |store, context, ()| store.unlock(context, resource.into(), owner.into()))
            .await
    }
}
