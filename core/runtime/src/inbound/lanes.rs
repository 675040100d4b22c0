//! Order: deliveries of one key wait for each other, all others run side by side.
//!
//! When one is to come again, what waits behind it goes back with it, and so does what was pulled before the source knew:
//! until then its lane lets nothing in.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use mecha_plugin_api::RString;
use mecha_plugin_api::source::Delivery;
use tokio::sync::{Notify, OwnedSemaphorePermit};

/// A delivery with its place among those in flight.
pub(crate) type Held = (Delivery, OwnedSemaphorePermit);

/// The keys that are being worked on or closed.
#[derive(Default)]
pub(crate) struct Lanes {
    lanes: Mutex<HashMap<RString, Lane>>,
    known: Notify,
}

enum Lane {
    /// One is being worked on; these wait behind it.
    Busy(VecDeque<Held>),
    /// One is to come again, and the source may not know it yet.
    Closed,
    /// The source knows; whatever is pulled from now on is in order.
    Known,
}

/// What becomes of a delivery that enters.
pub(crate) enum Entered {
    /// Its turn is now.
    Now(Held),
    /// It waits behind its key.
    Waits,
    /// It goes back: what stands before it comes again first.
    Back(Held),
}

impl Lanes {
    /// Takes a delivery in.
    pub(crate) fn enter(&self, held: Held) -> Entered {
        let key = &held.0.ordering_key;
        if key.is_empty() {
            return Entered::Now(held);
        }
        let mut lanes = self.lock();
        match lanes.get_mut(key) {
            Some(Lane::Busy(waiting)) => waiting.push_back(held),
            Some(Lane::Closed | Lane::Known) => return Entered::Back(held),
            None => {
                lanes.insert(key.clone(), Lane::Busy(VecDeque::new()));
                return Entered::Now(held);
            }
        }
        Entered::Waits
    }

    /// The next delivery of `key`; when there is none the key is free again.
    pub(crate) fn next(&self, key: &RString) -> Option<Held> {
        if key.is_empty() {
            return None;
        }
        let mut lanes = self.lock();
        let Some(Lane::Busy(waiting)) = lanes.get_mut(key) else { return None };
        let next = waiting.pop_front();
        if next.is_none() {
            lanes.remove(key);
        }
        next
    }

    /// Closes the lane of `key`, whose delivery is to come again; gives everything that waits behind it.
    pub(crate) fn close(&self, key: &RString) -> Vec<Held> {
        match self.lock().insert(key.clone(), Lane::Closed) {
            Some(Lane::Busy(waiting)) => waiting.into(),
            Some(Lane::Closed | Lane::Known) | None => Vec::new(),
        }
    }

    /// The source knows what is to come again in a lane that was closed: pulls that begin now may open it.
    pub(crate) fn source_knows(&self, key: &RString) {
        if let Some(lane) = self.lock().get_mut(key) {
            *lane = Lane::Known;
        }
        self.known.notify_one();
    }

    /// Waits until a pull that has begun should begin anew.
    pub(crate) async fn should_pull_anew(&self) {
        self.known.notified().await;
    }

    /// Before a pull begins, and after what the last one gave has entered: opens the lanes of which the source knows.
    pub(crate) fn open(&self) {
        self.lock().retain(|_, lane| !matches!(lane, Lane::Known));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<RString, Lane>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
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

    fn now(lanes: &Lanes, held: Held) -> Option<u64> {
        match lanes.enter(held) {
            Entered::Now(held) => id(Some(held)),
            Entered::Waits | Entered::Back(_) => None,
        }
    }

    fn goes_back(lanes: &Lanes, held: Held) -> bool {
        matches!(lanes.enter(held), Entered::Back(_))
    }

    #[test]
    fn a_key_is_worked_on_once_and_in_order() {
        let lanes = Lanes::default();
        assert_eq!(now(&lanes, held(1, "a")), Some(1));
        assert_eq!(now(&lanes, held(2, "a")), None);
        assert_eq!(now(&lanes, held(3, "a")), None);
        assert_eq!(now(&lanes, held(4, "b")), Some(4));
        assert_eq!(id(lanes.next(&"a".into())), Some(2));
        assert_eq!(id(lanes.next(&"a".into())), Some(3));
        assert_eq!(id(lanes.next(&"a".into())), None);
        assert_eq!(now(&lanes, held(5, "a")), Some(5));
    }

    #[test]
    fn without_a_key_nothing_waits() {
        let lanes = Lanes::default();
        assert_eq!(now(&lanes, held(1, "")), Some(1));
        assert_eq!(now(&lanes, held(2, "")), Some(2));
        assert_eq!(id(lanes.next(&RString::new())), None);
    }

    #[test]
    fn what_stands_behind_a_failed_one_goes_back_until_a_pull_after_the_source_knows() {
        let (lanes, key) = (Lanes::default(), RString::from("a"));
        assert_eq!(now(&lanes, held(1, "a")), Some(1));
        assert_eq!(now(&lanes, held(2, "a")), None);
        let behind: Vec<_> = lanes.close(&key).into_iter().map(|(delivery, _)| delivery.id).collect();
        assert_eq!(behind, [2]);
        lanes.open();
        assert!(goes_back(&lanes, held(3, "a")), "the source does not know");
        lanes.source_knows(&key);
        assert!(goes_back(&lanes, held(4, "a")), "pulled before the source knew");
        assert_eq!(now(&lanes, held(5, "b")), Some(5));
        lanes.open();
        assert_eq!(now(&lanes, held(6, "a")), Some(6));
    }
}
