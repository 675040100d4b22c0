//! Mutual TLS between runtimes.

use std::fmt;

use mecha_resources::component::REDACTED;
use serde::{Deserialize, Serialize};

/// Mutual TLS between runtimes. The three certificates and keys are PEM text or the path of a file, which is read again when it
/// changes.
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Mtls {
    /// Whether runtimes prove to each other who they are; the other three are needed then. Default: false.
    pub enabled: bool,
    /// The certificates of the authorities that sign those of runtimes (`DAPR_TRUST_ANCHORS`). Default: none.
    pub trust_anchors: Option<String>,
    /// The own certificate, then those between it and the anchors (`DAPR_CERT_CHAIN`). Default: none.
    pub certificate_chain: Option<String>,
    /// Its private key (`DAPR_CERT_KEY`); shown nowhere. Default: none.
    pub key: Option<String>,
    /// The trust domain that the own certificate must be of. Default: none, which takes any.
    pub trust_domain: Option<String>,
}

impl fmt::Debug for Mtls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mtls")
            .field("enabled", &self.enabled)
            .field("trust_anchors", &self.trust_anchors)
            .field("certificate_chain", &self.certificate_chain)
            .field("key", &self.key.as_deref().map(shown_key))
            .field("trust_domain", &self.trust_domain)
            .finish()
    }
}

/// A key as it may be shown: the path is no secret.
pub(crate) fn shown_key(key: &str) -> &str {
    if is_pem(key) { REDACTED } else { key }
}

/// Whether a value is PEM text, and no path.
pub(crate) fn is_pem(value: &str) -> bool {
    value.contains("-----BEGIN ")
}
