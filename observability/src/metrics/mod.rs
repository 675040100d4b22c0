//! Prometheus metrics of one runtime, under Dapr's names.
//!
//! A caller resolves a handle once (a component's, a route's, a method's) and keeps it; recording through it is an atomic add,
//! without look-up, formatting or lock. Series come into being with the first record. Every label that a caller could fill
//! with what it likes is bounded, so that a scan of random paths cannot eat the memory.

mod bounded;
mod client;
mod component;
mod family;
mod grpc;
mod health;
mod http;
mod invocation;
mod mtls;
mod path;
mod pattern;
mod plugin;
mod process;
mod pubsub;
mod resiliency;
mod runtime;

use prometheus::{Registry, TextEncoder};

pub use client::ClientMetrics;
pub use component::{ComponentHandle, ComponentKind, ComponentMetrics, Operation, OperationHandle};
pub use grpc::{GrpcMetrics, MethodHandle};
pub use health::HealthMetrics;
pub use http::{HttpCardinality, HttpMetrics, RouteHandle};
pub use invocation::{AccessDecision, InvocationMetrics};
pub use mtls::MtlsMetrics;
pub use plugin::{GenerationState, InFlight, PluginHandle, PluginMetrics};
pub use pubsub::{IngressStatus, PubSubHandle, PubSubMetrics};
pub use resiliency::{PolicySite, ResiliencyMetrics};
pub use runtime::{ErrorCodeMetrics, InitFailure, RuntimeMetrics, SpanMetrics};

use crate::error::Error;
use process::ProcessCollector;

/// Content type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Dapr's latency buckets in ms.
const LATENCY_BUCKETS: [f64; 34] = [
    1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 13.0, 16.0, 20.0, 25.0, 30.0, 40.0, 50.0, 65.0, 80.0, 100.0,
    130.0, 160.0, 200.0, 250.0, 300.0, 400.0, 500.0, 650.0, 800.0, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5,
];

/// Dapr's size buckets in bytes.
const SIZE_BUCKETS: [f64; 13] = [
    1024.0,
    2048.0,
    4096.0,
    16384.0,
    65536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
    268_435_456.0,
    1_073_741_824.0,
    4_294_967_296.0,
];

/// `spec.metrics` of Dapr's Configuration and the identity of the runtime.
#[derive(Clone, Debug, Default)]
pub struct MetricsSettings {
    /// The application id.
    pub app_id: String,
    /// The namespace.
    pub namespace: String,
    /// `latencyDistributionBuckets` in ms; Dapr's own when empty.
    pub latency_buckets: Vec<f64>,
    /// `http`: how many series a path may make.
    pub http: HttpCardinality,
    /// `recordErrorCodes`.
    pub record_error_codes: bool,
}

impl MetricsSettings {
    fn latency_buckets(&self) -> Vec<f64> {
        if self.latency_buckets.is_empty() { LATENCY_BUCKETS.to_vec() } else { self.latency_buckets.clone() }
    }
}

/// All metrics of one runtime.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Calls of components.
    pub components: ComponentMetrics,
    /// Events published and delivered.
    pub pubsub: PubSubMetrics,
    /// Calls between applications.
    pub invocation: InvocationMetrics,
    /// Certificates between runtimes.
    pub mtls: MtlsMetrics,
    /// Timeouts, retries and circuit breakers.
    pub resiliency: ResiliencyMetrics,
    /// The HTTP server.
    pub http: HttpMetrics,
    /// The gRPC server.
    pub grpc: GrpcMetrics,
    /// Calls of the application.
    pub client: ClientMetrics,
    /// Dapr's error codes.
    pub errors: ErrorCodeMetrics,
    /// Life of components.
    pub runtime: RuntimeMetrics,
    /// Health of components.
    pub health: HealthMetrics,
    /// Plugins.
    pub plugins: PluginMetrics,
    /// Spans on their way out.
    pub spans: SpanMetrics,
}

impl Metrics {
    /// Registers everything in a registry of its own.
    pub fn new(settings: &MetricsSettings) -> Result<Self, Error> {
        let registry = Registry::new();
        registry.register(Box::new(ProcessCollector::new()?))?;
        Ok(Self {
            components: ComponentMetrics::new(&registry, settings)?,
            pubsub: PubSubMetrics::new(&registry, settings)?,
            invocation: InvocationMetrics::new(&registry, settings)?,
            mtls: MtlsMetrics::new(&registry, settings)?,
            resiliency: ResiliencyMetrics::new(&registry, settings)?,
            http: HttpMetrics::new(&registry, settings)?,
            grpc: GrpcMetrics::new(&registry, settings)?,
            client: ClientMetrics::new(&registry, settings)?,
            errors: ErrorCodeMetrics::new(&registry, settings)?,
            runtime: RuntimeMetrics::new(&registry, settings)?,
            health: HealthMetrics::new(&registry, settings)?,
            plugins: PluginMetrics::new(&registry)?,
            spans: SpanMetrics::new(&registry, settings)?,
            registry,
        })
    }

    /// Everything in Prometheus' text format.
    pub fn render(&self) -> String {
        // Fails only for a family without metrics, and `gather` gives none.
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
