//! Buckets of tokens that fill up again while time passes.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// From this many on, buckets that are full again are forgotten: a full one says nothing.
const MANY: usize = 4096;

/// A bucket for each key.
pub(super) struct Buckets {
    /// Tokens that come in a second.
    rate: f64,
    /// Tokens that a bucket holds at most.
    size: f64,
    used: Mutex<Used>,
}

struct Used {
    buckets: HashMap<String, Bucket>,
    /// How many there may be before they are looked through.
    look_at: usize,
}

#[derive(Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Buckets {
    pub(super) fn new(rate: f64) -> Self {
        let used = Used { buckets: HashMap::new(), look_at: MANY };
        Self { rate, size: rate.floor().max(1.0), used: Mutex::new(used) }
    }

    /// Takes a token and says how many whole ones are left; `None` when there was none.
    pub(super) fn take(&self, key: String, now: Instant) -> Option<u64> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.buckets.len() >= used.look_at {
            used.buckets.retain(|_, bucket| self.tokens(bucket, now) < self.size);
            used.look_at = (used.buckets.len() * 2).max(MANY);
        }
        let bucket = used.buckets.entry(key).or_insert(Bucket { tokens: self.size, at: now });
        let tokens = self.tokens(bucket, now);
        let left = (tokens >= 1.0).then_some(tokens - 1.0);
        *bucket = Bucket { tokens: left.unwrap_or(tokens), at: now };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "whole tokens, none below zero"
        )]
        left.map(|left| left as u64)
    }

    fn tokens(&self, bucket: &Bucket, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(bucket.at).as_secs_f64();
        (bucket.tokens + passed * self.rate).min(self.size)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn tokens_come_back_with_time() {
        let (buckets, start) = (Buckets::new(2.0), Instant::now());
        let take = |after| buckets.take("a".to_owned(), start + Duration::from_millis(after));
        assert_eq!(
            [take(0), take(0), take(0), take(400), take(500), take(600)],
            [Some(1), Some(0), None, None, Some(0), None]
        );
        assert_eq!(take(60_000), Some(1));
    }

    #[test]
    fn less_than_one_a_second_still_lets_one_through() {
        let (buckets, start) = (Buckets::new(0.5), Instant::now());
        let take = |after| buckets.take("a".to_owned(), start + Duration::from_secs(after)).is_some();
        assert_eq!([take(0), take(1), take(2)], [true, false, true]);
    }

    #[test]
    fn full_buckets_are_forgotten() {
        let (buckets, start) = (Buckets::new(1.0), Instant::now());
        for number in 0..3 * MANY as u64 {
            buckets.take(number.to_string(), start + Duration::from_millis(number));
        }
        assert!(buckets.used.lock().unwrap().buckets.len() <= 2 * MANY);
    }
}
