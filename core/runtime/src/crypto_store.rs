//! Holders of keys as the runtime calls them.

use mecha_observability::metrics::Operation as Measure;
use mecha_plugin_api::crypto::{CryptoObject, KeyRequest};
use mecha_plugin_api::{Buf, Metadata};

use crate::call::{Call, CallError};
use crate::component::Component;
use crate::observe::Operation;

/// A holder of keys.
pub type CryptoStore = Component<CryptoObject>;

const WRAP_KEY: Operation<'static> = Operation::new("wrap_key", Measure::Crypto);
const UNWRAP_KEY: Operation<'static> = Operation::new("unwrap_key", Measure::Crypto);

impl CryptoStore {
    /// Wraps a key with the key `key_name`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn wrap_key(
        &self,
        call: &Call,
        key_name: &str,
        algorithm: &str,
        key: &[u8],
    ) -> Result<Buf, CallError> {
        let request = request(key_name, algorithm, key);
        self.call(call, WRAP_KEY, request, |crypto, context, request| crypto.wrap_key(context, request)).await
    }

    /// Gives back a key that the key `key_name` wrapped.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn unwrap_key(
        &self,
        call: &Call,
        key_name: &str,
        algorithm: &str,
        key: &[u8],
    ) -> Result<Buf, CallError> {
        let request = request(key_name, algorithm, key);
        self.call(call, UNWRAP_KEY, request, |crypto, context, request| crypto.unwrap_key(context, request))
            .await
    }
}

fn request(key_name: &str, algorithm: &str, key: &[u8]) -> KeyRequest {
    let (key_name, algorithm) = (key_name.into(), algorithm.into());
    KeyRequest { key_name, algorithm, key: key.to_vec().into(), metadata: Metadata::new() }
}
