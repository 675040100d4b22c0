//! TLS: a certificate that is not trusted is refused, one that need not be verified is taken, a client shows its own.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use mecha_plugin_api::ErrorKind;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use super::*;

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

fn issued(authority: &CertifiedIssuer<'_, KeyPair>, name: &str) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let certificate = named(name).signed_by(&key, authority).unwrap();
    (certificate.pem(), key.serialize_pem())
}

fn write(dir: &Path, name: &str, text: &str) -> String {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

impl TlsServer {
    fn start() -> Self {
        // Finds or installs the program.
        drop(Redis::start().unwrap());
        let dir = tempfile::tempdir().unwrap();
        let mut params = named("authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let (certificate, key) = issued(&authority, "localhost");
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
        Self { child, port, client: issued(&authority, "client"), _dir: dir }
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
    assert!(matches!(untrusted.kind(), ErrorKind::UNAVAILABLE | ErrorKind::INVALID), "{untrusted:?}");
    let anonymous = RedisState::open(server.spec(&identity[2..])).await.err().unwrap();
    assert_eq!(anonymous.kind(), ErrorKind::UNAVAILABLE, "{anonymous}");
}

#[tokio::test]
async fn a_certificate_that_cannot_be_read_names_its_field() {
    let metadata = [("redisHost", "localhost"), ("enableTLS", "true"), ("insecureSkipTLSVerify", "true")];
    let wrong = [&metadata[..], &[("clientCert", "no pem"), ("clientKey", "no pem")]].concat();
    let spec = ComponentSpec::new("store", "state.redis", Metadata::from_iter(wrong));
    let error = RedisState::open(spec).await.err().unwrap();
    assert_eq!((error.kind(), error.field()), (ErrorKind::INVALID, Some("clientCert")));
}
