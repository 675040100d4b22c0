//! State stores: the trait that a plugin implements, its values, and its form at the boundary.

use std::future::Future;
use std::sync::Arc;

use abi_stable::StableAbi;
use abi_stable::sabi_trait;
use abi_stable::std_types::{RBox, ROption, RResult, RString, RVec};

use crate::instance::{AbiFuture, ComponentScope, Shared};
use crate::{Buf, CallContext, Error, Metadata, Result};

/// What a store can do beyond get, set and delete. A set of bits.
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StateFeatures(pub u32);

impl StateFeatures {
    /// Etags for optimistic concurrency.
    pub const ETAG: Self = Self(1);
    /// Several operations at once, all or nothing.
    pub const TRANSACTIONAL: Self = Self(1 << 1);
    /// Expiry of keys.
    pub const TTL: Self = Self(1 << 2);
    /// Fit for actor state: etags, transactions and strong consistency.
    pub const ACTOR: Self = Self(1 << 3);
    /// Deletion of all keys with a prefix.
    pub const DELETE_WITH_PREFIX: Self = Self(1 << 4);
    /// Queries over values.
    pub const QUERY: Self = Self(1 << 5);

    /// Both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether every bit of `other` is set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// How a write treats a value that changed since it was read.
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Concurrency(pub u8);

impl Concurrency {
    /// As the store likes: last write wins.
    pub const UNSPECIFIED: Self = Self(0);
    /// The first writer wins.
    pub const FIRST_WRITE: Self = Self(1);
    /// The last writer wins.
    pub const LAST_WRITE: Self = Self(2);
}

/// How many replicas must have seen an operation.
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Consistency(pub u8);

impl Consistency {
    /// As the store likes.
    pub const UNSPECIFIED: Self = Self(0);
    /// One is enough.
    pub const EVENTUAL: Self = Self(1);
    /// As many as the store needs for the next read to see it.
    pub const STRONG: Self = Self(2);
}

/// What a value's bytes are. Stores that keep text (SQLite) store the two kinds differently.
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ValueKind(pub u8);

impl ValueKind {
    /// Any bytes.
    pub const BYTES: Self = Self(0);
    /// A JSON text in UTF-8.
    pub const JSON: Self = Self(1);
}

/// Reads one key.
#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct GetRequest {
    /// The full key, with its prefix.
    pub key: RString,
    /// Wanted consistency.
    pub consistency: Consistency,
    /// Request metadata.
    pub metadata: Metadata,
}

/// A stored value.
#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct StateItem {
    /// The value as it was stored.
    pub value: Buf,
    /// Its etag, if the store has etags.
    pub etag: ROption<RString>,
    /// Response metadata, e.g. `ttlExpireTime` (RFC 3339).
    pub metadata: Metadata,
}

/// Writes one key.
#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct SetRequest {
    /// The full key, with its prefix.
    pub key: RString,
    /// The value.
    pub value: Buf,
    /// What the value's bytes are.
    pub kind: ValueKind,
    /// Write only if the stored etag is this one.
    pub etag: ROption<RString>,
    /// Wanted concurrency.
    pub concurrency: Concurrency,
    /// Wanted consistency.
    pub consistency: Consistency,
    /// Request metadata, e.g. `ttlInSeconds`.
    pub metadata: Metadata,
}

/// Deletes one key; a key that is not there is no error.
#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct DeleteRequest {
    /// The full key, with its prefix.
    pub key: RString,
    /// Delete only if the stored etag is this one.
    pub etag: ROption<RString>,
    /// Wanted concurrency.
    pub concurrency: Concurrency,
    /// Wanted consistency.
    pub consistency: Consistency,
    /// Request metadata.
    pub metadata: Metadata,
}

/// One step of a transaction.
#[repr(u8)]
#[derive(StableAbi, Clone, Debug)]
pub enum StateOperation {
    /// A write.
    Upsert(SetRequest),
    /// A deletion.
    Delete(DeleteRequest),
}

/// One key's part of a bulk answer.
#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct BulkItem {
    /// The full key, as asked.
    pub key: RString,
    /// What reading that key gave.
    pub result: RResult<ROption<StateItem>, Error>,
}

/// A state store, as a plugin implements it.
///
/// Keys arrive with the application's prefix already applied. Times to live come as `ttlInSeconds` in the metadata; use
/// [`ttl_in_seconds`].
pub trait StateStore: Send + Sync + 'static {
    /// What the store can do.
    fn features(&self) -> StateFeatures;

    /// Reads a key; `None` when it is not there or has expired.
    ///
    /// # Errors
    /// Any kind.
    fn get(
        &self,
        context: &CallContext,
        request: GetRequest,
    ) -> impl Future<Output = Result<Option<StateItem>>> + Send;

    /// Writes a key.
    ///
    /// # Errors
    /// [`crate::ErrorKind::ETAG_MISMATCH`] and [`crate::ErrorKind::ETAG_INVALID`] when an etag was given, or any kind.
    fn set(&self, context: &CallContext, request: SetRequest) -> impl Future<Output = Result<()>> + Send;

    /// Deletes a key.
    ///
    /// # Errors
    /// As [`StateStore::set`].
    fn delete(
        &self,
        context: &CallContext,
        request: DeleteRequest,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Reads several keys, at most `parallelism` at a time (0 = as the store likes). One key's failure is that key's
    /// alone. The default reads one after the other.
    ///
    /// # Errors
    /// Only when nothing could be read at all.
    fn bulk_get(
        &self,
        context: &CallContext,
        requests: Vec<GetRequest>,
        parallelism: u32,
    ) -> impl Future<Output = Result<Vec<BulkItem>>> + Send {
        let _ = parallelism;
        async move {
            let mut items = Vec::with_capacity(requests.len());
            for request in requests {
                let key = request.key.clone();
                let result = self.get(context, request).await.map(ROption::from).into();
                items.push(BulkItem { key, result });
            }
            Ok(items)
        }
    }

    /// Writes several keys. The default writes one after the other and stops at the first failure.
    ///
    /// # Errors
    /// The first failure.
    fn bulk_set(
        &self,
        context: &CallContext,
        requests: Vec<SetRequest>,
    ) -> impl Future<Output = Result<()>> + Send {
        async move {
            for request in requests {
                self.set(context, request).await?;
            }
            Ok(())
        }
    }

    /// Deletes several keys. The default deletes one after the other and stops at the first failure.
    ///
    /// # Errors
    /// The first failure.
    fn bulk_delete(
        &self,
        context: &CallContext,
        requests: Vec<DeleteRequest>,
    ) -> impl Future<Output = Result<()>> + Send {
        async move {
            for request in requests {
                self.delete(context, request).await?;
            }
            Ok(())
        }
    }

    /// Applies all operations or none. Called only when [`StateFeatures::TRANSACTIONAL`] is set.
    ///
    /// # Errors
    /// As [`StateStore::set`]; then nothing was applied.
    fn transact(
        &self,
        context: &CallContext,
        operations: Vec<StateOperation>,
        metadata: Metadata,
    ) -> impl Future<Output = Result<()>> + Send {
        let _ = (context, operations, metadata);
        async { Err(Error::unsupported("the store has no transactions")) }
    }

    /// How many operations one transaction may hold; 0 = no limit.
    fn max_transaction_size(&self) -> u32 {
        0
    }

    /// Whether the back end answers.
    ///
    /// # Errors
    /// [`crate::ErrorKind::UNAVAILABLE`] when it does not.
    fn ping(&self, context: &CallContext) -> impl Future<Output = Result<()>> + Send {
        let _ = context;
        async { Ok(()) }
    }
}

/// `ttlInSeconds` of a request: `None` when absent; zero or less means "no expiry".
///
/// # Errors
/// [`crate::ErrorKind::INVALID`] when it is not a whole number.
pub fn ttl_in_seconds(metadata: &Metadata) -> Result<Option<i64>> {
    match metadata.get("ttlInSeconds").filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => match text.parse::<i64>() {
            Ok(seconds) if seconds >= -1 && seconds <= i64::from(i32::MAX) => Ok(Some(seconds)),
            _ => Err(Error::invalid(format!("incorrect value for ttlInSeconds: '{text}'"))
                .with_field("ttlInSeconds")),
        },
    }
}

/// [`StateStore`] at the boundary.
#[sabi_trait]
pub trait StateStoreAbi: Send + Sync {
    /// See [`StateStore::features`].
    fn features(&self) -> StateFeatures;
    /// See [`StateStore::max_transaction_size`].
    fn max_transaction_size(&self) -> u32;
    /// See [`StateStore::get`].
    fn get(&self, context: CallContext, request: GetRequest) -> AbiFuture<ROption<StateItem>>;
    /// See [`StateStore::set`].
    fn set(&self, context: CallContext, request: SetRequest) -> AbiFuture<()>;
    /// See [`StateStore::delete`].
    fn delete(&self, context: CallContext, request: DeleteRequest) -> AbiFuture<()>;
    /// See [`StateStore::bulk_get`].
    fn bulk_get(
        &self,
        context: CallContext,
        requests: RVec<GetRequest>,
        parallelism: u32,
    ) -> AbiFuture<RVec<BulkItem>>;
    /// See [`StateStore::bulk_set`].
    fn bulk_set(&self, context: CallContext, requests: RVec<SetRequest>) -> AbiFuture<()>;
    /// See [`StateStore::bulk_delete`].
    fn bulk_delete(&self, context: CallContext, requests: RVec<DeleteRequest>) -> AbiFuture<()>;
    /// See [`StateStore::transact`].
    fn transact(
        &self,
        context: CallContext,
        operations: RVec<StateOperation>,
        metadata: Metadata,
    ) -> AbiFuture<()>;
    /// See [`StateStore::ping`].
    #[sabi(last_prefix_field)]
    fn ping(&self, context: CallContext) -> AbiFuture<()>;
}

/// An open state store as it crosses the boundary.
pub type StateStoreObject = StateStoreAbi_TO<'static, RBox<()>>;

struct Adapter<S: Send + Sync + 'static>(Shared<S>);

pub(crate) fn object<S: StateStore>(store: S, scope: Arc<ComponentScope>) -> StateStoreObject {
    StateStoreAbi_TO::from_value(Adapter(Shared::new(store, scope)), abi_stable::sabi_trait::TD_Opaque)
}

impl<S: StateStore> StateStoreAbi for Adapter<S> {
    fn features(&self) -> StateFeatures {
        self.0.with(|store| store.features()).unwrap_or_default()
    }

    fn max_transaction_size(&self) -> u32 {
        self.0.with(|store| store.max_transaction_size()).unwrap_or_default()
    }

    fn get(&self, context: CallContext, request: GetRequest) -> AbiFuture<ROption<StateItem>> {
        self.0.call(
            context,
            |store, context| async move { store.get(&context, request).await.map(ROption::from) },
        )
    }

    fn set(&self, context: CallContext, request: SetRequest) -> AbiFuture<()> {
        self.0.call(context, |store, context| async move { store.set(&context, request).await })
    }

    fn delete(&self, context: CallContext, request: DeleteRequest) -> AbiFuture<()> {
        self.0.call(context, |store, context| async move { store.delete(&context, request).await })
    }

    fn bulk_get(
        &self,
        context: CallContext,
        requests: RVec<GetRequest>,
        parallelism: u32,
    ) -> AbiFuture<RVec<BulkItem>> {
        self.0.call(context, move |store, context| async move {
            store.bulk_get(&context, requests.into(), parallelism).await.map(RVec::from)
        })
    }

    fn bulk_set(&self, context: CallContext, requests: RVec<SetRequest>) -> AbiFuture<()> {
        self.0.call(context, |store, context| async move { store.bulk_set(&context, requests.into()).await })
    }

    fn bulk_delete(&self, context: CallContext, requests: RVec<DeleteRequest>) -> AbiFuture<()> {
        self.0
            .call(context, |store, context| async move { store.bulk_delete(&context, requests.into()).await })
    }

    fn transact(
        &self,
        context: CallContext,
        operations: RVec<StateOperation>,
        metadata: Metadata,
    ) -> AbiFuture<()> {
        self.0.call(context, |store, context| async move {
            store.transact(&context, operations.into(), metadata).await
        })
    }

    fn ping(&self, context: CallContext) -> AbiFuture<()> {
        self.0.call(context, |store, context| async move { store.ping(&context).await })
    }
}
