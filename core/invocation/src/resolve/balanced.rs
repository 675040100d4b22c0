//! Addresses that somebody else finds: kept for as long as they hold, found again before that ends, and given in turns.
//!
//! Calls of one application that come while it is being looked for wait for the one look. An address where nobody answered is
//! avoided for a while as long as there are others, and the application is looked for again.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::{AppName, Resolve, ResolveError};

/// After this long an address where nobody answered is tried again even though there are others.
const AVOIDANCE: Duration = Duration::from_secs(5);
/// When nobody can say where an application is now, what was found last serves this much longer.
const GRACE: Duration = Duration::from_secs(60);
/// Meanwhile it is asked again so often.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// How many applications are kept. Some resolvers find whatever name they are asked for.
const MOST_KNOWN: usize = 10_000;

/// What a look gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// `host:port` of each runtime.
    pub addresses: Vec<String>,
    /// How long that holds.
    pub valid_for: Duration,
}

/// Finds all runtimes of an application.
pub trait Find: Send + Sync + 'static {
    /// Where they are.
    fn find<'a>(&'a self, app: &'a AppName) -> BoxFuture<'a, Result<Found, ResolveError>>;

    /// See [`Resolve::announce`].
    fn announce(&self, listening: SocketAddr, http_port: u16);

    /// See [`Resolve::withdraw`].
    fn withdraw<'a>(&'a self) -> BoxFuture<'a, ()>;
}

/// [`Resolve`] out of [`Find`].
pub struct Balanced<F> {
    finder: Arc<F>,
    known: Mutex<HashMap<AppName, Arc<Slot>>>,
}

/// One application.
#[derive(Default)]
struct Slot {
    /// Held by whoever looks.
    looking: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    addresses: Vec<String>,
    turn: usize,
    /// From when and until when that holds.
    valid: Option<(Instant, Instant)>,
    /// Until when it held by the word of whoever found it.
    good_until: Option<Instant>,
    /// Where nobody answered, each with the end of its avoidance.
    avoided: HashMap<String, Instant>,
    /// The last look that found nothing, for those who waited for it.
    failed: Option<(Instant, ResolveError)>,
    /// Somebody finds it again beside the calls.
    refreshing: bool,
}

impl<F: Find> Balanced<F> {
    /// Nothing is known yet.
    pub fn new(finder: F) -> Self {
        Self { finder: Arc::new(finder), known: Mutex::default() }
    }

    fn slot(&self, app: &AppName) -> Arc<Slot> {
        let mut known = lock(&self.known);
        if let Some(slot) = known.get(app) {
            return slot.clone();
        }
        if known.len() >= MOST_KNOWN {
            let now = Instant::now();
            known.retain(|_, slot| lock(&slot.state).holds(now));
            if known.len() >= MOST_KNOWN {
                known.clear();
            }
        }
        known.entry(app.clone()).or_default().clone()
    }

    /// The address, when it is known.
    fn known(&self, slot: &Arc<Slot>, app: &AppName) -> Option<String> {
        let now = Instant::now();
        let mut state = lock(&slot.state);
        if !state.holds(now) {
            return None;
        }
        let address = state.next(now);
        if state.is_aging(now) && !std::mem::replace(&mut state.refreshing, true) {
            let (finder, slot, app) = (self.finder.clone(), slot.clone(), app.clone());
            tokio::spawn(async move {
                let _looking = slot.looking.lock().await;
                let found = finder.find(&app).await;
                lock(&slot.state).take(&app, found);
            });
        }
        address
    }

    /// Looks, or waits for whoever does.
    async fn look(&self, slot: &Slot, app: &AppName) -> Result<String, ResolveError> {
        let asked = Instant::now();
        let _looking = slot.looking.lock().await;
        if let Some(outcome) = lock(&slot.state).since(asked) {
            return outcome;
        }
        let found = self.finder.find(app).await;
        let mut state = lock(&slot.state);
        state.take(app, found);
        let now = Instant::now();
        let failed = state.failed.as_ref().map(|(_, error)| error.clone());
        match (state.next(now), failed) {
            (Some(address), _) => Ok(address),
            (None, Some(error)) => Err(error),
            (None, None) => Err(ResolveError::NotFound(app.id.clone())),
        }
    }

    /// Names that stand for nothing take no room.
    fn drop_empty(&self, app: &AppName) {
        let mut known = lock(&self.known);
        if known.get(app).is_some_and(|slot| lock(&slot.state).addresses.is_empty()) {
            known.remove(app);
        }
    }
}

impl<F: Find> Resolve for Balanced<F> {
    fn resolve<'a>(&'a self, app: &'a AppName) -> BoxFuture<'a, Result<String, ResolveError>> {
        let slot = self.slot(app);
        if let Some(address) = self.known(&slot, app) {
            return Box::pin(std::future::ready(Ok(address)));
        }
        Box::pin(async move {
            let found = self.look(&slot, app).await;
            if found.is_err() {
                self.drop_empty(app);
            }
            found
        })
    }

    fn forget(&self, app: &AppName, address: &str) {
        let Some(slot) = lock(&self.known).get(app).cloned() else { return };
        lock(&slot.state).avoid(address, Instant::now());
    }

    fn announce(&self, listening: SocketAddr, http_port: u16) {
        self.finder.announce(listening, http_port);
    }

    fn withdraw<'a>(&'a self) -> BoxFuture<'a, ()> {
        self.finder.withdraw()
    }
}

impl State {
    fn holds(&self, now: Instant) -> bool {
        !self.addresses.is_empty() && self.valid.is_some_and(|(_, until)| now < until)
    }

    /// Whether more than half of the time has passed.
    fn is_aging(&self, now: Instant) -> bool {
        self.valid.is_some_and(|(found, until)| now >= found + until.saturating_duration_since(found) / 2)
    }

    /// The next in turn, among those that are not avoided if there are any.
    fn next(&mut self, now: Instant) -> Option<String> {
        self.avoided.retain(|_, until| now < *until);
        let good = self.addresses.iter().filter(|address| !self.avoided.contains_key(*address));
        let mut candidates: Vec<&String> = good.collect();
        if candidates.is_empty() {
            candidates = self.addresses.iter().collect();
        }
        let turn = self.turn.checked_rem(candidates.len())?;
        let address = (*candidates.get(turn)?).clone();
        self.turn = self.turn.wrapping_add(1);
        Some(address)
    }

    fn avoid(&mut self, address: &str, now: Instant) {
        if self.addresses.iter().any(|known| known == address) {
            self.avoided.insert(address.to_owned(), now + AVOIDANCE);
            // It may be elsewhere by now.
            self.valid = self.valid.map(|(found, until)| (found, until.min(now)));
        }
    }

    /// What came of a look that ended after `asked`.
    fn since(&mut self, asked: Instant) -> Option<Result<String, ResolveError>> {
        if self.valid.is_some_and(|(found, until)| found >= asked && asked < until) {
            return self.next(asked).map(Ok);
        }
        let (failed, error) = self.failed.as_ref()?;
        (*failed >= asked && self.addresses.is_empty()).then(|| Err(error.clone()))
    }

    fn take(&mut self, app: &AppName, found: Result<Found, ResolveError>) {
        let now = Instant::now();
        self.refreshing = false;
        match found {
            Ok(found) => {
                self.failed = None;
                self.valid = Some((now, now + found.valid_for));
                self.good_until = Some(now + found.valid_for);
                self.addresses = found.addresses;
            }
            Err(error @ ResolveError::Failed { .. }) if self.in_grace(now) => {
                tracing::warn!("{error}; what was known of {} before is used", app.id);
                self.valid = Some((now, now + ASK_AGAIN));
                self.failed = Some((now, error));
            }
            Err(error) => {
                self.addresses.clear();
                (self.valid, self.good_until) = (None, None);
                self.failed = Some((now, error));
            }
        }
    }

    fn in_grace(&self, now: Instant) -> bool {
        !self.addresses.is_empty() && self.good_until.is_some_and(|until| now < until + GRACE)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "balanced_tests.rs"]
mod tests;
