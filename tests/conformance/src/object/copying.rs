//! Copies inside the store.

use mecha_plugin_api::object::{CopyRequest, PutRequest};
use mecha_plugin_api::{Buf, ErrorKind, Metadata};

use super::store::{CONTENT_TYPE, Store, copy, if_match, if_none_match, key, mismatch, put, refused};
use crate::subject::{Subject, context};
use crate::{Checked, because, is};

pub(super) async fn a_copy_has_all_of_its_source(subject: &Subject<'_>) -> Checked {
    let (store, source, target) = (Store::open(subject).await?, key(), key());
    let object_metadata = Metadata::from_iter([("owner", "me")]);
    let writer = store.begin(PutRequest { object_metadata, ..put(&source, 5) }).await.map_err(because)?;
    writer.write(context(), Buf::from(b"bytes".to_vec())).await.into_result().map_err(because)?;
    writer.finish(context()).await.into_result().map_err(because)?;
    let copied = store.copy(copy(&source, &target)).await.map_err(because)?;
    let head = store.head(&target).await?;
    is("etag of the answer", &copied.etag, &head.etag)?;
    is(
        "media type and owner",
        (&*head.content_type, head.metadata.get("owner")),
        (CONTENT_TYPE, Some("me")),
    )?;
    // The copy stands on its own.
    store.put(&source, b"other").await?;
    store.holds(&target, b"bytes").await?;
    store.delete([source, target]).await
}

pub(super) async fn a_copy_depends_on_both_objects(subject: &Subject<'_>) -> Checked {
    let (store, source, target) = (Store::open(subject).await?, key(), key());
    let stale = store.put(&source, b"one").await?.etag;
    let etag = store.put(&source, b"two").await?.etag;
    store.put(&target, b"there").await?;
    let refused = CopyRequest { source_conditions: if_match(&stale), ..copy(&source, &target) };
    mismatch("another source", store.copy(refused).await, "ifMatch")?;
    let refused = CopyRequest { conditions: if_none_match("*"), ..copy(&source, &target) };
    mismatch("a target that is there", store.copy(refused).await, "ifNoneMatch")?;
    store.holds(&target, b"there").await?;
    let fits = CopyRequest { source_conditions: if_match(&etag), ..copy(&source, &target) };
    store.copy(fits).await.map_err(because)?;
    store.holds(&target, b"two").await?;
    store.delete([source, target]).await
}

pub(super) async fn nothing_cannot_be_copied(subject: &Subject<'_>) -> Checked {
    let (store, target) = (Store::open(subject).await?, key());
    let copied = store.copy(copy(&key(), &target)).await;
    refused("no source", copied, ErrorKind::NOT_FOUND, None)?;
    store.is_missing(&target).await
}
