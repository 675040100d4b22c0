//! An encrypted connection to the agent: the files that `client.tlsConfig` names.

use std::sync::Arc;

use mecha_plugin_api::{Error, Result};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::settings::Tls;

/// What every connection hands to rustls.
pub(super) async fn client_config(tls: &Tls) -> Result<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::internal(format!("cannot set up TLS: {error}")))?;
    let builder = if tls.insecure_skip_verify {
        tracing::warn!(
            "hashicorp consul: you are using 'insecureSkipVerify' to skip server config verify which is unsafe!"
        );
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider)))
    } else {
        builder.with_root_certificates(roots(tls).await?)
    };
    match (&tls.cert_file, &tls.key_file) {
        (Some(certificate), Some(key)) => {
            let chain = certificates(certificate, &file(certificate).await?)?;
            let key_of = PrivateKeyDer::from_pem_slice(&file(key).await?);
            let private = key_of.map_err(|error| wrong(key, error))?;
            builder.with_client_auth_cert(chain, private).map_err(|error| wrong(certificate, error))
        }
        (None, None) => Ok(builder.with_no_client_auth()),
        _ => Err(Error::invalid("both certFile and keyFile are needed, or none").with_field("client")),
    }
}

async fn roots(tls: &Tls) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let mut files: Vec<String> = tls.ca_file.iter().cloned().collect();
    if let Some(folder) = &tls.ca_path {
        let entries = std::fs::read_dir(folder).map_err(|error| wrong(folder, error))?;
        files.extend(entries.flatten().map(|entry| entry.path().display().to_string()));
    }
    for path in &files {
        for certificate in certificates(path, &file(path).await?)? {
            roots.add(certificate).map_err(|error| wrong(path, error))?;
        }
    }
    if files.is_empty() {
        let loaded = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs).await;
        let loaded = loaded
            .map_err(|error| Error::internal(format!("cannot load the system's certificates: {error}")))?;
        // A system without authorities can still call plain HTTP; HTTPS then fails to verify.
        roots.add_parsable_certificates(loaded.certs);
    }
    Ok(roots)
}

/// A file, whole.
pub(super) async fn file(path: &str) -> Result<Vec<u8>> {
    let name = path.to_owned();
    let read = tokio::task::spawn_blocking(move || std::fs::read(name)).await;
    let read = read.map_err(|error| Error::internal(format!("cannot read {path}: {error}")))?;
    read.map_err(|error| wrong(path, error))
}

fn certificates(path: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) => Err(wrong(path, "no certificate in PEM")),
        Err(error) => Err(wrong(path, error)),
    }
}

fn wrong(path: &str, error: impl std::fmt::Display) -> Error {
    Error::invalid(format!("{path} cannot be used: {error}")).with_field("client")
}

/// Takes whoever answers for the agent, as `insecureSkipVerify` asks.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
