//! A state store in this binary that does the memory plugin's work for a get and a set: a sharded map, a new etag a write,
//! small values copied.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::{PoisonError, RwLock};

use bytes::Bytes;
use foldhash::fast::RandomState;
use mecha_plugin_api::state::{DeleteRequest, GetRequest, SetRequest, StateFeatures, StateItem, StateStore};
use mecha_plugin_api::{CallContext, Metadata, ROption, Result};
use uuid::Uuid;

const SHARDS: usize = 64;
/// As in the plugin.
const COPIED_UP_TO: usize = 4096;

#[derive(Clone)]
struct Entry {
    value: Bytes,
    etag: Uuid,
}

/// The store.
pub(super) struct DirectState {
    hasher: RandomState,
    shards: Vec<RwLock<HashMap<String, Entry, RandomState>>>,
}

impl Default for DirectState {
    fn default() -> Self {
        let hasher = RandomState::default();
        let shards = (0..SHARDS).map(|_| RwLock::new(HashMap::with_hasher(hasher.clone()))).collect();
        Self { hasher, shards }
    }
}

impl DirectState {
    fn shard(&self, key: &str) -> &RwLock<HashMap<String, Entry, RandomState>> {
        &self.shards[(self.hasher.hash_one(key) >> 32) as usize % SHARDS]
    }
}

impl StateStore for DirectState {
    fn features(&self) -> StateFeatures {
        StateFeatures::ETAG
    }

    async fn get(&self, _context: &CallContext, request: GetRequest) -> Result<Option<StateItem>> {
        let shard = self.shard(&request.key).read().unwrap_or_else(PoisonError::into_inner);
        let Some(entry) = shard.get(request.key.as_str()).cloned() else { return Ok(None) };
        drop(shard);
        let mut etag = Uuid::encode_buffer();
        let etag: &str = entry.etag.hyphenated().encode_lower(&mut etag);
        Ok(Some(StateItem {
            value: entry.value.into(),
            etag: ROption::RSome(etag.into()),
            metadata: Metadata::new(),
        }))
    }

    async fn set(&self, _context: &CallContext, request: SetRequest) -> Result<()> {
        let value = match request.value.len() {
            0..=COPIED_UP_TO => Bytes::copy_from_slice(&request.value),
            _ => request.value.into_bytes(),
        };
        let entry = Entry { value, etag: uuid::Builder::from_random_bytes(rand::random()).into_uuid() };
        let mut shard = self.shard(&request.key).write().unwrap_or_else(PoisonError::into_inner);
        let replaced = match shard.get_mut(request.key.as_str()) {
            Some(present) => Some(std::mem::replace(present, entry)),
            None => shard.insert(request.key.into(), entry),
        };
        drop(shard);
        drop(replaced);
        Ok(())
    }

    async fn delete(&self, _context: &CallContext, request: DeleteRequest) -> Result<()> {
        self.shard(&request.key).write().unwrap_or_else(PoisonError::into_inner).remove(request.key.as_str());
        Ok(())
    }
}
