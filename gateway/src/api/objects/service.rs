//! The semantics of object stores: what a request may ask, and what becomes of it.

use std::sync::Arc;
use std::time::Duration;

use mecha_plugin_api::Metadata;
use mecha_plugin_api::object::{
    CopyRequest, DeleteRequest, GetRequest, ListPage, ListRequest, ObjectHead, PresignRequest, Presigned,
    PutRequest,
};
use mecha_runtime::{Call, Download, Missing, ObjectSource, ObjectStore, Runtime};

use super::error::{self, Refusal, invalid};
use crate::error::ApiError;

/// Longest key, in bytes; S3's.
const LONGEST_KEY: usize = 1024;
/// Most metadata of an object, names and values, in bytes; S3's.
const MOST_METADATA: usize = 2048;
const MOST_IN_PAGE: u32 = 1000;
const DEFAULT_EXPIRY: Duration = Duration::from_secs(15 * 60);
/// S3's.
const LONGEST_EXPIRY: Duration = Duration::from_secs(7 * 24 * 3600);

pub(super) async fn get(
    runtime: &Runtime,
    call: &Call,
    store: &str,
    request: GetRequest,
) -> Result<Download, Refusal> {
    let (store, what) = (find(runtime, store)?, doing("get", &request.key)?);
    store.get(call, request).await.map_err(|failure| error::of_call(&what, &failure))
}

pub(super) async fn head(
    runtime: &Runtime,
    call: &Call,
    store: &str,
    request: GetRequest,
) -> Result<ObjectHead, Refusal> {
    let (store, what) = (find(runtime, store)?, doing("look at", &request.key)?);
    store.head(call, request).await.map_err(|failure| error::of_call(&what, &failure))
}

pub(super) async fn put(
    runtime: &Runtime,
    call: &Call,
    store: &str,
    request: PutRequest,
    source: impl ObjectSource,
) -> Result<ObjectHead, Refusal> {
    let (store, what) = (find(runtime, store)?, doing("put", &request.key)?);
    let object_metadata = kept(&request.object_metadata)?;
    let request = PutRequest { object_metadata, ..request };
    store.put(call, request, source).await.map_err(|failure| error::of_put(&what, failure))
}

pub(super) async fn delete(
    runtime: &Runtime,
    call: &Call,
    store: &str,
    request: DeleteRequest,
) -> Result<(), Refusal> {
    let (store, what) = (find(runtime, store)?, doing("delete", &request.key)?);
    store.delete(call, request).await.map_err(|failure| error::of_call(&what, &failure))
}

pub(super) async fn list(
    runtime: &Runtime,
    call: &Call,
    store: &str,
    request: ListRequest,
) -> Result<ListPage, Refusal> {
    let store = find(runtime, store)?;
    let limit = match request.limit {
        0 => MOST_IN_PAGE,
        limit if limit <= MOST_IN_PAGE => limit,
        limit => return Err(invalid(format!("limit {limit} is more than {MOST_IN_PAGE}")).into()),
    };
    let request = ListRequest { limit, ..request };
    store.list(call, request).await.map_err(|failure| error::of_call("cannot list objects", &failure))
}

pub(super) async fn copy(
    runtime: &Runtime,
    call: &Call,
    store: &str,
    request: CopyRequest,
) -> Result<ObjectHead, Refusal> {
    let store = find(runtime, store)?;
    doing("copy to", &request.target)?;
    let what = doing("copy", &request.source)?;
    store.copy(call, request).await.map_err(|failure| error::of_call(&what, &failure))
}

/// `request` without its time; that is in `seconds`, 0 for the default.
pub(super) async fn presign(
    runtime: &Runtime,
    call: &Call,
    store: &str,
    request: PresignRequest,
    seconds: u32,
) -> Result<Presigned, Refusal> {
    let (store, what) = (find(runtime, store)?, doing("presign", &request.key)?);
    let ttl = if seconds == 0 { DEFAULT_EXPIRY } else { Duration::from_secs(seconds.into()) };
    if ttl > LONGEST_EXPIRY {
        return Err(invalid(format!("an address is good for at most {} s", LONGEST_EXPIRY.as_secs())).into());
    }
    let method = match &*request.method {
        "" => "GET".into(),
        "GET" | "PUT" => request.method,
        other => return Err(invalid(format!("method {other:?} is neither GET nor PUT")).into()),
    };
    let ttl_ns = u64::try_from(ttl.as_nanos()).unwrap_or(u64::MAX);
    let request = PresignRequest { ttl_ns, method, ..request };
    store.presign(call, request).await.map_err(|failure| error::of_call(&what, &failure))
}

fn find(runtime: &Runtime, store: &str) -> Result<Arc<ObjectStore>, ApiError> {
    let registry = runtime.registry();
    registry.object_store(store).cloned().map_err(|missing| match missing {
        Missing::NotConfigured => error::not_configured(),
        Missing::NotFound => error::not_found(store),
    })
}

/// What is being done, for the error's text; refuses keys that no store could hold.
fn doing(what: &str, key: &str) -> Result<String, ApiError> {
    if key.is_empty() {
        return Err(invalid("the object's key is empty"));
    }
    if key.len() > LONGEST_KEY {
        return Err(invalid(format!("the object's key has more than {LONGEST_KEY} bytes")));
    }
    if key.contains(char::is_control) {
        return Err(invalid("the object's key has a control character"));
    }
    Ok(format!("cannot {what} object {key}"))
}

/// An object's metadata as every store and both protocols can carry it.
fn kept(metadata: &Metadata) -> Result<Metadata, ApiError> {
    let mut size = 0;
    for (name, value) in metadata.iter() {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if name.is_empty() || !name.bytes().all(fits) {
            return Err(invalid(format!("metadata {name:?}: names are letters, digits, '-', '_' and '.'")));
        }
        if !value.bytes().all(|byte| (b' '..=b'~').contains(&byte)) || value.trim() != value {
            return Err(invalid(format!("metadata {name}: values are ASCII without spaces at their ends")));
        }
        size += name.len() + value.len();
    }
    if size > MOST_METADATA {
        return Err(invalid(format!("the object's metadata has {size} bytes, more than {MOST_METADATA}")));
    }
    Ok(metadata.iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_metadata_that_can_be_carried_is_kept() {
        let of = |name: &str, value: &str| kept(&Metadata::from_iter([(name, value)]));
        assert_eq!(of("Owner", "me too").unwrap().iter().next(), Some(("owner", "me too")));
        for (name, value) in [("", "a"), ("a b", "a"), ("a", "ä"), ("a", " a"), ("a", "b\r\nc")] {
            assert_eq!(of(name, value).unwrap_err().code, "ERR_OBJECT_INVALID", "{name}: {value:?}");
        }
        assert!(of("a", &"x".repeat(2047)).is_ok());
        assert!(of("a", &"x".repeat(2048)).is_err());
    }

    #[test]
    fn keys_that_no_store_could_hold_are_refused() {
        assert_eq!(doing("get", "a/b").unwrap(), "cannot get object a/b");
        for key in ["", "a\nb", "a\0", &"k".repeat(1025)] {
            assert!(doing("get", key).is_err(), "{key:?}");
        }
    }
}
