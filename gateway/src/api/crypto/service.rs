//! The semantics of encryption and decryption, with Dapr's errors: bytes come from a source, and go out by the segment.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use mecha_enc::{Cipher, FileKey, HeaderReader, KeyAlgorithm, Manifest, Opener, Sealer, seal};
use mecha_runtime::{Call, CryptoStore, Missing, Runtime};
use tonic::Code;

use crate::error::ApiError;

const CATEGORY: &str = "crypto";

/// Where a text or a document comes from.
pub(super) trait Source: Send {
    /// Its next bytes; `None` at its end. An error is a caller that broke off.
    fn next(&mut self) -> impl Future<Output = Option<Result<Bytes, String>>> + Send;
}

/// How a text is encrypted.
pub(super) struct Encryption<'a> {
    pub(super) key_name: &'a str,
    pub(super) algorithm: &'a str,
    /// Empty for the usual one.
    pub(super) cipher: &'a str,
    pub(super) omits_key_name: bool,
    /// The key that the document names; empty for the one that encrypts.
    pub(super) decryption_key_name: &'a str,
}

/// The component, in the order in which Dapr looks.
pub(super) fn component(runtime: &Runtime, name: &str) -> Result<Arc<CryptoStore>, ApiError> {
    let registry = runtime.registry();
    let missing = match registry.crypto_store(name) {
        Ok(component) => return Ok(component.clone()),
        Err(missing) => missing,
    };
    Err(match missing {
        Missing::NotConfigured => {
            let (http, grpc) = (StatusCode::INTERNAL_SERVER_ERROR, Code::Internal);
            let message = "crypto providers not configured";
            ApiError::new("ERR_CRYPTO_PROVIDERS_NOT_CONFIGURED", CATEGORY, http, grpc, message)
        }
        Missing::NotFound if name.is_empty() => invalid("missing component name"),
        Missing::NotFound => {
            let (http, grpc) = (StatusCode::BAD_REQUEST, Code::InvalidArgument);
            let message = format!("crypto provider {name} not found");
            ApiError::new("ERR_CRYPTO_PROVIDER_NOT_FOUND", CATEGORY, http, grpc, message)
        }
    })
}

/// A request that lacks something.
pub(super) fn invalid(reason: impl std::fmt::Display) -> ApiError {
    let (http, grpc) = (StatusCode::BAD_REQUEST, Code::InvalidArgument);
    ApiError::new("ERR_BAD_REQUEST", "common", http, grpc, format!("invalid request: {reason}"))
}

/// An operation that failed.
pub(super) fn failed(reason: impl std::fmt::Display) -> ApiError {
    let (http, grpc) = (StatusCode::INTERNAL_SERVER_ERROR, Code::Internal);
    ApiError::new("ERR_CRYPTO", CATEGORY, http, grpc, format!("failed to perform operation: {reason}"))
}

/// Begins a document: makes its key and has it wrapped.
pub(super) async fn encrypt<S: Source>(
    call: &Call,
    component: &CryptoStore,
    asked: Encryption<'_>,
    source: S,
) -> Result<Work<S>, ApiError> {
    let algorithm = KeyAlgorithm::named(asked.algorithm).map_err(failed)?;
    let cipher = match asked.cipher {
        "" => Cipher::default(),
        name => Cipher::named(name).map_err(failed)?,
    };
    let key = FileKey::generate().map_err(failed)?;
    let wrapped = component.wrap_key(call, asked.key_name, algorithm.name(), key.bytes()).await;
    let wrapped = wrapped.map_err(|error| failed(format_args!("failed to wrap the file key: {error}")))?;
    let key_name = match (asked.omits_key_name, asked.decryption_key_name) {
        (true, _) => "",
        (false, "") => asked.key_name,
        (false, name) => name,
    };
    let manifest = Manifest { key_name: key_name.into(), algorithm, wrapped_key: wrapped.to_vec(), cipher };
    let (header, sealer) = seal(&key, &manifest).map_err(failed)?;
    Ok(Work { source, input: Bytes::new(), ready: Some(header), segments: Some(Segments::Sealing(sealer)) })
}

/// Begins with the text of a document: reads its header and has its key unwrapped. `key_name` stands above the document's.
pub(super) async fn decrypt<S: Source>(
    call: &Call,
    component: &CryptoStore,
    key_name: &str,
    mut source: S,
) -> Result<Work<S>, ApiError> {
    let (mut reader, mut input) = (HeaderReader::default(), Bytes::new());
    let header = loop {
        if let Some(header) = reader.read(&mut input).map_err(failed)? {
            break header;
        }
        input = source.next().await.ok_or_else(|| failed(reader.incomplete()))?.map_err(failed)?;
    };
    let (manifest, key_name) = (header.manifest(), header.key_name(key_name).map_err(failed)?);
    let unwrapped =
        component.unwrap_key(call, key_name, manifest.algorithm.name(), &manifest.wrapped_key).await;
    // As in Dapr the caller does not learn whether the key is missing or another one: the signature does not fit, is all.
    let key = match unwrapped {
        Ok(key) => FileKey::unwrapped(&key),
        Err(error) => {
            tracing::debug!(component = component.name(), "a document's key could not be unwrapped: {error}");
            FileKey::unwrapped(&[])
        }
    };
    let opener = header.open(&key).map_err(failed)?;
    Ok(Work { source, input, ready: None, segments: Some(Segments::Opening(opener)) })
}

/// A document or a text that is being made.
pub(super) struct Work<S> {
    source: S,
    /// What came and is not used yet.
    input: Bytes,
    /// What goes out before anything else.
    ready: Option<Bytes>,
    /// `None` after the end.
    segments: Option<Segments>,
}

enum Segments {
    Sealing(Sealer),
    Opening(Opener),
}

impl<S: Source> Work<S> {
    /// The next part; `None` when it is whole. Reads no further than that takes.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, String> {
        if let Some(ready) = self.ready.take() {
            return Ok(Some(ready));
        }
        loop {
            let Some(segments) = &mut self.segments else { return Ok(None) };
            let part = match segments {
                Segments::Sealing(sealer) => sealer.next(&mut self.input),
                Segments::Opening(opener) => opener.next(&mut self.input),
            };
            if let Some(part) = part.map_err(|error| error.to_string())? {
                return Ok(Some(part));
            }
            match self.source.next().await {
                Some(input) => self.input = input?,
                None => return self.finish(),
            }
        }
    }

    fn finish(&mut self) -> Result<Option<Bytes>, String> {
        let part = match self.segments.take() {
            Some(Segments::Sealing(sealer)) => sealer.finish(),
            Some(Segments::Opening(opener)) => opener.finish(),
            None => Ok(None),
        };
        part.map_err(|error| error.to_string())
    }
}
