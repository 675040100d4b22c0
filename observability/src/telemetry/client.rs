//! The HTTP client of the exporters.
//!
//! TLS is rustls with ring and the system's roots: a hosted collector wants authorization headers, and those must not go out
//! in clear. It is set up for an `https` endpoint only, so that a host without root certificates can use a plain one.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::error::Error;

/// Speaks HTTP/1.1, in clear or over TLS as the endpoint's scheme says.
#[derive(Clone, Debug)]
pub(super) enum ExportClient {
    Plain(HyperClient<HttpConnector>),
    Tls(HyperClient<HttpsConnector<HttpConnector>>),
}

impl ExportClient {
    pub(super) fn new(url: &str, timeout: Duration, ca_file: Option<&Path>) -> Result<Self, Error> {
        if !url.starts_with("https://") {
            return Ok(Self::Plain(HyperClient::with_default_connector(timeout, None)));
        }
        let builder = HttpsConnectorBuilder::new();
        let builder = match ca_file {
            Some(file) => builder.with_tls_config(tls_config(file)?),
            None => {
                builder.with_provider_and_native_roots(rustls::crypto::ring::default_provider()).map_err(
                    |error| Error::Exporter(format!("cannot read the system's root certificates: {error}")),
                )?
            }
        };
        let connector = builder.https_only().enable_http1().build();
        Ok(Self::Tls(HyperClient::new(connector, timeout, None)))
    }
}

#[tonic::async_trait]
impl HttpClient for ExportClient {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        match self {
            Self::Plain(client) => client.send_bytes(request).await,
            Self::Tls(client) => client.send_bytes(request).await,
        }
    }
}

/// Reads the file of `OTEL_EXPORTER_OTLP_CERTIFICATE`.
pub(super) fn read_ca(file: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(file).map_err(|error| invalid_ca(file, &error))
}

fn tls_config(ca_file: &Path) -> Result<ClientConfig, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&read_ca(ca_file)?) {
        let certificate = certificate.map_err(|error| invalid_ca(ca_file, &error))?;
        roots.add(certificate).map_err(|error| invalid_ca(ca_file, &error))?;
    }
    if roots.is_empty() {
        return Err(invalid_ca(ca_file, &"no certificate in it"));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| Error::Exporter(error.to_string()))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

fn invalid_ca(file: &Path, reason: &dyn std::fmt::Display) -> Error {
    Error::Setting {
        name: "the collector's CA certificate".to_owned(),
        value: file.display().to_string(),
        reason: reason.to_string(),
    }
}
