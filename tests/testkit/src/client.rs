//! An HTTP client in one line a call.

use anyhow::{Context, Result};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// A pooled HTTP client; clones share the pool.
#[derive(Debug, Clone)]
pub struct HttpClient {
    inner: Client<HttpConnector, Full<Bytes>>,
}

/// A complete answer.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Status code.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl Reply {
    /// The body as text, invalid UTF-8 replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("not JSON: {}", self.text()))
    }

    /// A header's value as text; empty when it is absent or no text.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

impl HttpClient {
    /// A client that speaks HTTP/1.1.
    pub fn new() -> Self {
        Self { inner: Client::builder(TokioExecutor::new()).build(connector()) }
    }

    /// A client that speaks HTTP/2 without TLS, by prior knowledge.
    pub fn h2c() -> Self {
        Self { inner: Client::builder(TokioExecutor::new()).http2_only(true).build(connector()) }
    }

    /// GET.
    pub async fn get(&self, url: &str) -> Result<Reply> {
        self.send(request(Method::GET, url, Bytes::new(), None)?).await
    }

    /// POST of a JSON body.
    pub async fn post(&self, url: &str, body: impl Into<Bytes>) -> Result<Reply> {
        self.send(request(Method::POST, url, body.into(), Some("application/json"))?).await
    }

    /// PUT of a JSON body.
    pub async fn put(&self, url: &str, body: impl Into<Bytes>) -> Result<Reply> {
        self.send(request(Method::PUT, url, body.into(), Some("application/json"))?).await
    }

    /// DELETE.
    pub async fn delete(&self, url: &str) -> Result<Reply> {
        self.send(request(Method::DELETE, url, Bytes::new(), None)?).await
    }

    /// Any request.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Result<Reply> {
        let what = format!("{} {}", request.method(), request.uri());
        let answer = self.inner.request(request).await.with_context(|| what.clone())?;
        let (head, body) = answer.into_parts();
        let body = body.collect().await.with_context(|| format!("{what}: the answer's body"))?.to_bytes();
        Ok(Reply { status: head.status, headers: head.headers, body })
    }
}

impl Default for HttpClient {
    fn default() -> Self {
        Self::new()
    }
}

fn connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector
}

fn request(method: Method, url: &str, body: Bytes, media_type: Option<&str>) -> Result<Request<Full<Bytes>>> {
    let mut builder = Request::builder().method(method).uri(url);
    if let Some(media_type) = media_type {
        builder = builder.header(CONTENT_TYPE, media_type);
    }
    builder.body(Full::new(body)).with_context(|| format!("not a request: {url}"))
}
