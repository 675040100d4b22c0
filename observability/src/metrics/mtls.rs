//! Certificates between runtimes: taken in at the start, renewed, refused.

use prometheus::{IntCounterVec, Registry};

use super::MetricsSettings;
use super::family::Families;
use crate::error::Error;
use crate::names::{label, metric};

/// What became of the certificates of mutual TLS.
#[derive(Debug)]
pub struct MtlsMetrics {
    initialised: IntCounterVec,
    failed: IntCounterVec,
    rotated: IntCounterVec,
    rotation_failed: IntCounterVec,
}

impl MtlsMetrics {
    pub(super) fn new(registry: &Registry, settings: &MetricsSettings) -> Result<Self, Error> {
        let of = Families::of_app(registry, settings);
        Ok(Self {
            initialised: of.counter(metric::MTLS_INIT_TOTAL, "Certificates taken in at the start.", &[])?,
            failed: of.counter(
                metric::MTLS_INIT_FAIL_TOTAL,
                "Certificates that could not be used at the start.",
                &[label::REASON],
            )?,
            rotated: of.counter(metric::MTLS_ROTATED_TOTAL, "Renewed certificates taken in.", &[])?,
            rotation_failed: of.counter(
                metric::MTLS_ROTATED_FAIL_TOTAL,
                "Renewed certificates that could not be used.",
                &[label::REASON],
            )?,
        })
    }

    /// Certificates are in use.
    pub fn initialised(&self) {
        self.initialised.with_label_values::<&str>(&[]).inc();
    }

    /// There are none that could be. `reason` is one of a closed list.
    pub fn init_failed(&self, reason: &'static str) {
        self.failed.with_label_values(&[reason]).inc();
    }

    /// Renewed ones are in use.
    pub fn rotated(&self) {
        self.rotated.with_label_values::<&str>(&[]).inc();
    }

    /// Renewed ones could not be used. `reason` is one of a closed list.
    pub fn rotation_failed(&self, reason: &'static str) {
        self.rotation_failed.with_label_values(&[reason]).inc();
    }
}
