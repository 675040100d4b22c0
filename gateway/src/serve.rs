//! The listening ports of one runtime, and their end: intake off, then the requests in flight.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use mecha_observability::metrics::CONTENT_TYPE;
use mecha_runtime::Runtime;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::grpc::GrpcEdge;
use crate::http::Edge;

/// As daprd waits for a request's headers.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// What to listen on.
#[derive(Debug, Clone)]
pub struct ServeConfig {
    /// Addresses of the HTTP and gRPC APIs; all interfaces when empty.
    pub addresses: Vec<String>,
    /// Port of the HTTP API.
    pub http_port: u16,
    /// Port of the gRPC API.
    pub grpc_port: u16,
    /// Address and port of the metrics; `None` when they are off.
    pub metrics: Option<(String, u16)>,
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
    #[error("cannot listen on {address}: {source}; choose another port with {flag}")]
    Listen {
        /// The address.
        address: String,
        /// The flag that sets it.
        flag: &'static str,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The gRPC services could not be put together.
    #[error("cannot describe the gRPC services for reflection: {0}")]
    Reflection(String),
}

/// Open ports.
pub struct Serving {
    stop: watch::Sender<bool>,
    servers: Vec<JoinHandle<()>>,
}

/// Opens the ports and serves.
///
/// # Errors
/// [`Error`] naming the port that could not be opened.
pub async fn serve(runtime: Arc<Runtime>, config: ServeConfig) -> Result<Serving, Error> {
    let (stop, stopped) = watch::channel(false);
    let mut serving = Serving { stop, servers: Vec::new() };
    let addresses =
        if config.addresses.is_empty() { vec!["0.0.0.0".to_owned()] } else { config.addresses.clone() };
    let edge = Arc::new(Edge::new(runtime.clone(), config.max_body_size, config.log_calls));
    let grpc = GrpcEdge::new(runtime.clone(), config.max_body_size).await;
    let grpc = Arc::new(grpc.map_err(|error| Error::Reflection(error.to_string()))?);
    for address in &addresses {
        let listener = listen(address, config.http_port, "--dapr-http-port").await?;
        tracing::info!("HTTP server is running on {address}:{}", config.http_port);
        let (edge, config) = (edge.clone(), config.clone());
        let answer = move |request| {
            let edge = edge.clone();
            async move { edge.handle(request).await }
        };
        serving.servers.push(tokio::spawn(accept(listener, connections(&config), answer, stopped.clone())));

        let listener = listen(address, config.grpc_port, "--dapr-grpc-port").await?;
        tracing::info!("gRPC server listening on TCP address: {address}:{}", config.grpc_port);
        let edge = grpc.clone();
        let answer = move |request| {
            let edge = edge.clone();
            async move { edge.handle(request).await }
        };
        serving.servers.push(tokio::spawn(accept(listener, grpc_connections(), answer, stopped.clone())));
    }
    if let Some((address, port)) = &config.metrics {
        let listener = listen(address, *port, "--metrics-port").await?;
        tracing::info!("metrics server started on {address}:{port}/");
        let metrics = runtime.metrics().clone();
        let answer = move |_request: Request<Incoming>| {
            let mut response = Response::new(Full::new(Bytes::from(metrics.render())));
            let media_type = http::HeaderValue::from_static(CONTENT_TYPE);
            response.headers_mut().insert(http::header::CONTENT_TYPE, media_type);
            std::future::ready(response)
        };
        serving.servers.push(tokio::spawn(accept(listener, connections(&config), answer, stopped)));
    }
    Ok(serving)
}

impl Serving {
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
}

async fn listen(address: &str, port: u16, flag: &'static str) -> Result<TcpListener, Error> {
    let address = match address.parse::<std::net::IpAddr>() {
        Ok(ip) => SocketAddr::new(ip, port).to_string(),
        Err(_) => format!("{address}:{port}"),
    };
    TcpListener::bind(&address).await.map_err(|source| Error::Listen { address, flag, source })
}

fn connections(config: &ServeConfig) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(
        // hyper refuses less than 8 KiB.
        config.read_buffer_size.max(8192),
    );
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(config.read_buffer_size).unwrap_or(u32::MAX));
    if config.h2c { builder } else { builder.http1_only() }
}

/// gRPC is HTTP/2 from the first byte.
fn grpc_connections() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new()).http2_only();
    builder.http2().timer(TokioTimer::new());
    builder
}

async fn accept<A, F, B>(
    listener: TcpListener,
    builder: auto::Builder<TokioExecutor>,
    answer: A,
    mut stopped: watch::Receiver<bool>,
) where
    A: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    let graceful = GracefulShutdown::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of descriptors, as a rule: connections that end will free some.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
            () = stop_asked(&mut stopped) => break,
        };
        // Without it small answers wait for the peer's acknowledgement; a socket that is gone fails at its first read.
        let _ = stream.set_nodelay(true);
        let (builder, answer) = (builder.clone(), answer.clone());
        let watcher = graceful.watcher();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let answering = answer(request);
                async move { Ok::<_, std::convert::Infallible>(answering.await) }
            });
            let connection = builder.serve_connection(TokioIo::new(stream), service);
            if let Err(error) = watcher.watch(connection).await {
                tracing::debug!(%error, "connection ended");
            }
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

async fn stop_asked(stopped: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, which is the end as well.
    let _ = stopped.wait_for(|stop| *stop).await;
}
