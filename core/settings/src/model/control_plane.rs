//! Dapr's control plane, for clusters and machines that run it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::text;

/// Dapr's control plane.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct ControlPlane {
    /// The operator's address. Default: empty.
    pub address: String,
    /// The address of sentry, which issues certificates. Default: empty.
    pub sentry_address: String,
    /// Audiences of the token that is shown to sentry; none means the trust domain. Default: none.
    pub sentry_jwt_audiences: Vec<String>,
    /// The control plane's trust domain. Default: localhost.
    pub trust_domain: String,
    /// The control plane's namespace. Default: default.
    pub namespace: String,
    /// Addresses of placement, which distributes actors. Default: none.
    pub placement_addresses: Vec<String>,
    /// How long a round of actor placement may take. Default: 30s.
    #[serde(with = "text::duration")]
    pub disseminate_timeout: Duration,
    /// Addresses of the scheduler. Default: none.
    pub scheduler_addresses: Vec<String>,
    /// Streams to the scheduler on which jobs arrive. Default: 3.
    pub scheduler_job_streams: u32,
    /// Whether Kubernetes mode brings its own secret store. Default: true.
    pub kubernetes_secret_store: bool,
}

impl Default for ControlPlane {
    fn default() -> Self {
        Self {
            address: String::new(),
            sentry_address: String::new(),
            sentry_jwt_audiences: Vec::new(),
            trust_domain: "localhost".to_owned(),
            namespace: "default".to_owned(),
            placement_addresses: Vec::new(),
            disseminate_timeout: Duration::from_secs(30),
            scheduler_addresses: Vec::new(),
            scheduler_job_streams: 3,
            kubernetes_secret_store: true,
        }
    }
}
