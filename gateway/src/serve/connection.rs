//! One listener's connections, from accept to the end of the last request.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use mecha_identity::{HandshakeError, Identity, Mtls};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::listener::{self, Connection, Listener};

/// As daprd waits for a request's headers.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Calls at once on one connection of a runtime.
const MOST_STREAMS: u32 = 10_000;
/// Headers of a call that passes through, in bytes.
const MOST_HEADERS: u32 = 1 << 20;
/// hyper refuses a smaller buffer.
const LEAST_BUFFER: usize = 8192;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How the connections of one listener speak.
pub(super) type Protocol = auto::Builder<TokioExecutor>;

/// HTTP/1, and HTTP/2 without TLS where `h2c` says so; `read_buffer_size` bounds the headers, in bytes.
pub(super) fn http(read_buffer_size: usize, h2c: bool) -> Protocol {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(read_buffer_size.max(LEAST_BUFFER));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(read_buffer_size).unwrap_or(u32::MAX));
    if h2c { builder } else { builder.http1_only() }
}

/// gRPC is HTTP/2 from the first byte.
pub(super) fn grpc() -> Protocol {
    let mut builder = auto::Builder::new(TokioExecutor::new()).http2_only();
    builder.http2().timer(TokioTimer::new());
    builder
}

/// Between runtimes every call of one pair shares a connection.
pub(super) fn internal() -> Protocol {
    let mut builder = grpc();
    builder.http2().max_concurrent_streams(MOST_STREAMS).max_header_list_size(MOST_HEADERS);
    builder
}

/// Serves what comes until `stopped` says so, then waits for the requests in flight.
pub(super) async fn accept<A, F, B>(
    listener: Listener,
    protocol: Protocol,
    answer: A,
    stopped: watch::Receiver<bool>,
) where
    A: Fn(Request<Incoming>, Option<IpAddr>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let each = |stream: Connection, watcher: Watcher| {
        let (protocol, answer) = (protocol.clone(), answer.clone());
        let peer = listener::peer(&stream);
        tokio::spawn(
            async move { serve(&protocol, watcher, stream, move |request| answer(request, peer)).await },
        );
    };
    accept_each(listener, each, None, stopped).await;
}

/// The same for peers that must prove who they are. Whom a peer's certificate names is among the extensions of its requests. With
/// renewed certificates each proves itself again: its connection ends with the requests that are in flight.
pub(super) async fn accept_proven<A, F, B>(
    listener: Listener,
    protocol: Protocol,
    answer: A,
    mtls: Arc<Mtls>,
    stopped: watch::Receiver<bool>,
) where
    A: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let (until, renewals) = (stopped.clone(), mtls.renewals());
    let each = |stream: Connection, watcher: Watcher| {
        let (protocol, answer, mtls) = (protocol.clone(), answer.clone(), mtls.clone());
        let mut until = until.clone();
        tokio::spawn(async move {
            let from = listener::peer(&stream);
            let proven = tokio::select! {
                proven = mtls.accept(stream) => proven,
                // Who has not said anything yet has nothing in flight.
                () = stop_asked(&mut until) => return,
            };
            match proven {
                // Probes connect and leave.
                Err(HandshakeError::Io(error)) => {
                    tracing::debug!(peer = ?from, %error, "a connection ended early")
                }
                Err(error) => tracing::warn!(peer = ?from, "a peer's connection was refused: {error}"),
                Ok((identity, stream)) => {
                    let named = move |mut request: Request<Incoming>| {
                        request.extensions_mut().insert::<Identity>(identity.clone());
                        answer(request)
                    };
                    serve(&protocol, watcher, stream, named).await;
                }
            }
        });
    };
    accept_each(listener, each, Some(renewals), stopped).await;
}

async fn accept_each(
    listener: Listener,
    each: impl Fn(Connection, Watcher),
    mut renewals: Option<watch::Receiver<u64>>,
    mut stopped: watch::Receiver<bool>,
) {
    let (mut graceful, mut ending) = (GracefulShutdown::new(), JoinSet::new());
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(stream) => stream,
                Err(error) => {
                    // Out of descriptors, as a rule: connections that end will free some.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
            () = renewed(&mut renewals) => {
                let before = std::mem::replace(&mut graceful, GracefulShutdown::new());
                ending.spawn(before.shutdown());
                continue;
            }
            Some(_) = ending.join_next() => continue,
            () = stop_asked(&mut stopped) => break,
        };
        each(stream, graceful.watcher());
    }
    drop(listener);
    graceful.shutdown().await;
    while ending.join_next().await.is_some() {}
}

async fn renewed(renewals: &mut Option<watch::Receiver<u64>>) {
    let is_there = match renewals {
        Some(renewals) => renewals.changed().await.is_ok(),
        None => false,
    };
    if !is_there {
        std::future::pending().await
    }
}

/// One connection to its end.
async fn serve<S, A, F, B>(protocol: &Protocol, watcher: Watcher, stream: S, answer: A)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Fn(Request<Incoming>) -> F + Send,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let service = service_fn(move |request| {
        let answering = answer(request);
        async move { Ok::<_, std::convert::Infallible>(answering.await) }
    });
    let connection = protocol.serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "connection ended");
    }
}

async fn stop_asked(stopped: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, which is the end as well.
    let _ = stopped.wait_for(|stop| *stop).await;
}
