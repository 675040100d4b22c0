//! Certificates as files, and peers that are no runtimes: what they show and say is the test's choice.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use mecha_identity::{Authority, Expected, Identity, Mtls, Peer, Sources};
use mecha_proto::Message as _;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// What a handshake and a call may take.
const WITHIN: Duration = Duration::from_secs(10);

/// A folder with a runtime's files.
pub struct Files(TempDir);

impl Files {
    pub fn new(anchors: &[&Authority], signer: &Authority, app_id: &str, lasts: Duration) -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        files.trust(anchors);
        files.issue(signer, app_id, lasts);
        files
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn trust(&self, anchors: &[&Authority]) {
        let all: String = anchors.iter().map(|authority| authority.certificate()).collect();
        self.write("ca.crt", &all);
    }

    pub fn issue(&self, signer: &Authority, app_id: &str, lasts: Duration) {
        let issued = signer.issue(&identity(app_id), SystemTime::now(), lasts).unwrap();
        self.write("tls.crt", &issued.certificate);
        self.write("tls.key", &issued.key);
    }

    /// Whole, as whoever renews certificates does.
    pub fn write(&self, name: &str, text: &str) {
        let next = self.path("next");
        std::fs::write(&next, text).unwrap();
        std::fs::rename(next, self.path(name)).unwrap();
    }
}

pub fn identity(app_id: &str) -> Identity {
    Identity { trust_domain: "public".into(), namespace: "default".into(), app_id: app_id.into() }
}

/// Certificates of a peer in this process.
pub fn own(signer: &Authority, app_id: &str, trusted: &Authority, lasts: Duration) -> Result<Mtls> {
    let issued = signer.issue(&identity(app_id), SystemTime::now(), lasts)?;
    let anchors = format!("{}{}", trusted.certificate(), signer.certificate());
    let sources = Sources::new(Some(&anchors), Some(&issued.certificate), Some(&issued.key))?;
    let expected = Expected { app_id: app_id.into(), namespace: "default".into(), trust_domain: None };
    Ok(Mtls::open(sources, expected)?)
}

/// Connects to the callee with them.
pub async fn connect(mtls: &Mtls, port: u16) -> Result<Connected> {
    let peer = Peer { app_id: "callee".into(), namespace: "default".into() };
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    Connected::over(mtls.connect(&peer, stream).await?).await
}

/// Connects to the callee as an application that somebody's authority knows.
pub async fn as_app(signer: &Authority, app_id: &str, trusted: &Authority, port: u16) -> Result<Connected> {
    connect(&own(signer, app_id, trusted, DAY)?, port).await
}

/// What becomes of TLS without a certificate: the first byte, or the refusal.
pub async fn without_certificate(port: u16) -> Result<u8> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone))
        .with_no_client_auth();
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let exchange =
        async { Ok(connector.connect(ServerName::try_from("callee")?, stream).await?.read_u8().await?) };
    tokio::time::timeout(WITHIN, exchange).await.context("neither answer nor refusal")?
}

/// What becomes of HTTP/2 without TLS: the first bytes, or the end.
pub async fn without_tls(port: u16) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await?;
    let mut answer = Vec::new();
    let exchange = stream.read_to_end(&mut answer);
    // A connection that is closed at once may end in a reset.
    let _ = tokio::time::timeout(WITHIN, exchange).await.context("the connection stays open")?;
    Ok(answer)
}

/// An open connection that speaks gRPC.
pub struct Connected {
    sender: hyper::client::conn::http2::SendRequest<Full<Bytes>>,
    connection: tokio::task::JoinHandle<hyper::Result<()>>,
}

impl Connected {
    async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<Self> {
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        Ok(Self { sender, connection: tokio::spawn(connection) })
    }

    /// Waits until the other side has closed it.
    pub async fn ended(self, limit: Duration) {
        // Without a sender it would end by itself.
        let Self { sender: _held, connection } = self;
        drop(tokio::time::timeout(limit, connection).await.expect("the connection stays open"));
    }

    /// Calls a method of the callee's application as the runtimes do, with these headers among the message.
    pub async fn call_local(&mut self, method: &str, said: &[(&str, &str)]) -> tonic::Status {
        use mecha_proto::common::v1::{HttpExtension, InvokeRequest, http_extension::Verb};
        use mecha_proto::internals::v1::{InternalInvokeRequest, ListStringValue};
        let values = |value: &str| ListStringValue { values: vec![value.to_owned()] };
        let request = InternalInvokeRequest {
            ver: 1,
            metadata: said.iter().map(|(name, value)| ((*name).to_owned(), values(value))).collect(),
            message: Some(InvokeRequest {
                method: method.to_owned(),
                http_extension: Some(HttpExtension { verb: Verb::Post.into(), querystring: String::new() }),
                ..InvokeRequest::default()
            }),
            ..InternalInvokeRequest::default()
        };
        self.post("/dapr.proto.internals.v1.ServiceInvocation/CallLocal", &[], &request.encode_to_vec()).await
    }

    /// Any call, and how it ended.
    pub async fn post(&mut self, path: &str, said: &[(&str, &str)], message: &[u8]) -> tonic::Status {
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        let body = Full::new(Bytes::from([&[0], &length[..], message].concat()));
        let mut request = Request::post(format!("https://callee{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in said {
            request = request.header(*name, *value);
        }
        let answer = tokio::time::timeout(WITHIN, self.sender.send_request(request.body(body).unwrap()));
        let (head, body) = answer.await.unwrap().unwrap().into_parts();
        let trailers = body.collect().await.unwrap().trailers().cloned().unwrap_or_default();
        let status = tonic::Status::from_header_map(&trailers);
        status.or_else(|| tonic::Status::from_header_map(&head.headers)).unwrap()
    }
}

/// Speaks to whoever is there.
#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
