//! The gRPC server's metrics.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, Registry};
use tonic::Code;

use super::MetricsSettings;
use super::bounded::Bounded;
use super::family::{Families, milliseconds};
use crate::error::Error;
use crate::names::{label, metric};

/// Methods with a label of their own; proxied calls could bring any number.
const MAX_METHODS: usize = 500;
/// gRPC's status codes are 0 to 16.
const CODES: usize = Code::Unauthenticated as usize + 1;

/// The families and the known methods.
#[derive(Debug)]
pub struct GrpcMetrics {
    families: Arc<GrpcFamilies>,
    methods: Bounded<MethodHandle>,
}

#[derive(Debug)]
struct GrpcFamilies {
    completed: IntCounterVec,
    latency: HistogramVec,
    received: HistogramVec,
    sent: HistogramVec,
}

impl GrpcMetrics {
    pub(super) fn new(registry: &Registry, settings: &MetricsSettings) -> Result<Self, Error> {
        let of = Families::of_app(registry, settings);
        let by_method = [label::GRPC_SERVER_METHOD];
        let by_status = [label::GRPC_SERVER_METHOD, label::GRPC_SERVER_STATUS];
        let families = GrpcFamilies {
            completed: of.counter(
                metric::GRPC_SERVER_COMPLETED_RPCS,
                "RPCs by method and status.",
                &by_status,
            )?,
            latency: of.latency(metric::GRPC_SERVER_LATENCY, "Time to answer an RPC, in ms.", &by_status)?,
            received: of.sizes(metric::GRPC_SERVER_RECEIVED_BYTES, "Bytes received per RPC.", &by_method)?,
            sent: of.sizes(metric::GRPC_SERVER_SENT_BYTES, "Bytes sent per RPC.", &by_method)?,
        };
        Ok(Self { families: Arc::new(families), methods: Bounded::new(MAX_METHODS, "other") })
    }

    /// Records an RPC. `method` is the full one, `/package.Service/Method`; a stream has no sizes.
    pub fn observe(&self, method: &str, code: Code, sizes: Option<(u64, u64)>, elapsed: Duration) {
        let make = |method: &str| self.handle(method);
        self.methods.with(method, make, |handle| handle.record(code, sizes, elapsed));
    }

    /// The handle of a method, to be kept.
    pub fn method(&self, method: &str) -> Arc<MethodHandle> {
        self.methods.get(method, |method| self.handle(method))
    }

    fn handle(&self, method: &str) -> MethodHandle {
        MethodHandle {
            families: self.families.clone(),
            method: method.into(),
            sizes: OnceLock::new(),
            codes: Default::default(),
        }
    }
}

/// Records the RPCs of one method.
#[derive(Debug)]
pub struct MethodHandle {
    families: Arc<GrpcFamilies>,
    method: Box<str>,
    sizes: OnceLock<(Histogram, Histogram)>,
    codes: [OnceLock<(IntCounter, Histogram)>; CODES],
}

impl MethodHandle {
    /// Records one RPC; `sizes` is received and sent.
    pub fn record(&self, code: Code, sizes: Option<(u64, u64)>, elapsed: Duration) {
        let (completed, latency) = self.codes[code as usize].get_or_init(|| {
            let values = [self.method.as_ref(), code_name(code)];
            (
                self.families.completed.with_label_values(&values),
                self.families.latency.with_label_values(&values),
            )
        });
        completed.inc();
        latency.observe(milliseconds(elapsed));
        let Some((received_bytes, sent_bytes)) = sizes else { return };
        let (received, sent) = self.sizes.get_or_init(|| {
            let values = [self.method.as_ref()];
            (self.families.received.with_label_values(&values), self.families.sent.with_label_values(&values))
        });
        received.observe(received_bytes as f64);
        sent.observe(sent_bytes as f64);
    }
}

/// As Go's gRPC names its codes.
pub(super) fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "Canceled",
        Code::Unknown => "Unknown",
        Code::InvalidArgument => "InvalidArgument",
        Code::DeadlineExceeded => "DeadlineExceeded",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::PermissionDenied => "PermissionDenied",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Aborted => "Aborted",
        Code::OutOfRange => "OutOfRange",
        Code::Unimplemented => "Unimplemented",
        Code::Internal => "Internal",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::Unauthenticated => "Unauthenticated",
    }
}
