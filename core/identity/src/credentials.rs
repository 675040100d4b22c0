//! Certificates and key, checked and ready for connections. One set is never changed; a renewed one takes its place.

use std::sync::Arc;
use std::time::SystemTime;

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    CertificateError, ClientConfig, InconsistentKeys, RootCertStore, ServerConfig,
    client::verify_server_cert_signed_by_trust_anchor,
};

use crate::error::Error;
use crate::mtls::Expected;
use crate::source::{Field, Material};
use crate::spiffe::{Identity, end_of};
use crate::verify::{CalleeVerifier, CallerVerifier, Peer};

/// What both sides agree on: gRPC is HTTP/2.
const PROTOCOL: &[u8] = b"h2";

pub(crate) struct Credentials {
    pub(crate) material: Material,
    pub(crate) identity: Identity,
    /// When the certificate ends, in seconds since 1970.
    pub(crate) ends: Option<i64>,
    pub(crate) server: Arc<ServerConfig>,
    roots: Arc<RootCertStore>,
    own: Arc<SingleCertAndKey>,
    provider: Arc<CryptoProvider>,
}

impl Credentials {
    pub(crate) fn new(material: Material, expected: &Expected) -> Result<Self, Error> {
        let provider = Arc::new(ring::default_provider());
        let roots = Arc::new(roots(&material.trust_anchors)?);
        let chain = certificates(Field::CertificateChain, &material.certificate_chain)?;
        let key = PrivateKeyDer::from_pem_slice(&material.key).map_err(|error| Error::NotPem {
            field: Field::Key,
            reason: format!("no private key was found ({error})"),
        })?;
        let ends = chain.first().and_then(end_of);
        let identity = own_identity(&chain, expected)?;
        check_chain(&chain, &roots, &provider)?;
        let own = CertifiedKey::from_der(chain, key, &provider).map_err(key_error)?;
        let own = Arc::new(SingleCertAndKey::from(own));
        let server = Arc::new(server(&provider, &roots, &own)?);
        Ok(Self { material, identity, ends, server, roots, own, provider })
    }

    /// For a connection to one peer.
    pub(crate) fn client(&self, peer: &Peer) -> Result<ClientConfig, rustls::Error> {
        let verifier = CalleeVerifier::new(self.roots.clone(), self.provider.clone(), peer.clone());
        let mut config = ClientConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(self.own.clone());
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        // A resumed connection would not look at certificates again.
        config.resumption = Resumption::disabled();
        Ok(config)
    }
}

fn server(
    provider: &Arc<CryptoProvider>,
    roots: &Arc<RootCertStore>,
    own: &Arc<SingleCertAndKey>,
) -> Result<ServerConfig, Error> {
    let unusable = |error: &dyn std::fmt::Display| Error::Unusable(error.to_string());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone());
    let verifier = verifier.build().map_err(|error| unusable(&error))?;
    let mut config = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&error))?
        .with_client_cert_verifier(Arc::new(CallerVerifier::new(verifier)))
        .with_cert_resolver(own.clone());
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

fn roots(pem: &[u8]) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(Field::TrustAnchors, pem)? {
        roots.add(certificate).map_err(|error| Error::NotPem {
            field: Field::TrustAnchors,
            reason: format!("a certificate cannot be an anchor ({error})"),
        })?;
    }
    Ok(roots)
}

fn certificates(field: Field, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(Error::NotPem { field, reason: "no certificate was found".to_owned() }),
        Err(error) => Err(Error::NotPem { field, reason: format!("no certificate was found ({error})") }),
    }
}

/// Whom the certificate names, who must be us.
fn own_identity(chain: &[CertificateDer<'_>], expected: &Expected) -> Result<Identity, Error> {
    let missing =
        || Error::NotPem { field: Field::CertificateChain, reason: "no certificate was found".to_owned() };
    let found = Identity::of(chain.first().ok_or_else(missing)?)?;
    if found.app_id != expected.app_id || found.namespace != expected.namespace {
        let (app_id, namespace) = (expected.app_id.clone(), expected.namespace.clone());
        return Err(Error::OtherApp { found, app_id, namespace });
    }
    match &expected.trust_domain {
        Some(domain) if *domain != found.trust_domain => {
            Err(Error::OtherDomain { found, expected: domain.clone() })
        }
        _ => Ok(found),
    }
}

/// Peers will look at the chain as this does.
fn check_chain(
    chain: &[CertificateDer<'_>],
    roots: &RootCertStore,
    provider: &CryptoProvider,
) -> Result<(), Error> {
    let Some((own, between)) = chain.split_first() else { return Ok(()) };
    let parsed = ParsedCertificate::try_from(own).map_err(|error| Error::Unusable(error.to_string()))?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let algorithms = provider.signature_verification_algorithms.all;
    let now = UnixTime::since_unix_epoch(now);
    verify_server_cert_signed_by_trust_anchor(&parsed, roots, between, now, algorithms).map_err(|error| {
        match error {
            rustls::Error::InvalidCertificate(reason) => match reason {
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    Error::Expired(reason.to_string())
                }
                CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                    Error::Unsigned(reason.to_string())
                }
                other => Error::Unusable(other.to_string()),
            },
            other => Error::Unusable(other.to_string()),
        }
    })
}

fn key_error(error: rustls::Error) -> Error {
    match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => Error::OtherKey,
        other => Error::NotPem { field: Field::Key, reason: other.to_string() },
    }
}
