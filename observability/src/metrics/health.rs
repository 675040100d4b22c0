//! Whether the back ends of components answer, and since when that is so.

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::{GaugeVec, Registry};

use super::MetricsSettings;
use super::family::Families;
use crate::error::Error;
use crate::names::{label, metric};

/// Health of components.
#[derive(Debug)]
pub struct HealthMetrics {
    healthy: GaugeVec,
    since: GaugeVec,
}

impl HealthMetrics {
    pub(super) fn new(registry: &Registry, settings: &MetricsSettings) -> Result<Self, Error> {
        let of = Families::of_app(registry, settings);
        let labels = [label::COMPONENT, label::COMPONENT_NAME];
        Ok(Self {
            healthy: of.gauge(
                metric::COMPONENT_HEALTHY,
                "1 while the component's back end answers, else 0.",
                &labels,
            )?,
            since: of.gauge(
                metric::COMPONENT_HEALTH_SINCE,
                "Unix time in seconds of the last change of a component's health.",
                &labels,
            )?,
        })
    }

    /// What holds of a component since `since`. `component_type` is e.g. `state.redis`.
    pub fn set(&self, component_type: &str, name: &str, healthy: bool, since: SystemTime) {
        self.healthy.with_label_values(&[component_type, name]).set(f64::from(u8::from(healthy)));
        let since = since.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        self.since.with_label_values(&[component_type, name]).set(since);
    }

    /// The component is gone.
    pub fn remove(&self, component_type: &str, name: &str) {
        // Absent is what it is to be.
        let _ = self.healthy.remove_label_values(&[component_type, name]);
        let _ = self.since.remove_label_values(&[component_type, name]);
    }
}
