//! Conditions: what depends on an etag holds or is refused.

use mecha_plugin_api::object::{Conditions, GetRequest};
use mecha_plugin_api::{Buf, ErrorKind};

use super::store::{Store, get, if_match, if_none_match, key, mismatch, put};
use crate::subject::{Subject, context};
use crate::{Checked, because, is};

/// An etag that no object has.
const STALE: &str = "00000000000000000000000000000000";

pub(super) async fn a_reading_depends_on_the_etag(subject: &Subject<'_>) -> Checked {
    let (store, key) = (Store::open(subject).await?, key());
    let etag = store.put(&key, b"one").await?.etag;
    let open = |conditions| store.get(GetRequest { conditions, ..get(&key) });
    for fits in [if_match(&etag), if_match("*"), if_none_match(STALE)] {
        open(fits.clone()).await.map_err(because)?;
        store.head_if(&key, fits).await.map_err(because)?;
    }
    for (conditions, field) in [(if_match(STALE), "ifMatch"), (if_none_match(&etag), "ifNoneMatch")] {
        mismatch("get", open(conditions.clone()).await, field)?;
        mismatch("head", store.head_if(&key, conditions).await, field)?;
    }
    store.delete([key]).await
}

pub(super) async fn a_writing_depends_on_the_etag(subject: &Subject<'_>) -> Checked {
    let (store, key) = (Store::open(subject).await?, key());
    let none = store.put_if(&key, b"none", if_match(STALE)).await;
    mismatch("an object that is not there", none, "ifMatch")?;
    store.is_missing(&key).await?;
    let first = store.put_if(&key, b"one", if_none_match("*")).await.map_err(because)?;
    mismatch("a second one", store.put_if(&key, b"two", if_none_match("*")).await, "ifNoneMatch")?;
    mismatch("a stale etag", store.put_if(&key, b"two", if_match(STALE)).await, "ifMatch")?;
    store.holds(&key, b"one").await?;
    store.put_if(&key, b"two", if_match(&first.etag)).await.map_err(because)?;
    mismatch("an etag that was", store.put_if(&key, b"three", if_match(&first.etag)).await, "ifMatch")?;
    store.holds(&key, b"two").await?;
    store.delete([key]).await
}

pub(super) async fn a_deletion_depends_on_the_etag(subject: &Subject<'_>) -> Checked {
    let (store, key) = (Store::open(subject).await?, key());
    let etag = store.put(&key, b"one").await?.etag;
    mismatch("a stale etag", store.delete_if(&key, if_match(STALE)).await, "ifMatch")?;
    store.holds(&key, b"one").await?;
    store.delete_if(&key, if_match(&etag)).await.map_err(because)?;
    store.is_missing(&key).await?;
    mismatch("an object that is not there", store.delete_if(&key, if_match(&etag)).await, "ifMatch")
}

/// Both have begun before either is finished, so that only a check together with the write tells them apart.
pub(super) async fn of_two_that_create_it_one_does(subject: &Subject<'_>) -> Checked {
    let (store, key) = (Store::open(subject).await?, key());
    let request = || {
        let conditions = Conditions { if_none_match: vec!["*".into()].into(), ..Conditions::default() };
        mecha_plugin_api::object::PutRequest { conditions, ..put(&key, 3) }
    };
    let (one, two) = (store.begin(request()).await, store.begin(request()).await);
    let (one, two) = (one.map_err(because)?, two.map_err(because)?);
    for (writer, text) in [(&one, "one"), (&two, "two")] {
        writer.write(context(), Buf::from(text.to_owned())).await.into_result().map_err(because)?;
    }
    one.finish(context()).await.into_result().map_err(because)?;
    let late = two.finish(context()).await.into_result();
    match late {
        Err(error) if error.kind() == ErrorKind::ETAG_MISMATCH => {}
        Err(error) => return Err(format!("another kind of error: {error}")),
        Ok(_) => return Err("both did".to_owned()),
    }
    two.abort(context()).await.into_result().map_err(because)?;
    is("bytes", store.bytes(&key).await?, b"one".to_vec())?;
    store.delete([key]).await
}
