//! The messages of a subscription that this process holds: fetched ahead, with the application, or waiting for a retry.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Instant;

use super::entry::Entry;

/// So many messages wait here for a delayed retry; beyond that they wait in the server.
const MAX_DELAYED: usize = 10_000;

/// What is held, and in which state.
#[derive(Default)]
pub(crate) struct Inbox {
    ready: VecDeque<Entry>,
    out: HashMap<u64, Entry>,
    delayed: Vec<(Instant, Entry)>,
    last_id: u64,
}

impl Inbox {
    /// Adds messages that were read or claimed; those that are held already are left out.
    pub(crate) fn add(&mut self, entries: impl IntoIterator<Item = Entry>) {
        let held: HashSet<String> = self.held().into_iter().collect();
        self.ready.extend(entries.into_iter().filter(|entry| !held.contains(&entry.id)));
    }

    /// How many messages are fetched ahead.
    pub(crate) fn ready(&self) -> usize {
        self.ready.len()
    }

    /// Hands out up to `max` messages, as long as no more than `limit` are out; each with its number.
    pub(crate) fn take(&mut self, max: usize, limit: usize) -> Vec<(u64, Entry)> {
        let count = max.min(limit.saturating_sub(self.out.len())).min(self.ready.len());
        let mut taken = Vec::with_capacity(count);
        for entry in self.ready.drain(..count) {
            self.last_id += 1;
            self.out.insert(self.last_id, entry.clone());
            taken.push((self.last_id, entry));
        }
        taken
    }

    /// The entry of a number that is out; it stays out.
    pub(crate) fn entry(&self, id: u64) -> Option<&Entry> {
        self.out.get(&id)
    }

    /// Forgets a message: it is settled, or left to the server.
    pub(crate) fn release(&mut self, id: u64) {
        self.out.remove(&id);
    }

    /// Keeps a message for another delivery at `due`.
    pub(crate) fn delay(&mut self, id: u64, due: Instant) {
        if let Some(mut entry) = self.out.remove(&id)
            && self.delayed.len() < MAX_DELAYED
        {
            entry.redelivered = entry.redelivered.saturating_add(1);
            self.delayed.push((due, entry));
        }
    }

    /// Moves the delayed messages whose time has come to the front; says when the next one's comes.
    pub(crate) fn wake_due(&mut self, now: Instant) -> Option<Instant> {
        let (due, later): (Vec<_>, Vec<_>) = self.delayed.drain(..).partition(|(at, _)| *at <= now);
        for (_, entry) in due {
            self.ready.push_front(entry);
        }
        self.delayed = later;
        self.delayed.iter().map(|(at, _)| *at).min()
    }

    /// The entry ids of everything that is held.
    pub(crate) fn held(&self) -> Vec<String> {
        let entries = self.ready.iter().chain(self.out.values());
        entries.chain(self.delayed.iter().map(|(_, entry)| entry)).map(|entry| entry.id.clone()).collect()
    }

    /// Gives up everything and says what it was.
    pub(crate) fn clear(&mut self) -> Vec<String> {
        let held = self.held();
        self.ready.clear();
        self.out.clear();
        self.delayed.clear();
        held
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use mecha_plugin_api::Metadata;

    use super::*;

    fn entry(id: &str) -> Entry {
        Entry { id: id.into(), data: Bytes::new(), metadata: Metadata::new(), redelivered: 0 }
    }

    fn ids(taken: &[(u64, Entry)]) -> Vec<&str> {
        taken.iter().map(|(_, entry)| entry.id.as_str()).collect()
    }

    #[test]
    fn no_more_than_the_limit_is_out() {
        let mut inbox = Inbox::default();
        inbox.add(["1", "2", "3", "4"].map(entry));
        let taken = inbox.take(10, 3);
        assert_eq!(ids(&taken), ["1", "2", "3"]);
        assert!(inbox.take(10, 3).is_empty());
        inbox.release(taken[0].0);
        assert_eq!(ids(&inbox.take(10, 3)), ["4"]);
    }

    #[test]
    fn what_is_held_is_not_taken_in_again() {
        let mut inbox = Inbox::default();
        inbox.add([entry("1")]);
        let taken = inbox.take(1, 1);
        inbox.add([entry("1"), entry("2")]);
        assert_eq!(inbox.ready(), 1);
        inbox.release(taken[0].0);
        inbox.add([entry("1")]);
        assert_eq!(inbox.ready(), 2);
    }

    #[test]
    fn a_delayed_message_comes_back_first_when_its_time_has_come() {
        let (mut inbox, now) = (Inbox::default(), Instant::now());
        inbox.add(["1", "2"].map(entry));
        let (id, _) = inbox.take(1, 9)[0];
        let due = now + Duration::from_secs(5);
        inbox.delay(id, due);
        assert_eq!(inbox.wake_due(now), Some(due));
        assert_eq!(inbox.held().len(), 2);
        assert_eq!(inbox.wake_due(due), None);
        let taken = inbox.take(9, 9);
        assert_eq!(ids(&taken), ["1", "2"]);
        assert_eq!(taken[0].1.redelivered, 1);
    }

    #[test]
    fn clearing_names_everything() {
        let (mut inbox, now) = (Inbox::default(), Instant::now());
        inbox.add(["1", "2", "3"].map(entry));
        let taken = inbox.take(2, 9);
        inbox.delay(taken[0].0, now);
        let mut held = inbox.clear();
        held.sort();
        assert_eq!(held, ["1", "2", "3"]);
        assert!(inbox.held().is_empty());
    }
}
