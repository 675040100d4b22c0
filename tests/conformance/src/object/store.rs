//! An open store, whole objects in it, and what a refusal must look like.

use mecha_plugin_api::object::{
    ByteRange, Conditions, CopyRequest, DeleteRequest, GetRequest, ListPage, ListRequest, ObjectHead,
    ObjectStoreObject, Opened, PutRequest, WriteObject,
};
use mecha_plugin_api::{Buf, Error, ErrorKind, Metadata, ROption};

use crate::subject::{Subject, context, unique};
use crate::{Checked, because, is};

/// The media type of what [`Store::put`] puts.
pub(super) const CONTENT_TYPE: &str = "text/x-mecha";

/// An open store.
pub(super) struct Store {
    pub(super) store: ObjectStoreObject,
}

impl Store {
    pub(super) async fn open(subject: &Subject<'_>) -> Result<Self, String> {
        Ok(Self { store: subject.open().await? })
    }

    pub(super) async fn begin(&self, request: PutRequest) -> Result<WriteObject, Error> {
        self.store.put(context(), request).await.into_result()
    }

    /// Puts a whole object. A condition may be refused anywhere on the way.
    pub(super) async fn put_if(
        &self,
        key: &str,
        data: &[u8],
        conditions: Conditions,
    ) -> Result<ObjectHead, Error> {
        let writer = self.begin(PutRequest { conditions, ..put(key, data.len()) }).await?;
        let written = writer.write(context(), Buf::from(data.to_vec())).await.into_result();
        let finished = match written {
            Ok(()) => writer.finish(context()).await.into_result(),
            Err(error) => Err(error),
        };
        if finished.is_err() {
            writer.abort(context()).await.into_result()?;
        }
        finished
    }

    pub(super) async fn put(&self, key: &str, data: &[u8]) -> Result<ObjectHead, String> {
        self.put_if(key, data, Conditions::default()).await.map_err(because)
    }

    pub(super) async fn get(&self, request: GetRequest) -> Result<Opened, Error> {
        self.store.get(context(), request).await.into_result()
    }

    pub(super) async fn head_if(&self, key: &str, conditions: Conditions) -> Result<ObjectHead, Error> {
        self.store.head(context(), GetRequest { conditions, ..get(key) }).await.into_result()
    }

    pub(super) async fn head(&self, key: &str) -> Result<ObjectHead, String> {
        self.head_if(key, Conditions::default()).await.map_err(because)
    }

    pub(super) async fn delete_if(&self, key: &str, conditions: Conditions) -> Result<(), Error> {
        let request = DeleteRequest { key: key.into(), conditions, metadata: Metadata::new() };
        self.store.delete(context(), request).await.into_result()
    }

    pub(super) async fn delete(&self, keys: impl IntoIterator<Item = impl AsRef<str>>) -> Checked {
        for key in keys {
            self.delete_if(key.as_ref(), Conditions::default()).await.map_err(because)?;
        }
        Ok(())
    }

    pub(super) async fn copy(&self, request: CopyRequest) -> Result<ObjectHead, Error> {
        self.store.copy(context(), request).await.into_result()
    }

    pub(super) async fn list(&self, request: ListRequest) -> Result<ListPage, Error> {
        self.store.list(context(), request).await.into_result()
    }

    /// The bytes of an object.
    pub(super) async fn bytes(&self, key: &str) -> Result<Vec<u8>, String> {
        read(self.get(get(key)).await.map_err(because)?).await
    }

    /// The object holds these bytes and nothing else.
    pub(super) async fn holds(&self, key: &str, expected: &[u8]) -> Checked {
        // A difference in an object is not told by printing the whole of it.
        is("the object's bytes are those that were put", self.bytes(key).await? == expected, true)
    }

    pub(super) async fn is_missing(&self, key: &str) -> Checked {
        refused("get", self.get(get(key)).await, ErrorKind::NOT_FOUND, None)?;
        refused("head", self.head_if(key, Conditions::default()).await, ErrorKind::NOT_FOUND, None)
    }
}

pub(super) fn key() -> String {
    format!("{}.txt", unique("object"))
}

pub(super) fn get(key: &str) -> GetRequest {
    GetRequest { key: key.into(), ..GetRequest::default() }
}

pub(super) fn part(key: &str, first: Option<u64>, last: Option<u64>) -> GetRequest {
    GetRequest { range: ByteRange { first: first.into(), last: last.into() }, ..get(key) }
}

pub(super) fn put(key: &str, size: usize) -> PutRequest {
    PutRequest {
        key: key.into(),
        size: ROption::RSome(size as u64),
        content_type: CONTENT_TYPE.into(),
        ..PutRequest::default()
    }
}

pub(super) fn copy(source: &str, target: &str) -> CopyRequest {
    CopyRequest { source: source.into(), target: target.into(), ..CopyRequest::default() }
}

pub(super) fn if_match(etag: &str) -> Conditions {
    Conditions { if_match: vec![etag.into()].into(), ..Conditions::default() }
}

pub(super) fn if_none_match(etag: &str) -> Conditions {
    Conditions { if_none_match: vec![etag.into()].into(), ..Conditions::default() }
}

/// Everything of an opened object, which has as many bytes as it says.
pub(super) async fn read(opened: Opened) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    while let ROption::RSome(piece) = opened.body.next(context()).await.into_result().map_err(because)? {
        is("a piece is empty", piece.is_empty(), false)?;
        bytes.extend_from_slice(&piece);
    }
    is("bytes of the body", bytes.len() as u64, opened.length)?;
    Ok(bytes)
}

/// It is refused as it must be.
pub(super) fn refused<T>(
    what: &str,
    result: Result<T, Error>,
    kind: ErrorKind,
    field: Option<&str>,
) -> Checked {
    match result {
        Err(error) if error.kind() == kind && (field.is_none() || error.field() == field) => Ok(()),
        Err(error) => {
            let (is_kind, is_field) = (error.kind(), error.field());
            Err(format!(
                "{what}: {is_kind:?} of the field {is_field:?} instead of {kind:?} of {field:?}: {error}"
            ))
        }
        Ok(_) => Err(format!("{what}: it was not refused")),
    }
}

/// It is refused for its etag.
pub(super) fn mismatch<T>(what: &str, result: Result<T, Error>, field: &str) -> Checked {
    refused(what, result, ErrorKind::ETAG_MISMATCH, Some(field))
}
