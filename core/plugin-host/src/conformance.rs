//! The checks that every component of a capability must pass, run on a plugin file loaded as the product loads it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mecha_plugin_api::state::{
    Concurrency, Consistency, DeleteRequest, GetRequest, SetRequest, StateFeatures, StateItem,
    StateStoreObject, ValueKind,
};
use mecha_plugin_api::{CallContext, Capability, ComponentSpec, ErrorKind, Metadata, ROption};

use crate::inspect::{Silent, load_for_inspection};
use crate::{Generation, Refusal};

/// One check on one component type.
pub struct Outcome {
    /// The component type.
    pub type_name: String,
    /// Its version.
    pub version: String,
    /// What was checked.
    pub check: &'static str,
    /// Passed, or why not.
    pub result: Result<(), String>,
}

/// Loads a plugin file and checks each of its component types opened with `metadata`.
///
/// # Errors
/// The [`Refusal`] that the running process would log.
pub async fn check(path: &Path, metadata: &Metadata) -> Result<Vec<Outcome>, Refusal> {
    let (library, identity, _copies) = load_for_inspection(path)?;
    let generation = Generation::start(&library, identity, path.to_owned(), 0, Arc::new(Silent))?;
    let mut outcomes = Vec::new();
    for component in &library.description.components {
        let mut spec = ComponentSpec::new("check", &component.type_name, metadata.clone());
        spec.version = component.version.clone();
        let mut add = |check, result| {
            let (type_name, version) = (component.type_name.to_string(), component.version.to_string());
            outcomes.push(Outcome { type_name, version, check, result });
        };
        if component.capability == Capability::STATE_STORE {
            match generation.open::<StateStoreObject>(spec).await {
                Ok(store) => state_store(&store, &mut add).await,
                Err(error) => add("opens", Err(error.to_string())),
            }
        }
    }
    generation.retire(Duration::from_secs(1)).await;
    Ok(outcomes)
}

type Add<'a> = &'a mut (dyn FnMut(&'static str, Result<(), String>) + Send);

async fn state_store(store: &StateStoreObject, add: Add<'_>) {
    add("opens", Ok(()));
    let key = format!("mecha-check||{}", std::process::id());
    add("reads what was written", reads_back(store, &key).await);
    if store.features().has(StateFeatures::ETAG) {
        add("refuses a stale etag", refuses_stale_etag(store, &key).await);
    }
    add("deletes, also what is not there", deletes(store, &key).await);
}

async fn reads_back(store: &StateStoreObject, key: &str) -> Result<(), String> {
    set(store, key, b"\"one\"", None).await.map_err(|error| error.to_string())?;
    let item = get(store, key).await?.ok_or("the key is not there after a write")?;
    if &*item.value == b"\"one\"" {
        Ok(())
    } else {
        Err(format!("read {:?}", String::from_utf8_lossy(&item.value)))
    }
}

async fn refuses_stale_etag(store: &StateStoreObject, key: &str) -> Result<(), String> {
    let item = get(store, key).await?.ok_or("the key is not there")?;
    let etag = item.etag.into_option().ok_or("the store has etags but gave none")?;
    set(store, key, b"\"two\"", Some(&etag))
        .await
        .map_err(|error| format!("with the current etag: {error}"))?;
    match set(store, key, b"\"three\"", Some(&etag)).await {
        Err(error) if error.kind() == ErrorKind::ETAG_MISMATCH => Ok(()),
        Err(error) => Err(format!("kind {} instead of etag_mismatch", error.kind().name())),
        Ok(()) => Err("a write with a stale etag went through".into()),
    }
}

async fn deletes(store: &StateStoreObject, key: &str) -> Result<(), String> {
    for _ in 0..2 {
        let request = DeleteRequest {
            key: key.into(),
            etag: ROption::RNone,
            concurrency: Concurrency::UNSPECIFIED,
            consistency: Consistency::UNSPECIFIED,
            metadata: Metadata::new(),
        };
        let deleted = store.delete(CallContext::background("check"), request).await.into_result();
        deleted.map_err(|error| error.to_string())?;
    }
    match get(store, key).await? {
        None => Ok(()),
        Some(_) => Err("the key is still there".into()),
    }
}

async fn set(
    store: &StateStoreObject,
    key: &str,
    value: &'static [u8],
    etag: Option<&str>,
) -> mecha_plugin_api::Result<()> {
    let request = SetRequest {
        key: key.into(),
        value: mecha_plugin_api::Buf::from_static(value),
        kind: ValueKind::JSON,
        etag: etag.map(Into::into).into(),
        concurrency: Concurrency::FIRST_WRITE,
        consistency: Consistency::STRONG,
        metadata: Metadata::new(),
    };
    store.set(CallContext::background("check"), request).await.into_result()
}

async fn get(store: &StateStoreObject, key: &str) -> Result<Option<StateItem>, String> {
    let request = GetRequest { key: key.into(), consistency: Consistency::STRONG, metadata: Metadata::new() };
    let read = store.get(CallContext::background("check"), request).await.into_result();
    read.map(ROption::into_option).map_err(|error| error.to_string())
}
