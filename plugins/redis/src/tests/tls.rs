//! TLS: a certificate that is not trusted is refused, one that need not be verified is taken, a client shows its own.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use mecha_plugin_api::ErrorKind;
use mecha_plugin_api::binding::{InvokeRequest, OutputBinding};
use mecha_plugin_api::lock::LockStore;
use mecha_plugin_api::pubsub::{PubSub, PublishRequest};
use mecha_plugin_api::source::Source;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use super::*;
use crate::binding::RedisBinding;
use crate::configuration::RedisConfiguration;
use crate::lock::RedisLock;
use crate::pubsub::RedisPubSub;

/// A server that speaks TLS only and asks clients for a certificate.
struct TlsServer {
    child: Child,
    port: u16,
    client: (String, String),
    _dir: tempfile::TempDir,
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn issued(authority: &CertifiedIssuer<'_, KeyPair>, params: CertificateParams) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    (certificate.pem(), key.serialize_pem())
}

fn write(dir: &Path, name: &str, text: &str) -> String {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

impl TlsServer {
    fn start() -> Self {
        Self::start_with(|_| {})
    }

    /// A server whose certificate is not the ordinary one.
    fn start_with(change: impl FnOnce(&mut CertificateParams)) -> Self {
        // Finds or installs the program.
        drop(Redis::start().unwrap());
        let dir = tempfile::tempdir().unwrap();
        let mut params = named("authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let mut params = named("localhost");
        change(&mut params);
        let (certificate, key) = issued(&authority, params);
        let port = mecha_backends::free_port().unwrap();
        let child = Command::new("redis-server")
            .args(["--port", "0", "--tls-port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .args(["--tls-cert-file", &write(dir.path(), "cert", &certificate)])
            .args(["--tls-key-file", &write(dir.path(), "key", &key)])
            .args(["--tls-ca-cert-file", &write(dir.path(), "ca", &authority.pem())])
            .current_dir(dir.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, port, client: issued(&authority, named("client")), _dir: dir }
    }

    fn spec(&self, more: &[(&str, &str)]) -> ComponentSpec {
        let mut metadata = Metadata::from_iter(more.iter().copied());
        metadata.insert("redisHost", format!("localhost:{}", self.port));
        metadata.insert("enableTLS", "true");
        ComponentSpec::new("store", "state.redis", metadata)
    }
}

#[tokio::test]
async fn a_server_is_verified_unless_told_otherwise() {
    let server = TlsServer::start();
    let (certificate, key) = (server.client.0.as_str(), server.client.1.as_str());
    let identity = [("clientCert", certificate), ("clientKey", key), ("insecureSkipTLSVerify", "true")];
    let long_enough = [&identity[..], &[("dialTimeout", "10s"), ("redisMaxRetries", "1000")]].concat();
    let store = RedisState::open(server.spec(&long_enough)).await.unwrap();
    save(&store, set("k", "1")).await.unwrap();
    assert_eq!(read(&store, "k").await, value("1", "1"));

    let untrusted = RedisState::open(server.spec(&identity[..2])).await.err().unwrap();
    let field = untrusted.field();
    assert_eq!((untrusted.kind(), field), (ErrorKind::UNAVAILABLE, Some("enableTLS")), "{untrusted:?}");
    assert!(untrusted.message().contains("certificate"), "{untrusted}");
    let anonymous = RedisState::open(server.spec(&identity[2..])).await.err().unwrap();
    assert_eq!(anonymous.kind(), ErrorKind::UNAVAILABLE, "{anonymous}");
}

#[tokio::test]
async fn every_capability_speaks_tls() {
    let server = TlsServer::start();
    let (certificate, key) = (server.client.0.as_str(), server.client.1.as_str());
    let identity = [("clientCert", certificate), ("clientKey", key), ("insecureSkipTLSVerify", "true")];
    let more = [&identity[..], &[("dialTimeout", "10s"), ("redisMaxRetries", "1000")]].concat();
    let binding = RedisBinding::open(server.spec(&more)).await.unwrap();
    binding.ping(&context()).await.unwrap();
    let lock = RedisLock::open(server.spec(&more)).await.unwrap();
    lock.ping(&context()).await.unwrap();
    let broker = RedisPubSub::open(server.spec(&more)).await.unwrap();
    let messages = broker.source("t", 0).await.unwrap();
    let request = PublishRequest {
        topic: "t".into(),
        data: Buf::from("x".to_owned()),
        content_type: "".into(),
        metadata: Metadata::new(),
    };
    broker.publish(&context(), request).await.unwrap();
    let wait = std::time::Duration::from_secs(10);
    assert_eq!(messages.next(&context(), 1, wait).await.unwrap().len(), 1);
    let configuration = RedisConfiguration::open(server.spec(&more)).await.unwrap();
    let changes = configuration.changes(vec!["k".to_owned()]).await.unwrap();
    let request = InvokeRequest {
        operation: "create".into(),
        data: Buf::from("v".to_owned()),
        metadata: Metadata::from_iter([("key", "k")]),
    };
    binding.invoke(&context(), request).await.unwrap();
    assert_eq!(&*changes.next(&context(), 1, wait).await.unwrap()[0].data, b"v");
}

#[tokio::test]
async fn an_expired_certificate_is_named_as_such() {
    let server = TlsServer::start_with(|params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    });
    // Without an answer the server is not up yet; with one, its certificate is what is wrong.
    let error = loop {
        let error = RedisState::open(server.spec(&[])).await.err().unwrap();
        if error.field().is_some() {
            break error;
        }
    };
    assert_eq!(error.field(), Some("enableTLS"));
    assert!(error.message().contains("expired"), "{error}");
}

#[tokio::test]
async fn a_certificate_that_cannot_be_read_names_its_field() {
    let metadata = [("redisHost", "localhost"), ("enableTLS", "true"), ("insecureSkipTLSVerify", "true")];
    let wrong = [&metadata[..], &[("clientCert", "no pem"), ("clientKey", "no pem")]].concat();
    let spec = ComponentSpec::new("store", "state.redis", Metadata::from_iter(wrong));
    let error = RedisState::open(spec).await.err().unwrap();
    assert_eq!((error.kind(), error.field()), (ErrorKind::INVALID, Some("clientCert")));
}
