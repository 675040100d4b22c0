//! The connections to providers of identities: a request, and an answer of limited size in limited time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use mecha_plugin_api::{Error, ErrorKind, Result};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use tracing::Instrument as _;

const PATIENCE: Duration = Duration::from_secs(30);
const LARGEST_ANSWER: usize = 1 << 20;
const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A component's connections.
pub(crate) struct Client(Pool<HttpsConnector<HttpConnector>, Full<Bytes>>);

/// An answer, whole.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) content_type: String,
    pub(crate) body: Bytes,
}

impl Client {
    /// Prepares to connect; nothing is connected yet.
    pub(crate) async fn new() -> Result<Self> {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        let tls = HttpsConnectorBuilder::new().with_tls_config(tls().await?);
        let connector = tls.https_or_http().enable_http1().wrap_connector(tcp);
        Ok(Self(Pool::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector)))
    }

    /// Reads a document.
    pub(crate) async fn get(&self, url: &str) -> Result<Answer> {
        self.send(Method::GET, url, None, Bytes::new()).await
    }

    /// Sends a form, with credentials where the header is to carry them.
    pub(crate) async fn post_form(
        &self,
        url: &str,
        authorization: Option<HeaderValue>,
        form: String,
    ) -> Result<Answer> {
        self.send(Method::POST, url, authorization, form.into()).await
    }

    async fn send(
        &self,
        method: Method,
        url: &str,
        authorization: Option<HeaderValue>,
        body: Bytes,
    ) -> Result<Answer> {
        let wrong = |error: &dyn std::fmt::Display| Error::invalid(format!("{url} is no URL: {error}"));
        let mut request = Request::builder().method(method.clone()).uri(url).header(ACCEPT, JSON);
        if method == Method::POST {
            request = request.header(CONTENT_TYPE, FORM);
        }
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request.body(Full::new(body)).map_err(|error| wrong(&error))?;
        let host = request.uri().host().ok_or_else(|| wrong(&"it names no host"))?.to_owned();
        let span = tracing::info_span!(
            "provider",
            otel.name = %format_args!("{method} {}", request.uri().path()),
            otel.kind = "client",
            server.address = %host,
        );
        let exchange = self.exchange(request).instrument(span);
        match tokio::time::timeout(PATIENCE, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::new(ErrorKind::TIMEOUT, format!("{host} does not answer"))),
        }
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Answer> {
        let host = request.uri().host().unwrap_or_default().to_owned();
        let failed = |error: &dyn std::error::Error| {
            let mut text = format!("{host}: {error}");
            let mut source = error.source();
            while let Some(cause) = source {
                text = format!("{text}: {cause}");
                source = cause.source();
            }
            Error::unavailable(text)
        };
        let (head, body) = self.0.request(request).await.map_err(|error| failed(&error))?.into_parts();
        let body = Limited::new(body, LARGEST_ANSWER).collect().await;
        let body = body.map_err(|error| failed(error.as_ref()))?.to_bytes();
        let content_type = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        Ok(Answer {
            status: head.status,
            content_type: content_type.unwrap_or_default().to_ascii_lowercase(),
            body,
        })
    }
}

/// A system without authorities can still call plain HTTP; HTTPS then fails to verify.
async fn tls() -> Result<ClientConfig> {
    let load = || {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        roots
    };
    let loaded = tokio::task::spawn_blocking(load).await;
    let roots =
        loaded.map_err(|error| Error::internal(format!("cannot load the system's certificates: {error}")))?;
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::internal(format!("cannot set up TLS: {error}")))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
