//! Retry policies, and the pauses between the attempts of one operation.

use std::time::Duration;

use tokio::time::Instant;

use crate::{codes::Codes, duration, error::FieldError, spec};

const DEFAULT_PAUSE: Duration = Duration::from_secs(5);
const FIRST_INTERVAL: Duration = Duration::from_millis(500);
const GROWTH: f64 = 1.5;
/// How far a pause may lie from its interval, as a part of it.
const SPREAD: f64 = 0.5;
const DEFAULT_MAX_INTERVAL: Duration = Duration::from_secs(60);
/// A resource cannot change this: even "without end" ends here when the pauses grow.
const DEFAULT_MAX_ELAPSED: Duration = Duration::from_secs(15 * 60);

/// A retry policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Retry {
    /// The pauses.
    pub backoff: Backoff,
    /// Most retries, the first attempt not counted; `None` is without end.
    pub max_retries: Option<u64>,
    /// The codes that are tried again. Failures without a code always are.
    pub codes: Codes,
}

/// How the pauses grow.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Backoff {
    /// They do not.
    Constant(Duration),
    /// From half a second by half each time, spread at random by half of the interval to both sides.
    Exponential {
        /// The longest interval.
        max_interval: Duration,
        /// No pause is begun that would end later than this after the first attempt began.
        max_elapsed: Duration,
    },
}

impl Retry {
    /// A policy with equal pauses, for every code.
    #[must_use]
    pub fn constant(pause: Duration, max_retries: Option<u64>) -> Self {
        Self { backoff: Backoff::Constant(pause), max_retries, codes: Codes::default() }
    }

    /// A policy with growing pauses, for every code.
    #[must_use]
    pub fn exponential(max_interval: Duration, max_elapsed: Duration, max_retries: Option<u64>) -> Self {
        let backoff = Backoff::Exponential { max_interval, max_elapsed };
        Self { backoff, max_retries, codes: Codes::default() }
    }

    /// Reads a policy.
    ///
    /// # Errors
    /// A field that is not what it must be.
    pub fn parse(spec: &spec::Retry) -> Result<Self, FieldError> {
        let pause = read(&spec.duration, DEFAULT_PAUSE)?;
        let max_interval = read(&spec.max_interval, DEFAULT_MAX_INTERVAL)?;
        let backoff = match spec.policy.to_ascii_lowercase().as_str() {
            "" | "constant" => Backoff::Constant(pause),
            "exponential" => Backoff::Exponential { max_interval, max_elapsed: DEFAULT_MAX_ELAPSED },
            _ => return Err(FieldError::Policy(spec.policy.clone())),
        };
        let codes = spec.matching.as_ref().map(Codes::parse).transpose()?.unwrap_or_default();
        let max_retries = spec.max_retries.and_then(|retries| u64::try_from(retries).ok());
        Ok(Self { backoff, max_retries, codes })
    }
}

fn read(text: &str, default: Duration) -> Result<Duration, FieldError> {
    match text {
        "" => Ok(default),
        text => duration::parse(text).ok_or_else(|| FieldError::Duration(text.to_owned())),
    }
}

/// The pauses of one operation.
#[derive(Debug)]
pub(crate) struct Pauses<'r> {
    retry: &'r Retry,
    taken: u64,
    interval: Duration,
    /// When the first attempt began; known only where it is asked for.
    started: Option<Instant>,
}

impl<'r> Pauses<'r> {
    /// To be made before the first attempt.
    pub(crate) fn new(retry: &'r Retry) -> Self {
        let started = match retry.backoff {
            Backoff::Constant(_) => None,
            Backoff::Exponential { .. } => Some(Instant::now()),
        };
        Self { retry, taken: 0, interval: FIRST_INTERVAL, started }
    }

    /// The pause before the next attempt; `None` when there is none. `random` gives a number from 0 up to 1.
    pub(crate) fn next(&mut self, random: impl FnOnce() -> f64) -> Option<Duration> {
        if self.retry.max_retries.is_some_and(|max| self.taken >= max) {
            return None;
        }
        self.taken += 1;
        match self.retry.backoff {
            Backoff::Constant(pause) => Some(pause),
            Backoff::Exponential { max_interval, max_elapsed } => {
                let pause = spread(self.interval, random());
                self.interval = grown(self.interval, max_interval);
                let elapsed = self.started.map(|started| started.elapsed()).unwrap_or_default();
                (elapsed.saturating_add(pause) <= max_elapsed).then_some(pause)
            }
        }
    }
}

fn spread(interval: Duration, random: f64) -> Duration {
    let secs = interval.as_secs_f64() * (1.0 - SPREAD + 2.0 * SPREAD * random);
    Duration::try_from_secs_f64(secs).unwrap_or(Duration::MAX)
}

fn grown(interval: Duration, max: Duration) -> Duration {
    // Compared before it is multiplied, so that the longest duration there is cannot overflow.
    if interval >= max.div_f64(GROWTH) { max } else { interval.mul_f64(GROWTH) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codes::Code;

    fn millis(retry: &Retry, random: f64, most: usize) -> Vec<u128> {
        let mut pauses = Pauses::new(retry);
        std::iter::from_fn(|| pauses.next(|| random)).take(most).map(|pause| pause.as_millis()).collect()
    }

    #[test]
    fn reads_daprs_defaults() {
        let defaults = Retry::parse(&spec::Retry::default()).unwrap();
        assert_eq!(defaults, Retry::constant(Duration::from_secs(5), None));
        let growing =
            Retry::parse(&spec::Retry { policy: "Exponential".into(), ..Default::default() }).unwrap();
        let quarter = Duration::from_secs(900);
        assert_eq!(growing, Retry::exponential(Duration::from_secs(60), quarter, None));
    }

    #[test]
    fn reads_every_field() {
        let read = Retry::parse(&spec::Retry {
            policy: "constant".into(),
            duration: "200".into(),
            max_interval: "1s".into(),
            max_retries: Some(2),
            matching: Some(spec::RetryMatching { http_status_codes: "500".into(), ..Default::default() }),
        })
        .unwrap();
        assert_eq!(
            (read.backoff, read.max_retries),
            (Backoff::Constant(Duration::from_millis(200)), Some(2))
        );
        assert!(read.codes.matches(Code::Http(500)) && !read.codes.matches(Code::Http(501)));
        let endless = spec::Retry { max_retries: Some(-1), ..Default::default() };
        assert_eq!(Retry::parse(&endless).unwrap().max_retries, None);
    }

    #[test]
    fn refuses_what_cannot_be() {
        let policy = spec::Retry { policy: "linear".into(), ..Default::default() };
        assert_eq!(Retry::parse(&policy).unwrap_err().to_string(), "unexpected back off policy type: linear");
        for (duration, max_interval) in [("soon", ""), ("", "later")] {
            let spec = spec::Retry {
                duration: duration.into(),
                max_interval: max_interval.into(),
                ..Default::default()
            };
            assert!(matches!(Retry::parse(&spec), Err(FieldError::Duration(_))), "{duration}{max_interval}");
        }
    }

    #[test]
    fn equal_pauses_end_with_the_number_of_retries() {
        let second = Duration::from_secs(1);
        assert_eq!(millis(&Retry::constant(second, Some(3)), 0.5, 9), [1000, 1000, 1000]);
        assert_eq!(millis(&Retry::constant(second, Some(0)), 0.5, 9), [0_u128; 0]);
        assert_eq!(millis(&Retry::constant(second, None), 0.5, 9).len(), 9);
    }

    #[tokio::test(start_paused = true)]
    async fn growing_pauses_reach_the_longest_and_are_spread() {
        let retry = Retry::exponential(Duration::from_secs(2), Duration::from_secs(900), Some(6));
        assert_eq!(millis(&retry, 0.5, 9), [500, 750, 1125, 1687, 2000, 2000]);
        assert_eq!(millis(&retry, 0.0, 9)[..2], [250, 375]);
        assert_eq!(millis(&retry, 1.0, 9)[..2], [750, 1125]);
        let short = Retry::exponential(Duration::from_millis(100), Duration::from_secs(900), Some(2));
        assert_eq!(millis(&short, 0.5, 9), [500, 100], "the first interval is not bounded, as in Dapr");
    }

    #[tokio::test(start_paused = true)]
    async fn growing_pauses_end_with_the_time() {
        let retry = Retry::exponential(Duration::from_secs(60), Duration::from_secs(10), None);
        let mut pauses = Pauses::new(&retry);
        assert!(pauses.next(|| 0.5).is_some());
        tokio::time::advance(Duration::from_secs(9)).await;
        assert!(pauses.next(|| 0.5).is_some(), "ends at 9.75 s");
        assert_eq!(pauses.next(|| 0.5), None, "would end at 10.125 s");
    }

    #[test]
    fn the_longest_duration_does_not_overflow() {
        assert_eq!(grown(Duration::MAX, Duration::MAX), Duration::MAX);
        assert_eq!(spread(Duration::MAX, 1.0), Duration::MAX);
    }
}
