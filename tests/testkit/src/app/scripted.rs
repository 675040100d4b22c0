//! An application over HTTP whose every answer the test writes, the broken ones as well.

use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{StreamExt, stream};
use http::header::{CONTENT_LENGTH, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::eventually;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The verb.
    pub method: Method,
    /// The path, still encoded.
    pub path: String,
    /// The query, still encoded; empty when there is none.
    pub query: String,
    /// The protocol's version.
    pub version: http::Version,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl Asked {
    /// A header's value; empty when it is absent or no text.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The body as JSON; null when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// What the application answers.
#[derive(Debug, Clone)]
pub struct Scripted {
    status: StatusCode,
    headers: HeaderMap,
    body: Body,
}

#[derive(Debug, Clone)]
enum Body {
    Whole(Bytes),
    /// Promises more than it sends.
    Broken(Bytes),
    Large(u64),
    /// Sends a beginning, and its end when it may.
    Held(Bytes, watch::Receiver<bool>),
}

impl Scripted {
    /// A status without a body.
    pub fn status(status: u16) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, headers: HeaderMap::new(), body: Body::Whole(Bytes::new()) }
    }

    /// 200 with a body.
    pub fn ok(body: impl Into<Bytes>) -> Self {
        Self { body: Body::Whole(body.into()), ..Self::status(200) }
    }

    /// 200 with JSON.
    pub fn json(body: &Value) -> Self {
        Self::ok(body.to_string())
    }

    /// 200, the beginning of a body, and a connection that breaks.
    pub fn broken(beginning: impl Into<Bytes>) -> Self {
        Self { body: Body::Broken(beginning.into()), ..Self::status(200) }
    }

    /// 200 and a body of so many bytes.
    pub fn large(bytes: u64) -> Self {
        Self { body: Body::Large(bytes), ..Self::status(200) }
    }

    /// 200, a body, and its end only once `ends` says so.
    pub fn held(body: impl Into<Bytes>, ends: watch::Receiver<bool>) -> Self {
        Self { body: Body::Held(body.into(), ends), ..Self::status(200) }
    }

    /// The same with a body.
    pub fn with_body(self, body: impl Into<Bytes>) -> Self {
        Self { body: Body::Whole(body.into()), ..self }
    }

    /// The same with one more header; a name or value that is none is left out.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            self.headers.append(name, value);
        }
        self
    }

    fn response(self) -> Response<BoxBody<Bytes, io::Error>> {
        const PIECE: usize = 64 * 1024;
        let frame = |bytes: Bytes| Ok::<_, io::Error>(Frame::data(bytes));
        let length = match &self.body {
            Body::Broken(beginning) => Some(beginning.len() as u64 + 10),
            Body::Whole(_) | Body::Large(_) | Body::Held(..) => None,
        };
        let body = match self.body {
            Body::Whole(body) => Full::new(body).map_err(|never| match never {}).boxed(),
            Body::Broken(beginning) => {
                let end = stream::once(async { Err(io::Error::other("the test breaks it here")) });
                BodyExt::boxed(StreamBody::new(stream::iter([frame(beginning)]).chain(end)))
            }
            Body::Large(bytes) => {
                let piece = Bytes::from(vec![b'x'; PIECE]);
                let pieces = (0..bytes.div_ceil(PIECE as u64)).map(move |_| frame(piece.clone()));
                BodyExt::boxed(StreamBody::new(stream::iter(pieces)))
            }
            Body::Held(body, mut ends) => {
                let end = stream::once(async move {
                    // A test that is over holds nothing any more.
                    let _ = ends.wait_for(|ends| *ends).await;
                    Ok(Frame::data(Bytes::new()))
                });
                BodyExt::boxed(StreamBody::new(stream::iter([frame(body)]).chain(end)))
            }
        };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        response.headers_mut().extend(self.headers);
        if let Some(length) = length {
            response.headers_mut().insert(CONTENT_LENGTH, length.into());
        }
        response
    }
}

type Handler = Arc<dyn Fn(Asked) -> BoxFuture<'static, Scripted> + Send + Sync>;

/// A running application that speaks HTTP/1.1 and h2c, or both over TLS.
pub struct ScriptedApp {
    port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
    server: JoinHandle<()>,
}

impl ScriptedApp {
    /// Starts one without TLS.
    pub async fn start<F>(handler: impl Fn(Asked) -> F + Send + Sync + 'static) -> Result<Self>
    where
        F: Future<Output = Scripted> + Send + 'static,
    {
        Self::listen(TcpListener::bind("127.0.0.1:0").await?, None, handler)
    }

    /// Starts one with TLS and a certificate of its own.
    pub async fn start_tls<F>(handler: impl Fn(Asked) -> F + Send + Sync + 'static) -> Result<Self>
    where
        F: Future<Output = Scripted> + Send + 'static,
    {
        Self::listen(TcpListener::bind("127.0.0.1:0").await?, Some(super::tls::acceptor()?), handler)
    }

    /// Starts one on a port that was chosen before.
    pub async fn start_on<F>(port: u16, handler: impl Fn(Asked) -> F + Send + Sync + 'static) -> Result<Self>
    where
        F: Future<Output = Scripted> + Send + 'static,
    {
        Self::listen(TcpListener::bind(("127.0.0.1", port)).await?, None, handler)
    }

    fn listen<F>(
        listener: TcpListener,
        tls: Option<TlsAcceptor>,
        handler: impl Fn(Asked) -> F + Send + Sync + 'static,
    ) -> Result<Self>
    where
        F: Future<Output = Scripted> + Send + 'static,
    {
        let port = listener.local_addr()?.port();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let handler: Handler = Arc::new(move |asked| Box::pin(handler(asked)));
        let server = tokio::spawn(serve(listener, tls, handler, asked.clone()));
        Ok(Self { port, asked, server })
    }

    /// Ends it as a kill does: every connection breaks. The port is free once this returns.
    pub async fn kill(mut self) {
        self.server.abort();
        // Cancelled is what it is to be.
        let _ = (&mut self.server).await;
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Every request so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The requests to one path.
    pub fn asked_at(&self, path: &str) -> Vec<Asked> {
        self.asked().into_iter().filter(|asked| asked.path == path).collect()
    }

    /// Waits for so many requests to one path.
    pub async fn wait_for(&self, path: &str, count: usize, within: Duration) -> Result<Vec<Asked>> {
        eventually(within, || async {
            let found = self.asked_at(path);
            let paths: Vec<_> =
                self.asked().iter().map(|asked| format!("{} {}", asked.method, asked.path)).collect();
            ensure!(found.len() >= count, "{} of {count} at {path}; asked so far: {paths:?}", found.len());
            Ok(found)
        })
        .await
    }

    /// Waits for the first request to one path.
    pub async fn wait_one(&self, path: &str, within: Duration) -> Result<Asked> {
        self.wait_for(path, 1, within).await?.into_iter().next().context("there is one")
    }
}

impl Drop for ScriptedApp {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    handler: Handler,
    asked: Arc<Mutex<Vec<Asked>>>,
) {
    // Connections end with the application.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, handler, asked) = (tls.clone(), handler.clone(), asked.clone());
        connections.spawn(async move {
            match tls {
                None => connection(stream, handler, asked).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        connection(stream, handler, asked).await;
                    }
                }
            }
        });
    }
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    handler: Handler,
    asked: Arc<Mutex<Vec<Asked>>>,
) {
    let service = service_fn(move |request| answer(request, handler.clone(), asked.clone()));
    // A connection that breaks is the test's doing.
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(
    request: Request<Incoming>,
    handler: Handler,
    all: Arc<Mutex<Vec<Asked>>>,
) -> Result<Response<BoxBody<Bytes, io::Error>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let path = head.uri.path().to_owned();
    let query = head.uri.query().unwrap_or_default().to_owned();
    let asked =
        Asked { method: head.method, path, query, version: head.version, headers: head.headers, body };
    all.lock().unwrap_or_else(PoisonError::into_inner).push(asked.clone());
    Ok(handler(asked).await.response())
}
