//! `state.in-memory`: what each request means for the map.

use std::sync::{Arc, Weak};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use mecha_plugin_api::state::{
    BulkItem, DeleteRequest, GetRequest, SetRequest, StateFeatures, StateItem, StateOperation, StateStore,
};
use mecha_plugin_api::{
    Buf, CallContext, ComponentSpec, Error, ErrorKind, Metadata, ROption, RResult, Result,
};
use tokio::task::AbortHandle;
use tokio::time::MissedTickBehavior;
use tracing::Span;

use crate::client::{Condition, Entries, Entry};
use crate::metadata::seconds_to_live;

const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Up to this length a value is copied: cheaper than what it takes to hold on to the caller's buffer, and that buffer,
/// often a whole request body, can be freed. A longer one is kept as it came.
const COPIED_UP_TO: usize = 4096;

/// The store of one component.
pub(crate) struct MemoryState {
    entries: Arc<Entries>,
    sweeper: AbortHandle,
}

impl MemoryState {
    pub(crate) async fn open(_spec: ComponentSpec) -> Result<Self> {
        let entries = Arc::new(Entries::new());
        let sweeper = tokio::spawn(sweep(Arc::downgrade(&entries))).abort_handle();
        Ok(Self { entries, sweeper })
    }

    fn get_one(&self, key: &str) -> Option<StateItem> {
        let entry = self.entries.read(key).live(key, || self.entries.now())?.clone();
        Some(item(entry))
    }

    fn get_several(&self, requests: Vec<GetRequest>) -> Vec<BulkItem> {
        let mut shards = self.entries.read_all(requests.iter().map(|request| request.key.as_str()));
        let found = requests.into_iter().map(|request| {
            let entry = shards.shard(&request.key).live(&request.key, || self.entries.now()).cloned();
            BulkItem { key: request.key, result: RResult::ROk(entry.map(item).into()) }
        });
        found.collect()
    }

    fn set_one(&self, request: SetRequest) -> Result<()> {
        let expires_at = self.expiry(&request)?;
        let entry = Entry::new(owned(request.value), expires_at);
        let condition = Condition { etag: etag(&request.etag), concurrency: request.concurrency };
        let mut shard = self.entries.write(&request.key);
        shard.check(&request.key, condition, || self.entries.now())?;
        let replaced = shard.put(&request.key, entry);
        drop(shard);
        drop(replaced);
        Ok(())
    }

    fn delete_one(&self, request: &DeleteRequest) -> Result<()> {
        let condition = Condition { etag: etag(&request.etag), concurrency: request.concurrency };
        let mut shard = self.entries.write(&request.key);
        shard.check(&request.key, condition, || self.entries.now())?;
        let removed = shard.remove(&request.key);
        drop(shard);
        drop(removed);
        Ok(())
    }

    /// Every condition is checked against the state before the transaction, as Dapr does; then nothing can fail.
    fn apply_all(&self, operations: Vec<StateOperation>) -> Result<()> {
        let mut expiries = Vec::with_capacity(operations.len());
        for operation in &operations {
            expiries.push(match operation {
                StateOperation::Upsert(request) => self.expiry(request)?,
                StateOperation::Delete(_) => None,
            });
        }
        // Declared before the locks, so that the old values are freed after them.
        let mut replaced = Vec::with_capacity(operations.len());
        let mut shards = self.entries.write_all(operations.iter().map(key));
        for operation in &operations {
            shards
                .shard(key(operation))
                .check(key(operation), condition(operation), || self.entries.now())?;
        }
        for (operation, expires_at) in operations.into_iter().zip(expiries) {
            replaced.push(match operation {
                StateOperation::Upsert(request) => {
                    let entry = Entry::new(owned(request.value), expires_at);
                    shards.shard(&request.key).put(&request.key, entry)
                }
                StateOperation::Delete(request) => shards.shard(&request.key).remove(&request.key),
            });
        }
        Ok(())
    }

    fn expiry(&self, request: &SetRequest) -> Result<Option<u64>> {
        let seconds = seconds_to_live(&request.metadata)?;
        Ok(seconds.map(|seconds| self.entries.now() + seconds * 1000))
    }

    #[cfg(test)]
    pub(crate) fn entries(&self) -> &Arc<Entries> {
        &self.entries
    }
}

impl Drop for MemoryState {
    fn drop(&mut self) {
        self.sweeper.abort();
    }
}

impl StateStore for MemoryState {
    fn features(&self) -> StateFeatures {
        StateFeatures::ETAG
            .and(StateFeatures::TRANSACTIONAL)
            .and(StateFeatures::TTL)
            .and(StateFeatures::ACTOR)
    }

    async fn get(&self, context: &CallContext, request: GetRequest) -> Result<Option<StateItem>> {
        Ok(span(context, "get", 1).in_scope(|| self.get_one(&request.key)))
    }

    async fn set(&self, context: &CallContext, request: SetRequest) -> Result<()> {
        span(context, "set", 1).in_scope(|| self.set_one(request))
    }

    async fn delete(&self, context: &CallContext, request: DeleteRequest) -> Result<()> {
        span(context, "delete", 1).in_scope(|| self.delete_one(&request))
    }

    async fn bulk_get(
        &self,
        context: &CallContext,
        requests: Vec<GetRequest>,
        _parallelism: u32,
    ) -> Result<Vec<BulkItem>> {
        Ok(span(context, "get", requests.len()).in_scope(|| self.get_several(requests)))
    }

    async fn bulk_set(&self, context: &CallContext, requests: Vec<SetRequest>) -> Result<()> {
        span(context, "set", requests.len())
            .in_scope(|| all_tried(requests.into_iter().map(|request| self.set_one(request))))
    }

    async fn bulk_delete(&self, context: &CallContext, requests: Vec<DeleteRequest>) -> Result<()> {
        span(context, "delete", requests.len())
            .in_scope(|| all_tried(requests.iter().map(|request| self.delete_one(request))))
    }

    async fn transact(
        &self,
        context: &CallContext,
        operations: Vec<StateOperation>,
        _metadata: Metadata,
    ) -> Result<()> {
        span(context, "transact", operations.len()).in_scope(|| self.apply_all(operations))
    }
}

/// Removes expired entries once a second, for as long as the store exists.
async fn sweep(entries: Weak<Entries>) {
    let mut ticks = tokio::time::interval(SWEEP_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match entries.upgrade() {
            Some(entries) => entries.sweep(),
            None => return,
        }
    }
}

/// An unsampled call makes no span at all: that is most of what a span would cost beside a look-up in memory.
fn span(context: &CallContext, operation: &'static str, keys: usize) -> Span {
    if !context.is_sampled() {
        return Span::none();
    }
    let span = tracing::debug_span!(
        "memory",
        otel.name = format_args!("memory {operation}"),
        db.system.name = "memory",
        db.operation.name = operation,
        db.operation.batch.size = tracing::field::Empty,
    );
    if keys > 1 {
        span.record("db.operation.batch.size", keys);
    }
    span
}

fn item(entry: Entry) -> StateItem {
    let mut metadata = Metadata::new();
    if let Some(at) = entry.expires_at {
        let at = UNIX_EPOCH + Duration::from_millis(at);
        metadata.insert("ttlExpireTime", humantime::format_rfc3339_seconds(at).to_string());
    }
    let mut etag = uuid::Uuid::encode_buffer();
    let etag: &str = entry.etag.hyphenated().encode_lower(&mut etag);
    StateItem { value: entry.value.into(), etag: ROption::RSome(etag.into()), metadata }
}

fn owned(value: Buf) -> Bytes {
    if value.len() <= COPIED_UP_TO { Bytes::copy_from_slice(&value) } else { value.into_bytes() }
}

fn etag(etag: &ROption<mecha_plugin_api::RString>) -> Option<&str> {
    etag.as_ref().map(|etag| etag.as_str()).into()
}

fn key(operation: &StateOperation) -> &str {
    match operation {
        StateOperation::Upsert(request) => &request.key,
        StateOperation::Delete(request) => &request.key,
    }
}

fn condition(operation: &StateOperation) -> Condition<'_> {
    match operation {
        StateOperation::Upsert(request) => {
            Condition { etag: etag(&request.etag), concurrency: request.concurrency }
        }
        StateOperation::Delete(request) => {
            Condition { etag: etag(&request.etag), concurrency: request.concurrency }
        }
    }
}

/// Dapr tries every item of a bulk write. One etag failure decides the whole answer; other failures are told together.
fn all_tried(results: impl Iterator<Item = Result<()>>) -> Result<()> {
    let mut failures: Vec<Error> = results.filter_map(Result::err).collect();
    let of_etag = |error: &Error| matches!(error.kind(), ErrorKind::ETAG_MISMATCH | ErrorKind::ETAG_INVALID);
    if let Some(at) = failures.iter().position(of_etag) {
        return Err(failures.swap_remove(at));
    }
    match failures.as_slice() {
        [] => Ok(()),
        [only] => Err(only.clone()),
        [first, ..] => {
            let texts: Vec<String> = failures.iter().map(Error::to_string).collect();
            Err(Error::new(first.kind(), texts.join("\n")).with_retriable(first.is_retriable()))
        }
    }
}
