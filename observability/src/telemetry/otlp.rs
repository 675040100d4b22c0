//! The OTLP exporter over gRPC or HTTP.

use std::collections::HashMap;

use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig};
use tokio::runtime::Handle;
use tonic::metadata::MetadataMap;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};

use super::client::{self, ExportClient};
use super::settings::{OtlpProtocol, OtlpSettings};
use crate::error::Error;

/// Builds the exporter; connects with the first span.
pub(super) fn exporter(settings: &OtlpSettings, handle: &Handle) -> Result<SpanExporter, Error> {
    match settings.protocol {
        OtlpProtocol::Grpc => grpc(settings, handle),
        OtlpProtocol::Http => http(settings),
    }
}

fn grpc(settings: &OtlpSettings, handle: &Handle) -> Result<SpanExporter, Error> {
    let url = settings.url();
    let invalid =
        |error: tonic::transport::Error| Error::Endpoint { endpoint: url.clone(), reason: chain(&error) };
    let endpoint = Endpoint::from_shared(url.clone()).map_err(invalid)?;
    let mut endpoint = endpoint.timeout(settings.timeout).connect_timeout(settings.timeout);
    if endpoint.uri().scheme_str() == Some("https") {
        let tls = match &settings.ca_file {
            Some(file) => {
                ClientTlsConfig::new().ca_certificate(Certificate::from_pem(client::read_ca(file)?))
            }
            None => ClientTlsConfig::new().with_native_roots(),
        };
        endpoint = endpoint.tls_config(tls).map_err(invalid)?;
    }
    let channel = {
        let _runtime = handle.enter();
        endpoint.connect_lazy()
    };
    SpanExporter::builder()
        .with_tonic()
        .with_channel(channel)
        .with_metadata(MetadataMap::from_headers(headers(settings)?))
        .with_timeout(settings.timeout)
        .build()
        .map_err(|error| Error::Exporter(chain(&error)))
}

fn http(settings: &OtlpSettings) -> Result<SpanExporter, Error> {
    let headers = settings.headers.iter().cloned().collect::<HashMap<_, _>>();
    SpanExporter::builder()
        .with_http()
        .with_http_client(ExportClient::new(&settings.url(), settings.timeout, settings.ca_file.as_deref())?)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(settings.url())
        .with_headers(headers)
        .with_timeout(settings.timeout)
        .build()
        .map_err(|error| Error::Exporter(chain(&error)))
}

fn headers(settings: &OtlpSettings) -> Result<http::HeaderMap, Error> {
    let mut headers = http::HeaderMap::new();
    for (name, value) in &settings.headers {
        let invalid = |reason: String| Error::Setting {
            name: "an OTLP header".to_owned(),
            value: name.clone(),
            reason,
        };
        let header = http::HeaderName::try_from(name).map_err(|error| invalid(error.to_string()))?;
        let value = http::HeaderValue::try_from(value).map_err(|error| invalid(error.to_string()))?;
        headers.insert(header, value);
    }
    Ok(headers)
}

/// The error with its causes: the outermost text of transport errors says nothing.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
