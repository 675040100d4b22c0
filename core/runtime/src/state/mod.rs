//! State stores as the runtime calls them, with what the runtime does around them: key prefix and encryption.

pub mod encryption;
pub mod prefix;

use mecha_observability::metrics::Operation as Measure;
use mecha_plugin_api::state::{
    BulkItem, Concurrency, DeleteRequest, GetRequest, SetRequest, StateFeatures, StateItem, StateOperation,
    StateStoreObject,
};
use mecha_plugin_api::{Error, ErrorKind, Metadata, RVec};
use mecha_resources::component::{Resolved, ValueSource};

use crate::call::{Call, CallError};
use crate::component::Component;
use crate::definition::Definition;
use crate::observe::Operation;
use crate::outbox::OutboxSettings;
use encryption::{Encryption, EncryptionError, EncryptionKey};
use prefix::KeyPrefix;

/// A state store.
pub type StateStore = Component<StateStoreObject, StateSettings>;

/// What the runtime reads from a state store's metadata.
pub struct StateSettings {
    pub(crate) key_prefix: KeyPrefix,
    pub(crate) encryption: Option<Encryption>,
    pub(crate) outbox: Option<OutboxSettings>,
}

const PRIMARY_KEY: &str = "primaryEncryptionKey";
const SECONDARY_KEY: &str = "secondaryEncryptionKey";

impl StateSettings {
    pub(crate) fn read(definition: &Definition, resolved: &Resolved) -> Result<Self, Error> {
        let key_prefix = key_prefix(resolved)?;
        let key = |field: &str| {
            encryption_key(field, definition, resolved).map_err(|error| wrong_key(field, &error))
        };
        let (primary, secondary) = (key(PRIMARY_KEY)?, key(SECONDARY_KEY)?);
        let encryption = match (primary, secondary) {
            (Some(primary), secondary) => Some(Encryption::new(primary, secondary)),
            (None, Some(_)) => {
                return Err(Error::invalid("is set without a primaryEncryptionKey").with_field(SECONDARY_KEY));
            }
            (None, None) => None,
        };
        Ok(Self { key_prefix, encryption, outbox: OutboxSettings::read(resolved) })
    }
}

/// The strategy under `keyPrefix`.
pub(crate) fn key_prefix(resolved: &Resolved) -> Result<KeyPrefix, Error> {
    let strategy =
        resolved.properties.iter().find(|property| property.name.eq_ignore_ascii_case("keyPrefix"));
    let strategy = strategy.map(|property| property.value.as_str()).filter(|value| !value.is_empty());
    KeyPrefix::parse(strategy).map_err(|error| Error::invalid(error.to_string()).with_field("keyPrefix"))
}

fn wrong_key(field: &str, error: &EncryptionError) -> Error {
    Error::new(ErrorKind::INVALID, error.to_string()).with_field(field)
}

/// The key under `field`; its name is the secret's. A key that does not come from a secret is refused: daprd silently stores
/// such a store's values in clear.
fn encryption_key(
    field: &str,
    definition: &Definition,
    resolved: &Resolved,
) -> Result<Option<EncryptionKey>, EncryptionError> {
    let Some(property) = resolved.properties.iter().find(|property| property.name == field) else {
        return Ok(None);
    };
    let item = definition.resource.metadata.iter().rfind(|item| item.name == field);
    let secret = item.and_then(|item| item.secret_key_ref.as_ref());
    match secret.filter(|_| property.source == ValueSource::Secret) {
        Some(secret) => EncryptionKey::from_hex(&secret.name, &property.value).map(Some),
        None => Err(EncryptionError::Unnamed),
    }
}

const GET: Operation<'static> = Operation::new("get", Measure::Get);
const SET: Operation<'static> = Operation::new("set", Measure::Set);
const DELETE: Operation<'static> = Operation::new("delete", Measure::Delete);
const BULK_GET: Operation<'static> = Operation::new("bulk_get", Measure::BulkGet);
const BULK_SET: Operation<'static> = Operation::new("bulk_set", Measure::Set);
const BULK_DELETE: Operation<'static> = Operation::new("bulk_delete", Measure::BulkDelete);
const TRANSACTION: Operation<'static> = Operation::new("transaction", Measure::Transaction);

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
        Ok(self.call(call, GET, request, |store, context, request| store.get(context, request)).await?.into())
    }

    /// Writes a key.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn set(&self, call: &Call, request: SetRequest) -> Result<(), CallError> {
        self.call(call, SET, request, |store, context, request| store.set(context, request)).await
    }

    /// Deletes a key.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn delete(&self, call: &Call, request: DeleteRequest) -> Result<(), CallError> {
        self.call(call, DELETE, request, |store, context, request| store.delete(context, request)).await
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
        let items = self
            .call(call, BULK_GET, requests, |store, context, requests| {
                store.bulk_get(context, requests, parallelism)
            })
            .await?;
        Ok(items.into())
    }

    /// Writes several keys.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn bulk_set(&self, call: &Call, requests: Vec<SetRequest>) -> Result<(), CallError> {
        let is_conditional =
            |request: &SetRequest| request.etag.is_some() || request.concurrency == Concurrency::FIRST_WRITE;
        if self.is_repeated() && requests.iter().any(is_conditional) {
            for request in requests {
                self.set(call, request).await?;
            }
            return Ok(());
        }
        let requests = RVec::from(requests);
        self.call(call, BULK_SET, requests, |store, context, requests| store.bulk_set(context, requests))
            .await
    }

    /// Deletes several keys.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn bulk_delete(&self, call: &Call, requests: Vec<DeleteRequest>) -> Result<(), CallError> {
        if self.is_repeated() && requests.iter().any(|request| request.etag.is_some()) {
            for request in requests {
                self.delete(call, request).await?;
            }
            return Ok(());
        }
        let requests = RVec::from(requests);
        self.call(call, BULK_DELETE, requests, |store, context, requests| {
            store.bulk_delete(context, requests)
        })
        .await
    }

    /// Whether a policy repeats what failed. A bulk then goes one by one where its items have conditions: repeated as a whole,
    /// the items that were written the first time would meet their own new etags.
    fn is_repeated(&self) -> bool {
        self.policies().outbound.get().is_some_and(|policy| policy.has_retries())
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
        let request = (RVec::from(operations), metadata);
        self.call(call, TRANSACTION, request, |store, context, (operations, metadata)| {
            store.transact(context, operations, metadata)
        })
        .await
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
