//! Connections: TCP, then TLS where the address asks for it, both within one limit.

use std::error::Error as StdError;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tower_service::Service;

type BoxError = Box<dyn StdError + Send + Sync>;
type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;

/// Limit of the TCP connection, and again of the TLS handshake, as in Dapr.
const STEP_TIMEOUT: Duration = Duration::from_secs(15);

/// Connects; gives up on a server that accepts a connection and then says nothing.
#[derive(Clone)]
pub(crate) struct Connector {
    inner: HttpsConnector<HttpConnector>,
}

impl Connector {
    pub(crate) fn new(tls: ClientConfig) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(STEP_TIMEOUT));
        tcp.set_keepalive(Some(STEP_TIMEOUT));
        let builder = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
        Self { inner: builder.enable_http1().enable_http2().wrap_connector(tcp) }
    }
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let connecting = self.inner.call(target);
        Box::pin(async move {
            match tokio::time::timeout(STEP_TIMEOUT * 2, connecting).await {
                Ok(connected) => connected,
                Err(_) => Err(BoxError::from("no connection within the limit")),
            }
        })
    }
}
