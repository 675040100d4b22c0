//! The lock store `lock.in-memory`: locks of one process, for development and for applications that run once.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use mecha_plugin_api::lock::{LockLease, LockRequest, LockStore, UnlockOutcome};
use mecha_plugin_api::{CallContext, ComponentSpec, ROption, Result};
use tokio::time::Instant;

/// So many locks are held before expired ones are looked for.
const SWEEP_FROM: usize = 64;

/// An open component.
pub(crate) struct MemoryLock(Mutex<Locks>);

#[derive(Default)]
struct Locks {
    held: HashMap<String, Held>,
    /// Expired locks are looked for when so many are there: twice as many as were left the last time.
    sweep_at: usize,
    token: u64,
}

struct Held {
    owner: String,
    /// `None`: never.
    expires: Option<Instant>,
}

impl Held {
    fn new(request: &LockRequest, now: Instant) -> Self {
        Self { owner: request.owner.as_str().to_owned(), expires: now.checked_add(request.expiry()) }
    }

    fn is_over(&self, now: Instant) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

impl MemoryLock {
    pub(crate) async fn open(_spec: ComponentSpec) -> Result<Self> {
        Ok(Self(Mutex::new(Locks { sweep_at: SWEEP_FROM, ..Locks::default() })))
    }

    fn locks(&self) -> MutexGuard<'_, Locks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Locks {
    /// Follows the clock, so that it grows over restarts; the last one counts when the clock stands still or goes back.
    fn next_token(&mut self) -> u64 {
        let micros = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        self.token = u64::try_from(micros).unwrap_or(u64::MAX).max(self.token.saturating_add(1));
        self.token
    }

    fn sweep(&mut self, now: Instant) {
        if self.held.len() >= self.sweep_at {
            self.held.retain(|_, held| !held.is_over(now));
            self.sweep_at = (self.held.len() * 2).max(SWEEP_FROM);
        }
    }
}

impl LockStore for MemoryLock {
    async fn try_lock(&self, _context: &CallContext, request: LockRequest) -> Result<Option<LockLease>> {
        let (mut locks, now) = (self.locks(), Instant::now());
        locks.sweep(now);
        match locks.held.entry(request.resource.as_str().to_owned()) {
            Entry::Occupied(held) if !held.get().is_over(now) => return Ok(None),
            Entry::Occupied(mut over) => drop(over.insert(Held::new(&request, now))),
            Entry::Vacant(free) => drop(free.insert(Held::new(&request, now))),
        }
        Ok(Some(LockLease { fencing_token: ROption::RSome(locks.next_token()) }))
    }

    async fn unlock(&self, _context: &CallContext, resource: &str, owner: &str) -> Result<UnlockOutcome> {
        let mut locks = self.locks();
        Ok(match locks.held.get(resource).filter(|held| !held.is_over(Instant::now())) {
            None => UnlockOutcome::NOT_LOCKED,
            Some(held) if held.owner != owner => UnlockOutcome::BELONGS_TO_OTHERS,
            Some(_) => {
                locks.held.remove(resource);
                UnlockOutcome::UNLOCKED
            }
        })
    }

    async fn renew(&self, _context: &CallContext, request: LockRequest) -> Result<bool> {
        let (mut locks, now) = (self.locks(), Instant::now());
        let held = locks.held.get_mut(request.resource.as_str());
        let held = held.filter(|held| held.owner == request.owner.as_str() && !held.is_over(now));
        Ok(held.map(|held| *held = Held::new(&request, now)).is_some())
    }
}

#[cfg(test)]
mod tests {
    use mecha_plugin_api::Metadata;

    use super::*;

    fn request(resource: &str, expiry_s: u64) -> LockRequest {
        let expiry_ns = expiry_s * 1_000_000_000;
        LockRequest { resource: resource.into(), owner: "a".into(), expiry_ns, metadata: Metadata::new() }
    }

    #[tokio::test(start_paused = true)]
    async fn locks_that_nobody_gives_back_do_not_pile_up() {
        let store =
            MemoryLock::open(ComponentSpec::new("l", "lock.in-memory", Metadata::new())).await.unwrap();
        let context = CallContext::background("app");
        for number in 0..10_000 {
            let lease = store.try_lock(&context, request(&number.to_string(), 1)).await.unwrap();
            assert!(lease.is_some());
            tokio::time::advance(std::time::Duration::from_millis(100)).await;
        }
        assert!(store.locks().held.len() <= 2 * SWEEP_FROM, "{}", store.locks().held.len());
    }
}
