//! What an application was given of numbered messages with keys: how often, and in which order.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Everything that was delivered.
#[derive(Default)]
pub struct Sequences {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    keys: HashMap<u64, Key>,
    different: u64,
    duplicates: u64,
    disorder: Vec<String>,
}

/// What was delivered of one key.
#[derive(Default)]
struct Key {
    taken: HashSet<u64>,
    /// The highest number that was taken.
    last: Option<u64>,
    /// Those that are being worked on.
    working: Vec<u64>,
}

/// A message that is being worked on.
pub struct Working<'a> {
    sequences: &'a Sequences,
    key: u64,
    number: u64,
}

impl Sequences {
    /// A message came; two of one key at once have no order.
    pub fn begin(&self, key: u64, number: u64) -> Working<'_> {
        let mut state = self.lock();
        let of_key = state.keys.entry(key).or_default();
        let met = of_key.working.first().copied().filter(|other| *other != number);
        of_key.working.push(number);
        if let Some(met) = met {
            state.disorder.push(format!("key {key}: {number} came while {met} was worked on"));
        }
        Working { sequences: self, key, number }
    }

    /// How many different messages were taken.
    pub fn different(&self) -> u64 {
        self.lock().different
    }

    /// How often one was taken that had been taken before.
    pub fn duplicates(&self) -> u64 {
        self.lock().duplicates
    }

    /// What did not come in its key's order.
    pub fn disorder(&self) -> Vec<String> {
        self.lock().disorder.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Working<'_> {
    /// The message was taken, or has to come again.
    pub fn end(self, is_taken: bool) {
        let mut state = self.sequences.lock();
        let state = &mut *state;
        let of_key = state.keys.entry(self.key).or_default();
        if let Some(place) = of_key.working.iter().position(|number| *number == self.number) {
            of_key.working.swap_remove(place);
        }
        if !is_taken {
            return;
        }
        if !of_key.taken.insert(self.number) {
            state.duplicates += 1;
            return;
        }
        state.different += 1;
        match of_key.last {
            Some(last) if last > self.number => {
                state.disorder.push(format!("key {}: {} came after {last}", self.key, self.number));
            }
            _ => of_key.last = Some(self.number),
        }
    }
}
