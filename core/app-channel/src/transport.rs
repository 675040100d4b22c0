//! The connections to the application, and the limit of calls at once.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Uri};
use hyper::body::Body;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use mecha_observability::{Propagated, names};
use rustls::ClientConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use crate::config::{AppChannelConfig, AppProtocol};
use crate::error::AppError;

const TOKEN: &str = "dapr-api-token";

/// A client with its pool, whatever the body.
pub(crate) type HttpClient<B> = Client<HttpsConnector<HttpConnector>, B>;

/// What both protocols need of the channel.
pub(crate) struct Transport<B> {
    pub(crate) client: HttpClient<B>,
    /// Scheme, host and port.
    pub(crate) origin: Uri,
    pub(crate) max_body_size: usize,
    limit: Option<Arc<Semaphore>>,
    token: Option<HeaderValue>,
}

impl<B> Transport<B>
where
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    pub(crate) fn new(config: &AppChannelConfig) -> Result<Self, AppError> {
        let host = if config.host.contains(':') { format!("[{}]", config.host) } else { config.host.clone() };
        let address = format!("{}://{host}:{}", config.protocol.scheme(), config.port);
        let origin = address.parse().map_err(|_| AppError::Address(address))?;
        let token = config.token.as_deref().map(HeaderValue::from_str).transpose();
        let mut token = token.map_err(|_| AppError::Address("a token with control characters".to_owned()))?;
        if let Some(token) = &mut token {
            token.set_sensitive(true);
        }
        Ok(Self {
            client: client(config.protocol),
            origin,
            max_body_size: config.max_body_size,
            limit: config.max_concurrency.map(|most| Arc::new(Semaphore::new(most))),
            token,
        })
    }

    /// Waits for a free place; the place is held until the answer was read.
    pub(crate) async fn place(&self) -> Option<SemaphorePermit<'_>> {
        match &self.limit {
            // The semaphore is never closed.
            Some(limit) => limit.acquire().await.ok(),
            None => None,
        }
    }

    /// As [`Transport::place`], for an answer that is read after the call.
    pub(crate) async fn owned_place(&self) -> Option<OwnedSemaphorePermit> {
        match &self.limit {
            Some(limit) => limit.clone().acquire_owned().await.ok(),
            None => None,
        }
    }

    /// The headers that every call carries: the token and the trace.
    pub(crate) fn headers(&self, trace: &Propagated) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(8);
        if let Some(token) = &self.token {
            headers.insert(TOKEN, token.clone());
        }
        let mut put = |name: &'static str, value: &str| {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        };
        if trace.context.is_valid() {
            put(names::header::TRACEPARENT, trace.context.traceparent().as_str());
        }
        if let Some(tracestate) = &trace.tracestate {
            put(names::header::TRACESTATE, tracestate);
        }
        if let Some(baggage) = &trace.baggage {
            put(names::header::BAGGAGE, baggage);
        }
        headers
    }
}

fn client<B>(protocol: AppProtocol) -> HttpClient<B>
where
    B: Body + Send,
    B::Data: Send,
{
    let mut tcp = HttpConnector::new();
    tcp.set_nodelay(true);
    tcp.enforce_http(false);
    let tls = HttpsConnectorBuilder::new().with_tls_config(unverified_tls()).https_or_http();
    let connector = match protocol.is_http2() {
        true => tls.enable_http2().wrap_connector(tcp),
        false => tls.enable_http1().wrap_connector(tcp),
    };
    let mut builder = Client::builder(TokioExecutor::new());
    builder.pool_timer(TokioTimer::new()).http2_only(protocol.is_http2());
    builder.build(connector)
}

/// The application is this machine's own, and its certificate is as a rule self-signed: daprd does not verify it either.
fn unverified_tls() -> ClientConfig {
    let provider = Arc::new(ring::default_provider());
    let versions =
        ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
    versions
        .expect("invariant: ring's provider serves the protocol versions that rustls deems safe")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Unverified(provider)))
        .with_no_client_auth()
}

#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
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
