//! The metrics section.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::lenient;

/// Bucket bounds of latency histograms, in milliseconds, when no file sets others.
pub const DEFAULT_LATENCY_BUCKETS: [u64; 34] = [
    1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20, 25, 30, 40, 50, 65, 80, 100, 130, 160, 200, 250, 300, 400, 500, 650,
    800, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000,
];

/// Metrics. A field is `None` when no file sets it; the methods fill in Dapr's defaults.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Metrics {
    /// Whether metrics are collected.
    pub enabled: Option<bool>,
    /// Whether error codes are counted.
    pub record_error_codes: Option<bool>,
    /// Metrics of the HTTP server.
    pub http: Option<HttpMetrics>,
    /// Bucket bounds of latency histograms, in milliseconds.
    pub latency_distribution_buckets: Option<Vec<u64>>,
    /// Rewriting of label values.
    #[serde(deserialize_with = "lenient::or_default")]
    pub rules: Vec<MetricRule>,
}

/// Metrics of the HTTP server.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct HttpMetrics {
    /// Whether paths are labels.
    pub increased_cardinality: Option<bool>,
    /// Path patterns that may stand as labels.
    #[serde(deserialize_with = "lenient::texts")]
    pub path_matching: Vec<String>,
    /// Whether verbs are left out of the labels.
    #[serde(deserialize_with = "lenient::or_default")]
    pub exclude_verbs: bool,
}

/// Rewriting of one metric's labels.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct MetricRule {
    /// The metric.
    #[serde(deserialize_with = "lenient::text")]
    pub name: String,
    /// Its labels.
    #[serde(deserialize_with = "lenient::or_default")]
    pub labels: Vec<MetricLabel>,
}

/// Rewriting of one label.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct MetricLabel {
    /// The label.
    #[serde(deserialize_with = "lenient::text")]
    pub name: String,
    /// Replacement → pattern.
    #[serde(deserialize_with = "lenient::text_map")]
    pub regex: BTreeMap<String, String>,
}

impl Metrics {
    /// Whether metrics are collected (default: yes).
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.enabled.unwrap_or(true)
    }

    /// Whether error codes are counted (default: no).
    #[must_use]
    pub fn records_error_codes(&self) -> bool {
        self.record_error_codes.unwrap_or(false)
    }

    /// Whether paths are labels (default: yes, as in Dapr).
    #[must_use]
    pub fn has_increased_cardinality(&self) -> bool {
        self.http.as_ref().and_then(|http| http.increased_cardinality).unwrap_or(true)
    }

    /// The bucket bounds of latency histograms, in milliseconds.
    #[must_use]
    pub fn latency_buckets(&self) -> &[u64] {
        match self.latency_distribution_buckets.as_deref() {
            None | Some([]) => &DEFAULT_LATENCY_BUCKETS,
            Some(buckets) => buckets,
        }
    }

    /// `metrics` over `metric`: each field that the former sets wins whole.
    pub(super) fn overlaid(self, over: Self) -> Self {
        Self {
            enabled: over.enabled.or(self.enabled),
            record_error_codes: over.record_error_codes.or(self.record_error_codes),
            http: over.http.or(self.http),
            latency_distribution_buckets: over
                .latency_distribution_buckets
                .or(self.latency_distribution_buckets),
            rules: if over.rules.is_empty() { self.rules } else { over.rules },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::read;

    #[test]
    fn lays_metrics_over_metric() {
        let metrics = read(
            "spec:
  metric: {enabled: false, recordErrorCodes: true, http: {excludeVerbs: true, pathMatching: [/a]}}
  metrics: {enabled: true, http: {increasedCardinality: false}, latencyDistributionBuckets: [1, 5]}",
        )
        .metrics;
        assert!(metrics.is_enabled() && metrics.records_error_codes());
        assert!(!metrics.has_increased_cardinality());
        assert!(!metrics.http.as_ref().unwrap().exclude_verbs);
        assert_eq!(metrics.latency_buckets(), [1, 5]);
        assert_eq!(
            read("spec: {metric: {latencyDistributionBuckets: []}}").metrics.latency_buckets().len(),
            34
        );
    }
}
