//! Cryptography: the trait that a plugin implements and its form at the boundary.
//!
//! A plugin holds keys and uses them; no key leaves it. Documents are encrypted by the runtime, with a key that is made for each
//! of them and that the plugin wraps.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use abi_stable::StableAbi;
use abi_stable::sabi_trait;
use abi_stable::std_types::RResult::RErr;
use abi_stable::std_types::{RBox, RString};

use crate::instance::{AbiFuture, ComponentScope, Shared};
use crate::{Buf, CallContext, Error, Metadata, Result};

/// A key to wrap, or a wrapped one to unwrap.
#[repr(C)]
#[derive(StableAbi, Clone)]
pub struct KeyRequest {
    /// The key that wraps, as the application calls it: a name, or a name and a version, `name/version`.
    pub key_name: RString,
    /// How, as JWA names it: `A256KW`, `RSA-OAEP-256` and so on.
    pub algorithm: RString,
    /// The key to wrap, or the wrapped one.
    pub key: Buf,
    /// Request metadata.
    pub metadata: Metadata,
}

/// Without the bytes: they may be a key.
impl fmt::Debug for KeyRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("KeyRequest")
            .field("key_name", &self.key_name)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

/// A holder of keys, as a plugin implements it.
pub trait Crypto: Send + Sync + 'static {
    /// Wraps a key, so that only [`Self::unwrap_key`] gives it back.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NOT_FOUND`] when there is no key of that name, [`crate::ErrorKind::UNSUPPORTED`] for an algorithm
    /// that the plugin or the key does not have, or any kind.
    fn wrap_key(
        &self,
        context: &CallContext,
        request: KeyRequest,
    ) -> impl Future<Output = Result<Buf>> + Send;

    /// Gives back a key that was wrapped.
    ///
    /// # Errors
    /// As [`Self::wrap_key`].
    fn unwrap_key(
        &self,
        context: &CallContext,
        request: KeyRequest,
    ) -> impl Future<Output = Result<Buf>> + Send;

    /// Whether the back end answers.
    ///
    /// # Errors
    /// [`crate::ErrorKind::UNAVAILABLE`] when it does not.
    fn ping(&self, context: &CallContext) -> impl Future<Output = Result<()>> + Send {
        let _ = context;
        async { Ok(()) }
    }
}

/// [`Crypto`] at the boundary.
#[sabi_trait]
pub trait CryptoAbi: Send + Sync {
    /// See [`Crypto::wrap_key`].
    fn wrap_key(&self, context: CallContext, request: KeyRequest) -> AbiFuture<Buf>;
    /// See [`Crypto::unwrap_key`].
    fn unwrap_key(&self, context: CallContext, request: KeyRequest) -> AbiFuture<Buf>;
    /// See [`Crypto::ping`].
    #[sabi(last_prefix_field)]
    fn ping(&self, context: CallContext) -> AbiFuture<()>;
}

/// An open holder of keys as it crosses the boundary.
pub type CryptoObject = CryptoAbi_TO<'static, RBox<()>>;

struct Adapter<C: Send + Sync + 'static>(Shared<C>);

pub(crate) fn object<C: Crypto>(crypto: C, scope: Arc<ComponentScope>) -> CryptoObject {
    CryptoAbi_TO::from_value(Adapter(Shared::new(crypto, scope)), abi_stable::sabi_trait::TD_Opaque)
}

/// What a newer host gets from a library that was built before there was cryptography.
pub(crate) fn unknown(type_name: &RString) -> AbiFuture<CryptoObject> {
    let error =
        Error::unsupported(format!("the plugin was built before cryptography: it offers no {type_name}"));
    AbiFuture::new(std::future::ready(RErr(error)))
}

impl<C: Crypto> CryptoAbi for Adapter<C> {
    fn wrap_key(&self, context: CallContext, request: KeyRequest) -> AbiFuture<Buf> {
        self.0.call(context, |crypto, context| async move { crypto.wrap_key(&context, request).await })
    }

    fn unwrap_key(&self, context: CallContext, request: KeyRequest) -> AbiFuture<Buf> {
        self.0.call(context, |crypto, context| async move { crypto.unwrap_key(&context, request).await })
    }

    fn ping(&self, context: CallContext) -> AbiFuture<()> {
        self.0.call(context, |crypto, context| async move { crypto.ping(&context).await })
    }
}
