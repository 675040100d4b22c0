//! What a circuit breaker is made from.

use std::time::Duration;

use super::{Counts, Trip, TripCompiler};
use crate::{duration, error::FieldError, spec};

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
const DEFAULT_CONSECUTIVE_FAILURES: u32 = 5;

/// A circuit breaker policy; every target has breakers of its own made from it.
#[derive(Debug, PartialEq)]
pub struct BreakerSettings {
    /// The policy's name.
    pub name: String,
    /// Requests let through while a breaker is half open; as many successes close it.
    pub max_requests: u32,
    /// How often the counts start again while it is closed; zero is never.
    pub interval: Duration,
    /// How long it stays open.
    pub timeout: Duration,
    /// When it opens; `None` after more than five failures in a row.
    pub trip: Option<Trip>,
}

impl BreakerSettings {
    /// A policy with Dapr's defaults.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            max_requests: 1,
            interval: Duration::ZERO,
            timeout: DEFAULT_TIMEOUT,
            trip: None,
        }
    }

    /// Reads a policy.
    ///
    /// # Errors
    /// A field that is not what it must be.
    pub fn parse(
        name: &str,
        spec: &spec::CircuitBreaker,
        compiler: &TripCompiler,
    ) -> Result<Self, FieldError> {
        let max_requests = match spec.max_requests.unwrap_or(0) {
            0 => 1,
            max => u32::try_from(max).map_err(|_| FieldError::Requests(max))?,
        };
        let timeout = match read(&spec.timeout)? {
            Duration::ZERO => DEFAULT_TIMEOUT,
            timeout => timeout,
        };
        let trip = match spec.trip.as_str() {
            "" => None,
            condition => Some(compiler.compile(condition)?),
        };
        Ok(Self { name: name.to_owned(), max_requests, interval: read(&spec.interval)?, timeout, trip })
    }

    pub(super) fn is_to_open(&self, counts: &Counts) -> bool {
        match &self.trip {
            None => counts.consecutive_failures > DEFAULT_CONSECUTIVE_FAILURES,
            Some(trip) => trip.is_met(counts),
        }
    }
}

fn read(text: &str) -> Result<Duration, FieldError> {
    match text {
        "" => Ok(Duration::ZERO),
        text => duration::parse(text).ok_or_else(|| FieldError::Duration(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(spec: &spec::CircuitBreaker) -> Result<BreakerSettings, FieldError> {
        BreakerSettings::parse("cb", spec, &TripCompiler::default())
    }

    #[test]
    fn reads_daprs_defaults() {
        assert_eq!(parse(&spec::CircuitBreaker::default()).unwrap(), BreakerSettings::new("cb"));
        let zeros = spec::CircuitBreaker {
            max_requests: Some(0),
            interval: "0".into(),
            timeout: "0s".into(),
            trip: String::new(),
        };
        assert_eq!(parse(&zeros).unwrap(), BreakerSettings::new("cb"));
    }

    #[test]
    fn reads_every_field() {
        let settings = parse(&spec::CircuitBreaker {
            max_requests: Some(2),
            interval: "8s".into(),
            timeout: "45".into(),
            trip: "requests > 1".into(),
        })
        .unwrap();
        assert_eq!((settings.max_requests, settings.interval), (2, Duration::from_secs(8)));
        assert_eq!(settings.timeout, Duration::from_millis(45));
        assert!(settings.is_to_open(&Counts { requests: 2, ..Counts::default() }));
        assert!(!settings.is_to_open(&Counts { requests: 1, ..Counts::default() }));
    }

    #[test]
    fn refuses_what_cannot_be() {
        let default = spec::CircuitBreaker::default;
        assert!(parse(&spec::CircuitBreaker { max_requests: Some(-1), ..default() }).is_err());
        assert!(parse(&spec::CircuitBreaker { interval: "soon".into(), ..default() }).is_err());
        assert!(parse(&spec::CircuitBreaker { timeout: "soon".into(), ..default() }).is_err());
        assert!(parse(&spec::CircuitBreaker { trip: "(".into(), ..default() }).is_err());
    }
}
