//! Helpers to register families with the identity of the runtime as fixed labels.

use prometheus::{GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};

use super::MetricsSettings;
use crate::error::Error;
use crate::names::label;

/// Registers families of one runtime.
pub(super) struct Families<'a> {
    pub(super) registry: &'a Registry,
    settings: &'a MetricsSettings,
    with_namespace: bool,
}

impl<'a> Families<'a> {
    /// With the label `app_id`.
    pub(super) fn of_app(registry: &'a Registry, settings: &'a MetricsSettings) -> Self {
        Self { registry, settings, with_namespace: false }
    }

    /// With the labels `app_id` and `namespace`.
    pub(super) fn of_namespace(registry: &'a Registry, settings: &'a MetricsSettings) -> Self {
        Self { registry, settings, with_namespace: true }
    }

    pub(super) fn opts(&self, name: &str, help: &str) -> Opts {
        let opts = Opts::new(name, help).const_label(label::APP_ID, &self.settings.app_id);
        if self.with_namespace { opts.const_label(label::NAMESPACE, &self.settings.namespace) } else { opts }
    }

    pub(super) fn counter(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, Error> {
        let family = IntCounterVec::new(self.opts(name, help), labels)?;
        self.registry.register(Box::new(family.clone()))?;
        Ok(family)
    }

    pub(super) fn gauge(&self, name: &str, help: &str, labels: &[&str]) -> Result<GaugeVec, Error> {
        let family = GaugeVec::new(self.opts(name, help), labels)?;
        self.registry.register(Box::new(family.clone()))?;
        Ok(family)
    }

    /// A histogram over Dapr's or the configured latency buckets, in ms.
    pub(super) fn latency(&self, name: &str, help: &str, labels: &[&str]) -> Result<HistogramVec, Error> {
        self.histogram(name, help, labels, self.settings.latency_buckets())
    }

    /// A histogram over Dapr's size buckets.
    pub(super) fn sizes(&self, name: &str, help: &str, labels: &[&str]) -> Result<HistogramVec, Error> {
        self.histogram(name, help, labels, super::SIZE_BUCKETS.to_vec())
    }

    fn histogram(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: Vec<f64>,
    ) -> Result<HistogramVec, Error> {
        let opts = HistogramOpts { common_opts: self.opts(name, help), buckets };
        let family = HistogramVec::new(opts, labels)?;
        self.registry.register(Box::new(family.clone()))?;
        Ok(family)
    }
}

/// Milliseconds with their fraction, Dapr's unit of latency.
pub(super) fn milliseconds(elapsed: std::time::Duration) -> f64 {
    elapsed.as_secs_f64() * 1e3
}

/// `true` and `false` as labels.
pub(super) fn success_label(success: bool) -> &'static str {
    if success { "true" } else { "false" }
}
