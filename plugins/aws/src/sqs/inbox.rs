//! The messages that this process holds: fetched ahead, or with the host. All of them are hidden from others until a time that
//! has to be moved on.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use mecha_plugin_api::RString;
use mecha_plugin_api::source::Delivery;

use super::incoming::Incoming;

/// A message that is held.
#[derive(Debug)]
struct Held {
    message_id: String,
    receipt: String,
    group: RString,
    redelivered: u32,
    hidden_until: Instant,
    /// `None` once it is with the host.
    delivery: Option<Delivery>,
}

/// What is needed to settle a message that is held no more.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Released {
    pub(crate) message_id: String,
    pub(crate) receipt: String,
    pub(crate) group: RString,
    pub(crate) redelivered: u32,
}

/// What is held, and in which state.
#[derive(Default)]
pub(crate) struct Inbox {
    held: HashMap<u64, Held>,
    ready: VecDeque<u64>,
    /// How many messages of each group are with the host.
    busy: HashMap<RString, usize>,
    last_id: u64,
}

impl Inbox {
    /// Adds messages that were received.
    pub(crate) fn add(&mut self, messages: impl IntoIterator<Item = Incoming>, hidden_until: Instant) {
        for mut message in messages {
            self.last_id += 1;
            message.delivery.id = self.last_id;
            self.ready.push_back(self.last_id);
            let held = Held {
                message_id: message.message_id,
                receipt: message.receipt,
                group: message.delivery.ordering_key.clone(),
                redelivered: message.delivery.redelivered,
                hidden_until,
                delivery: Some(message.delivery),
            };
            self.held.insert(self.last_id, held);
        }
    }

    /// How many messages could be handed out now.
    pub(crate) fn ready(&self) -> usize {
        let is_free = |id: &&u64| self.held.get(id).is_some_and(|held| !self.busy.contains_key(&held.group));
        self.ready.iter().filter(is_free).count()
    }

    /// How many messages wait behind others of their group.
    pub(crate) fn held_back(&self) -> usize {
        self.ready.len() - self.ready()
    }

    /// How many messages are held in all.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }

    /// Hands out up to `max` messages. A group that has messages with the host gets no more of them before those are
    /// settled: one that is to come again would otherwise meet its successors on their way out.
    pub(crate) fn take(&mut self, max: usize) -> Vec<Delivery> {
        let mut taken = Vec::with_capacity(max.min(self.ready.len()));
        let mut left = VecDeque::new();
        let mut opened: HashMap<RString, usize> = HashMap::new();
        let mut stopped: HashSet<RString> = HashSet::new();
        while let Some(id) = self.ready.pop_front() {
            let Some(held) = self.held.get_mut(&id) else { continue };
            let is_stopped = self.busy.contains_key(&held.group) || stopped.contains(&held.group);
            if taken.len() == max || is_stopped {
                if !held.group.is_empty() {
                    stopped.insert(held.group.clone());
                }
                left.push_back(id);
                if taken.len() == max {
                    break;
                }
                continue;
            }
            if !held.group.is_empty() {
                *opened.entry(held.group.clone()).or_default() += 1;
            }
            taken.extend(held.delivery.take());
        }
        left.append(&mut self.ready);
        self.ready = left;
        self.busy.extend(opened);
        taken
    }

    /// Lets go of a message that the host has settled.
    pub(crate) fn release(&mut self, id: u64) -> Option<Released> {
        let held = self.held.remove(&id)?;
        if let Some(count) = self.busy.get_mut(&held.group) {
            *count -= 1;
            if *count == 0 {
                self.busy.remove(&held.group);
            }
        }
        Some(held.into())
    }

    /// Lets go of what is fetched ahead of a group: it has to come after what is to come again.
    pub(crate) fn release_group(&mut self, group: &RString) -> Vec<Released> {
        let is_of_group = |held: &Held| held.group == *group && held.delivery.is_some();
        let (gone, left): (VecDeque<u64>, VecDeque<u64>) =
            self.ready.drain(..).partition(|id| self.held.get(id).is_some_and(is_of_group));
        self.ready = left;
        gone.iter().filter_map(|id| self.held.remove(id)).map(Released::from).collect()
    }

    /// Lets go of everything.
    pub(crate) fn clear(&mut self) -> Vec<Released> {
        self.ready.clear();
        self.busy.clear();
        self.held.drain().map(|(_, held)| held.into()).collect()
    }

    /// The receipts of the messages that would be seen by others within `margin`.
    pub(crate) fn expiring(&self, now: Instant, margin: Duration) -> Vec<String> {
        let is_close = |held: &&Held| held.hidden_until <= now + margin;
        self.held.values().filter(is_close).map(|held| held.receipt.clone()).collect()
    }

    /// Notes that messages stay hidden until a later time.
    pub(crate) fn extend(&mut self, receipts: &[String], hidden_until: Instant) {
        let receipts: HashSet<&String> = receipts.iter().collect();
        for held in self.held.values_mut() {
            if receipts.contains(&held.receipt) {
                held.hidden_until = hidden_until;
            }
        }
    }

    /// Lets go of what is fetched ahead and was hidden no longer than until `now`: somebody else may have it by now.
    pub(crate) fn drop_expired(&mut self, now: Instant) -> usize {
        let held = &mut self.held;
        let before = self.ready.len();
        self.ready.retain(|id| {
            let is_expired = held.get(id).is_none_or(|message| message.hidden_until <= now);
            if is_expired {
                held.remove(id);
            }
            !is_expired
        });
        before - self.ready.len()
    }
}

impl From<Held> for Released {
    fn from(held: Held) -> Self {
        let Held { message_id, receipt, group, redelivered, .. } = held;
        Self { message_id, receipt, group, redelivered }
    }
}

#[cfg(test)]
mod tests {
    use mecha_plugin_api::{Buf, Metadata};

    use super::*;

    fn message(name: &str, group: &str) -> Incoming {
        let delivery = Delivery {
            id: 0,
            redelivered: 0,
            ordering_key: group.into(),
            topic: "t".into(),
            data: Buf::from(name.to_owned()),
            content_type: RString::new(),
            metadata: Metadata::new(),
        };
        Incoming { message_id: name.into(), receipt: format!("r-{name}"), delivery }
    }

    fn inbox(messages: &[(&str, &str)]) -> Inbox {
        let mut inbox = Inbox::default();
        inbox.add(messages.iter().map(|(name, group)| message(name, group)), Instant::now());
        inbox
    }

    fn names(taken: &[Delivery]) -> Vec<&str> {
        taken.iter().map(|delivery| std::str::from_utf8(&delivery.data).unwrap()).collect()
    }

    #[test]
    fn messages_without_a_group_go_out_in_turn() {
        let mut inbox = inbox(&[("1", ""), ("2", ""), ("3", "")]);
        let taken = inbox.take(2);
        assert_eq!(names(&taken), ["1", "2"]);
        assert_eq!((names(&inbox.take(9)), inbox.len()), (vec!["3"], 3));
        assert_eq!(inbox.release(taken[0].id).unwrap().receipt, "r-1");
        assert!(inbox.release(taken[0].id).is_none());
        assert_eq!(inbox.len(), 2);
    }

    #[test]
    fn a_group_gets_no_more_before_what_is_out_is_settled() {
        let mut inbox = inbox(&[("a1", "a"), ("a2", "a"), ("a3", "a"), ("b1", "b")]);
        let first = inbox.take(2);
        assert_eq!(names(&first), ["a1", "a2"]);
        assert_eq!(inbox.ready(), 1);
        assert_eq!(names(&inbox.take(9)), ["b1"]);
        inbox.release(first[0].id).unwrap();
        assert!(inbox.take(9).is_empty());
        inbox.release(first[1].id).unwrap();
        assert_eq!(names(&inbox.take(9)), ["a3"]);
    }

    #[test]
    fn the_limit_never_lets_a_group_overtake_itself() {
        let mut inbox = inbox(&[("a1", "a"), ("b1", "b"), ("a2", "a")]);
        assert_eq!(names(&inbox.take(1)), ["a1"]);
        assert_eq!(names(&inbox.take(1)), ["b1"]);
        assert!(inbox.take(1).is_empty());
    }

    #[test]
    fn what_is_fetched_ahead_of_a_group_is_given_up_with_it() {
        let mut inbox = inbox(&[("a1", "a"), ("a2", "a"), ("b1", "b"), ("a3", "a")]);
        let first = inbox.take(1);
        let group = inbox.release(first[0].id).unwrap().group;
        let gone: Vec<_> =
            inbox.release_group(&group).into_iter().map(|released| released.message_id).collect();
        assert_eq!(gone, ["a2", "a3"]);
        assert_eq!(names(&inbox.take(9)), ["b1"]);
    }

    #[test]
    fn hidden_times_are_watched_and_moved_on() {
        let mut inbox = inbox(&[("1", ""), ("2", "")]);
        let (now, margin) = (Instant::now(), Duration::from_secs(5));
        let out = inbox.take(1);
        let mut expiring = inbox.expiring(now, margin);
        expiring.sort();
        assert_eq!(expiring, ["r-1", "r-2"]);
        inbox.extend(&["r-1".to_owned()], now + Duration::from_secs(60));
        assert_eq!(inbox.expiring(now, margin), ["r-2"]);
        assert_eq!(inbox.drop_expired(now), 1);
        assert_eq!(inbox.len(), 1);
        assert!(inbox.release(out[0].id).is_some());
    }
}
