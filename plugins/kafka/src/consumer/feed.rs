//! What a subscription's thread, its source and its watchdog share.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mecha_plugin_api::Error;
use tokio::sync::Notify;

use super::ledger::{Ledger, Partition};
use super::partition::Fetched;
use crate::client::{Cluster, Health, Observer};

/// One subscription.
pub(crate) struct Feed {
    pub(crate) cluster: Cluster,
    pub(crate) topics: Vec<String>,
    /// How many messages may be out at once.
    pub(crate) limit: usize,
    ledger: Mutex<Ledger<Fetched>>,
    /// Something was settled.
    settled: Condvar,
    /// There may be something to hand out.
    pub(crate) ready: Notify,
    /// The group was joined, or trouble came up.
    pub(crate) opened: Notify,
    health: Mutex<Arc<Health>>,
    is_joined: AtomicBool,
    is_stopping: AtomicBool,
    started: Instant,
    /// Milliseconds from `started` to the last sign of life of the thread.
    alive: AtomicU64,
    /// Counts members; the thread of an older one ends as soon as it can.
    generation: AtomicU64,
}

impl Feed {
    pub(crate) fn new(cluster: Cluster, topics: Vec<String>, limit: usize) -> Self {
        let health = cluster.observer().health;
        Self {
            cluster,
            topics,
            limit,
            ledger: Mutex::new(Ledger::new()),
            settled: Condvar::new(),
            ready: Notify::new(),
            opened: Notify::new(),
            health: Mutex::new(health),
            is_joined: AtomicBool::new(false),
            is_stopping: AtomicBool::new(false),
            started: Instant::now(),
            alive: AtomicU64::new(0),
            generation: AtomicU64::new(0),
        }
    }

    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger<Fetched>> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The subscription's health: that of its present member.
    pub(crate) fn health(&self) -> Arc<Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Listens to a new member. Trouble of the one before stays until something works.
    pub(crate) fn observer(&self) -> Observer {
        let observer = self.cluster.observer();
        if let Some(trouble) = self.trouble() {
            observer.health.set(trouble);
        }
        *self.health.lock().unwrap_or_else(PoisonError::into_inner) = observer.health.clone();
        observer
    }

    /// Why nothing comes now.
    pub(crate) fn trouble(&self) -> Option<Error> {
        self.health().trouble()
    }

    /// Takes in why nothing comes now.
    pub(crate) fn fail(&self, error: Error) {
        self.health().set(error);
        self.opened.notify_one();
        self.ready.notify_one();
    }

    pub(crate) fn joined(&self) {
        self.is_joined.store(true, Ordering::Release);
        self.health().worked();
        self.opened.notify_one();
        self.ready.notify_one();
    }

    pub(crate) fn is_joined(&self) -> bool {
        self.is_joined.load(Ordering::Acquire)
    }

    /// Asks the thread to give everything back and end.
    pub(crate) fn stop(&self) {
        self.is_stopping.store(true, Ordering::Release);
        self.settled.notify_all();
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Acquire)
    }

    /// A new member begins: older ones are asked to end.
    pub(crate) fn next_generation(&self) -> u64 {
        self.live();
        self.generation.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Whether the member of this generation should go on.
    pub(crate) fn goes_on(&self, generation: u64) -> bool {
        self.is_current(generation) && !self.is_stopping()
    }

    /// Whether the member of this generation was not replaced.
    pub(crate) fn is_current(&self, generation: u64) -> bool {
        self.generation.load(Ordering::Acquire) == generation
    }

    /// The thread shows that it lives.
    pub(crate) fn live(&self) {
        let millis = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.alive.store(millis, Ordering::Release);
    }

    /// How long ago the thread showed that it lives.
    pub(crate) fn silence(&self) -> Duration {
        let alive = Duration::from_millis(self.alive.load(Ordering::Acquire));
        self.started.elapsed().saturating_sub(alive)
    }

    /// Tells who waits in [`Feed::wait_for_application`] that something was settled.
    pub(crate) fn settled(&self) {
        self.settled.notify_all();
    }

    /// Blocks until the application has finished what it has of these partitions, at most for `limit`.
    pub(crate) fn wait_for_application(&self, partitions: &[Partition], limit: Duration) {
        let ledger = self.ledger();
        let is_busy = |ledger: &mut Ledger<Fetched>| !self.is_stopping() && ledger.out_of(partitions) > 0;
        // Past the limit the messages come again from the member that gets the partition.
        drop(self.settled.wait_timeout_while(ledger, limit, is_busy));
    }
}
