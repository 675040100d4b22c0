//! Plugins: generations, swaps, calls in flight, panics, and how long they hold a worker.

use std::time::Duration;

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use crate::error::Error;
use crate::names::{label, metric};

/// A well-behaved poll is far below the first millisecond.
const POLL_BUCKETS: [f64; 10] = [1e-6, 5e-6, 2e-5, 1e-4, 5e-4, 1e-3, 5e-3, 2e-2, 1e-1, 1.0];

/// A step in a generation's life that is worth a gauge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GenerationState {
    /// Takes calls.
    Active,
    /// Finishes what it has.
    Draining,
    /// Done; its mapping stays.
    Retired,
}

impl GenerationState {
    fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Draining => "draining",
            Self::Retired => "retired",
        }
    }
}

/// The families of all plugins. They carry no application: one plugin may serve several.
#[derive(Debug)]
pub struct PluginMetrics {
    generations: IntGaugeVec,
    swaps: IntCounterVec,
    in_flight: IntGaugeVec,
    panics: IntCounterVec,
    refused: IntCounterVec,
    poll: HistogramVec,
    mapped: IntGaugeVec,
}

impl PluginMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, Error> {
        let gauge = |name: &str, help: &str, labels: &[&str]| -> Result<IntGaugeVec, Error> {
            let family = IntGaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(family.clone()))?;
            Ok(family)
        };
        let counter = |name: &str, help: &str, labels: &[&str]| -> Result<IntCounterVec, Error> {
            let family = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(family.clone()))?;
            Ok(family)
        };
        let poll =
            HistogramOpts::new(metric::PLUGIN_POLL_SECONDS, "Time that one poll of a plugin held a worker.");
        let poll = HistogramVec::new(poll.buckets(POLL_BUCKETS.to_vec()), &[label::PLUGIN])?;
        registry.register(Box::new(poll.clone()))?;
        Ok(Self {
            generations: gauge(
                metric::PLUGIN_GENERATIONS,
                "Generations of a plugin, by state.",
                &[label::PLUGIN, label::STATE],
            )?,
            swaps: counter(
                metric::PLUGIN_SWAPS_TOTAL,
                "Swaps of a plugin, by outcome.",
                &[label::PLUGIN, label::OUTCOME],
            )?,
            in_flight: gauge(metric::PLUGIN_IN_FLIGHT, "Calls inside a plugin.", &[label::PLUGIN])?,
            panics: counter(
                metric::PLUGIN_PANICS_TOTAL,
                "Panics caught at a plugin's boundary.",
                &[label::PLUGIN],
            )?,
            refused: counter(
                metric::PLUGIN_REFUSED_TOTAL,
                "Plugin files refused, by reason.",
                &[label::REASON],
            )?,
            mapped: gauge(
                metric::PLUGIN_MAPPED_BYTES,
                "Memory that a plugin's mappings hold.",
                &[label::PLUGIN],
            )?,
            poll,
        })
    }

    /// The handle of one plugin, by its file's stem.
    pub fn resolve(&self, plugin: &str) -> PluginHandle {
        PluginHandle {
            plugin: plugin.into(),
            generations: self.generations.clone(),
            swapped: self.swaps.with_label_values(&[plugin, "swapped"]),
            kept: self.swaps.with_label_values(&[plugin, "kept"]),
            in_flight: self.in_flight.with_label_values(&[plugin]),
            panics: self.panics.with_label_values(&[plugin]),
            mapped: self.mapped.with_label_values(&[plugin]),
            poll: self.poll.with_label_values(&[plugin]),
        }
    }

    /// A file was refused. The reason is the kind of the refusal, never its text.
    pub fn refused(&self, reason: &'static str) {
        self.refused.with_label_values(&[reason]).inc();
    }
}

/// Records one plugin.
#[derive(Clone, Debug)]
pub struct PluginHandle {
    plugin: Box<str>,
    generations: IntGaugeVec,
    swapped: IntCounter,
    kept: IntCounter,
    in_flight: IntGauge,
    panics: IntCounter,
    mapped: IntGauge,
    poll: Histogram,
}

impl PluginHandle {
    /// Counts a call as in flight until the guard goes, however the call ends.
    pub fn enter(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    /// Calls in flight now.
    pub fn in_flight(&self) -> i64 {
        self.in_flight.get()
    }

    /// A panic was caught.
    pub fn panicked(&self) {
        self.panics.inc();
    }

    /// One poll held a worker this long.
    pub fn polled(&self, elapsed: Duration) {
        self.poll.observe(elapsed.as_secs_f64());
    }

    /// A replaced file was swapped in (`true`), or the old generation was kept.
    pub fn swapped(&self, success: bool) {
        if success { self.swapped.inc() } else { self.kept.inc() }
    }

    /// How many generations are in a state.
    pub fn set_generations(&self, state: GenerationState, count: usize) {
        let gauge = self.generations.with_label_values(&[self.plugin.as_ref(), state.as_str()]);
        gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// How much memory its mappings hold.
    pub fn set_mapped_bytes(&self, bytes: u64) {
        self.mapped.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}

/// A call inside a plugin.
#[derive(Debug)]
pub struct InFlight(IntGauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}
