//! TLS: rustls with ring, the system's certificate authorities or the component's own, an optional client certificate.

use std::sync::Arc;

use mecha_plugin_api::{Error, Result};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::metadata::TlsFiles;

/// What every connection of a component hands to rustls.
pub(crate) async fn client_config(files: &TlsFiles) -> Result<ClientConfig> {
    let roots = match &files.root_ca {
        Some(pem) => own_roots(pem)?,
        None => system_roots().await?,
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::internal(format!("cannot set up TLS: {error}")))?
        .with_root_certificates(roots);
    match &files.identity {
        None => Ok(builder.with_no_client_auth()),
        Some((certificate, key)) => builder
            .with_client_auth_cert(certificates("MTLSClientCert", certificate)?, private_key(key)?)
            .map_err(|error| wrong("MTLSClientCert", error)),
    }
}

/// A system without authorities can still call plain HTTP; HTTPS then fails to verify.
async fn system_roots() -> Result<RootCertStore> {
    let load = || {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        roots
    };
    let loaded = tokio::task::spawn_blocking(load).await;
    loaded.map_err(|error| Error::internal(format!("cannot load the system's certificates: {error}")))
}

fn own_roots(pem: &[u8]) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("MTLSRootCA", pem)? {
        roots.add(certificate).map_err(|error| wrong("MTLSRootCA", error))?;
    }
    Ok(roots)
}

fn certificates(field: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) => Err(wrong(field, "no certificate in PEM")),
        Err(error) => Err(wrong(field, error)),
    }
}

fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| wrong("MTLSClientKey", error))
}

fn wrong(field: &str, error: impl std::fmt::Display) -> Error {
    Error::invalid(format!("cannot be used: {error}")).with_field(field)
}
