//! The agent's HTTP API.

use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use mecha_plugin_api::{Error, ErrorKind, Result};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};

use super::query::Query;
use super::settings::Agent;
use super::tls;

const TOKEN: HeaderName = HeaderName::from_static("x-consul-token");
const INDEX: &str = "x-consul-index";
/// How long a question may take that the agent answers at once.
const PATIENCE: Duration = Duration::from_secs(5);
const LARGEST_ANSWER: usize = 16 << 20;

/// A healthy instance of a service, as the agent describes it.
#[derive(Clone, Debug)]
pub(super) struct Instance(Value);

impl Instance {
    /// Its address, or that of the node on which it runs.
    pub(super) fn address(&self) -> Option<&str> {
        let at = |place| self.0.pointer(place).and_then(Value::as_str).filter(|text| !text.is_empty());
        at("/Service/Address").or_else(|| at("/Node/Address"))
    }

    /// The port in its metadata.
    pub(super) fn port(&self, key: &str) -> Option<u16> {
        self.0.pointer("/Service/Meta")?.get(key)?.as_str()?.parse().ok()
    }
}

/// Asks to be answered when something has changed.
#[derive(Clone, Copy)]
pub(super) struct Change {
    /// What was known last.
    pub(super) after: u64,
    /// How long the agent may wait for a change.
    pub(super) wait: Duration,
}

/// Connections to one agent.
pub(super) struct Client {
    pool: Pool<HttpsConnector<HttpConnector>, Full<Bytes>>,
    base: String,
    datacenter: Option<String>,
    headers: HeaderMap,
    wait: Option<Duration>,
}

struct Answer {
    headers: HeaderMap,
    body: Bytes,
}

impl Client {
    pub(super) async fn new(agent: &Agent) -> Result<Self> {
        let builder = HttpsConnectorBuilder::new().with_tls_config(tls::client_config(&agent.tls).await?);
        let mut connector = builder.https_or_http();
        if let Some(name) = &agent.tls.server_name {
            let name = rustls::pki_types::ServerName::try_from(name.clone())
                .map_err(|error| Error::invalid(format!("{name}: {error}")).with_field("client"))?;
            connector = connector.with_server_name_resolver(FixedServerNameResolver::new(name));
        }
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        let pool = Pool::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .build(connector.enable_http1().wrap_connector(tcp));
        Ok(Self {
            pool,
            base: agent.base.clone(),
            datacenter: agent.datacenter.clone(),
            headers: headers(agent).await?,
            wait: agent.wait,
        })
    }

    /// Whether the agent answers.
    pub(super) async fn check(&self) -> Result<()> {
        self.send(Method::GET, "/v1/agent/self", &[], None, Bytes::new(), PATIENCE).await.map(drop)
    }

    pub(super) async fn register(&self, service: &Map<String, Value>) -> Result<()> {
        let body = serde_json::to_vec(service).map_err(|error| Error::internal(error.to_string()))?;
        self.send(Method::PUT, "/v1/agent/service/register", &[], None, body.into(), PATIENCE).await.map(drop)
    }

    pub(super) async fn deregister(&self, id: &str) -> Result<()> {
        let path = format!("/v1/agent/service/deregister/{}", utf8_percent_encode(id, NON_ALPHANUMERIC));
        self.send(Method::PUT, &path, &[], None, Bytes::new(), PATIENCE).await.map(drop)
    }

    /// The healthy instances of a service, and the index of that answer.
    pub(super) async fn healthy(
        &self,
        service: &str,
        query: &Query,
        change: Option<Change>,
    ) -> Result<(Vec<Instance>, u64)> {
        let path = format!("/v1/health/service/{}", utf8_percent_encode(service, NON_ALPHANUMERIC));
        let mut parameters = vec![("passing", "1".to_owned())];
        parameters.extend(query.parameters.iter().cloned());
        let mut patience = PATIENCE;
        if let Some(Change { after, wait }) = change {
            let wait = query.wait.or(self.wait).unwrap_or(wait);
            parameters.push(("index", after.to_string()));
            parameters.push(("wait", format!("{}ms", wait.as_millis())));
            // The agent adds up to a sixteenth, so that not all of its clients ask at once.
            patience += wait + wait / 16;
        } else if query.cached.is_some() {
            parameters.push(("cached", String::new()));
        }
        let answer = self.send(Method::GET, &path, &parameters, Some(query), Bytes::new(), patience).await?;
        let index = answer.headers.get(INDEX).and_then(|index| index.to_str().ok()?.parse().ok());
        let entries: Vec<Value> = serde_json::from_slice(&answer.body)
            .map_err(|error| Error::internal(format!("the agent's answer cannot be read: {error}")))?;
        Ok((entries.into_iter().map(Instance).collect(), index.unwrap_or(0)))
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        parameters: &[(&str, String)],
        query: Option<&Query>,
        body: Bytes,
        patience: Duration,
    ) -> Result<Answer> {
        let uri = self.uri(path, parameters);
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() =
            uri.parse().map_err(|error| Error::invalid(format!("{uri} is no URL: {error}")))?;
        *request.headers_mut() = self.headers.clone();
        if let Some(token) = query.and_then(|query| query.token.as_deref()) {
            request.headers_mut().insert(TOKEN, secret(token)?);
        }
        if let Some(age) = query.and_then(|query| query.cached.as_deref()).filter(|age| !age.is_empty()) {
            let age = HeaderValue::try_from(age).map_err(|error| Error::internal(error.to_string()))?;
            request.headers_mut().insert(header::CACHE_CONTROL, age);
        }
        match tokio::time::timeout(patience, self.exchange(request)).await {
            Ok(answer) => answer,
            Err(_) => {
                Err(Error::new(ErrorKind::TIMEOUT, format!("the agent did not answer within {patience:?}")))
            }
        }
    }

    fn uri(&self, path: &str, parameters: &[(&str, String)]) -> String {
        let datacenter = self.datacenter.iter().map(|datacenter| ("dc", datacenter));
        let given = parameters.iter().map(|(name, value)| (*name, value));
        let has_own = parameters.iter().any(|(name, _)| *name == "dc");
        let mut uri = format!("{}{path}", self.base);
        for (number, (name, value)) in datacenter.filter(|_| !has_own).chain(given).enumerate() {
            uri.push(if number == 0 { '?' } else { '&' });
            uri.push_str(name);
            if !value.is_empty() {
                uri.push('=');
                uri.extend(utf8_percent_encode(value, NON_ALPHANUMERIC));
            }
        }
        uri
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Answer> {
        let answer = self.pool.request(request).await;
        let answer = answer.map_err(|error| Error::unavailable(chain(&error)))?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, LARGEST_ANSWER).collect().await;
        let body = body.map_err(|error| Error::unavailable(chain(error.as_ref())))?.to_bytes();
        if head.status.is_success() {
            return Ok(Answer { headers: head.headers, body });
        }
        let text = String::from_utf8_lossy(&body);
        let message = format!("Unexpected response code: {} ({})", head.status.as_u16(), text.trim());
        Err(Error::new(kind(head.status), message))
    }
}

fn kind(status: StatusCode) -> ErrorKind {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ErrorKind::DENIED,
        StatusCode::TOO_MANY_REQUESTS => ErrorKind::THROTTLED,
        status if status.is_server_error() => ErrorKind::UNAVAILABLE,
        _ => ErrorKind::INTERNAL,
    }
}

/// What goes with every request.
async fn headers(agent: &Agent) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    let token = match (&agent.token, &agent.token_file) {
        (Some(token), _) => Some(token.clone()),
        (None, Some(file)) => Some(String::from_utf8_lossy(&tls::file(file).await?).trim().to_owned()),
        (None, None) => None,
    };
    if let Some(token) = token.filter(|token| !token.is_empty()) {
        headers.insert(TOKEN, secret(&token)?);
    }
    if let Some((user, password)) = &agent.basic_auth {
        let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        headers.insert(header::AUTHORIZATION, secret(&format!("Basic {pair}"))?);
    }
    Ok(headers)
}

fn secret(text: &str) -> Result<HeaderValue> {
    let value = HeaderValue::try_from(text);
    let mut value =
        value.map_err(|_| Error::invalid("the token cannot stand in a header").with_field("client"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// An error with its causes, which hyper keeps apart.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
