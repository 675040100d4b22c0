//! The changes of a subscription that the host has not pulled yet: one for each key, its latest.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mecha_plugin_api::configuration::{ConfigurationItem, VERSION};
use mecha_plugin_api::source::{Delivery, Settlement, Source};
use mecha_plugin_api::{CallContext, Metadata, RString, Result};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::item;
use super::watch::Watch;
use crate::client::Client;

/// What was last seen of each key, and what the host does not know yet.
#[derive(Default)]
pub(crate) struct Changes {
    state: Mutex<State>,
    arrived: Notify,
}

#[derive(Default)]
struct State {
    /// A hash of each item: enough to tell a change.
    seen: HashMap<String, u64>,
    hasher: RandomState,
    order: VecDeque<String>,
    latest: HashMap<String, Option<ConfigurationItem>>,
    last_id: u64,
}

impl Changes {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what lies under a key now. `tells` is false for the state that a subscription begins with.
    pub(crate) fn observe(&self, key: String, text: Option<&str>, tells: bool) {
        let found = text.and_then(|text| item(key.clone(), text));
        let mut state = self.state();
        let before = match &found {
            Some(item) => {
                let hash = state.hasher.hash_one((item.value.as_str(), item.version.as_str()));
                state.seen.insert(key.clone(), hash).map(|before| (before, hash))
            }
            None => state.seen.remove(&key).map(|before| (before, !before)),
        };
        let is_change = match before {
            Some((before, now)) => before != now,
            None => found.is_some(),
        };
        if !is_change || !tells {
            return;
        }
        if state.latest.insert(key.clone(), found).is_none() {
            state.order.push_back(key);
        }
        drop(state);
        self.arrived.notify_one();
    }

    /// The keys that had an item when last seen.
    pub(crate) fn known(&self) -> Vec<String> {
        self.state().seen.keys().cloned().collect()
    }

    fn take(&self, max: u32) -> Vec<Delivery> {
        let mut state = self.state();
        let count = state.order.len().min(usize::try_from(max).unwrap_or(usize::MAX));
        let keys: Vec<String> = state.order.drain(..count).collect();
        let mut deliveries = Vec::with_capacity(count);
        for key in keys {
            let item = state.latest.remove(&key).flatten();
            state.last_id += 1;
            deliveries.push(delivery(state.last_id, &key, item));
        }
        deliveries
    }
}

fn delivery(id: u64, key: &str, item: Option<ConfigurationItem>) -> Delivery {
    let (mut data, mut metadata) = (String::new(), Metadata::new());
    if let Some(item) = item {
        data = item.value.into();
        if !item.version.is_empty() {
            metadata.insert(VERSION, item.version.as_str());
        }
    }
    Delivery {
        id,
        redelivered: 0,
        ordering_key: RString::new(),
        topic: key.into(),
        data: data.into(),
        content_type: RString::new(),
        metadata,
    }
}

/// An open subscription; dropping it ends it.
pub(crate) struct ChangeSource {
    changes: Arc<Changes>,
    task: JoinHandle<()>,
}

impl ChangeSource {
    /// Listens, then reads the state that changes are told against.
    pub(crate) async fn start(client: Client, context: CallContext, keys: Vec<String>) -> Result<Self> {
        let changes = Arc::new(Changes::default());
        let watch = Watch::open(client, context, keys, changes.clone()).await?;
        Ok(Self { changes, task: tokio::spawn(watch.run()) })
    }
}

impl Drop for ChangeSource {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Source for ChangeSource {
    async fn next(&self, _context: &CallContext, max: u32, wait: Duration) -> Result<Vec<Delivery>> {
        let deadline = tokio::time::Instant::now().checked_add(wait);
        loop {
            let deliveries = self.changes.take(max);
            if !deliveries.is_empty() {
                return Ok(deliveries);
            }
            let arrived = self.changes.arrived.notified();
            match deadline {
                None => arrived.await,
                Some(deadline) => {
                    if tokio::time::timeout_at(deadline, arrived).await.is_err() {
                        return Ok(self.changes.take(max));
                    }
                }
            }
        }
    }

    /// Changes need no settlement.
    async fn settle(&self, _context: &CallContext, _settlements: Vec<Settlement>) -> Result<()> {
        Ok(())
    }

    async fn close(&self, _context: &CallContext) -> Result<()> {
        self.task.abort();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(changes: &Changes) -> Vec<(String, String, Option<String>)> {
        let parts = |delivery: Delivery| {
            let value = String::from_utf8(delivery.data.to_vec()).unwrap();
            (delivery.topic.into(), value, delivery.metadata.get(VERSION).map(str::to_owned))
        };
        changes.take(100).into_iter().map(parts).collect()
    }

    fn told(key: &str, value: &str, version: Option<&str>) -> (String, String, Option<String>) {
        (key.into(), value.into(), version.map(str::to_owned))
    }

    #[test]
    fn the_first_state_is_not_told_and_later_changes_are() {
        let changes = Changes::default();
        changes.observe("a".into(), Some("1||v1"), false);
        changes.observe("a".into(), Some("1||v1"), true);
        assert!(taken(&changes).is_empty());
        changes.observe("a".into(), Some("1||v2"), true);
        changes.observe("b".into(), Some("2"), true);
        assert_eq!(taken(&changes), [told("a", "1", Some("v2")), told("b", "2", None)]);
    }

    #[test]
    fn only_the_latest_of_a_key_waits() {
        let changes = Changes::default();
        changes.observe("a".into(), Some("1"), true);
        changes.observe("b".into(), Some("1"), true);
        changes.observe("a".into(), Some("2"), true);
        assert_eq!(taken(&changes), [told("a", "2", None), told("b", "1", None)]);
    }

    #[test]
    fn a_deletion_is_an_empty_change_told_once() {
        let changes = Changes::default();
        changes.observe("never".into(), None, true);
        changes.observe("a".into(), Some("1"), false);
        changes.observe("a".into(), None, true);
        changes.observe("a".into(), None, true);
        assert_eq!(taken(&changes), [told("a", "", None)]);
        assert!(changes.known().is_empty());
    }
}
