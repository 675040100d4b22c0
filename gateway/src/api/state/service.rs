//! The semantics of state: which store, which key, encrypted or not; the same for both protocols.

use std::sync::Arc;

use mecha_plugin_api::state::{
    BulkItem, Concurrency, Consistency, DeleteRequest, GetRequest, SetRequest, StateFeatures, StateItem,
    StateOperation, ValueKind,
};
use mecha_plugin_api::{Buf, Metadata};
use mecha_runtime::{Call, OutboxChange, Runtime, StateStore};

use super::error;
use crate::error::ApiError;

/// One value to write, under the application's own key.
pub(super) struct Write {
    pub(super) key: String,
    pub(super) value: Buf,
    pub(super) kind: ValueKind,
    /// What the request says of the value beside its metadata.
    pub(super) content_type: Option<String>,
    pub(super) condition: Condition,
    pub(super) metadata: Metadata,
}

/// One key to delete.
pub(super) struct Removal {
    pub(super) key: String,
    pub(super) condition: Condition,
    pub(super) metadata: Metadata,
}

/// Under what circumstances a write holds.
#[derive(Default)]
pub(super) struct Condition {
    pub(super) etag: Option<String>,
    pub(super) concurrency: Concurrency,
    pub(super) consistency: Consistency,
}

/// An option's word that Dapr does not know. The text is Dapr's.
#[derive(Debug, thiserror::Error)]
#[error("unrecognized {option} model '{word}'")]
pub(super) struct Unrecognized {
    option: &'static str,
    word: String,
}

impl Condition {
    /// From the words that HTTP uses; an empty word is none.
    pub(super) fn new(
        etag: Option<String>,
        concurrency: &str,
        consistency_word: &str,
    ) -> Result<Self, Unrecognized> {
        let concurrency = match concurrency {
            "" => Concurrency::UNSPECIFIED,
            "first-write" => Concurrency::FIRST_WRITE,
            "last-write" => Concurrency::LAST_WRITE,
            other => return Err(Unrecognized { option: "concurrency", word: other.to_owned() }),
        };
        Ok(Self { etag, concurrency, consistency: consistency(consistency_word)? })
    }
}

/// A consistency from the word that HTTP uses.
pub(super) fn consistency(word: &str) -> Result<Consistency, Unrecognized> {
    match word {
        "" => Ok(Consistency::UNSPECIFIED),
        "eventual" => Ok(Consistency::EVENTUAL),
        "strong" => Ok(Consistency::STRONG),
        other => Err(Unrecognized { option: "consistency", word: other.to_owned() }),
    }
}

/// One step of a transaction.
pub(super) enum Step {
    Upsert(Write),
    Delete(Removal),
}

/// One key's answer of a bulk get.
pub(super) struct BulkAnswer {
    pub(super) key: String,
    pub(super) item: Result<Option<StateItem>, String>,
}

/// A store under the name that the application uses.
pub(super) struct Store<'a> {
    name: &'a str,
    runtime: &'a Runtime,
    call: &'a Call,
    store: Arc<StateStore>,
}

impl<'a> Store<'a> {
    pub(super) fn find(runtime: &'a Runtime, call: &'a Call, name: &'a str) -> Result<Self, ApiError> {
        let registry = runtime.registry();
        let found = registry.state_store(name);
        let store = found.map_err(|missing| error::missing(missing, name, &call.app.id))?.clone();
        Ok(Self { name, runtime, call, store })
    }

    pub(super) async fn get(
        &self,
        key: &str,
        consistency: Consistency,
        metadata: Metadata,
    ) -> Result<Option<StateItem>, ApiError> {
        let request = GetRequest { key: self.full_key(key)?.into(), consistency, metadata };
        let item =
            self.store.get(self.call, request).await.map_err(|failed| error::get(key, self.name, &failed))?;
        let opened = item.map(|item| self.opened(item)).transpose();
        opened.map_err(|reason| error::unreadable(key, self.name, &reason))
    }

    pub(super) async fn bulk_get(
        &self,
        keys: Vec<String>,
        parallelism: u32,
        metadata: &Metadata,
    ) -> Result<Vec<BulkAnswer>, ApiError> {
        let mut requests = Vec::with_capacity(keys.len());
        for key in &keys {
            let (key, metadata) = (self.full_key(key)?.into(), metadata.clone());
            requests.push(GetRequest { key, consistency: Consistency::UNSPECIFIED, metadata });
        }
        if requests.is_empty() {
            return Ok(Vec::new());
        }
        let items = self.store.bulk_get(self.call, requests, parallelism).await;
        let items = items.map_err(|failed| error::bulk_get(&failed))?;
        Ok(items.into_iter().map(|item| self.answer(item)).collect())
    }

    fn answer(&self, item: BulkItem) -> BulkAnswer {
        let key = self.store.key_prefix().strip(&item.key).to_owned();
        let read = match item.result.into_result() {
            Ok(found) => found.into_option().map(|item| self.opened(item)).transpose(),
            Err(failed) => Err(failed.to_string()),
        };
        BulkAnswer { key, item: read }
    }

    pub(super) async fn save(&self, mut writes: Vec<Write>) -> Result<(), ApiError> {
        let saved = match (writes.len(), writes.pop()) {
            (1, Some(only)) => self.store.set(self.call, self.set_request(only)?).await,
            (_, Some(last)) => {
                writes.push(last);
                let requests = writes.into_iter().map(|write| self.set_request(write));
                self.store.bulk_set(self.call, requests.collect::<Result<_, _>>()?).await
            }
            (_, None) => return Ok(()),
        };
        saved.map_err(|failed| error::save(self.name, &failed))
    }

    pub(super) async fn delete(&self, removal: Removal) -> Result<(), ApiError> {
        let key = removal.key.clone();
        let deleted = self.store.delete(self.call, self.delete_request(removal)?).await;
        deleted.map_err(|failed| error::delete(&key, &failed))
    }

    pub(super) async fn bulk_delete(&self, removals: Vec<Removal>) -> Result<(), ApiError> {
        let requests = removals.into_iter().map(|removal| self.delete_request(removal));
        let deleted = self.store.bulk_delete(self.call, requests.collect::<Result<_, _>>()?).await;
        deleted.map_err(|failed| error::bulk_delete(self.name, &failed))
    }

    pub(super) async fn transact(&self, steps: Vec<Step>, metadata: Metadata) -> Result<(), ApiError> {
        self.check_transactional()?;
        let most = self.store.max_transaction_size();
        if most != 0 && steps.len() > most as usize {
            return Err(error::too_many(self.name, steps.len(), most));
        }
        let operations = if self.store.has_outbox() {
            self.announced(steps).await?
        } else {
            steps.into_iter().map(|step| self.operation(step)).collect::<Result<_, _>>()?
        };
        if operations.is_empty() {
            return Ok(());
        }
        let done = self.store.transact(self.call, operations, metadata).await;
        done.map_err(|failed| error::transaction(&failed))
    }

    fn operation(&self, step: Step) -> Result<StateOperation, ApiError> {
        match step {
            Step::Upsert(write) => self.set_request(write).map(StateOperation::Upsert),
            Step::Delete(removal) => self.delete_request(removal).map(StateOperation::Delete),
        }
    }

    /// The operations, once the outbox has what it publishes when they hold.
    async fn announced(&self, steps: Vec<Step>) -> Result<Vec<StateOperation>, ApiError> {
        let change = |mut step: Step| {
            let content_type = match &mut step {
                Step::Upsert(write) => write.content_type.take(),
                Step::Delete(_) => None,
            };
            Ok(OutboxChange { operation: self.operation(step)?, content_type })
        };
        let changes = steps.into_iter().map(change).collect::<Result<_, ApiError>>()?;
        let announced = self.runtime.outbox().announce(self.call, &self.store, changes).await;
        announced.map_err(|failed| error::outbox(&self.call.app.id, &failed))
    }

    /// Dapr looks at this before it looks at the request.
    pub(super) fn check_transactional(&self) -> Result<(), ApiError> {
        let has = self.store.features().has(StateFeatures::TRANSACTIONAL);
        if has { Ok(()) } else { Err(error::no_transactions(self.name)) }
    }

    /// No store answers queries yet; Dapr's own have mostly lost them.
    pub(super) fn no_query(&self) -> ApiError {
        error::no_query(self.name)
    }

    /// For what the decoding finds wrong with an item to save.
    pub(super) fn save_refused(&self, wrong: &Unrecognized) -> ApiError {
        error::save_refused(self.name, &wrong.to_string())
    }

    /// For what the decoding finds wrong with a deletion.
    pub(super) fn delete_refused(key: &str, wrong: &Unrecognized) -> ApiError {
        error::delete_refused(key, &wrong.to_string())
    }

    /// For what the decoding finds wrong with a step of a transaction.
    pub(super) fn transaction_refused(wrong: &Unrecognized) -> ApiError {
        error::transaction_refused(&wrong.to_string())
    }

    /// For an operation of a transaction that nobody knows.
    pub(super) fn unknown_operation(operation: &str) -> ApiError {
        error::unknown_operation(operation)
    }

    /// gRPC has its own words for a missing key.
    pub(super) fn no_key() -> ApiError {
        error::no_key()
    }

    fn full_key(&self, key: &str) -> Result<String, ApiError> {
        let full = self.store.key_prefix().apply(&self.call.app, self.name, key);
        full.map_err(|illegal| error::illegal_key(self.name, key, illegal.to_string()))
    }

    fn set_request(&self, write: Write) -> Result<SetRequest, ApiError> {
        let key = self.full_key(&write.key)?.into();
        let (value, kind) = match self.store.encryption() {
            None => (write.value, write.kind),
            Some(encryption) => {
                let sealed = encryption.encrypt(&write.value);
                (
                    sealed.map_err(|reason| error::save_refused(self.name, &reason.to_string()))?.into(),
                    ValueKind::BYTES,
                )
            }
        };
        let Condition { etag, concurrency, consistency } = write.condition;
        let etag = etag.map(Into::into).into();
        Ok(SetRequest { key, value, kind, etag, concurrency, consistency, metadata: write.metadata })
    }

    fn delete_request(&self, removal: Removal) -> Result<DeleteRequest, ApiError> {
        let key = self.full_key(&removal.key)?.into();
        let Condition { etag, concurrency, consistency } = removal.condition;
        let etag = etag.map(Into::into).into();
        Ok(DeleteRequest { key, etag, concurrency, consistency, metadata: removal.metadata })
    }

    fn opened(&self, mut item: StateItem) -> Result<StateItem, String> {
        if let Some(encryption) = self.store.encryption() {
            item.value = encryption.decrypt(&item.value).map_err(|reason| reason.to_string())?.into();
        }
        Ok(item)
    }
}
