//! Metrics of calls of the application.

use std::time::Duration;

use prometheus::{HistogramVec, IntCounterVec, Registry};
use tonic::Code;

use super::MetricsSettings;
use super::bounded::Bounded;
use super::family::{Families, milliseconds};
use super::grpc::code_name;
use super::http::{MAX_PATHS, UNKNOWN_VERB, VERBS};
use super::path::PathLabels;
use crate::error::Error;
use crate::names::{label, metric};

/// The families of calls of the application.
#[derive(Debug)]
pub struct ClientMetrics {
    http: IntCounterVec,
    http_latency: HistogramVec,
    http_sent: HistogramVec,
    grpc: IntCounterVec,
    grpc_latency: HistogramVec,
    labels: PathLabels,
    exclude_verbs: bool,
    /// Callers choose the paths.
    paths: Bounded<Box<str>>,
}

impl ClientMetrics {
    pub(super) fn new(registry: &Registry, settings: &MetricsSettings) -> Result<Self, Error> {
        let of = Families::of_app(registry, settings);
        let of_http = [label::METHOD, label::PATH, label::STATUS];
        let of_grpc = [label::GRPC_CLIENT_METHOD, label::GRPC_CLIENT_STATUS];
        Ok(Self {
            http: of.counter(metric::HTTP_CLIENT_COMPLETED_COUNT, "Calls of the application.", &of_http)?,
            http_latency: of.latency(
                metric::HTTP_CLIENT_ROUNDTRIP_LATENCY,
                "Time to the application's answer, in ms.",
                &of_http,
            )?,
            http_sent: of.sizes(
                metric::HTTP_CLIENT_SENT_BYTES,
                "Size of bodies that the application was sent.",
                &of_http,
            )?,
            grpc: of.counter(
                metric::GRPC_CLIENT_COMPLETED_RPCS,
                "Calls of the application by method and status.",
                &of_grpc,
            )?,
            grpc_latency: of.latency(
                metric::GRPC_CLIENT_ROUNDTRIP_LATENCY,
                "Time to the application's answer, in ms.",
                &of_grpc,
            )?,
            labels: PathLabels::new(&settings.http),
            exclude_verbs: settings.http.exclude_verbs,
            paths: Bounded::new(MAX_PATHS, ""),
        })
    }

    /// Records a call over HTTP. `path` is without the query, `sent` the size of the body where it is known.
    pub fn http(&self, method: &str, path: &str, status: u16, sent: Option<u64>, elapsed: Duration) {
        let method = match VERBS.iter().find(|verb| **verb == method) {
            _ if self.exclude_verbs => "",
            Some(verb) => verb,
            None => UNKNOWN_VERB,
        };
        let status = status.to_string();
        let label = self.labels.label(path);
        self.paths.with(
            &label,
            |path| path.into(),
            |path| {
                let values = [method, path, status.as_str()];
                self.http.with_label_values(&values).inc();
                self.http_latency.with_label_values(&values).observe(milliseconds(elapsed));
                if let Some(sent) = sent {
                    // Dapr knows no status yet when it counts these.
                    self.http_sent.with_label_values(&[method, path, ""]).observe(sent as f64);
                }
            },
        );
    }

    /// Records a call over gRPC. `method` is the full one, of a service that the runtime knows.
    pub fn grpc(&self, method: &'static str, code: Code, elapsed: Duration) {
        let values = [method, code_name(code)];
        self.grpc.with_label_values(&values).inc();
        self.grpc_latency.with_label_values(&values).observe(milliseconds(elapsed));
    }
}
