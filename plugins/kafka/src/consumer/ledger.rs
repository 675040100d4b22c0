//! Which messages are out, which wait to come again, and up to where each partition is done.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use mecha_plugin_api::RString;
use mecha_plugin_api::source::Delivery;

use crate::message::Incoming;

/// Where a partition's new messages come from; never waits.
pub(crate) trait Queue {
    /// The next message, if there is one.
    fn pop(&mut self) -> Option<Incoming>;
}

/// A topic and the number of a partition.
#[derive(Clone, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub(crate) struct Partition {
    pub(crate) topic: String,
    pub(crate) number: i32,
}

enum State {
    Out,
    Waiting(Instant),
    Done,
}

struct Held {
    message: Incoming,
    state: State,
    /// How often it was handed out.
    handed_out: u32,
}

struct Lane<Q> {
    partition: Partition,
    key: RString,
    queue: Q,
    /// By offset: everything from the first message that is not done.
    held: BTreeMap<i64, Held>,
    out: usize,
    waiting: usize,
    /// What may be committed and was not yet.
    to_commit: Option<i64>,
    /// Up to where it is done, committed or not.
    done: Option<i64>,
    /// The offset after the last message that came.
    position: Option<i64>,
    /// About to go to another member: nothing more is handed out.
    is_leaving: bool,
}

/// The partitions of one member and their messages.
pub(crate) struct Ledger<Q> {
    lanes: Vec<Lane<Q>>,
    /// Deliveries that are out: their partition and offset.
    out: HashMap<u64, (Partition, i64)>,
    next_id: u64,
    /// The lane that is asked first next time.
    turn: usize,
    last_arrival: Instant,
}

/// What one call of [`Ledger::settle`] did.
#[derive(Default, Debug, PartialEq)]
pub(crate) struct Settled {
    /// There is something to commit.
    pub(crate) advanced: bool,
    /// Messages that failed and are not tried again.
    pub(crate) given_up: Vec<(Partition, i64)>,
}

/// A settlement as the ledger needs it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    Done,
    /// Comes again after the delay, or is given up where retries are off.
    Again(Option<Duration>),
}

impl<Q: Queue> Ledger<Q> {
    pub(crate) fn new() -> Self {
        Self { lanes: Vec::new(), out: HashMap::new(), next_id: 1, turn: 0, last_arrival: Instant::now() }
    }

    /// Takes over a partition.
    pub(crate) fn add(&mut self, partition: Partition, queue: Q, position: Option<i64>) {
        self.remove(&partition);
        self.lanes.push(Lane {
            key: format!("{}/{}", partition.topic, partition.number).into(),
            partition,
            queue,
            held: BTreeMap::new(),
            out: 0,
            waiting: 0,
            to_commit: None,
            done: None,
            position,
            is_leaving: false,
        });
    }

    /// Stops handing out messages of these partitions.
    pub(crate) fn leave(&mut self, partitions: &[Partition]) {
        for lane in &mut self.lanes {
            lane.is_leaving |= partitions.contains(&lane.partition);
        }
    }

    /// Messages of these partitions that are with the application.
    pub(crate) fn out_of(&self, partitions: &[Partition]) -> usize {
        let lanes = self.lanes.iter().filter(|lane| partitions.contains(&lane.partition));
        lanes.map(|lane| lane.out).sum()
    }

    /// Gives a partition up; what is out of it counts no more. The queue is given back to be dropped without the lock.
    pub(crate) fn remove(&mut self, partition: &Partition) -> Option<Q> {
        let at = self.lanes.iter().position(|lane| lane.partition == *partition)?;
        self.out.retain(|_, (held, _)| held != partition);
        Some(self.lanes.swap_remove(at).queue)
    }

    /// Gives everything up.
    pub(crate) fn clear(&mut self) -> Vec<Q> {
        self.out.clear();
        self.lanes.drain(..).map(|lane| lane.queue).collect()
    }

    pub(crate) fn partitions(&self) -> Vec<Partition> {
        self.lanes.iter().map(|lane| lane.partition.clone()).collect()
    }

    /// Messages that are with the application or wait to come again.
    pub(crate) fn unsettled(&self) -> usize {
        self.lanes.iter().map(|lane| lane.out + lane.waiting).sum()
    }

    /// When the last message came.
    pub(crate) fn last_arrival(&self) -> Instant {
        self.last_arrival
    }

    /// Each partition with the offset after its last message, where one is known.
    pub(crate) fn positions(&self) -> Vec<(Partition, i64)> {
        let known = |lane: &Lane<Q>| Some((lane.partition.clone(), lane.position?));
        self.lanes.iter().filter_map(known).collect()
    }

    /// Up to `max` deliveries, one of each partition in turn; at most `limit` are out at once, shared by the partitions.
    pub(crate) fn take(&mut self, max: usize, limit: usize, now: Instant) -> Vec<Delivery> {
        let mut taken = Vec::new();
        let max = max.min(limit.saturating_sub(self.out.len()));
        let share = limit.div_ceil(self.lanes.len().max(1));
        let mut idle = 0;
        while taken.len() < max && idle < self.lanes.len() {
            self.turn = (self.turn + 1) % self.lanes.len();
            match self.take_one(self.turn, share, now) {
                Some(delivery) => {
                    idle = 0;
                    taken.push(delivery);
                }
                None => idle += 1,
            }
        }
        taken
    }

    fn take_one(&mut self, at: usize, share: usize, now: Instant) -> Option<Delivery> {
        let lane = self.lanes.get_mut(at)?;
        if lane.is_leaving || lane.out >= share {
            return None;
        }
        let offset = match lane.first_waiting() {
            // What comes again comes before anything newer.
            Some((_, due)) if due > now => return None,
            Some((offset, _)) => {
                lane.waiting -= 1;
                offset
            }
            None => {
                let message = lane.queue.pop()?;
                self.last_arrival = now;
                lane.arrived(message)
            }
        };
        let held = lane.held.get_mut(&offset)?;
        let (id, redelivered) = (self.next_id, held.handed_out);
        held.state = State::Out;
        held.handed_out += 1;
        lane.out += 1;
        self.next_id += 1;
        self.out.insert(id, (lane.partition.clone(), offset));
        Some(Delivery {
            id,
            redelivered,
            ordering_key: lane.key.clone(),
            topic: lane.partition.topic.as_str().into(),
            data: held.message.data.clone().into(),
            content_type: held.message.content_type.as_str().into(),
            metadata: held.message.metadata.clone(),
        })
    }

    /// When the next message that waits may come again.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let active = self.lanes.iter().filter(|lane| !lane.is_leaving);
        active.filter_map(|lane| lane.first_waiting()).map(|(_, due)| due).min()
    }

    /// Settles deliveries. Where a message is given up, those behind it in the same call were not worked on: they come again.
    pub(crate) fn settle(&mut self, settlements: &[(u64, Verdict)], now: Instant) -> Settled {
        let mut settled = Settled::default();
        let mut given_up: HashMap<Partition, i64> = HashMap::new();
        for (id, verdict) in settlements {
            if let (Verdict::Again(None), Some((partition, offset))) = (verdict, self.out.get(id)) {
                let first = given_up.entry(partition.clone()).or_insert(*offset);
                *first = (*first).min(*offset);
            }
        }
        for (id, verdict) in settlements {
            // What is not known any more went to another member with its partition.
            let Some((partition, offset)) = self.out.remove(id) else { continue };
            let Some(lane) = self.lanes.iter_mut().find(|lane| lane.partition == partition) else { continue };
            let is_given_up = given_up.get(&partition) == Some(&offset);
            match verdict {
                Verdict::Again(delay) if !is_given_up => {
                    let due = now.checked_add(delay.unwrap_or_default()).unwrap_or(now);
                    lane.again(offset, due);
                }
                Verdict::Again(_) | Verdict::Done => settled.advanced |= lane.done(offset),
            }
        }
        settled.given_up = given_up.into_iter().collect();
        settled
    }

    /// What may be committed since the last call.
    pub(crate) fn commits(&mut self) -> Vec<(Partition, i64)> {
        let lanes = self.lanes.iter_mut();
        lanes.filter_map(|lane| Some((lane.partition.clone(), lane.to_commit.take()?))).collect()
    }

    /// Up to where these partitions are done, for the last commit: one that is still on its way may fail unnoticed.
    pub(crate) fn done(&self, of: &[Partition]) -> Vec<(Partition, i64)> {
        let chosen = self.lanes.iter().filter(|lane| of.contains(&lane.partition));
        chosen.filter_map(|lane| Some((lane.partition.clone(), lane.done?))).collect()
    }

    /// A commit failed: it is tried again, unless there is a later one.
    pub(crate) fn not_committed(&mut self, partition: &Partition, offset: i64) {
        if let Some(lane) = self.lanes.iter_mut().find(|lane| lane.partition == *partition) {
            lane.to_commit = lane.to_commit.max(Some(offset));
        }
    }
}

impl<Q> Lane<Q> {
    fn arrived(&mut self, message: Incoming) -> i64 {
        let offset = message.offset;
        self.position = Some(offset + 1);
        self.held.insert(offset, Held { message, state: State::Out, handed_out: 0 });
        offset
    }

    /// The earliest message that is to come again, and when.
    fn first_waiting(&self) -> Option<(i64, Instant)> {
        if self.waiting == 0 {
            return None;
        }
        self.held.iter().find_map(|(offset, held)| match held.state {
            State::Waiting(due) => Some((*offset, due)),
            State::Out | State::Done => None,
        })
    }

    fn again(&mut self, offset: i64, due: Instant) {
        if let Some(held) = self.held.get_mut(&offset) {
            held.state = State::Waiting(due);
            self.out -= 1;
            self.waiting += 1;
        }
    }

    /// Whether there is more to commit now: the first messages without a gap are done.
    fn done(&mut self, offset: i64) -> bool {
        if let Some(held) = self.held.get_mut(&offset) {
            held.state = State::Done;
            self.out -= 1;
        }
        let mut advanced = false;
        while let Some(first) = self.held.first_entry()
            && matches!(first.get().state, State::Done)
        {
            self.done = Some(first.key() + 1);
            self.to_commit = self.done;
            first.remove();
            advanced = true;
        }
        advanced
    }
}

#[cfg(test)]
mod tests;
