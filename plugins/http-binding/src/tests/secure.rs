//! HTTPS: whom the component trusts, what it shows of itself, and HTTP/2 where the server speaks it.

use std::sync::Arc;

use mecha_plugin_api::ErrorKind;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use super::server::Server;
use super::*;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn authority() -> Authority {
    let mut params = named("authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn issued(authority: &Authority, name: &str) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    (named(name).signed_by(&key, authority).unwrap().pem(), key.serialize_pem())
}

fn server_config(authority: &Authority, asks_client: bool) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
    let builder = builder.unwrap();
    let builder = if asks_client {
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        builder.with_client_cert_verifier(verifier)
    } else {
        builder.with_no_client_auth()
    };
    let (certificate, key) = issued(authority, "localhost");
    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
    builder.with_single_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap()).unwrap()
}

#[tokio::test]
async fn the_components_authority_is_trusted_and_others_are_not() {
    let authority = authority();
    let server = Server::start_with(Some(server_config(&authority, false))).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    std::fs::write(&file, authority.pem()).unwrap();
    for root in [authority.pem().as_str(), file.to_str().unwrap()] {
        let binding = opened(&server.url, &[("MTLSRootCA", root)]).await;
        assert_eq!(&invoke(&binding, "post", "hello", &[]).await.unwrap().data[..], b"hello");
        assert_eq!(server.last().version, http::Version::HTTP_11);
    }
    let distrusting = opened(&server.url, &[]).await;
    let error = invoke(&distrusting, "get", "", &[]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UNAVAILABLE, "{error}");
}

#[tokio::test]
async fn a_client_certificate_is_shown() {
    let authority = authority();
    let server = Server::start_with(Some(server_config(&authority, true))).await;
    let (root, (certificate, key)) = (authority.pem(), issued(&authority, "client"));
    let anonymous = opened(&server.url, &[("MTLSRootCA", &root)]).await;
    assert!(invoke(&anonymous, "get", "", &[]).await.is_err());
    let pairs = [("MTLSRootCA", root.as_str()), ("MTLSClientCert", &certificate), ("MTLSClientKey", &key)];
    let known = opened(&server.url, &pairs).await;
    invoke(&known, "get", "", &[]).await.unwrap();
    let half = HttpBinding::open(spec(&server.url, &pairs[..2])).await.err().unwrap();
    assert_eq!((half.kind(), half.field()), (ErrorKind::INVALID, Some("MTLSClientKey")));
}

#[tokio::test]
async fn http2_is_spoken_where_the_server_offers_it() {
    let authority = authority();
    let mut config = server_config(&authority, false);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let server = Server::start_with(Some(config)).await;
    let binding = opened(&server.url, &[("MTLSRootCA", &authority.pem())]).await;
    let answer =
        invoke(&binding, "post", "hello", &[("X-Custom", "1"), ("Connection", "close")]).await.unwrap();
    assert_eq!(server.last().version, http::Version::HTTP_2);
    assert_eq!(answer.metadata.get("status"), Some("200 OK"));
}
