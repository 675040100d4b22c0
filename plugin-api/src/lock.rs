//! Locks: the trait that a plugin implements and its form at the boundary.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use abi_stable::StableAbi;
use abi_stable::sabi_trait;
use abi_stable::std_types::{RBox, ROption, RString};

use crate::instance::{AbiFuture, ComponentScope, Shared};
use crate::{CallContext, Error, Metadata, Result};

/// Who asks for which lock.
#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct LockRequest {
    /// What is locked, with the application's prefix.
    pub resource: RString,
    /// Who holds it; only the same owner can give it back.
    pub owner: RString,
    /// After this long without renewal the lock is free again, in nanoseconds.
    pub expiry_ns: u64,
    /// Request metadata.
    pub metadata: Metadata,
}

impl LockRequest {
    /// After how long without renewal the lock is free again.
    pub fn expiry(&self) -> Duration {
        Duration::from_nanos(self.expiry_ns)
    }
}

/// A lock that was taken.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LockLease {
    /// Grows with every holder of the resource, so that what a late holder writes can be told from its successor's; absent
    /// where the back end cannot count.
    pub fencing_token: ROption<u64>,
}

/// What became of giving a lock back.
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnlockOutcome(pub u8);

impl UnlockOutcome {
    /// It is free now.
    pub const UNLOCKED: Self = Self(0);
    /// Nobody held it.
    pub const NOT_LOCKED: Self = Self(1);
    /// Somebody else holds it.
    pub const BELONGS_TO_OTHERS: Self = Self(2);
}

/// A lock store, as a plugin implements it.
pub trait LockStore: Send + Sync + 'static {
    /// Takes the lock if it is free; `None` when somebody holds it, the same owner included.
    ///
    /// # Errors
    /// Any kind.
    fn try_lock(
        &self,
        context: &CallContext,
        request: LockRequest,
    ) -> impl Future<Output = Result<Option<LockLease>>> + Send;

    /// Gives the lock back, if `owner` holds it.
    ///
    /// # Errors
    /// Any kind.
    fn unlock(
        &self,
        context: &CallContext,
        resource: &str,
        owner: &str,
    ) -> impl Future<Output = Result<UnlockOutcome>> + Send;

    /// Starts the lock's expiry anew; `false` when its owner does not hold it any more.
    ///
    /// # Errors
    /// [`crate::ErrorKind::UNSUPPORTED`] where the back end cannot, or any kind.
    fn renew(
        &self,
        context: &CallContext,
        request: LockRequest,
    ) -> impl Future<Output = Result<bool>> + Send {
        let _ = (context, request);
        async { Err(Error::unsupported("the lock store cannot renew locks")) }
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

/// [`LockStore`] at the boundary.
#[sabi_trait]
pub trait LockStoreAbi: Send + Sync {
    /// See [`LockStore::try_lock`].
    fn try_lock(&self, context: CallContext, request: LockRequest) -> AbiFuture<ROption<LockLease>>;
    /// See [`LockStore::unlock`].
    fn unlock(&self, context: CallContext, resource: RString, owner: RString) -> AbiFuture<UnlockOutcome>;
    /// See [`LockStore::renew`].
    fn renew(&self, context: CallContext, request: LockRequest) -> AbiFuture<bool>;
    /// See [`LockStore::ping`].
    #[sabi(last_prefix_field)]
    fn ping(&self, context: CallContext) -> AbiFuture<()>;
}

/// An open lock store as it crosses the boundary.
pub type LockStoreObject = LockStoreAbi_TO<'static, RBox<()>>;

struct Adapter<L: Send + Sync + 'static>(Shared<L>);

pub(crate) fn object<L: LockStore>(store: L, scope: Arc<ComponentScope>) -> LockStoreObject {
    LockStoreAbi_TO::from_value(Adapter(Shared::new(store, scope)), abi_stable::sabi_trait::TD_Opaque)
}

impl<L: LockStore> LockStoreAbi for Adapter<L> {
    fn try_lock(&self, context: CallContext, request: LockRequest) -> AbiFuture<ROption<LockLease>> {
        self.0.call(context, |store, context| async move {
            store.try_lock(&context, request).await.map(ROption::from)
        })
    }

    fn unlock(&self, context: CallContext, resource: RString, owner: RString) -> AbiFuture<UnlockOutcome> {
        self.0.call(context, |store, context| async move { store.unlock(&context, &resource, &owner).await })
    }

    fn renew(&self, context: CallContext, request: LockRequest) -> AbiFuture<bool> {
        self.0.call(context, |store, context| async move { store.renew(&context, request).await })
    }

    fn ping(&self, context: CallContext) -> AbiFuture<()> {
        self.0.call(context, |store, context| async move { store.ping(&context).await })
    }
}
