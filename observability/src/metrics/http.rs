//! The HTTP server's metrics.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, Registry};

use super::MetricsSettings;
use super::bounded::Bounded;
use super::family::{Families, milliseconds};
use super::path::PathLabels;
use crate::error::Error;
use crate::names::{label, metric};

/// Paths that get a label of their own. Dapr has no such limit; beyond it we use its label for "any path".
pub(super) const MAX_PATHS: usize = 500;

/// Statuses with a slot; another one costs a look-up.
const STATUSES: [u16; 24] = [
    200, 201, 202, 204, 206, 301, 302, 304, 307, 400, 401, 403, 404, 405, 408, 409, 413, 429, 431, 500, 501,
    502, 503, 504,
];

/// Verbs with a label of their own, as in Dapr; the others are `UNKNOWN`.
pub(super) const VERBS: [&str; 9] =
    ["GET", "PUT", "POST", "PATCH", "DELETE", "HEAD", "OPTIONS", "CONNECT", "TRACE"];
pub(super) const UNKNOWN_VERB: &str = "UNKNOWN";

/// `spec.metrics.http` of Dapr's Configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpCardinality {
    /// `increasedCardinality`: the path is a label, shortened. Dapr's default is true.
    pub increased: bool,
    /// `excludeVerbs`: the label `method` stays empty.
    pub exclude_verbs: bool,
    /// `pathMatching`: patterns that become labels.
    pub path_matching: Vec<String>,
}

impl Default for HttpCardinality {
    fn default() -> Self {
        Self { increased: true, exclude_verbs: false, path_matching: Vec::new() }
    }
}

/// The families and the known routes.
#[derive(Debug)]
pub struct HttpMetrics {
    families: Arc<HttpFamilies>,
    labels: PathLabels,
    exclude_verbs: bool,
    paths: Bounded<PathHandles>,
}

#[derive(Debug)]
struct HttpFamilies {
    requests: IntCounterVec,
    /// Only with increased cardinality, as in Dapr.
    responses: Option<IntCounterVec>,
    latency: HistogramVec,
    request_bytes: Histogram,
    response_bytes: Histogram,
}

impl HttpMetrics {
    pub(super) fn new(registry: &Registry, settings: &MetricsSettings) -> Result<Self, Error> {
        let of = Families::of_app(registry, settings);
        let labels = [label::METHOD, label::PATH, label::STATUS];
        let responses = || of.counter(metric::HTTP_SERVER_RESPONSE_COUNT, "HTTP responses.", &labels);
        let sizes =
            |name, help| of.sizes(name, help, &[]).map(|family| family.with_label_values::<&str>(&[]));
        let families = HttpFamilies {
            requests: of.counter(metric::HTTP_SERVER_REQUEST_COUNT, "HTTP requests.", &labels)?,
            responses: settings.http.increased.then(responses).transpose()?,
            latency: of.latency(metric::HTTP_SERVER_LATENCY, "Time to answer a request, in ms.", &labels)?,
            request_bytes: sizes(metric::HTTP_SERVER_REQUEST_BYTES, "Size of request bodies.")?,
            response_bytes: sizes(metric::HTTP_SERVER_RESPONSE_BYTES, "Size of response bodies.")?,
        };
        Ok(Self {
            families: Arc::new(families),
            labels: PathLabels::new(&settings.http),
            exclude_verbs: settings.http.exclude_verbs,
            paths: Bounded::new(MAX_PATHS, ""),
        })
    }

    /// Records a request whose route is not known beforehand. `path` is the request's path without the query.
    pub fn observe(
        &self,
        method: &str,
        path: &str,
        status: u16,
        request_bytes: u64,
        response_bytes: u64,
        elapsed: Duration,
    ) {
        let label = self.labels.label(path);
        let make = |label: &str| PathHandles::new(label);
        self.paths.with(&label, make, |handles| {
            let route = handles.route(self.verb(method), &self.families);
            route.record(status, request_bytes, response_bytes, elapsed);
        });
    }

    /// The handle of a route, to be kept by a caller that serves one path label only. `path` may be any path of the route.
    pub fn route(&self, method: &str, path: &str) -> Arc<RouteHandle> {
        let handles = self.paths.get(&self.labels.label(path), PathHandles::new);
        handles.route(self.verb(method), &self.families).clone()
    }

    /// Index into the verbs of a path.
    fn verb(&self, method: &str) -> Verb {
        if self.exclude_verbs {
            return Verb { slot: 0, label: "" };
        }
        match VERBS.iter().position(|verb| *verb == method) {
            Some(slot) => Verb { slot, label: VERBS[slot] },
            None => Verb { slot: VERBS.len(), label: UNKNOWN_VERB },
        }
    }
}

#[derive(Clone, Copy)]
struct Verb {
    slot: usize,
    label: &'static str,
}

#[derive(Debug)]
struct PathHandles {
    path: Arc<str>,
    verbs: [OnceLock<Arc<RouteHandle>>; VERBS.len() + 1],
}

impl PathHandles {
    fn new(path: &str) -> Self {
        Self { path: path.into(), verbs: Default::default() }
    }

    fn route(&self, verb: Verb, families: &Arc<HttpFamilies>) -> &Arc<RouteHandle> {
        self.verbs[verb.slot].get_or_init(|| {
            Arc::new(RouteHandle {
                families: families.clone(),
                method: verb.label,
                path: self.path.clone(),
                statuses: Default::default(),
            })
        })
    }
}

/// Records the requests of one method and path label.
#[derive(Debug)]
pub struct RouteHandle {
    families: Arc<HttpFamilies>,
    method: &'static str,
    path: Arc<str>,
    statuses: [OnceLock<StatusSeries>; STATUSES.len()],
}

impl RouteHandle {
    /// Records one request.
    pub fn record(&self, status: u16, request_bytes: u64, response_bytes: u64, elapsed: Duration) {
        self.families.request_bytes.observe(request_bytes as f64);
        self.families.response_bytes.observe(response_bytes as f64);
        match STATUSES.binary_search(&status) {
            Ok(slot) => self.statuses[slot].get_or_init(|| self.series(status)).record(elapsed),
            Err(_) => self.series(status).record(elapsed),
        }
    }

    fn series(&self, status: u16) -> StatusSeries {
        let status = status.to_string();
        let values = [self.method, self.path.as_ref(), status.as_str()];
        StatusSeries {
            requests: self.families.requests.with_label_values(&values),
            responses: self.families.responses.as_ref().map(|family| family.with_label_values(&values)),
            latency: self.families.latency.with_label_values(&values),
        }
    }
}

#[derive(Debug)]
struct StatusSeries {
    requests: IntCounter,
    responses: Option<IntCounter>,
    latency: Histogram,
}

impl StatusSeries {
    fn record(&self, elapsed: Duration) {
        self.requests.inc();
        if let Some(responses) = &self.responses {
            responses.inc();
        }
        self.latency.observe(milliseconds(elapsed));
    }
}
