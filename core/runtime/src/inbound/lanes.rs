//! Order: deliveries of one key wait for each other, all others run side by side.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use mecha_plugin_api::RString;
use mecha_plugin_api::source::Delivery;
use tokio::sync::OwnedSemaphorePermit;

/// A delivery with its place among those in flight.
pub(crate) type Held = (Delivery, OwnedSemaphorePermit);

/// The keys that are being worked on, each with what waits behind it.
#[derive(Default)]
pub(crate) struct Lanes(Mutex<HashMap<RString, VecDeque<Held>>>);

impl Lanes {
    /// Gives the delivery back when its turn is now; otherwise it waits behind its key.
    pub(crate) fn enter(&self, held: Held) -> Option<Held> {
        let key = &held.0.ordering_key;
        if key.is_empty() {
            return Some(held);
        }
        let mut lanes = self.lock();
        if let Some(waiting) = lanes.get_mut(key) {
            waiting.push_back(held);
            return None;
        }
        lanes.insert(key.clone(), VecDeque::new());
        Some(held)
    }

    /// The next delivery of `key`; when there is none the key is free again.
    pub(crate) fn next(&self, key: &RString) -> Option<Held> {
        if key.is_empty() {
            return None;
        }
        let mut lanes = self.lock();
        let next = lanes.get_mut(key).and_then(VecDeque::pop_front);
        if next.is_none() {
            lanes.remove(key);
        }
        next
    }

    /// Everything that waits behind `key`, which stays taken: what went before is to come again first.
    pub(crate) fn clear(&self, key: &RString) -> Vec<Held> {
        self.lock().get_mut(key).map(|waiting| waiting.drain(..).collect()).unwrap_or_default()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<RString, VecDeque<Held>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mecha_plugin_api::{Buf, Metadata};
    use tokio::sync::Semaphore;

    use super::*;

    fn held(id: u64, key: &str) -> Held {
        let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let delivery = Delivery {
            id,
            redelivered: 0,
            ordering_key: key.into(),
            topic: RString::new(),
            data: Buf::default(),
            content_type: RString::new(),
            metadata: Metadata::new(),
        };
        (delivery, permit)
    }

    fn id(held: Option<Held>) -> Option<u64> {
        held.map(|(delivery, _)| delivery.id)
    }

    #[test]
    fn a_key_is_worked_on_once_and_in_order() {
        let lanes = Lanes::default();
        assert_eq!(id(lanes.enter(held(1, "a"))), Some(1));
        assert_eq!(id(lanes.enter(held(2, "a"))), None);
        assert_eq!(id(lanes.enter(held(3, "a"))), None);
        assert_eq!(id(lanes.enter(held(4, "b"))), Some(4));
        assert_eq!(id(lanes.next(&"a".into())), Some(2));
        assert_eq!(id(lanes.next(&"a".into())), Some(3));
        assert_eq!(id(lanes.next(&"a".into())), None);
        assert_eq!(id(lanes.enter(held(5, "a"))), Some(5));
    }

    #[test]
    fn without_a_key_nothing_waits() {
        let lanes = Lanes::default();
        assert_eq!(id(lanes.enter(held(1, ""))), Some(1));
        assert_eq!(id(lanes.enter(held(2, ""))), Some(2));
        assert_eq!(id(lanes.next(&RString::new())), None);
    }

    #[test]
    fn what_waits_behind_a_failed_one_is_cleared() {
        let lanes = Lanes::default();
        drop((lanes.enter(held(1, "a")), lanes.enter(held(2, "a")), lanes.enter(held(3, "a"))));
        let cleared: Vec<_> = lanes.clear(&"a".into()).into_iter().map(|(delivery, _)| delivery.id).collect();
        assert_eq!(cleared, [2, 3]);
        assert_eq!(id(lanes.next(&"a".into())), None);
    }
}
