//! Every setting, with its meaning, unit and default. `configs/mecha.yaml` repeats them for the operator.

mod app;
mod components;
mod control_plane;
mod mtls;
mod process;
mod serving;
mod telemetry;
mod words;

use serde::{Deserialize, Serialize};

pub use app::{App, AppHealth};
pub(crate) use components::shown;
pub use components::{Components, Definition, Plugins, Resources};
pub use control_plane::ControlPlane;
pub use mtls::Mtls;
pub(crate) use mtls::{is_pem, shown_key};
pub use process::{Runtime, Shutdown};
pub use serving::{Grpc, Http, Metrics, Profile};
pub use telemetry::{Log, Otlp, Tracing};
pub use words::{AppProtocol, LogLevel, MissingType, Mode, OtlpProtocol};

/// The merged settings.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// The application that is served.
    pub app: App,
    /// The HTTP API, and what it shares with the gRPC API.
    pub http: Http,
    /// The gRPC API.
    pub grpc: Grpc,
    /// The Prometheus endpoint.
    pub metrics: Metrics,
    /// The profiling endpoint.
    pub profile: Profile,
    /// Plugin libraries.
    pub plugins: Plugins,
    /// Components.
    pub components: Components,
    /// Dapr resource files.
    pub resources: Resources,
    /// Traces.
    pub tracing: Tracing,
    /// Logs.
    pub log: Log,
    /// The end of the process.
    pub shutdown: Shutdown,
    /// The process itself.
    pub runtime: Runtime,
    /// Mutual TLS between runtimes.
    pub mtls: Mtls,
    /// Dapr's control plane.
    pub control_plane: ControlPlane,
}
