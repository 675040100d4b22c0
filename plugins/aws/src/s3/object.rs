//! The requests for one object.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::StorageClass;
use bytes::{Bytes, BytesMut};
use mecha_plugin_api::{CallContext, ErrorKind};
use tracing::Instrument as _;

use super::ahead::Incoming;
use crate::client::ask;
use crate::error::Failure;
use crate::span;

/// Room made for an object before it has come; a larger one makes the buffer grow.
const MOST_RESERVED: usize = 64 * 1024 * 1024;

/// A bucket and the client for it.
#[derive(Clone)]
pub(crate) struct Bucket {
    pub(crate) client: Client,
    pub(crate) name: String,
}

/// An object to store.
pub(crate) struct NewObject {
    pub(crate) key: String,
    pub(crate) body: ByteStream,
    pub(crate) content_type: Option<String>,
    pub(crate) storage_class: Option<String>,
    pub(crate) tagging: Option<String>,
}

/// What is known of an object that was stored.
pub(crate) struct Stored {
    /// Its address.
    pub(crate) location: String,
    pub(crate) version_id: Option<String>,
}

impl Bucket {
    /// Whether the bucket is there and the credentials are known; lacking the right to list it is an answer.
    pub(crate) async fn ping(&self) -> Result<(), Failure> {
        let asked = ask(self.client.list_objects_v2().bucket(&self.name).max_keys(1).send()).await;
        match asked {
            Err(failure) if failure.kind() != ErrorKind::DENIED || failure.is_about_component() => {
                Err(failure)
            }
            _ => Ok(()),
        }
    }

    /// Stores an object whole.
    pub(crate) async fn put(&self, context: &CallContext, object: NewObject) -> Result<Stored, Failure> {
        let span = span::object(context, "PutObject", &self.name);
        let location = Arc::new(Mutex::new(String::new()));
        let seen = location.clone();
        let request = self
            .client
            .put_object()
            .bucket(&self.name)
            .key(object.key)
            .body(object.body)
            .set_content_type(object.content_type)
            .set_storage_class(object.storage_class.as_deref().map(StorageClass::from))
            .set_tagging(object.tagging)
            .customize()
            .mutate_request(move |request| {
                let address = request.uri().split('?').next().unwrap_or_default().to_owned();
                *seen.lock().unwrap_or_else(PoisonError::into_inner) = address;
            });
        let stored = ask(request.send()).instrument(span.clone()).await;
        span::record(&span, stored.as_ref().err());
        let location = std::mem::take(&mut *location.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(Stored { location, version_id: stored?.version_id })
    }

    /// Reads an object whole.
    pub(crate) async fn get(&self, context: &CallContext, key: &str) -> Result<Bytes, Failure> {
        let span = span::object(context, "GetObject", &self.name);
        let reading = async {
            let answer = ask(self.client.get_object().bucket(&self.name).key(key).send()).await?;
            let length =
                answer.content_length.and_then(|length| usize::try_from(length).ok()).unwrap_or_default();
            read(answer.body, length).await
        };
        let read = reading.instrument(span.clone()).await;
        span::record(&span, read.as_ref().err());
        read
    }

    /// Starts to read an object.
    pub(crate) async fn stream(&self, key: &str) -> Result<ByteStream, Failure> {
        Ok(ask(self.client.get_object().bucket(&self.name).key(key).send()).await?.body)
    }

    /// Deletes an object; one that is not there is no error to S3.
    pub(crate) async fn delete(&self, context: &CallContext, key: &str) -> Result<(), Failure> {
        let span = span::object(context, "DeleteObject", &self.name);
        let deleting = ask(self.client.delete_object().bucket(&self.name).key(key).send());
        let deleted = deleting.instrument(span.clone()).await.map(drop);
        span::record(&span, deleted.as_ref().err());
        deleted
    }

    /// An address from which anybody can get the object for a while. Nothing is sent.
    pub(crate) async fn presign(&self, key: &str, ttl: Duration) -> Result<String, Failure> {
        let how = PresigningConfig::expires_in(ttl)
            .map_err(|error| Failure::new(ErrorKind::INVALID, error.to_string()))?;
        let presigned = ask(self.client.get_object().bucket(&self.name).key(key).presigned(how)).await?;
        Ok(presigned.uri().to_owned())
    }
}

async fn read(body: ByteStream, length: usize) -> Result<Bytes, Failure> {
    let mut body = Incoming::new(body, length as u64);
    // Most objects are one piece, which needs no copy.
    let (mut first, mut whole) = (Bytes::new(), BytesMut::new());
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(broken)?;
        if first.is_empty() && whole.is_empty() {
            first = piece;
            continue;
        }
        if whole.is_empty() {
            whole.reserve(
                length.clamp(first.len() + piece.len(), MOST_RESERVED.max(first.len() + piece.len())),
            );
            whole.extend_from_slice(&std::mem::take(&mut first));
        }
        whole.extend_from_slice(&piece);
    }
    Ok(if whole.is_empty() { first } else { whole.freeze() })
}

/// An object that stopped coming.
pub(crate) fn broken(error: impl std::fmt::Display) -> Failure {
    Failure::new(ErrorKind::UNAVAILABLE, format!("error reading S3 object body: {error}"))
}
