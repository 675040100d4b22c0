//! Object stores: the trait that a plugin implements and its form at the boundary.
//!
//! Bytes are pulled and pushed piece by piece, and the host does both: it takes the next piece of a [`Read`] when the caller
//! has taken the last one, and gives a [`Write`] the next piece when it has taken the last one. So whoever is slower holds the
//! other back, and neither side ever holds an object whole.

mod stream;
mod values;

use std::future::Future;
use std::sync::Arc;

use abi_stable::sabi_trait;
use abi_stable::std_types::{RBox, RString};

use crate::instance::{AbiFuture, ComponentScope, Shared};
use crate::{CallContext, Error, Result};

pub use stream::{
    Body, Read, ReadAbi, ReadAbi_TO, ReadObject, Upload, Write, WriteAbi, WriteAbi_TO, WriteObject,
};
pub use values::{
    ByteRange, Conditions, CopyRequest, DeleteRequest, GetRequest, ListPage, ListRequest, ObjectFeatures,
    ObjectHead, Opened, PresignRequest, Presigned, PutRequest,
};

/// A store of objects, as a plugin implements it.
///
/// A key is any text; a store that cannot hold one answers [`crate::ErrorKind::INVALID`] with the field `key`. A condition that
/// does not hold is [`crate::ErrorKind::ETAG_MISMATCH`], and a range that lies outside [`crate::ErrorKind::INVALID`] with the field
/// `range`; [`Conditions::check`] and [`ByteRange::within`] make both.
pub trait ObjectStore: Send + Sync + 'static {
    /// What the store can do.
    fn features(&self) -> ObjectFeatures {
        ObjectFeatures::default()
    }

    /// Opens an object. Its bytes are pulled from the answer's body; dropping that ends the reading.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NOT_FOUND`] when there is none, or any kind.
    fn get(&self, context: &CallContext, request: GetRequest) -> impl Future<Output = Result<Body>> + Send;

    /// Begins an object. It appears, whole, when its [`Write::finish`] returns, in place of one of that key; until then nothing
    /// of it can be seen. The request's conditions are checked no later than then.
    ///
    /// # Errors
    /// Any kind.
    fn put(&self, context: &CallContext, request: PutRequest) -> impl Future<Output = Result<Upload>> + Send;

    /// What the store knows of an object.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NOT_FOUND`] when there is none, or any kind.
    fn head(
        &self,
        context: &CallContext,
        request: GetRequest,
    ) -> impl Future<Output = Result<ObjectHead>> + Send;

    /// Deletes an object; one that is not there is deleted already, unless a condition asks for it.
    ///
    /// # Errors
    /// Any kind.
    fn delete(
        &self,
        context: &CallContext,
        request: DeleteRequest,
    ) -> impl Future<Output = Result<()>> + Send;

    /// One page of a listing, in the order of the keys' bytes.
    ///
    /// # Errors
    /// [`crate::ErrorKind::INVALID`] with the field `cursor` for one that is not the store's, or any kind.
    fn list(
        &self,
        context: &CallContext,
        request: ListRequest,
    ) -> impl Future<Output = Result<ListPage>> + Send;

    /// Copies an object inside the store, with its media type and metadata. The bytes do not pass through the host.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NOT_FOUND`] when there is no source, or any kind.
    fn copy(
        &self,
        context: &CallContext,
        request: CopyRequest,
    ) -> impl Future<Output = Result<ObjectHead>> + Send;

    /// Makes an address at which anybody can get or put one object for a while.
    ///
    /// # Errors
    /// [`crate::ErrorKind::UNSUPPORTED`] where the store has no addresses, or any kind.
    fn presign(
        &self,
        context: &CallContext,
        request: PresignRequest,
    ) -> impl Future<Output = Result<Presigned>> + Send {
        let _ = (context, request);
        async { Err(Error::unsupported("the object store cannot presign addresses")) }
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

/// [`ObjectStore`] at the boundary.
#[sabi_trait]
pub trait ObjectStoreAbi: Send + Sync {
    /// See [`ObjectStore::features`].
    fn features(&self) -> ObjectFeatures;
    /// See [`ObjectStore::get`].
    fn get(&self, context: CallContext, request: GetRequest) -> AbiFuture<Opened>;
    /// See [`ObjectStore::put`].
    fn put(&self, context: CallContext, request: PutRequest) -> AbiFuture<WriteObject>;
    /// See [`ObjectStore::head`].
    fn head(&self, context: CallContext, request: GetRequest) -> AbiFuture<ObjectHead>;
    /// See [`ObjectStore::delete`].
    fn delete(&self, context: CallContext, request: DeleteRequest) -> AbiFuture<()>;
    /// See [`ObjectStore::list`].
    fn list(&self, context: CallContext, request: ListRequest) -> AbiFuture<ListPage>;
    /// See [`ObjectStore::copy`].
    fn copy(&self, context: CallContext, request: CopyRequest) -> AbiFuture<ObjectHead>;
    /// See [`ObjectStore::presign`].
    fn presign(&self, context: CallContext, request: PresignRequest) -> AbiFuture<Presigned>;
    /// See [`ObjectStore::ping`].
    #[sabi(last_prefix_field)]
    fn ping(&self, context: CallContext) -> AbiFuture<()>;
}

/// An open object store as it crosses the boundary.
pub type ObjectStoreObject = ObjectStoreAbi_TO<'static, RBox<()>>;

struct Adapter<O: Send + Sync + 'static>(Shared<O>);

pub(crate) fn object<O: ObjectStore>(store: O, scope: Arc<ComponentScope>) -> ObjectStoreObject {
    ObjectStoreAbi_TO::from_value(Adapter(Shared::new(store, scope)), abi_stable::sabi_trait::TD_Opaque)
}

/// What a newer host gets from a library that was built before there were object stores.
pub(crate) fn unknown(type_name: &RString) -> AbiFuture<ObjectStoreObject> {
    let error =
        Error::unsupported(format!("the plugin was built before object stores: it offers no {type_name}"));
    AbiFuture::new(std::future::ready(abi_stable::std_types::RResult::RErr(error)))
}

impl<O: ObjectStore> ObjectStoreAbi for Adapter<O> {
    fn features(&self) -> ObjectFeatures {
        self.0.with(|store| store.features()).unwrap_or_default()
    }

    fn get(&self, context: CallContext, request: GetRequest) -> AbiFuture<Opened> {
        let scope = self.0.scope();
        self.0.call(context, |store, context| async move {
            Ok(store.get(&context, request).await?.into_opened(scope))
        })
    }

    fn put(&self, context: CallContext, request: PutRequest) -> AbiFuture<WriteObject> {
        let scope = self.0.scope();
        self.0.call(context, |store, context| async move {
            Ok(store.put(&context, request).await?.into_object(scope))
        })
    }

    fn head(&self, context: CallContext, request: GetRequest) -> AbiFuture<ObjectHead> {
        self.0.call(context, |store, context| async move { store.head(&context, request).await })
    }

    fn delete(&self, context: CallContext, request: DeleteRequest) -> AbiFuture<()> {
        self.0.call(context, |store, context| async move { store.delete(&context, request).await })
    }

    fn list(&self, context: CallContext, request: ListRequest) -> AbiFuture<ListPage> {
        self.0.call(context, |store, context| async move { store.list(&context, request).await })
    }

    fn copy(&self, context: CallContext, request: CopyRequest) -> AbiFuture<ObjectHead> {
        self.0.call(context, |store, context| async move { store.copy(&context, request).await })
    }

    fn presign(&self, context: CallContext, request: PresignRequest) -> AbiFuture<Presigned> {
        self.0.call(context, |store, context| async move { store.presign(&context, request).await })
    }

    fn ping(&self, context: CallContext) -> AbiFuture<()> {
        self.0.call(context, |store, context| async move { store.ping(&context).await })
    }
}
