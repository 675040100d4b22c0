//! State stores as the runtime calls them, with what the runtime does around them: key prefix and encryption.

pub mod encryption;
pub mod prefix;

use mecha_plugin_api::state::{
    BulkItem, DeleteRequest, GetRequest, SetRequest, StateFeatures, StateItem, StateOperation, StateStoreObject,
};
use mecha_plugin_api::{Metadata, RVec};

use crate::call::{Call, CallError};
use crate::component::Component;
use crate::observe::Operation;
use encryption::Encryption;
use prefix::KeyPrefix;

/// A state store.
pub type StateStore = Component<StateStoreObject, StateSettings>;

/// What the runtime reads from a state store's metadata.
pub struct StateSettings {
    pub(crate) key_prefix: KeyPrefix,
    pub(crate) encryption: Option<Encryption>,
}

static GET: Operation = Operation::new(0, "get");
static SET: Operation = Operation::new(1, "set");
static DELETE: Operation = Operation::new(2, "delete");
static BULK_GET: Operation = Operation::new(3, "bulk_get");
static BULK_SET: Operation = Operation::new(4, "bulk_set");
static BULK_DELETE: Operation = Operation::new(5, "bulk_delete");
static TRANSACTION: Operation = Operation::new(6, "transaction");
pub(crate) static OPERATIONS: [&Operation; 7] =
    [&GET, &SET, &DELETE, &BULK_GET, &BULK_SET, &BULK_DELETE, &TRANSACTION];

impl StateStore {
    /// What the store can do.
    pub fn features(&self) -> StateFeatures {
        self.read(|store| store.features()).unwrap_or_default()
    }

    /// How many operations one transaction may hold; 0 = no limit.
    pub fn max_transaction_size(&self) -> u32 {
        self.read(|store| store.max_transaction_size()).unwrap_or_default()
    }

    /// How keys are prefixed.
    pub fn key_prefix(&self) -> &KeyPrefix {
        &self.settings().key_prefix
    }

    /// How values are encrypted, if they are.
    pub fn encryption(&self) -> Option<&Encryption> {
        self.settings().encryption.as_ref()
    }

    /// Reads a key.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn get(&self, call: &Call, request: GetRequest) -> Result<Option<StateItem>, CallError> {
        Ok(self.call(call, &GET, |store, context| store.get(context, request)).await?.into())
    }

    /// Writes a key.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn set(&self, call: &Call, request: SetRequest) -> Result<(), CallError> {
        self.call(call, &SET, |store, context| store.set(context, request)).await
    }

    /// Deletes a key.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn delete(&self, call: &Call, request: DeleteRequest) -> Result<(), CallError> {
        self.call(call, &DELETE, |store, context| store.delete(context, request)).await
    }

    /// Reads several keys.
    ///
    /// # Errors
    /// [`CallError`] when nothing could be read at all.
    pub async fn bulk_get(
        &self,
        call: &Call,
        requests: Vec<GetRequest>,
        parallelism: u32,
    ) -> Result<Vec<BulkItem>, CallError> {
        let requests = RVec::from(requests);
        let items = self.call(call, &BULK_GET, |store, context| store.bulk_get(context, requests, parallelism)).await?;
        Ok(items.into())
    }

    /// Writes several keys.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn bulk_set(&self, call: &Call, requests: Vec<SetRequest>) -> Result<(), CallError> {
        self.call(call, &BULK_SET, |store, context| store.bulk_set(context, requests.into())).await
    }

    /// Deletes several keys.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn bulk_delete(&self, call: &Call, requests: Vec<DeleteRequest>) -> Result<(), CallError> {
        self.call(call, &BULK_DELETE, |store, context| store.bulk_delete(context, requests.into())).await
    }

    /// Applies all operations or none.
    ///
    /// # Errors
    /// [`CallError`]; then nothing was applied.
    pub async fn transact(
        &self,
        call: &Call,
        operations: Vec<StateOperation>,
        metadata: Metadata,
    ) -> Result<(), CallError> {
        let operations = RVec::from(operations);
        self.call(call, &TRANSACTION, |store, context| store.transact(context, operations, metadata)).await
    }

    pub(crate) fn capabilities(&self) -> Vec<&'static str> {
        const WORDS: [(StateFeatures, &str); 6] = [
            (StateFeatures::ETAG, "ETAG"),
            (StateFeatures::TRANSACTIONAL, "TRANSACTIONAL"),
            (StateFeatures::TTL, "TTL"),
            (StateFeatures::QUERY, "QUERY_API"),
            (StateFeatures::DELETE_WITH_PREFIX, "DELETE_WITH_PREFIX"),
            (StateFeatures::ACTOR, "ACTOR"),
        ];
        let features = self.features();
        WORDS.iter().filter(|(feature, _)| features.has(*feature)).map(|(_, word)| *word).collect()
    }
}
