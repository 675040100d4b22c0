//! Objects come whole, stay, and go.

use mecha_plugin_api::object::{ObjectHead, PutRequest};
use mecha_plugin_api::{Buf, ErrorKind, Metadata};

use super::store::{CONTENT_TYPE, Store, get, key, put, read};
use crate::subject::{Subject, context, unique};
use crate::{Checked, because, is};

pub(super) async fn the_back_end_answers(subject: &Subject<'_>) -> Checked {
    let store = Store::open(subject).await?;
    store.store.ping(context()).await.into_result().map_err(because)
}

pub(super) async fn what_is_put_is_got(subject: &Subject<'_>) -> Checked {
    let (store, key) = (Store::open(subject).await?, key());
    for data in [&b"bytes \0 of any \xff kind"[..], b""] {
        let object_metadata = Metadata::from_iter([("owner", "me"), ("part-of", "a check")]);
        let writer = store.begin(PutRequest { object_metadata, ..put(&key, data.len()) }).await;
        let writer = writer.map_err(because)?;
        if !data.is_empty() {
            writer.write(context(), Buf::from(data.to_vec())).await.into_result().map_err(because)?;
        }
        let answered = writer.finish(context()).await.into_result().map_err(because)?;
        let opened = store.get(get(&key)).await.map_err(because)?;
        is("first byte", opened.first, 0)?;
        for head in [&opened.head, &store.head(&key).await?] {
            describes(head, &key, data.len())?;
            is("etag of the answer", &answered.etag, &head.etag)?;
        }
        is("bytes", read(opened).await?.as_slice(), data)?;
    }
    store.delete([key]).await
}

/// What was put is told in full.
fn describes(head: &ObjectHead, key: &str, size: usize) -> Checked {
    is("key", &*head.key, key)?;
    is("size", head.size, size as u64)?;
    is("media type", &*head.content_type, CONTENT_TYPE)?;
    is(
        "metadata",
        (head.metadata.get("owner"), head.metadata.get("part-of")),
        (Some("me"), Some("a check")),
    )?;
    is("it has no etag, or one in quotes", head.etag.is_empty() || head.etag.contains('"'), false)?;
    is("it was written at some time", head.modified_ms > 0, true)
}

/// A key that a store cannot hold is refused by name; it never ends as another one.
pub(super) async fn any_key_is_kept_or_refused(subject: &Subject<'_>) -> Checked {
    let (store, folder) = (Store::open(subject).await?, unique("keys"));
    let names = [
        "a b",
        "ä/ö.txt",
        "a+b",
        "a%2Fb",
        "q?a=b&c",
        "f#g",
        "deep/er/and/deeper",
        "..",
        "a/../b",
        "/a",
        "a//b",
    ];
    for name in names {
        let key = format!("{folder}/{name}");
        match store.put_if(&key, name.as_bytes(), super::store::if_none_match("*")).await {
            Ok(_) => {
                store.holds(&key, name.as_bytes()).await.map_err(|reason| format!("{name}: {reason}"))?;
                is("key", &*store.head(&key).await?.key, &*key)?;
                store.delete([&key]).await?;
            }
            Err(error) => {
                let refusal = (error.kind(), error.field());
                is(&format!("{name}: {error}"), refusal, (ErrorKind::INVALID, Some("key")))?;
            }
        }
    }
    Ok(())
}

pub(super) async fn what_is_not_there_is_not_found(subject: &Subject<'_>) -> Checked {
    Store::open(subject).await?.is_missing(&key()).await
}

pub(super) async fn a_deletion_deletes_also_what_is_not_there(subject: &Subject<'_>) -> Checked {
    let (store, key) = (Store::open(subject).await?, key());
    store.put(&key, b"one").await?;
    store.delete([&key, &key]).await?;
    store.is_missing(&key).await
}

pub(super) async fn an_object_is_replaced_whole(subject: &Subject<'_>) -> Checked {
    let (store, key) = (Store::open(subject).await?, key());
    let first = store.put(&key, b"one, and longer").await?;
    let writer = store.begin(put(&key, 3)).await.map_err(because)?;
    writer.write(context(), Buf::from(b"two".to_vec())).await.into_result().map_err(because)?;
    store.holds(&key, b"one, and longer").await?;
    let second = writer.finish(context()).await.into_result().map_err(because)?;
    store.holds(&key, b"two").await?;
    is("the etag stays", first.etag == second.etag, false)?;
    is("etag", &store.head(&key).await?.etag, &second.etag)?;
    store.delete([key]).await
}

pub(super) async fn nothing_is_there_of_what_was_aborted(subject: &Subject<'_>) -> Checked {
    let (store, new, old) = (Store::open(subject).await?, key(), key());
    store.put(&old, b"old").await?;
    for key in [&new, &old] {
        let writer = store.begin(put(key, 6)).await.map_err(because)?;
        writer.write(context(), Buf::from(b"new".to_vec())).await.into_result().map_err(because)?;
        writer.abort(context()).await.into_result().map_err(because)?;
    }
    store.is_missing(&new).await?;
    store.holds(&old, b"old").await?;
    store.delete([old]).await
}
