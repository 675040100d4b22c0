//! Mutual TLS of one runtime: connections in both directions, with whatever certificates hold at the moment.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use crate::credentials::Credentials;
use crate::error::{Error, HandshakeError};
use crate::source::Sources;
use crate::spiffe::Identity;
use crate::verify::Peer;

/// How long a handshake may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Whom the own certificate must name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// The application's id.
    pub app_id: String,
    /// Its namespace.
    pub namespace: String,
    /// Its trust domain; `None` takes the certificate's.
    pub trust_domain: Option<String>,
}

/// Certificates that are renewed in place. A connection keeps those that it began with; whoever holds it may close it when
/// [`Mtls::renewals`] tells of others.
pub struct Mtls {
    sources: Sources,
    expected: Expected,
    current: ArcSwap<Credentials>,
    renewals: watch::Sender<u64>,
}

impl Mtls {
    /// Reads and checks everything.
    ///
    /// # Errors
    /// [`Error`] naming the setting and the way out.
    pub fn open(sources: Sources, expected: Expected) -> Result<Self, Error> {
        let credentials = Credentials::new(sources.read()?, &expected)?;
        let current = ArcSwap::from_pointee(credentials);
        Ok(Self { sources, expected, current, renewals: watch::Sender::new(0) })
    }

    /// Reads everything again; `true` when something else is there now, which new connections use from here on.
    ///
    /// # Errors
    /// [`Error`] of what cannot be used; then everything stays as it was.
    pub fn renew(&self) -> Result<bool, Error> {
        let material = self.sources.read()?;
        if material == self.current.load().material {
            return Ok(false);
        }
        self.current.store(Arc::new(Credentials::new(material, &self.expected)?));
        self.renewals.send_modify(|count| *count += 1);
        Ok(true)
    }

    /// Counts the renewals.
    pub fn generation(&self) -> u64 {
        *self.renewals.borrow()
    }

    /// Tells of renewals to come.
    pub fn renewals(&self) -> watch::Receiver<u64> {
        self.renewals.subscribe()
    }

    /// Where everything comes from.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Whom the own certificate names.
    pub fn identity(&self) -> Identity {
        self.current.load().identity.clone()
    }

    /// When the own certificate ends, in seconds since 1970.
    pub fn ends(&self) -> Option<i64> {
        self.current.load().ends
    }

    /// Takes a peer's connection in, and says who it is.
    ///
    /// # Errors
    /// [`HandshakeError`] of a peer that shows no certificate of the anchors that names an application.
    pub async fn accept<S>(&self, stream: S) -> Result<(Identity, server::TlsStream<S>), HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let acceptor = TlsAcceptor::from(self.current.load().server.clone());
        let accepted = tokio::time::timeout(TIMEOUT, acceptor.accept(stream)).await;
        let stream = accepted.map_err(|_| HandshakeError::Late(TIMEOUT))?.map_err(HandshakeError::of)?;
        let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let nobody = || HandshakeError::Peer("the peer showed no certificate".to_owned());
        let identity = Identity::of(shown.ok_or_else(nobody)?);
        Ok((identity.map_err(|error| HandshakeError::Peer(error.to_string()))?, stream))
    }

    /// Makes a connection to a peer a safe one.
    ///
    /// The peer sees our certificate last. That it took it is known when it speaks, as HTTP/2 servers do at once: what it has
    /// against us is then the error here, and not of a call that was sent already.
    ///
    /// # Errors
    /// [`HandshakeError`] where somebody else answers, or the peer does not want us.
    pub async fn connect<S>(&self, peer: &Peer, stream: S) -> Result<client::TlsStream<S>, HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let config = self.current.load().client(peer).map_err(other)?;
        // No name is sent: whom the certificate names is compared with whom the call is for, not with the address.
        let name = ServerName::from(Ipv4Addr::UNSPECIFIED);
        let connecting = async {
            let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
            match stream.fill_buf().await?.is_empty() {
                true => Err(io::ErrorKind::UnexpectedEof.into()),
                false => Ok(stream),
            }
        };
        let connected = tokio::time::timeout(TIMEOUT, connecting).await;
        connected.map_err(|_| HandshakeError::Late(TIMEOUT))?.map_err(HandshakeError::of)
    }
}

fn other(error: impl std::error::Error + Send + Sync + 'static) -> HandshakeError {
    HandshakeError::Io(io::Error::other(error))
}
