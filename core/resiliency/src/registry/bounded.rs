//! A cache that forgets what was used least recently.

use std::sync::{Mutex, MutexGuard, PoisonError};

use lru::LruCache;

/// Values by name, at most so many.
#[derive(Debug)]
pub(super) struct Bounded<V>(Mutex<Inner<V>>);

#[derive(Debug)]
struct Inner<V> {
    values: LruCache<String, V>,
    capacity: usize,
}

impl<V: Clone> Bounded<V> {
    pub(super) fn new(capacity: usize) -> Self {
        // A cache with a bound of its own would take the memory for all at once.
        Self(Mutex::new(Inner { values: LruCache::unbounded(), capacity }))
    }

    /// The value of a name. One that does not fit any more is replaced.
    pub(super) fn get_or_make(
        &self,
        name: &str,
        fits: impl FnOnce(&V) -> bool,
        make: impl FnOnce() -> V,
    ) -> V {
        let mut inner = self.lock();
        if let Some(value) = inner.values.get(name)
            && fits(value)
        {
            return value.clone();
        }
        let value = make();
        inner.values.put(name.to_owned(), value.clone());
        inner.shrink();
        value
    }

    pub(super) fn resize(&self, capacity: usize) {
        let mut inner = self.lock();
        inner.capacity = capacity;
        inner.shrink();
    }

    fn lock(&self) -> MutexGuard<'_, Inner<V>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V> Inner<V> {
    fn shrink(&mut self) {
        while self.values.len() > self.capacity {
            self.values.pop_lru();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(cache: &Bounded<u32>, name: &str, new: u32) -> u32 {
        cache.get_or_make(name, |_| true, || new)
    }

    #[test]
    fn forgets_what_was_used_least_recently() {
        let cache = Bounded::new(2);
        assert_eq!((get(&cache, "a", 1), get(&cache, "b", 2), get(&cache, "a", 3)), (1, 2, 1));
        assert_eq!(get(&cache, "c", 4), 4);
        assert_eq!((get(&cache, "a", 5), get(&cache, "b", 6)), (1, 6), "b made room for c");
        cache.resize(1);
        assert_eq!((get(&cache, "b", 7), get(&cache, "a", 8)), (6, 8));
    }

    #[test]
    fn replaces_what_does_not_fit() {
        let cache = Bounded::new(2);
        assert_eq!(get(&cache, "a", 1), 1);
        assert_eq!(cache.get_or_make("a", |value| *value > 1, || 2), 2);
    }
}
