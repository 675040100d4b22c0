//! The listening ports of one runtime, and their end: intake off, then the requests in flight.

mod connection;
mod listener;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use mecha_identity::Mtls;
use mecha_observability::metrics::CONTENT_TYPE;
use mecha_runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::grpc::{GrpcEdge, InternalEdge};
use crate::http::{Cors, Edge};

use connection::Protocol;
use listener::Listener;

/// What to listen on.
#[derive(Clone)]
pub struct ServeConfig {
    /// Addresses of the HTTP and gRPC APIs; all interfaces when empty.
    pub addresses: Vec<String>,
    /// Port of the HTTP API.
    pub http_port: u16,
    /// Port of the gRPC API.
    pub grpc_port: u16,
    /// Address and port for calls from other runtimes; any free port when it is 0.
    pub internal: (String, u16),
    /// How those prove who they are; `None` is not at all.
    pub mtls: Option<Arc<Mtls>>,
    /// Folder of Unix domain sockets, which then stand in place of both ports.
    pub sockets: Option<PathBuf>,
    /// Address and port of a second HTTP server with health and metadata only, without tokens.
    pub public: Option<(String, u16)>,
    /// Address and port of the metrics; `None` when they are off.
    pub metrics: Option<(String, u16)>,
    /// Origins that a browser's pages may call from, separated by commas; `*` means all, nothing means none.
    pub allowed_origins: String,
    /// Largest body of a request, in bytes.
    pub max_body_size: usize,
    /// Most bytes of a request's headers.
    pub read_buffer_size: usize,
    /// Whether HTTP/2 without TLS is spoken on the HTTP port.
    pub h2c: bool,
    /// Whether each call is logged.
    pub log_calls: bool,
}

/// Why a port could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Binding failed.
    #[error("cannot listen on {address}: {source}; choose another place with {flag}")]
    Listen {
        /// The address or the socket's path.
        address: String,
        /// The flag that sets it.
        flag: &'static str,
        /// The system's answer.
        source: std::io::Error,
    },
    /// An origin cannot be one.
    #[error("--allowed-origins: {0:?} is not an origin such as https://example.com")]
    Origin(String),
    /// The gRPC services could not be put together.
    #[error("cannot describe the gRPC services for reflection: {0}")]
    Reflection(String),
}

/// Open ports.
pub struct Serving {
    internal: SocketAddr,
    stop: watch::Sender<bool>,
    servers: Vec<JoinHandle<()>>,
}

/// Opens the ports and serves.
///
/// # Errors
/// [`Error`] naming the port or the setting.
pub async fn serve(runtime: Arc<Runtime>, config: ServeConfig) -> Result<Serving, Error> {
    let mut serving = Serving {
        internal: SocketAddr::from(([0, 0, 0, 0], 0)),
        stop: watch::Sender::new(false),
        servers: Vec::new(),
    };
    let protocol = connection::http(config.read_buffer_size, config.h2c);

    let cors = Cors::new(&config.allowed_origins).map_err(Error::Origin)?;
    let edge = Arc::new(Edge::new(runtime.clone(), config.max_body_size, config.log_calls, cors));
    for listener in http_listeners(&runtime, &config).await? {
        serving.start_http(listener, &protocol, &edge);
    }

    let edge = GrpcEdge::new(runtime.clone(), config.max_body_size).await;
    let edge = Arc::new(edge.map_err(|error| Error::Reflection(error.to_string()))?);
    for listener in grpc_listeners(&runtime, &config).await? {
        let edge = edge.clone();
        serving.start(listener, &connection::grpc(), move |request, _peer| {
            let edge = edge.clone();
            async move { edge.handle(request).await }
        });
    }

    let edge = Arc::new(InternalEdge::new(runtime.clone()));
    let (listener, internal) = internal_listener(&config).await?;
    serving.internal = internal;
    serving.start_internal(listener, &edge, config.mtls.clone());

    if let Some((address, port)) = &config.public {
        let listener = Listener::tcp(address, *port, "--dapr-public-port").await?;
        tracing::info!("Public HTTP server is running on {address}:{port}");
        let edge = Arc::new(Edge::public(runtime.clone(), config.max_body_size, config.log_calls));
        serving.start_http(listener, &protocol, &edge);
    }
    if let Some((address, port)) = &config.metrics {
        let listener = Listener::tcp(address, *port, "--metrics-port").await?;
        tracing::info!("metrics server started on {address}:{port}/");
        serving.start(listener, &protocol, move |_request, _peer| {
            let mut response = Response::new(Full::new(Bytes::from(runtime.metrics().render())));
            let media_type = http::HeaderValue::from_static(CONTENT_TYPE);
            response.headers_mut().insert(http::header::CONTENT_TYPE, media_type);
            std::future::ready(response)
        });
    }
    Ok(serving)
}

impl Serving {
    /// Where other runtimes call.
    pub fn internal(&self) -> SocketAddr {
        self.internal
    }

    /// Accepts nothing new and waits for the requests in flight; `false` when the deadline came first.
    pub async fn drain(self, deadline: Duration) -> bool {
        self.stop.send_replace(true);
        let all = async {
            for server in self.servers {
                if let Err(error) = server.await {
                    tracing::error!(%error, "a server ended abnormally");
                }
            }
        };
        tokio::time::timeout(deadline, all).await.is_ok()
    }

    fn start_http(&mut self, listener: Listener, protocol: &Protocol, edge: &Arc<Edge>) {
        let edge = edge.clone();
        self.start(listener, protocol, move |request, peer| {
            let edge = edge.clone();
            async move { edge.handle(request, peer).await }
        });
    }

    fn start_internal(&mut self, listener: Listener, edge: &Arc<InternalEdge>, mtls: Option<Arc<Mtls>>) {
        let edge = edge.clone();
        let answer = move |request| {
            let edge = edge.clone();
            async move { edge.handle(request).await }
        };
        let Some(mtls) = mtls else {
            return self.start(listener, &connection::internal(), move |request, _peer| answer(request));
        };
        let accepting =
            connection::accept_proven(listener, connection::internal(), answer, mtls, self.stop.subscribe());
        self.servers.push(tokio::spawn(accepting));
    }

    fn start<A, F, B>(&mut self, listener: Listener, protocol: &Protocol, answer: A)
    where
        A: Fn(Request<Incoming>, Option<IpAddr>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<B>> + Send + 'static,
        B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
    {
        let accepting = connection::accept(listener, protocol.clone(), answer, self.stop.subscribe());
        self.servers.push(tokio::spawn(accepting));
    }
}

async fn http_listeners(runtime: &Runtime, config: &ServeConfig) -> Result<Vec<Listener>, Error> {
    if let Some(path) = socket(runtime, config, "http") {
        tracing::info!("HTTP server listening on UNIX socket: {}", path.display());
        return Ok(vec![Listener::unix(path).await?]);
    }
    let mut listeners = Vec::new();
    for address in addresses(config) {
        listeners.push(Listener::tcp(address, config.http_port, "--dapr-http-port").await?);
        tracing::info!("HTTP server is running on {address}:{}", config.http_port);
    }
    Ok(listeners)
}

async fn grpc_listeners(runtime: &Runtime, config: &ServeConfig) -> Result<Vec<Listener>, Error> {
    if let Some(path) = socket(runtime, config, "grpc") {
        tracing::info!("gRPC server listening on UNIX socket: {}", path.display());
        return Ok(vec![Listener::unix(path).await?]);
    }
    let mut listeners = Vec::new();
    for address in addresses(config) {
        listeners.push(Listener::tcp(address, config.grpc_port, "--dapr-grpc-port").await?);
        tracing::info!("gRPC server listening on TCP address: {address}:{}", config.grpc_port);
    }
    Ok(listeners)
}

async fn internal_listener(config: &ServeConfig) -> Result<(Listener, SocketAddr), Error> {
    let (address, port) = &config.internal;
    let address = if address.is_empty() { "0.0.0.0" } else { address };
    let listener = Listener::tcp(address, *port, "--dapr-internal-grpc-port").await?;
    let open = listener.address().unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], *port)));
    tracing::info!("Internal gRPC server is running on {address}:{}", open.port());
    Ok((listener, open))
}

/// The socket's path as daprd forms it.
fn socket(runtime: &Runtime, config: &ServeConfig, api: &str) -> Option<PathBuf> {
    Some(config.sockets.as_ref()?.join(format!("dapr-{}-{api}.socket", runtime.app().id)))
}

fn addresses(config: &ServeConfig) -> impl Iterator<Item = &str> {
    let all = config.addresses.is_empty().then_some("0.0.0.0");
    config.addresses.iter().map(String::as_str).chain(all)
}
