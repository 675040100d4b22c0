//! Clients that show a certificate, and clients that bring a token of an identity provider.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mecha_backends::{Kafka, KafkaIdentity, optional};
use mecha_plugin_api::ErrorKind;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use super::errors::refused;
use super::*;

const CLIENT: &str = "orders";
const SECRET: &str = "the-client's-secret";

/// Names differ, or a certificate would pass for its own issuer's.
fn named(name: &str, hosts: Vec<String>) -> CertificateParams {
    let mut params = CertificateParams::new(hosts).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = named("authority", Vec::new());
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A certificate for 127.0.0.1, and its key.
    fn certificate(&self, change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
        let mut params = named(CLIENT, vec!["127.0.0.1".to_owned()]);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }
}

/// A broker with a listener for certificates and one for tokens; none where there is no Java.
fn guarded(authority: &Authority) -> Option<Kafka> {
    server()?;
    let (certificate, key) = authority.certificate(|_| ());
    let identity = KafkaIdentity { authority: authority.0.pem(), certificate, key };
    optional(Kafka::start_guarded(&identity)).unwrap()
}

async fn carries_a_message(pubsub: &KafkaPubSub, data: &str) {
    let topic = unique("guarded");
    let source = subscribed(pubsub, &topic).await;
    publish(pubsub, &topic, data, &[]).await;
    assert_eq!(texts(&pull(&source, 1).await), [data]);
}

#[tokio::test]
async fn a_client_is_known_by_its_certificate() {
    let authority = Authority::new();
    let Some(kafka) = guarded(&authority) else { return };
    let address = kafka.certificates_addr().unwrap().to_string();
    let ca = authority.0.pem();
    let with = |(certificate, key): &(String, String)| {
        let fields = [("authType", "mtls"), ("caCert", &ca), ("clientCert", certificate), ("clientKey", key)];
        spec("pubsub.kafka", &address, &fields)
    };
    let pubsub = KafkaPubSub::open(with(&authority.certificate(|_| ()))).await.unwrap();
    carries_a_message(&pubsub, "by certificate").await;

    let another = Authority::new().certificate(|_| ());
    let expired = authority.certificate(|params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    });
    for stranger in [another, expired] {
        let error = refused(with(&stranger)).await;
        assert_eq!((error.kind(), error.field()), (ErrorKind::DENIED, Some("clientCert")), "{error}");
        assert!(!error.message().contains(&stranger.1), "{error}");
    }
    let without = spec("pubsub.kafka", &address, &[("authType", "certificate"), ("caCert", &ca)]);
    let error = refused(without).await;
    assert_eq!((error.kind(), error.field()), (ErrorKind::DENIED, Some("clientCert")), "{error}");
    // A key that belongs to another certificate.
    let mixed = (authority.certificate(|_| ()).0, authority.certificate(|_| ()).1);
    let error = refused(with(&mixed)).await;
    assert_eq!((error.kind(), error.field()), (ErrorKind::INVALID, Some("clientKey")), "{error}");
}

/// An identity provider that gives its one client tokens that nobody signed.
struct Provider {
    addr: SocketAddr,
    given: Arc<AtomicUsize>,
}

impl Provider {
    /// Its tokens are good for so many seconds.
    fn start(lifetime: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let given = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&given);
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if answer(stream, lifetime).unwrap_or(false) {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        Self { addr, given }
    }

    fn spec(&self, address: &str, secret: &str) -> ComponentSpec {
        let endpoint = format!("http://{}/token", self.addr);
        let fields = [
            ("authType", "oidc"),
            ("oidcTokenEndpoint", endpoint.as_str()),
            ("oidcClientID", CLIENT),
            ("oidcClientSecret", secret),
            ("oidcScopes", "openid,kafka"),
            ("disableTls", "true"),
        ];
        spec("pubsub.kafka", address, &fields)
    }
}

/// Answers one request; whether a token was given.
fn answer(stream: TcpStream, lifetime: u64) -> std::io::Result<bool> {
    let mut reader = BufReader::new(stream);
    let (mut login, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        let Some((name, value)) = line.split_once(':') else { continue };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => login = value.trim().to_owned(),
            "content-length" => length = value.trim().parse().unwrap_or(0),
            _ => {}
        }
    }
    let mut form = vec![0; length];
    reader.read_exact(&mut form)?;
    let is_known = is_client(&login) && form == b"grant_type=client_credentials&scope=openid%20kafka";
    let (status, body) = match is_known {
        true => ("200 OK", format!("{{\"access_token\":\"{}\",\"expires_in\":{lifetime}}}", token(lifetime))),
        false => ("401 Unauthorized", "{\"error\":\"invalid_client\"}".to_owned()),
    };
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    reader.get_mut().write_all(format!("{head}{body}").as_bytes())?;
    Ok(is_known)
}

/// Name and secret are escaped before they are joined, RFC 6749, section 2.3.1.
fn is_client(login: &str) -> bool {
    let expected = format!("{CLIENT}:{}", SECRET.replace('\'', "%27"));
    login
        .strip_prefix("Basic ")
        .and_then(|login| base64::engine::general_purpose::STANDARD.decode(login).ok())
        == Some(expected.into_bytes())
}

fn token(lifetime: u64) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let claims = format!("{{\"sub\":\"{CLIENT}\",\"iat\":{now},\"exp\":{}}}", now + lifetime);
    format!("{}.{}.", URL_SAFE_NO_PAD.encode("{\"alg\":\"none\"}"), URL_SAFE_NO_PAD.encode(claims))
}

#[tokio::test]
async fn a_client_is_known_by_a_token_that_is_renewed() {
    let Some(kafka) = guarded(&Authority::new()) else { return };
    let address = kafka.tokens_addr().unwrap().to_string();
    let provider = Provider::start(3);
    let pubsub = KafkaPubSub::open(provider.spec(&address, SECRET)).await.unwrap();
    carries_a_message(&pubsub, "by token").await;

    // Beyond the first token's life the client goes on with another.
    let deadline = Instant::now() + WAIT;
    while provider.given.load(Ordering::Relaxed) < 3 {
        assert!(Instant::now() < deadline, "no further token was asked for");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    carries_a_message(&pubsub, "by another token").await;

    let error = refused(provider.spec(&address, "wrong")).await;
    assert_eq!((error.kind(), error.field()), (ErrorKind::DENIED, Some("oidcClientSecret")), "{error}");
    assert!(!error.message().contains("wrong"), "{error}");
    let nobody = Provider { addr: SocketAddr::from(([127, 0, 0, 1], 1)), ..provider };
    let error = refused(nobody.spec(&address, SECRET)).await;
    assert_eq!((error.kind(), error.field()), (ErrorKind::UNAVAILABLE, Some("oidcTokenEndpoint")), "{error}");
}
