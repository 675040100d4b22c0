//! One listener's connections, from accept to the end of the last request.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::sync::watch;

use super::listener::{self, Listener};

/// As daprd waits for a request's headers.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Calls at once on one connection of a runtime.
const MOST_STREAMS: u32 = 10_000;
/// Headers of a call that passes through, in bytes.
const MOST_HEADERS: u32 = 1 << 20;
/// hyper refuses a smaller buffer.
const LEAST_BUFFER: usize = 8192;

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
    mut stopped: watch::Receiver<bool>,
) where
    A: Fn(Request<Incoming>, Option<IpAddr>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    let graceful = GracefulShutdown::new();
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
            () = stop_asked(&mut stopped) => break,
        };
        let (protocol, answer) = (protocol.clone(), answer.clone());
        let peer = listener::peer(&stream);
        let watcher = graceful.watcher();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let answering = answer(request, peer);
                async move { Ok::<_, std::convert::Infallible>(answering.await) }
            });
            let connection = protocol.serve_connection(TokioIo::new(stream), service);
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
