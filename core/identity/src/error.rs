//! What can be wrong with the own certificates, and with a peer.

use crate::source::Field;
use crate::spiffe::{Identity, NoIdentity};

/// Certificates that cannot be used. Each names the setting and the way out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting that mutual TLS needs is not there.
    #[error(
        "mTLS is enabled and {field} is not set; set it, or {variable}, to PEM text or a file's path (`mecha certs new` makes files to try), or leave --enable-mtls out",
        variable = .field.variable()
    )]
    Missing {
        /// The setting.
        field: Field,
    },
    /// A file is not there, or not for us.
    #[error("{field}: cannot read {file}: {source}; name a file that is there, or PEM text")]
    Unreadable {
        /// The setting.
        field: Field,
        /// The file.
        file: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Something else stands where PEM should.
    #[error("{field}: {reason}; it takes {wanted} in PEM", wanted = wanted(*.field))]
    NotPem {
        /// The setting.
        field: Field,
        /// What was found.
        reason: String,
    },
    /// The key is another certificate's.
    #[error(
        "mtls.key: the key does not belong to the certificate of mtls.certificate-chain; set both from one pair"
    )]
    OtherKey,
    /// The certificate names nobody.
    #[error("mtls.certificate-chain: {0}; use a certificate that was issued for this application")]
    Nobody(#[from] NoIdentity),
    /// The certificate is somebody else's.
    #[error(
        "mtls.certificate-chain: the certificate is for {found}, and this runtime is {app_id} in namespace {namespace}; use its own certificate, or the --app-id and NAMESPACE that it names"
    )]
    OtherApp {
        /// Whom it names.
        found: Identity,
        /// Who we are.
        app_id: String,
        /// Where we are.
        namespace: String,
    },
    /// The certificate is of another trust domain than the settings say.
    #[error(
        "mtls.certificate-chain: the certificate is for {found}, and mtls.trust-domain is {expected}; change one of them"
    )]
    OtherDomain {
        /// Whom it names.
        found: Identity,
        /// The trust domain that was set.
        expected: String,
    },
    /// The certificate's time is over.
    #[error(
        "mtls.certificate-chain: the certificate, or one between it and the anchors, has expired ({0}); renew it"
    )]
    Expired(String),
    /// The anchors did not sign it.
    #[error(
        "mtls.certificate-chain: the certificate is not signed by mtls.trust-anchors ({0}); add what is between them to the chain, or the authority that issued it to the anchors"
    )]
    Unsigned(String),
    /// TLS itself does not work with them.
    #[error("mtls.certificate-chain: the certificate cannot be used: {0}")]
    Unusable(String),
}

impl Error {
    /// What kind of mistake it is, in one word of a closed list.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "missing",
            Self::Unreadable { .. } => "unreadable",
            Self::NotPem { .. } => "pem",
            Self::OtherKey => "key",
            Self::Nobody(_) | Self::OtherApp { .. } | Self::OtherDomain { .. } => "identity",
            Self::Expired(_) => "expired",
            Self::Unsigned(_) => "unsigned",
            Self::Unusable(_) => "unusable",
        }
    }
}

fn wanted(field: Field) -> &'static str {
    match field {
        Field::TrustAnchors => "the certificates of authorities",
        Field::CertificateChain => "the own certificate and those between it and the anchors",
        Field::Key => "a private key",
    }
}

/// Why a connection to or from a peer did not come about.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The peer's certificate, or what it sent in place of one.
    #[error("{0}")]
    Peer(String),
    /// The peer refused ours.
    #[error("remote error: tls: {0}")]
    Refused(String),
    /// It said nothing in time.
    #[error("the TLS handshake took longer than {0:?}")]
    Late(std::time::Duration),
    /// The connection broke.
    #[error(transparent)]
    Io(std::io::Error),
}

impl HandshakeError {
    /// What happened, in words that name the cause.
    pub(crate) fn of(error: std::io::Error) -> Self {
        let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match cause {
            None => Self::Io(error),
            Some(rustls::Error::AlertReceived(alert)) => Self::Refused(refusal(*alert)),
            Some(rustls::Error::NoCertificatesPresented) => {
                Self::Peer("the peer showed no certificate".to_owned())
            }
            Some(rustls::Error::InvalidMessage(_)) => {
                Self::Peer("the peer speaks no TLS; is mTLS enabled there?".to_owned())
            }
            Some(rustls::Error::InvalidCertificate(reason)) => Self::Peer(reason_of(reason)),
            Some(other) => Self::Peer(other.to_string()),
        }
    }
}

/// What is wrong with a peer's certificate.
fn reason_of(error: &rustls::CertificateError) -> String {
    match error {
        rustls::CertificateError::UnknownIssuer | rustls::CertificateError::BadSignature => {
            "certificate signed by unknown authority: none of mtls.trust-anchors signed it".to_owned()
        }
        rustls::CertificateError::Other(rustls::OtherError(reason)) => reason.to_string(),
        other => other.to_string(),
    }
}

/// What the other side says of ours.
fn refusal(alert: rustls::AlertDescription) -> String {
    use rustls::AlertDescription as Alert;
    match alert {
        Alert::CertificateRequired => "certificate required".to_owned(),
        Alert::UnknownCA | Alert::DecryptError => {
            "unknown certificate authority: the peer trusts others".to_owned()
        }
        Alert::CertificateExpired => "expired certificate".to_owned(),
        Alert::BadCertificate | Alert::CertificateUnknown => "bad certificate".to_owned(),
        other => format!("{other:?}"),
    }
}
