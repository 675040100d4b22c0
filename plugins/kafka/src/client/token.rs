//! Tokens of an identity provider, by OAuth 2.0's client credentials: one is always at hand, because librdkafka asks for it
//! on a thread that must not wait.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::{Method, Request};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use mecha_plugin_api::{Error, ErrorKind, Result};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rdkafka::client::OAuthToken;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;

use crate::metadata::{OidcSettings, Tls};

const FIELD: &str = "oidcTokenEndpoint";
const TIMEOUT: Duration = Duration::from_secs(10);
const MAX_ANSWER: usize = 256 * 1024;
/// How long a token is taken to be valid when its provider does not say.
const DEFAULT_LIFETIME: u64 = 300;
/// The part of its life after which a token is replaced, in percent. librdkafka asks again at 80.
const REPLACED_AT: u64 = 70;
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(5);
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Keeps a valid token.
pub(crate) struct Tokens {
    current: Mutex<Option<Held>>,
    principal: String,
}

struct Held {
    text: String,
    expires_unix_ms: i64,
}

impl Tokens {
    /// Gets the first token and keeps replacing it while the value is in use.
    pub(crate) async fn start(oidc: &OidcSettings, tls: Option<&Tls>) -> Result<Arc<Self>> {
        let provider = Provider::new(oidc.clone(), tls)?;
        let tokens = Arc::new(Self { current: Mutex::default(), principal: oidc.client_id.clone() });
        let lifetime = tokens.replace(&provider).await?;
        tokio::spawn(keep(Arc::downgrade(&tokens), provider, lifetime));
        Ok(tokens)
    }

    /// The token as librdkafka wants it, if it is still valid.
    pub(crate) fn current(&self) -> Option<OAuthToken> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let held = current.as_ref().filter(|held| held.expires_unix_ms > unix_ms())?;
        Some(OAuthToken {
            token: held.text.clone(),
            principal_name: self.principal.clone(),
            lifetime_ms: held.expires_unix_ms,
        })
    }

    async fn replace(&self, provider: &Provider) -> Result<Duration> {
        let answer = provider.ask().await?;
        let seconds = answer.expires_in.unwrap_or(DEFAULT_LIFETIME).clamp(1, 7 * 86_400);
        let lifetime = Duration::from_secs(seconds);
        let expires_unix_ms = unix_ms() + i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX / 2);
        let held = Held { text: answer.access_token, expires_unix_ms };
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(held);
        Ok(lifetime)
    }
}

async fn keep(tokens: Weak<Tokens>, provider: Provider, mut lifetime: Duration) {
    loop {
        let part = u32::try_from(REPLACED_AT).unwrap_or(0);
        tokio::time::sleep(lifetime * part / 100).await;
        let Some(tokens) = tokens.upgrade() else { return };
        lifetime = match tokens.replace(&provider).await {
            Ok(lifetime) => lifetime,
            Err(error) => {
                tracing::warn!("the kafka token could not be replaced: {error}");
                PAUSE_AFTER_FAILURE
            }
        };
    }
}

fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    expires_in: Option<u64>,
}

struct Provider {
    oidc: OidcSettings,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Provider {
    fn new(oidc: OidcSettings, tls: Option<&Tls>) -> Result<Self> {
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls_config(tls.and_then(|tls| tls.ca.as_deref()))?)
            .https_or_http()
            .enable_http1()
            .build();
        Ok(Self { oidc, client: Client::builder(TokioExecutor::new()).build(connector) })
    }

    async fn ask(&self) -> Result<Answer> {
        let asking = tokio::time::timeout(TIMEOUT, self.exchange());
        let late =
            |_| Error::new(ErrorKind::TIMEOUT, "the identity provider does not answer").with_field(FIELD);
        asking.await.map_err(late)?
    }

    async fn exchange(&self) -> Result<Answer> {
        let unreachable = |error: &dyn std::fmt::Display| {
            Error::unavailable(format!("cannot get a token: {error}")).with_field(FIELD)
        };
        let response = self.client.request(self.request()?).await.map_err(|error| unreachable(&error))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect();
        let body = body.await.map_err(|error| unreachable(&error))?.to_bytes();
        if !status.is_success() {
            let is_refusal = status.is_client_error();
            let (kind, field) = match is_refusal {
                true => (ErrorKind::DENIED, "oidcClientSecret"),
                false => (ErrorKind::UNAVAILABLE, FIELD),
            };
            let message = format!("the identity provider answers {status}");
            return Err(Error::new(kind, message).with_field(field));
        }
        let wrong = |_| Error::invalid("the identity provider's answer holds no token").with_field(FIELD);
        serde_json::from_slice(&body).map_err(wrong)
    }

    fn request(&self) -> Result<Request<Full<Bytes>>> {
        let encode = |text: &str| utf8_percent_encode(text, UNRESERVED).to_string();
        let OidcSettings { endpoint, client_id, client_secret, scopes } = &self.oidc;
        let basic = STANDARD.encode(format!("{}:{}", encode(client_id), encode(client_secret)));
        let body = format!("grant_type=client_credentials&scope={}", encode(scopes));
        let request = Request::builder()
            .method(Method::POST)
            .uri(endpoint)
            .header(AUTHORIZATION, format!("Basic {basic}"))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::from(body));
        request.map_err(|error| Error::invalid(format!("not an address: {error}")).with_field(FIELD))
    }
}

/// The system's authorities, and the component's own.
fn tls_config(ca: Option<&str>) -> Result<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(ca) = ca {
        for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()) {
            let wrong = |error: &dyn std::fmt::Display| {
                Error::invalid(format!("not a certificate: {error}")).with_field("caCert")
            };
            let certificate = certificate.map_err(|error| wrong(&error))?;
            roots.add(certificate).map_err(|error| wrong(&error))?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| Error::internal(format!("cannot set up TLS: {error}")))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
