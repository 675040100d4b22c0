//! Connections to other runtimes by mutual TLS: who is there has proved to be whom the call is for.
//!
//! A connection is kept by address, and an address may become another application's. So each application has connections of its
//! own, proved to be its.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::legacy::{Builder, Client};
use hyper_util::rt::TokioIo;
use mecha_app_channel::{BodyStream, BoxError};
use mecha_identity::{Mtls, Peer, client::TlsStream};
use tokio::net::TcpStream;
use tower_service::Service;

use crate::resolve::AppName;

pub(super) type SecureClient = Client<Connector, BodyStream>;

/// The clients of each application that was called.
pub(super) struct Secure {
    mtls: Arc<Mtls>,
    tcp: HttpConnector,
    builder: Builder,
    clients: RwLock<Clients>,
}

#[derive(Default)]
struct Clients {
    /// The certificates that their connections began with.
    generation: u64,
    by_app: HashMap<AppName, SecureClient>,
}

impl Secure {
    pub(super) fn new(mtls: Arc<Mtls>, mut tcp: HttpConnector, builder: Builder) -> Self {
        tcp.enforce_http(false);
        Self { mtls, tcp, builder, clients: RwLock::default() }
    }

    /// The client for an application. Renewed certificates make new ones: calls in flight end on the old connections, which
    /// then close.
    pub(super) fn client(&self, app: &AppName) -> SecureClient {
        let generation = self.mtls.generation();
        {
            let clients = self.clients.read().unwrap_or_else(PoisonError::into_inner);
            if clients.generation == generation
                && let Some(client) = clients.by_app.get(app)
            {
                return client.clone();
            }
        }
        let mut clients = self.clients.write().unwrap_or_else(PoisonError::into_inner);
        if clients.generation != generation {
            *clients = Clients { generation, by_app: HashMap::new() };
        }
        clients.by_app.entry(app.clone()).or_insert_with(|| self.make(app)).clone()
    }

    fn make(&self, app: &AppName) -> SecureClient {
        let peer = Peer { app_id: app.id.clone(), namespace: app.namespace.clone() };
        self.builder.build(Connector { mtls: self.mtls.clone(), tcp: self.tcp.clone(), peer })
    }
}

/// Makes connections to the runtimes of one application.
#[derive(Clone)]
pub(super) struct Connector {
    mtls: Arc<Mtls>,
    tcp: HttpConnector,
    peer: Peer,
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Stream, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tcp.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.tcp.call(uri);
        let (mtls, peer) = (self.mtls.clone(), self.peer.clone());
        Box::pin(async move {
            let stream = connecting.await?.into_inner();
            Ok(Stream(TokioIo::new(mtls.connect(&peer, stream).await?)))
        })
    }
}

/// A connection to a proven peer.
pub(super) struct Stream(TokioIo<TlsStream<TcpStream>>);

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new().negotiated_h2()
    }
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl Write for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, slices)
    }
}
