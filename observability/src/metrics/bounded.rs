//! A map from a label's value to its handle that stops growing.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;

type Entries<T> = HashMap<Box<str>, Arc<T>, foldhash::fast::RandomState>;

/// Reading is a lock-free look-up; a new value copies the map, which is rare and bounded by the limit.
pub(super) struct Bounded<T> {
    entries: ArcSwap<Entries<T>>,
    limit: usize,
    /// Stands for every value beyond the limit.
    overflow: &'static str,
}

impl<T> Bounded<T> {
    pub(super) fn new(limit: usize, overflow: &'static str) -> Self {
        Self { entries: ArcSwap::default(), limit, overflow }
    }

    /// Uses the handle of `value`, which `make` builds the first time, without taking a reference to keep.
    pub(super) fn with<R>(&self, value: &str, make: impl Fn(&str) -> T, run: impl FnOnce(&T) -> R) -> R {
        if let Some(handle) = self.entries.load().get(value) {
            return run(handle);
        }
        run(&self.insert(value, make))
    }

    /// The handle of `value` to keep.
    pub(super) fn get(&self, value: &str, make: impl Fn(&str) -> T) -> Arc<T> {
        let known = self.entries.load().get(value).cloned();
        known.unwrap_or_else(|| self.insert(value, make))
    }

    fn insert(&self, value: &str, make: impl Fn(&str) -> T) -> Arc<T> {
        loop {
            let known = self.entries.load();
            let is_full = known.len() >= self.limit;
            let value = if is_full { self.overflow } else { value };
            if let Some(handle) = known.get(value) {
                return handle.clone();
            }
            let handle = Arc::new(make(value));
            let mut entries = Entries::clone(&known);
            entries.insert(value.into(), handle.clone());
            let before = self.entries.compare_and_swap(&*known, Arc::new(entries));
            if Arc::ptr_eq(&before, &known) {
                return handle;
            }
        }
    }
}

impl<T> fmt::Debug for Bounded<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bounded")
            .field("entries", &self.entries.load().len())
            .field("limit", &self.limit)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_beyond_the_limit_share_one_handle() {
        let bounded = Bounded::new(2, "other");
        for value in ["a", "b", "c", "d"] {
            bounded.with(value, str::to_owned, |_| ());
        }
        let name = |value: &str| bounded.get(value, str::to_owned);
        assert_eq!((name("a").as_str(), name("b").as_str()), ("a", "b"));
        assert_eq!((name("c").as_str(), name("z").as_str()), ("other", "other"));
        assert!(Arc::ptr_eq(&name("c"), &name("d")));
        assert_eq!(bounded.entries.load().len(), 3);
    }
}
