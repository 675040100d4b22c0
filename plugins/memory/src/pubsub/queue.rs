//! One consumer group's messages: those that wait, those that wait for their time, those that are out. Pure; the bus locks it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mecha_plugin_api::source::{Outcome, Settlement};
use mecha_plugin_api::{Metadata, RString};
use tokio::time::Instant;

/// The pause before a message comes again, when the host leaves it to the broker; doubled with each delivery.
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LONGEST_RETRY: Duration = Duration::from_secs(10);

/// Place in the order of publishing, over all topics; also the number that a delivery is settled by.
pub(crate) type Sequence = u64;

/// Who holds a message that is out.
pub(crate) type SourceId = u64;

/// A published message, shared by all groups that get it.
pub(crate) struct Message {
    pub(crate) data: Bytes,
    pub(crate) content_type: RString,
    pub(crate) metadata: Metadata,
}

/// A message as one group sees it.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) message: Arc<Message>,
    /// How often it was delivered and came back.
    pub(crate) redelivered: u32,
}

struct Out {
    source: SourceId,
    entry: Entry,
}

/// How much a group may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

/// What a group holds.
pub(crate) struct Queue {
    /// Whether no message may overtake another, not even one that comes again.
    is_strict: bool,
    ready: BTreeMap<Sequence, Entry>,
    delayed: BTreeMap<(Instant, Sequence), Entry>,
    out: HashMap<Sequence, Out>,
    bytes: usize,
}

impl Queue {
    pub(crate) fn new(is_strict: bool) -> Self {
        Self { is_strict, ready: BTreeMap::new(), delayed: BTreeMap::new(), out: HashMap::new(), bytes: 0 }
    }

    pub(crate) fn is_strict(&self) -> bool {
        self.is_strict
    }

    pub(crate) fn set_strict(&mut self, is_strict: bool) {
        self.is_strict = is_strict;
    }

    pub(crate) fn len(&self) -> usize {
        self.ready.len() + self.delayed.len() + self.out.len()
    }

    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// How many wait to be delivered, now or later.
    pub(crate) fn waiting(&self) -> usize {
        self.ready.len() + self.delayed.len()
    }

    /// Whether `bytes` more fit. An empty queue takes any message, so that none is too long for ever.
    pub(crate) fn has_room(&self, bytes: usize, limits: Limits) -> bool {
        self.len() == 0 || (self.len() < limits.messages && self.bytes + bytes <= limits.bytes)
    }

    pub(crate) fn push(&mut self, sequence: Sequence, entry: Entry) {
        self.bytes += entry.message.data.len();
        self.ready.insert(sequence, entry);
    }

    /// The next messages for a source, in the order of publishing.
    pub(crate) fn take(&mut self, source: SourceId, max: usize, now: Instant) -> Vec<(Sequence, Entry)> {
        self.ripen(now);
        let barrier = self.barrier(source);
        let mut taken = Vec::new();
        while taken.len() < max {
            let Some(first) = self.ready.first_entry() else { break };
            if barrier.is_some_and(|barrier| *first.key() > barrier) {
                break;
            }
            let (sequence, entry) = first.remove_entry();
            self.out.insert(sequence, Out { source, entry: entry.clone() });
            taken.push((sequence, entry));
        }
        taken
    }

    /// When the next message becomes ready by itself.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.delayed.first_key_value().map(|((due, _), _)| *due)
    }

    /// Settles a message; gives whether the source held it.
    pub(crate) fn settle(&mut self, source: SourceId, settlement: Settlement, now: Instant) -> bool {
        let sequence = settlement.id;
        if self.out.get(&sequence).is_none_or(|out| out.source != source) {
            return false;
        }
        let Some(Out { mut entry, .. }) = self.out.remove(&sequence) else { return false };
        if settlement.outcome != Outcome::RETRY {
            self.bytes -= entry.message.data.len();
            return true;
        }
        let delay = match settlement.delay_ns {
            0 => retry_delay(entry.redelivered),
            nanoseconds => Duration::from_nanos(nanoseconds),
        };
        entry.redelivered = entry.redelivered.saturating_add(1);
        self.delayed.insert((now + delay, sequence), entry);
        true
    }

    /// Takes back all that a source holds, as if it had never been delivered.
    pub(crate) fn give_back(&mut self, source: SourceId) {
        let held: Vec<Sequence> =
            self.out.iter().filter(|(_, out)| out.source == source).map(|(sequence, _)| *sequence).collect();
        for sequence in held {
            if let Some(out) = self.out.remove(&sequence) {
                self.ready.insert(sequence, out.entry);
            }
        }
    }

    /// Everything that is not out, in the order of publishing, taken away.
    pub(crate) fn drain(&mut self) -> Vec<Entry> {
        let delayed = std::mem::take(&mut self.delayed);
        self.ready.extend(delayed.into_iter().map(|((_, sequence), entry)| (sequence, entry)));
        let drained: Vec<Entry> = std::mem::take(&mut self.ready).into_values().collect();
        self.bytes -= drained.iter().map(|entry| entry.message.data.len()).sum::<usize>();
        drained
    }

    fn ripen(&mut self, now: Instant) {
        while let Some(first) = self.delayed.first_entry() {
            let (due, sequence) = *first.key();
            if due > now {
                return;
            }
            self.ready.insert(sequence, first.remove());
        }
    }

    /// The message that no later one may overtake. What the source itself holds is in its own hands.
    fn barrier(&self, source: SourceId) -> Option<Sequence> {
        if !self.is_strict {
            return None;
        }
        let delayed = self.delayed.keys().map(|(_, sequence)| *sequence);
        let elsewhere =
            self.out.iter().filter(|(_, out)| out.source != source).map(|(sequence, _)| *sequence);
        delayed.chain(elsewhere).min()
    }
}

fn retry_delay(redelivered: u32) -> Duration {
    FIRST_RETRY.saturating_mul(1 << redelivered.min(10)).min(LONGEST_RETRY)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { messages: 3, bytes: 10 };

    fn entry(data: &'static str) -> Entry {
        let message =
            Message { data: Bytes::from(data), content_type: RString::new(), metadata: Metadata::new() };
        Entry { message: Arc::new(message), redelivered: 0 }
    }

    fn queue(is_strict: bool) -> Queue {
        let mut queue = Queue::new(is_strict);
        for (sequence, data) in [(1, "a"), (2, "b"), (3, "c")] {
            queue.push(sequence, entry(data));
        }
        queue
    }

    fn sequences(taken: Vec<(Sequence, Entry)>) -> Vec<Sequence> {
        taken.into_iter().map(|(sequence, _)| sequence).collect()
    }

    fn settlement(id: u64, outcome: Outcome, delay_ns: u64) -> Settlement {
        Settlement { id, outcome, delay_ns }
    }

    #[test]
    fn a_retried_message_lets_others_pass_and_comes_again_before_later_ones() {
        let (mut queue, now) = (queue(false), Instant::now());
        assert_eq!(sequences(queue.take(1, 1, now)), [1]);
        queue.settle(1, settlement(1, Outcome::RETRY, 1_000), now);
        assert_eq!(queue.next_due(), Some(now + Duration::from_micros(1)));
        assert_eq!(sequences(queue.take(1, 1, now)), [2]);
        let taken = queue.take(1, 9, now + Duration::from_micros(1));
        assert_eq!(taken[0].1.redelivered, 1);
        assert_eq!(sequences(taken), [1, 3]);
    }

    #[test]
    fn a_strict_queue_waits_for_the_retried_message() {
        let (mut queue, now) = (queue(true), Instant::now());
        assert_eq!(sequences(queue.take(1, 2, now)), [1, 2]);
        assert!(sequences(queue.take(2, 1, now)).is_empty(), "another source must not overtake");
        queue.settle(1, settlement(1, Outcome::RETRY, 1_000), now);
        queue.settle(1, settlement(2, Outcome::RETRY, 0), now);
        assert!(sequences(queue.take(1, 9, now)).is_empty());
        assert_eq!(sequences(queue.take(1, 9, now + Duration::from_micros(1))), [1]);
        queue.settle(1, settlement(1, Outcome::ACK, 0), now);
        assert_eq!(sequences(queue.take(1, 9, now + Duration::from_secs(1))), [2, 3]);
    }

    #[test]
    fn only_the_holder_settles_and_room_comes_back() {
        let (mut queue, now) = (queue(false), Instant::now());
        assert!(!queue.has_room(1, LIMITS));
        queue.take(1, 3, now);
        assert!(!queue.settle(2, settlement(1, Outcome::ACK, 0), now));
        assert!(queue.settle(1, settlement(1, Outcome::ACK, 0), now));
        assert!(queue.settle(1, settlement(2, Outcome::REJECT, 0), now));
        assert!(queue.has_room(9, LIMITS) && !queue.has_room(10, LIMITS));
        queue.give_back(1);
        assert_eq!(sequences(queue.take(2, 9, now)), [3]);
        queue.settle(2, settlement(3, Outcome::ACK, 0), now);
        assert!(queue.has_room(1_000, LIMITS), "an empty queue takes any message");
    }

    #[test]
    fn the_pause_grows_and_stays_bounded() {
        assert_eq!(retry_delay(0), Duration::from_millis(100));
        assert_eq!(retry_delay(3), Duration::from_millis(800));
        assert_eq!(retry_delay(u32::MAX), LONGEST_RETRY);
    }

    #[test]
    fn draining_leaves_what_is_out() {
        let (mut queue, now) = (queue(false), Instant::now());
        queue.take(1, 2, now);
        queue.settle(1, settlement(1, Outcome::RETRY, 0), now);
        let drained: Vec<_> = queue.drain().into_iter().map(|entry| entry.message.data.clone()).collect();
        assert_eq!(drained, ["a", "c"]);
        assert_eq!((queue.len(), queue.bytes), (1, 1));
    }
}
