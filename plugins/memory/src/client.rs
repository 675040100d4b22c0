//! The map that stands where other plugins have a connection: shards that are locked one by one, or several at once in
//! ascending order when an operation must see or change them together.

mod shard;

use std::hash::BuildHasher;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use foldhash::fast::RandomState;
use tokio::time::Instant;

pub(crate) use self::shard::{Condition, Entry, Shard, UnixMillis};

/// As many as a `u64` has bits, so that a set of shards is one number.
const SHARDS: usize = u64::BITS as usize;

/// How many expired entries are removed under one lock, so that no call waits long for a sweep.
const SWEEP_BATCH: usize = 256;

/// All entries.
pub(crate) struct Entries {
    hasher: RandomState,
    shards: Vec<RwLock<Shard>>,
    clock: Clock,
}

impl Entries {
    pub(crate) fn new() -> Self {
        let hasher = RandomState::default();
        let shards = (0..SHARDS).map(|_| RwLock::new(Shard::new(hasher.clone()))).collect();
        Self { hasher, shards, clock: Clock::new() }
    }

    pub(crate) fn now(&self) -> UnixMillis {
        self.clock.now()
    }

    /// The shard of `key`, to read.
    pub(crate) fn read(&self, key: &str) -> RwLockReadGuard<'_, Shard> {
        self.shards[self.index(key)].read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The shard of `key`, to change.
    pub(crate) fn write(&self, key: &str) -> RwLockWriteGuard<'_, Shard> {
        self.shards[self.index(key)].write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The shards of all `keys` at once, to read: what is read is one moment's state.
    pub(crate) fn read_all<'a>(
        &self,
        keys: impl Iterator<Item = &'a str>,
    ) -> Locked<'_, RwLockReadGuard<'_, Shard>> {
        self.lock(keys, |shard| shard.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The shards of all `keys` at once, to change.
    pub(crate) fn write_all<'a>(
        &self,
        keys: impl Iterator<Item = &'a str>,
    ) -> Locked<'_, RwLockWriteGuard<'_, Shard>> {
        self.lock(keys, |shard| shard.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Removes every entry that has expired.
    pub(crate) fn sweep(&self) {
        for shard in &self.shards {
            loop {
                let swept =
                    shard.write().unwrap_or_else(PoisonError::into_inner).sweep(self.now(), SWEEP_BATCH);
                if swept.len() < SWEEP_BATCH {
                    break;
                }
            }
        }
    }

    /// How many entries are held, expired ones among them.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }

    /// Locks in ascending order, which is what keeps two such calls from waiting for each other for ever.
    fn lock<'s, 'a, G>(
        &'s self,
        keys: impl Iterator<Item = &'a str>,
        lock: impl Fn(&'s RwLock<Shard>) -> G,
    ) -> Locked<'s, G> {
        let set = keys.fold(0, |set, key| set | 1_u64 << self.index(key));
        let guards = self
            .shards
            .iter()
            .enumerate()
            .filter(|(index, _)| set >> index & 1 == 1)
            .map(|(_, shard)| lock(shard));
        Locked { entries: self, set, guards: guards.collect() }
    }

    fn index(&self, key: &str) -> usize {
        // The maps inside the shards use the same hash: its lowest bits pick their buckets, its highest tag them.
        (self.hasher.hash_one(key) >> 32) as usize % SHARDS
    }
}

/// Several shards locked together.
pub(crate) struct Locked<'s, G> {
    entries: &'s Entries,
    set: u64,
    guards: Vec<G>,
}

impl<G> Locked<'_, G> {
    /// The guard of the shard of `key`, which must be one of the keys that were locked.
    pub(crate) fn shard(&mut self, key: &str) -> &mut G {
        let below = (1_u64 << self.entries.index(key)) - 1;
        &mut self.guards[(self.set & below).count_ones() as usize]
    }
}

/// The time of day, carried on by a clock that never steps back.
struct Clock {
    start: Instant,
    start_unix_ms: UnixMillis,
}

impl Clock {
    fn new() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { start: Instant::now(), start_unix_ms: millis(since) }
    }

    fn now(&self) -> UnixMillis {
        self.start_unix_ms + millis(self.start.elapsed())
    }
}

fn millis(duration: std::time::Duration) -> UnixMillis {
    UnixMillis::try_from(duration.as_millis()).unwrap_or(UnixMillis::MAX)
}
