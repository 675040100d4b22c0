//! Certificates of two runtimes against each other.

use std::fs;
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use super::*;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn named(app_id: &str) -> Identity {
    Identity { trust_domain: "public".into(), namespace: "default".into(), app_id: app_id.into() }
}

fn expected(app_id: &str) -> Expected {
    Expected { app_id: app_id.into(), namespace: "default".into(), trust_domain: None }
}

fn sources(authority: &Authority, issued: &Issued) -> Sources {
    Sources::new(Some(authority.certificate()), Some(&issued.certificate), Some(&issued.key)).unwrap()
}

fn issued(authority: &Authority, identity: &Identity) -> Issued {
    authority.issue(identity, SystemTime::now(), DAY).unwrap()
}

fn of(authority: &Authority, app_id: &str) -> Mtls {
    let issued = issued(authority, &named(app_id));
    Mtls::open(sources(authority, &issued), expected(app_id)).unwrap()
}

fn refusal(sources: Sources, expected: Expected) -> String {
    Mtls::open(sources, expected).err().expect("it should be refused").to_string()
}

type Ends = (
    Result<client::TlsStream<DuplexStream>, HandshakeError>,
    Result<(Identity, server::TlsStream<DuplexStream>), HandshakeError>,
);

/// A server speaks first, as HTTP/2's does.
async fn meet(caller: &Mtls, callee: &Mtls, called: &str) -> Ends {
    let (near, far) = tokio::io::duplex(1 << 16);
    let peer = Peer { app_id: called.into(), namespace: "default".into() };
    let serving = async {
        let (identity, mut stream) = callee.accept(far).await?;
        stream.write_all(b"hello").await.map_err(HandshakeError::Io)?;
        stream.flush().await.map_err(HandshakeError::Io)?;
        Ok((identity, stream))
    };
    tokio::join!(caller.connect(&peer, near), serving)
}

#[tokio::test]
async fn both_sides_know_each_other() {
    let authority = Authority::new().unwrap();
    let (a, b) = (of(&authority, "a"), of(&authority, "b"));
    let (near, far) = meet(&a, &b, "b").await;
    let (identity, _) = far.unwrap();
    assert_eq!(identity, named("a"));
    let mut heard = [0; 5];
    near.unwrap().read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"hello");
}

#[tokio::test]
async fn somebody_else_is_not_spoken_to() {
    let (ours, others) = (Authority::new().unwrap(), Authority::new().unwrap());
    let (a, b) = (of(&ours, "a"), of(&ours, "b"));
    let text = meet(&a, &b, "c").await.0.unwrap_err().to_string();
    assert!(text.contains(r#"unexpected SPIFFE ID: "spiffe://public/ns/default/b""#), "{text}");

    let stranger = of(&others, "b");
    let text = meet(&a, &stranger, "b").await.0.unwrap_err().to_string();
    assert!(text.contains("unknown authority"), "{text}");
}

/// A caller whose certificate the callee refuses hears of it before it sends anything.
#[tokio::test]
async fn a_refused_caller_is_told() {
    let (ours, others) = (Authority::new().unwrap(), Authority::new().unwrap());
    let b = of(&ours, "b");
    let issued = issued(&others, &named("a"));
    let both = format!("{}{}", ours.certificate(), others.certificate());
    let sources = Sources::new(Some(&both), Some(&issued.certificate), Some(&issued.key)).unwrap();
    let a = Mtls::open(sources, expected("a")).unwrap();
    let (near, far) = meet(&a, &b, "b").await;
    assert!(far.unwrap_err().to_string().contains("unknown authority"));
    let text = near.unwrap_err().to_string();
    assert!(text.contains("remote error: tls: unknown certificate authority"), "{text}");
}

#[test]
fn what_cannot_be_used_is_named() {
    let (authority, other) = (Authority::new().unwrap(), Authority::new().unwrap());
    let (a, b) = (issued(&authority, &named("a")), issued(&authority, &named("b")));
    let ended = authority.issue(&named("a"), SystemTime::now() - 2 * DAY, DAY).unwrap();
    let given = |ca: &str, chain: &str, key: &str| Sources::new(Some(ca), Some(chain), Some(key)).unwrap();
    let ca = authority.certificate();
    let domain = Expected { trust_domain: Some("private".into()), ..expected("a") };
    let key_as_chain = given(ca, &a.key, &a.key);
    let cases = [
        (given(ca, &a.certificate, "/no/such/key"), expected("a"), "mtls.key: cannot read /no/such/key"),
        (given(ca, &a.certificate, &b.key), expected("a"), "mtls.key: the key does not belong"),
        (given(ca, &a.certificate, ca), expected("a"), "mtls.key: no private key was found"),
        (key_as_chain, expected("a"), "mtls.certificate-chain: no certificate was found"),
        (
            given(&a.key, &a.certificate, &a.key),
            expected("a"),
            "mtls.trust-anchors: no certificate was found",
        ),
        (
            given(ca, &b.certificate, &b.key),
            expected("a"),
            "for spiffe://public/ns/default/b, and this runtime is a",
        ),
        (given(ca, &a.certificate, &a.key), domain, "mtls.trust-domain is private"),
        (
            given(other.certificate(), &a.certificate, &a.key),
            expected("a"),
            "not signed by mtls.trust-anchors",
        ),
        (given(ca, &ended.certificate, &ended.key), expected("a"), "has expired"),
        (given(ca, ca, &authority.key()), expected("a"), "no URI SAN"),
    ];
    for (sources, expected, text) in cases {
        let found = refusal(sources, expected);
        assert!(found.contains(text), "{text}: {found}");
    }
}

#[tokio::test]
async fn files_are_renewed_and_broken_ones_leave_what_held() {
    let (old, new) = (Authority::new().unwrap(), Authority::new().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let write = |authority: &Authority, issued: &Issued| {
        fs::write(path("ca"), authority.certificate()).unwrap();
        fs::write(path("crt"), &issued.certificate).unwrap();
        fs::write(path("key"), &issued.key).unwrap();
    };
    write(&old, &issued(&old, &named("a")));
    let given = Sources::new(Some(&path("ca")), Some(&path("crt")), Some(&path("key"))).unwrap();
    assert_eq!(given.files().count(), 3);
    let a = Mtls::open(given, expected("a")).unwrap();
    assert!(!a.renew().unwrap());

    fs::write(path("key"), "broken").unwrap();
    assert!(a.renew().unwrap_err().to_string().contains("mtls.key"));
    let (_, far) = meet(&a, &of(&old, "b"), "b").await;
    assert_eq!((far.unwrap().0, a.generation()), (named("a"), 0));

    write(&new, &issued(&new, &named("a")));
    assert!(a.renew().unwrap());
    let (_, far) = meet(&a, &of(&new, "b"), "b").await;
    assert_eq!((far.unwrap().0, a.generation()), (named("a"), 1));
    assert!(meet(&a, &of(&old, "b"), "b").await.0.is_err());
}

#[test]
fn an_authority_can_be_kept() {
    let first = Authority::new().unwrap();
    let again = Authority::read(first.certificate(), &first.key()).unwrap();
    let issued = issued(&again, &named("a"));
    Mtls::open(sources(&first, &issued), expected("a")).unwrap();
    for wrong in ["a/b", "..", ""] {
        assert!(first.issue(&named(wrong), SystemTime::now(), DAY).is_err(), "{wrong}");
    }
}
