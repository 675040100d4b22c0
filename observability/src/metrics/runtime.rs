//! Life of components, Dapr's error codes, and what becomes of spans.

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

use super::MetricsSettings;
use super::family::Families;
use crate::error::Error;
use crate::names::{label, metric};

/// Where a component's initialisation failed, as Dapr's label `reason` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InitFailure {
    /// No plugin offers the type, or the instance could not be made.
    Creation,
    /// The instance refused its metadata or could not reach its back end.
    Init,
}

/// Components loaded and initialised.
#[derive(Debug)]
pub struct RuntimeMetrics {
    loaded: IntCounterVec,
    initialised: IntCounterVec,
    failed: IntCounterVec,
}

impl RuntimeMetrics {
    pub(super) fn new(registry: &Registry, settings: &MetricsSettings) -> Result<Self, Error> {
        let of = Families::of_app(registry, settings);
        let failed_by = [label::COMPONENT, label::REASON, label::COMPONENT_NAME];
        Ok(Self {
            loaded: of.counter(metric::COMPONENT_LOADED, "Components loaded.", &[])?,
            initialised: of.counter(
                metric::COMPONENT_INIT_TOTAL,
                "Components initialised, by type.",
                &[label::COMPONENT],
            )?,
            failed: of.counter(
                metric::COMPONENT_INIT_FAIL_TOTAL,
                "Components that could not be initialised.",
                &failed_by,
            )?,
        })
    }

    /// A component's resource was accepted.
    pub fn component_loaded(&self) {
        self.loaded.with_label_values::<&str>(&[]).inc();
    }

    /// A component is ready. `component_type` is e.g. `state.redis`.
    pub fn component_initialised(&self, component_type: &str) {
        self.initialised.with_label_values(&[component_type]).inc();
    }

    /// A component is not.
    pub fn component_init_failed(&self, component_type: &str, name: &str, failure: InitFailure) {
        let reason = match failure {
            InitFailure::Creation => "creation",
            InitFailure::Init => "init",
        };
        self.failed.with_label_values(&[component_type, reason, name]).inc();
    }
}

/// Errors answered, by Dapr's code. Counts only when the Configuration asks for it.
#[derive(Debug)]
pub struct ErrorCodeMetrics(Option<IntCounterVec>);

impl ErrorCodeMetrics {
    pub(super) fn new(registry: &Registry, settings: &MetricsSettings) -> Result<Self, Error> {
        if !settings.record_error_codes {
            return Ok(Self(None));
        }
        let of = Families::of_app(registry, settings);
        let labels = [label::ERROR_CODE, label::CATEGORY];
        of.counter(metric::ERROR_CODE_TOTAL, "Errors answered, by code.", &labels)
            .map(|family| Self(Some(family)))
    }

    /// Counts an error. Codes and categories are Dapr's, a closed list.
    pub fn record(&self, code: &'static str, category: &'static str) {
        if let Some(family) = &self.0 {
            family.with_label_values(&[code, category]).inc();
        }
    }
}

/// Spans on their way to the collector.
#[derive(Clone, Debug)]
pub struct SpanMetrics {
    pub(crate) exported: IntCounter,
    pub(crate) queue_full: IntCounter,
    pub(crate) export_failed: IntCounter,
    pub(crate) shut_down: IntCounter,
}

impl SpanMetrics {
    pub(super) fn new(registry: &Registry, settings: &MetricsSettings) -> Result<Self, Error> {
        let of = Families::of_app(registry, settings);
        let dropped =
            of.counter(metric::SPANS_DROPPED_TOTAL, "Spans that were lost, by reason.", &[label::REASON])?;
        let exported: Opts = of.opts(metric::SPANS_EXPORTED_TOTAL, "Spans that an exporter delivered.");
        let exported = IntCounter::with_opts(exported)?;
        registry.register(Box::new(exported.clone()))?;
        Ok(Self {
            exported,
            queue_full: dropped.with_label_values(&["queue_full"]),
            export_failed: dropped.with_label_values(&["export_failed"]),
            shut_down: dropped.with_label_values(&["shut_down"]),
        })
    }

    /// Spans that were delivered so far.
    pub fn exported(&self) -> u64 {
        self.exported.get()
    }

    /// Spans that were lost so far, for whatever reason.
    pub fn dropped(&self) -> u64 {
        self.queue_full.get() + self.export_failed.get() + self.shut_down.get()
    }
}
