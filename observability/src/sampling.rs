//! Decides whether a call is recorded, from ids alone and before anything is allocated for it.

use std::sync::atomic::{AtomicU64, Ordering};

use opentelemetry::trace::{TraceContextExt, TraceState};
use opentelemetry_sdk::trace::{SamplingDecision, SamplingResult, ShouldSample};

use crate::context::TraceContext;

/// Dapr's rate when none is set, or one that is not a number.
const DEFAULT_RATE: f64 = 1e-4;
/// One past the largest value of the trace id's random part (56 bits).
const RANDOM_RANGE: u64 = 1 << 56;

/// Parent based: a caller's decision stands; a new trace is recorded at the given rate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sampler {
    /// Tracing is off: ids are passed on as they came, no trace is begun.
    Off,
    /// A new trace is recorded when its random part is not below the threshold.
    Ratio {
        /// Random parts below this are not recorded; 2^56 records none.
        threshold: u64,
    },
}

impl Sampler {
    /// Reads `tracing.samplingRate`: unset or unreadable is 0.0001, an explicit 0 turns tracing off.
    pub fn from_rate(rate: &str) -> Self {
        let rate = rate.parse::<f64>().ok().filter(|rate| !rate.is_nan()).unwrap_or(DEFAULT_RATE);
        if rate == 0.0 {
            return Self::Off;
        }
        let rejected = 1.0 - rate.clamp(0.0, 1.0);
        // Both factors are exact in f64 and the product is at most 2^56.
        Self::Ratio { threshold: (rejected * RANDOM_RANGE as f64) as u64 }
    }

    /// The context of a call that came with `incoming`: a new span in the caller's trace with the caller's decision, or a new
    /// trace with our own. When tracing is off, the caller's context unchanged.
    pub fn begin(&self, incoming: TraceContext) -> TraceContext {
        match self {
            Self::Off => incoming,
            Self::Ratio { .. } if incoming.is_valid() => incoming.new_child(),
            Self::Ratio { threshold } => {
                let root = TraceContext::new_root();
                root.with_sampled(random_part(&root.trace_id) >= *threshold)
            }
        }
    }
}

/// A rule that can be changed while calls are begun by it.
pub(crate) struct SharedSampler(AtomicU64);

/// No threshold: those end at 2^56.
const OFF: u64 = u64::MAX;

impl SharedSampler {
    pub(crate) fn new(sampler: Sampler) -> Self {
        let shared = Self(AtomicU64::new(OFF));
        shared.set(sampler);
        shared
    }

    pub(crate) fn get(&self) -> Sampler {
        match self.0.load(Ordering::Relaxed) {
            OFF => Sampler::Off,
            threshold => Sampler::Ratio { threshold },
        }
    }

    pub(crate) fn set(&self, sampler: Sampler) {
        let value = match sampler {
            Sampler::Off => OFF,
            Sampler::Ratio { threshold } => threshold,
        };
        self.0.store(value, Ordering::Relaxed);
    }
}

/// The part of a trace id that W3C Trace Context level 2 calls random: every hop that samples by it decides alike.
fn random_part(trace_id: &[u8; 16]) -> u64 {
    (u128::from_be_bytes(*trace_id) as u64) % RANDOM_RANGE
}

/// The same rule for spans that the SDK makes (the runtime's own `tracing` spans).
impl ShouldSample for Sampler {
    fn should_sample(
        &self,
        parent: Option<&opentelemetry::Context>,
        trace_id: opentelemetry::trace::TraceId,
        _name: &str,
        _kind: &opentelemetry::trace::SpanKind,
        _attributes: &[opentelemetry::KeyValue],
        _links: &[opentelemetry::trace::Link],
    ) -> SamplingResult {
        let parent =
            parent.map(|context| context.span().span_context().clone()).filter(|parent| parent.is_valid());
        let sampled = match (self, &parent) {
            (Self::Off, _) => false,
            (Self::Ratio { .. }, Some(parent)) => parent.is_sampled(),
            (Self::Ratio { threshold }, None) => random_part(&trace_id.to_bytes()) >= *threshold,
        };
        SamplingResult {
            decision: if sampled { SamplingDecision::RecordAndSample } else { SamplingDecision::Drop },
            attributes: Vec::new(),
            trace_state: parent.map_or(TraceState::NONE, |parent| parent.trace_state().clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share_of_new_traces(rate: &str) -> f64 {
        let sampler = Sampler::from_rate(rate);
        let rounds = 20_000;
        let sampled = (0..rounds).filter(|_| sampler.begin(TraceContext::NONE).is_sampled()).count();
        sampled as f64 / f64::from(rounds)
    }

    #[test]
    fn rates_are_read_as_dapr_reads_them() {
        let unset = Sampler::from_rate("");
        assert_eq!(unset, Sampler::from_rate("0.0001"));
        assert_eq!(unset, Sampler::from_rate("often"));
        assert_eq!(unset, Sampler::from_rate("NaN"));
        assert_eq!(Sampler::from_rate("1"), Sampler::Ratio { threshold: 0 });
        assert_eq!(Sampler::from_rate("7"), Sampler::Ratio { threshold: 0 });
        assert_eq!(Sampler::from_rate("-1"), Sampler::Ratio { threshold: 1 << 56 });
        assert_eq!(Sampler::from_rate("0"), Sampler::Off);
        assert_eq!(Sampler::from_rate("0.0"), Sampler::Off);
    }

    #[test]
    fn the_rate_is_kept() {
        assert_eq!(share_of_new_traces("1"), 1.0);
        assert_eq!(share_of_new_traces("-1"), 0.0);
        let half = share_of_new_traces("0.5");
        assert!((0.45..0.55).contains(&half), "{half}");
    }

    #[test]
    fn only_the_low_56_bits_decide() {
        let sampler = Sampler::from_rate("0.25");
        let sampled_with = |low: u64| {
            let Sampler::Ratio { threshold } = sampler else { panic!("{sampler:?}") };
            let id = (u128::from(u64::MAX) << 64 | u128::from(0xff << 56 | low)).to_be_bytes();
            random_part(&id) >= threshold
        };
        assert!(sampled_with((1 << 56) - 1));
        assert!(sampled_with(3 << 54));
        assert!(!sampled_with((3 << 54) - 1));
    }

    #[test]
    fn the_caller_decides_for_its_own_trace() {
        let caller = TraceContext::new_root();
        for (rate, sampled) in [("1", false), ("0.0001", true)] {
            let begun = Sampler::from_rate(rate).begin(caller.with_sampled(sampled));
            assert_eq!((begun.trace_id, begun.is_sampled()), (caller.trace_id, sampled));
            assert_ne!(begun.span_id, caller.span_id);
        }
    }

    #[test]
    fn when_off_ids_pass_unchanged() {
        let caller = TraceContext::new_root().with_sampled(true);
        assert_eq!(Sampler::Off.begin(caller), caller);
        assert_eq!(Sampler::Off.begin(TraceContext::NONE), TraceContext::NONE);
    }

    /// Prints what a call pays that is not recorded; gateway-wide budgets rest on it.
    #[test]
    fn cost_of_an_unsampled_decision() {
        let sampler = Sampler::from_rate("-1");
        let caller = TraceContext::new_root();
        let rounds = 200_000_u32;
        for (what, incoming) in [("new trace", TraceContext::NONE), ("caller's trace", caller)] {
            let start = std::time::Instant::now();
            for _ in 0..rounds {
                std::hint::black_box(sampler.begin(std::hint::black_box(incoming)));
            }
            println!("unsampled decision, {what}: {} ns", start.elapsed().as_nanos() / u128::from(rounds));
        }
    }
}
