//! One shard of the map: entries by key, and the order in which those with a time to live expire.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use foldhash::fast::RandomState;
use mecha_plugin_api::state::Concurrency;
use mecha_plugin_api::{Error, ErrorKind, Result};
use uuid::Uuid;

/// Milliseconds since the Unix epoch.
pub(crate) type UnixMillis = u64;

/// A stored value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) value: Bytes,
    pub(crate) etag: Uuid,
    /// `None` = never.
    pub(crate) expires_at: Option<UnixMillis>,
}

impl Entry {
    /// An entry with an etag of its own, in the form of Dapr's: a random UUID.
    pub(crate) fn new(value: Bytes, expires_at: Option<UnixMillis>) -> Self {
        let etag = uuid::Builder::from_random_bytes(rand::random()).into_uuid();
        Self { value, etag, expires_at }
    }

    fn has_etag(&self, etag: &str) -> bool {
        let mut text = Uuid::encode_buffer();
        self.etag.hyphenated().encode_lower(&mut text) == etag
    }
}

/// What must hold for a write to happen.
#[derive(Clone, Copy)]
pub(crate) struct Condition<'a> {
    /// The etag that the caller read; empty counts as none.
    pub(crate) etag: Option<&'a str>,
    pub(crate) concurrency: Concurrency,
}

/// The entries of one shard.
pub(crate) struct Shard {
    entries: HashMap<Arc<str>, Entry, RandomState>,
    /// Exactly the entries with a time to live, soonest first; so a sweep looks at nothing that stays.
    expiring: BTreeSet<(UnixMillis, Arc<str>)>,
}

impl Shard {
    pub(crate) fn new(hasher: RandomState) -> Self {
        Self { entries: HashMap::with_hasher(hasher), expiring: BTreeSet::new() }
    }

    /// The entry of `key`, unless it has expired. `now` is asked only when it matters.
    pub(crate) fn live(&self, key: &str, now: impl FnOnce() -> UnixMillis) -> Option<&Entry> {
        let entry = self.entries.get(key)?;
        match entry.expires_at {
            Some(at) if at <= now() => None,
            _ => Some(entry),
        }
    }

    /// Whether a write of `key` may happen.
    pub(crate) fn check(
        &self,
        key: &str,
        condition: Condition<'_>,
        now: impl FnOnce() -> UnixMillis,
    ) -> Result<()> {
        match condition.etag.filter(|etag| !etag.is_empty()) {
            Some(etag) => match self.live(key, now) {
                Some(entry) if entry.has_etag(etag) => Ok(()),
                Some(entry) => Err(mismatch(format!(
                    "state etag not match for key={key}: current={}, expect={etag}",
                    entry.etag
                ))),
                None => Err(mismatch(format!("state not exist or expired for key={key}"))),
            },
            None if condition.concurrency == Concurrency::FIRST_WRITE && self.live(key, now).is_some() => {
                Err(mismatch("item already exists and no etag was passed".to_owned()))
            }
            None => Ok(()),
        }
    }

    /// Stores an entry. The one it replaces is given back, to be freed when no lock is held.
    pub(crate) fn put(&mut self, key: &str, entry: Entry) -> Option<Entry> {
        let Some((stored_key, stored)) = self.entries.get_key_value(key) else {
            let key = Arc::from(key);
            self.schedule(&key, entry.expires_at);
            return self.entries.insert(key, entry);
        };
        if stored.expires_at.is_some() || entry.expires_at.is_some() {
            let stored_key = stored_key.clone();
            self.unschedule(&stored_key, stored.expires_at);
            self.schedule(&stored_key, entry.expires_at);
        }
        self.entries.get_mut(key).map(|stored| std::mem::replace(stored, entry))
    }

    /// Removes `key`. What it held is given back, to be freed when no lock is held.
    pub(crate) fn remove(&mut self, key: &str) -> Option<Entry> {
        let (key, entry) = self.entries.remove_entry(key)?;
        self.unschedule(&key, entry.expires_at);
        Some(entry)
    }

    /// Removes at most `limit` expired entries and gives them back, to be freed when no lock is held.
    pub(crate) fn sweep(&mut self, now: UnixMillis, limit: usize) -> Vec<Entry> {
        let mut swept = Vec::new();
        while swept.len() < limit && self.expiring.first().is_some_and(|&(at, _)| at <= now) {
            let expired = self.expiring.pop_first().and_then(|(_, key)| self.entries.remove(&key));
            swept.extend(expired);
        }
        swept
    }

    /// How many entries there are, expired ones among them.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    fn schedule(&mut self, key: &Arc<str>, expires_at: Option<UnixMillis>) {
        if let Some(at) = expires_at {
            self.expiring.insert((at, key.clone()));
        }
    }

    fn unschedule(&mut self, key: &Arc<str>, expires_at: Option<UnixMillis>) {
        if let Some(at) = expires_at {
            self.expiring.remove(&(at, key.clone()));
        }
    }
}

/// Dapr's text of a failed etag condition.
fn mismatch(reason: String) -> Error {
    Error::new(ErrorKind::ETAG_MISMATCH, format!("possible etag mismatch. error from state store: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard() -> Shard {
        Shard::new(RandomState::default())
    }

    fn entry(expires_at: Option<UnixMillis>) -> Entry {
        Entry::new(Bytes::from_static(b"1"), expires_at)
    }

    #[test]
    fn a_sweep_takes_what_has_expired_and_nothing_else() {
        let mut shard = shard();
        shard.put("stays", entry(None));
        shard.put("later", entry(Some(20)));
        shard.put("now", entry(Some(10)));
        assert_eq!(shard.sweep(10, 100).len(), 1);
        assert!(shard.live("later", || 10).is_some());
        assert_eq!(shard.len(), 2);
    }

    #[test]
    fn an_overwritten_or_deleted_key_leaves_no_expiry_behind() {
        let mut shard = shard();
        for expires_at in [Some(10), Some(20), None, Some(30)] {
            shard.put("a", entry(expires_at));
        }
        shard.put("b", entry(Some(5)));
        shard.remove("b");
        assert_eq!(shard.expiring.iter().map(|(at, key)| (*at, &**key)).collect::<Vec<_>>(), [(30, "a")]);
        shard.put("a", entry(None));
        assert!(shard.expiring.is_empty());
        assert_eq!(shard.sweep(1_000, 100).len(), 0);
    }

    #[test]
    fn a_sweep_stops_at_its_limit() {
        let mut shard = shard();
        for key in ["a", "b", "c"] {
            shard.put(key, entry(Some(1)));
        }
        assert_eq!(shard.sweep(1, 2).len(), 2);
        assert_eq!(shard.sweep(1, 2).len(), 1);
    }

    #[test]
    fn an_etag_is_compared_as_text() {
        let stored = entry(None);
        let text = stored.etag.to_string();
        assert!(stored.has_etag(&text));
        assert!(!stored.has_etag(&text.to_uppercase()));
        assert!(!stored.has_etag(&text.replace('-', "")));
    }
}
