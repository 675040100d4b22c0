//! Services outside: by a URL, or by the name that an HTTPEndpoint resource gives one.

use std::collections::HashMap;

use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Uri};
use http_body_util::BodyExt as _;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use mecha_app_channel::Outgoing;
use mecha_observability::Propagated;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tonic::Status;

use crate::error::{InvokeError, chain};
use crate::local::{http_answer, http_headers};
use crate::method;
use crate::peer::add_trace;
use crate::request::{Answer, InvokeRequest};

type HttpsClient = Client<HttpsConnector<HttpConnector>, Outgoing>;

/// A named service outside, its secrets in place.
#[derive(Debug, Clone, Default)]
pub struct Endpoint {
    /// The name that applications invoke it by.
    pub name: String,
    /// Where it is.
    pub base_url: String,
    /// Headers of every request to it.
    pub headers: Vec<(String, String)>,
    /// Who signs its certificate, as PEM; the system's authorities when there is none.
    pub root_ca: Option<String>,
    /// The client's certificates and key, as PEM.
    pub identity: Option<(String, String)>,
}

/// Why an endpoint cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("HTTP endpoint {name} cannot be used: {reason}")]
pub struct EndpointError {
    name: String,
    reason: String,
}

struct Ready {
    base_url: String,
    headers: HeaderMap,
    /// Its own, when it has TLS of its own.
    client: Option<HttpsClient>,
}

/// The services outside.
pub(crate) struct Endpoints {
    named: HashMap<String, Ready>,
    client: HttpsClient,
}

impl Endpoints {
    pub(crate) fn new(endpoints: Vec<Endpoint>) -> Result<Self, EndpointError> {
        let client = client(HttpsConnectorBuilder::new().with_tls_config(system_tls()));
        Ok(Self { named: named(endpoints)?, client })
    }

    /// Others in place of these, over the same connections where they have no TLS of their own.
    pub(crate) fn with(&self, endpoints: Vec<Endpoint>) -> Result<Self, EndpointError> {
        Ok(Self { named: named(endpoints)?, client: self.client.clone() })
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.named.contains_key(name)
    }

    /// Where a named service is.
    pub(crate) fn base_url(&self, name: &str) -> Option<&str> {
        self.named.get(name).map(|endpoint| endpoint.base_url.as_str())
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.named.keys().map(String::as_str)
    }

    /// Calls a service outside; `id` is a name that is known, or a URL.
    pub(crate) async fn call(
        &self,
        id: &str,
        request: InvokeRequest,
        trace: &Propagated,
    ) -> Result<Answer, InvokeError> {
        let named = self.named.get(id);
        let Some(verb) = request.verb.filter(|verb| *verb != Method::CONNECT) else {
            return Err(Status::invalid_argument("missing HTTP extension field").into());
        };
        let base = named.map_or(id, |endpoint| endpoint.base_url.as_str());
        let path = method::path(&request.method, &request.query);
        let mut headers = http_headers(&request.headers, &request.content_type, &request.body);
        add_trace(&mut headers, trace);
        headers.remove(mecha_observability::names::header::GRPC_TRACE_BIN);
        if let Some(endpoint) = named {
            for (name, value) in &endpoint.headers {
                headers.insert(name, value.clone());
            }
        }
        let url = format!("{}{path}", base.trim_end_matches('/'));
        let uri: Uri =
            url.parse().map_err(|error| InvokeError::Endpoint(format!("{url} is no URL: {error}")))?;
        let mut outgoing = Request::new(request.body.outgoing());
        *outgoing.method_mut() = verb;
        *outgoing.uri_mut() = uri;
        *outgoing.headers_mut() = headers;
        let client = named.and_then(|endpoint| endpoint.client.as_ref()).unwrap_or(&self.client);
        let answer = client.request(outgoing).await;
        let answer = answer.map_err(|error| InvokeError::Endpoint(chain(&error)))?;
        Ok(http_answer(answer.map(|body| body.map_err(Into::into).boxed_unsync())))
    }
}

fn named(endpoints: Vec<Endpoint>) -> Result<HashMap<String, Ready>, EndpointError> {
    let named = endpoints.into_iter().map(|endpoint| {
        let name = endpoint.name.clone();
        let ready = ready(endpoint).map_err(|reason| EndpointError { name: name.clone(), reason })?;
        Ok((name, ready))
    });
    named.collect()
}

fn ready(endpoint: Endpoint) -> Result<Ready, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in &endpoint.headers {
        let name = HeaderName::try_from(name).map_err(|_| format!("{name:?} is no name of a header"))?;
        let value =
            HeaderValue::try_from(value).map_err(|_| format!("the value of {name} is none of a header"))?;
        headers.insert(name, value);
    }
    let has_tls = endpoint.root_ca.is_some() || endpoint.identity.is_some();
    let tls = has_tls.then(|| own_tls(&endpoint)).transpose()?;
    let own = tls.map(|tls| client(HttpsConnectorBuilder::new().with_tls_config(tls)));
    Ok(Ready { base_url: endpoint.base_url, headers, client: own })
}

fn own_tls(endpoint: &Endpoint) -> Result<ClientConfig, String> {
    let wrong = |what: &str, error: &dyn std::fmt::Display| format!("its {what} is unusable: {error}");
    let roots = match &endpoint.root_ca {
        None => system_roots(),
        Some(pem) => {
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                let certificate = certificate.map_err(|error| wrong("rootCA", &error))?;
                roots.add(certificate).map_err(|error| wrong("rootCA", &error))?;
            }
            roots
        }
    };
    let tls = builder().with_root_certificates(roots);
    let Some((certificate, key)) = &endpoint.identity else { return Ok(tls.with_no_client_auth()) };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect();
    let chain = chain.map_err(|error| wrong("certificate", &error))?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|error| wrong("privateKey", &error))?;
    tls.with_client_auth_cert(chain, key).map_err(|error| wrong("certificate", &error))
}

fn system_tls() -> ClientConfig {
    builder().with_root_certificates(system_roots()).with_no_client_auth()
}

fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    roots
}

fn builder() -> rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier> {
    ClientConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .expect("invariant: ring's provider serves the protocol versions that rustls deems safe")
}

fn client(builder: HttpsConnectorBuilder<hyper_rustls::builderstates::WantsSchemes>) -> HttpsClient {
    let mut tcp = HttpConnector::new();
    tcp.set_nodelay(true);
    tcp.enforce_http(false);
    let connector = builder.https_or_http().enable_http1().wrap_connector(tcp);
    Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector)
}
