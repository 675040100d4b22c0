//! The keys of a folder as a runtime uses them: through the author's trait.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeySize, PrivateDecryptingKey};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use mecha_plugin_api::crypto::{Crypto, KeyRequest};
use mecha_plugin_api::{CallContext, ComponentSpec, ErrorKind, Metadata, Result};
use tempfile::TempDir;

use crate::crypto::LocalStorage;

/// RFC 3394, 4.6: a key of 256 bits, wrapped with one of 256 bits.
const KEK: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const PLAIN: &str = "00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f";
const WRAPPED: &str = "28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21";

struct Keys {
    crypto: LocalStorage,
    folder: TempDir,
}

impl Keys {
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let crypto = open(folder.path().to_str().unwrap()).await.unwrap();
        Self { crypto, folder }
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.folder.path().join(name), bytes).unwrap();
    }

    async fn wrap(&self, name: &str, algorithm: &str, key: &[u8]) -> Result<Vec<u8>> {
        let (context, request) = (CallContext::background("app"), request(name, algorithm, key));
        self.crypto.wrap_key(&context, request).await.map(|key| key.to_vec())
    }

    async fn unwrap(&self, name: &str, algorithm: &str, key: &[u8]) -> Result<Vec<u8>> {
        let (context, request) = (CallContext::background("app"), request(name, algorithm, key));
        self.crypto.unwrap_key(&context, request).await.map(|key| key.to_vec())
    }

    /// Why a wrap is refused.
    async fn refusal(&self, name: &str, algorithm: &str) -> (ErrorKind, String) {
        let error = self.wrap(name, algorithm, &[7; 32]).await.unwrap_err();
        (error.kind(), error.message().to_owned())
    }
}

fn request(name: &str, algorithm: &str, key: &[u8]) -> KeyRequest {
    let key = key.to_vec().into();
    KeyRequest { key_name: name.into(), algorithm: algorithm.into(), key, metadata: Metadata::new() }
}

async fn open(path: &str) -> Result<LocalStorage> {
    let metadata = Metadata::from_iter([("path", path)]);
    LocalStorage::open(ComponentSpec::new("keys", "crypto.dapr.localstorage", metadata)).await
}

fn kek() -> Vec<u8> {
    hex::decode(KEK).unwrap()
}

/// An RSA key in every form that it may lie in.
struct Rsa {
    private: Vec<u8>,
    public: Vec<u8>,
}

impl Rsa {
    fn generate() -> Self {
        let key = PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap();
        let private = AsDer::<Pkcs8V1Der<'_>>::as_der(&key).unwrap().as_ref().to_vec();
        let public = AsDer::<PublicKeyX509Der<'_>>::as_der(&key.public_key()).unwrap().as_ref().to_vec();
        Self { private, public }
    }

    /// What is inside of PKCS#8, behind its head of fixed length.
    fn pkcs1(&self) -> &[u8] {
        &self.private[26..]
    }

    fn pem(tag: &str, bytes: &[u8]) -> String {
        pem::encode(&pem::Pem::new(tag, bytes))
    }

    fn jwk(&self, names: &[&str], more: &str) -> String {
        let all = ["n", "e", "d", "p", "q", "dp", "dq", "qi"];
        let mut rest = &self.pkcs1()[4 + 3..];
        let mut json = format!(r#"{{"kty":"RSA"{more}"#);
        for name in all {
            let (number, left) = next(rest);
            rest = left;
            if names.contains(&name) {
                json.push_str(&format!(r#","{name}":"{}""#, BASE64_URL_SAFE_NO_PAD.encode(number)));
            }
        }
        json + "}"
    }
}

/// The first element of DER: what is in it, and what follows.
fn next(der: &[u8]) -> (&[u8], &[u8]) {
    let (begin, length) = match der[1] {
        0x82 => (4, usize::from(der[2]) << 8 | usize::from(der[3])),
        0x81 => (3, usize::from(der[2])),
        short => (2, usize::from(short)),
    };
    der[begin..].split_at(length)
}

#[tokio::test]
async fn a_symmetric_key_is_one_in_whatever_form_it_lies_there() {
    let keys = Keys::open().await;
    let forms = [
        ("raw", kek()),
        ("base64", format!("{}\n", BASE64_STANDARD.encode(kek())).into_bytes()),
        ("base64url", BASE64_URL_SAFE_NO_PAD.encode(kek()).into_bytes()),
        (
            "key.json",
            format!(r#"{{"kty":"oct","k":"{}"}}"#, BASE64_URL_SAFE_NO_PAD.encode(kek())).into_bytes(),
        ),
        ("jwk", format!(r#"{{"kty":"oct","k":"{}"}}"#, BASE64_URL_SAFE_NO_PAD.encode(kek())).into_bytes()),
    ];
    let (plain, wrapped) = (hex::decode(PLAIN).unwrap(), hex::decode(WRAPPED).unwrap());
    for (name, bytes) in forms {
        keys.write(name, bytes);
        assert_eq!(keys.wrap(name, "A256KW", &plain).await.unwrap(), wrapped, "{name}");
        assert_eq!(keys.unwrap(name, "A256KW", &wrapped).await.unwrap(), plain, "{name}");
    }
}

#[tokio::test]
async fn an_rsa_key_is_one_in_whatever_form_it_lies_there() {
    let (keys, rsa) = (Keys::open().await, Rsa::generate());
    let all = ["n", "e", "d", "p", "q", "dp", "dq", "qi"];
    keys.write("pkcs8.pem", Rsa::pem("PRIVATE KEY", &rsa.private));
    keys.write("pkcs1", Rsa::pem("RSA PRIVATE KEY", rsa.pkcs1()));
    keys.write("key.json", rsa.jwk(&all, ""));
    keys.write("public.pem", Rsa::pem("PUBLIC KEY", &rsa.public));
    keys.write("public-pkcs1", Rsa::pem("RSA PUBLIC KEY", &rsa.public[24..]));
    keys.write("public.json", rsa.jwk(&["n", "e"], ""));
    let private = ["pkcs8.pem", "pkcs1", "key.json"];
    for name in private.into_iter().chain(["public.pem", "public-pkcs1", "public.json"]) {
        let wrapped = keys.wrap(name, "RSA-OAEP-256", &[7; 32]).await.unwrap();
        for other in private {
            let plain = keys.unwrap(other, "RSA-OAEP-256", &wrapped).await.unwrap();
            assert_eq!(plain, [7; 32], "{name} to {other}");
        }
        // Another hash is another algorithm.
        assert!(keys.unwrap("pkcs1", "RSA-OAEP", &wrapped).await.is_err());
    }
    let error = keys.unwrap("public.pem", "RSA-OAEP-256", &[7; 256]).await.unwrap_err();
    assert_eq!(error.message(), "failed to decrypt data: key type mismatch");
}

#[tokio::test]
async fn another_key_and_a_changed_one_do_not_unwrap() {
    let keys = Keys::open().await;
    keys.write("one", kek());
    keys.write("other", [9; 32]);
    let wrapped = keys.wrap("one", "A256KW", &[7; 32]).await.unwrap();
    let mut changed = wrapped.clone();
    changed[20] ^= 1;
    for (name, wrapped) in [("other", wrapped.as_slice()), ("one", &changed), ("one", &[1; 8]), ("one", &[])]
    {
        let error = keys.unwrap(name, "A256KW", wrapped).await.unwrap_err();
        assert_eq!(error.message(), "failed to decrypt data: integrity check failed");
    }
}

#[tokio::test]
async fn a_key_is_used_only_for_what_it_is_for() {
    let keys = Keys::open().await;
    let key = |more: &str| format!(r#"{{"kty":"oct","k":"{}"{more}}}"#, BASE64_URL_SAFE_NO_PAD.encode(kek()));
    keys.write("signs.json", key(r#","use":"sig""#));
    keys.write("unwraps.json", key(r#","key_ops":["unwrapKey"]"#));
    keys.write("short.json", key(r#","alg":"A128KW""#));
    keys.write("fits.json", key(r#","alg":"A256KW","use":"enc","key_ops":["wrapKey"]"#));
    keys.write("curve.json", r#"{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}"#);
    let unsupported = |message: &str| (ErrorKind::UNSUPPORTED, message.to_owned());
    let cannot = unsupported("key cannot perform the 'wrapKey' operation");
    assert_eq!(keys.refusal("signs.json", "A256KW").await, cannot);
    assert_eq!(keys.refusal("unwraps.json", "A256KW").await, cannot);
    let other = unsupported("key cannot be used with algorithm 'A256KW'");
    assert_eq!(keys.refusal("short.json", "A256KW").await, other);
    let mismatch = (ErrorKind::INVALID, "failed to encrypt data: key type mismatch".to_owned());
    assert_eq!(keys.refusal("curve.json", "RSA-OAEP-256").await, mismatch);
    keys.write("raw", kek());
    assert_eq!(keys.refusal("raw", "RSA-OAEP-256").await, mismatch);
    assert_eq!(keys.refusal("raw", "A128KW").await, mismatch);
    let unknown = unsupported("failed to encrypt data: unsupported algorithm");
    assert_eq!(keys.refusal("raw", "A256CBC-NOPAD").await, unknown);
    assert!(keys.wrap("fits.json", "A256KW", &[7; 32]).await.is_ok());
    assert!(keys.unwrap("unwraps.json", "A256KW", &hex::decode(WRAPPED).unwrap()).await.is_ok());
}

#[tokio::test]
async fn what_is_no_key_of_the_folder_is_refused() {
    let keys = Keys::open().await;
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("key"), kek()).unwrap();
    let (kind, message) = keys.refusal(outside.path().join("key").to_str().unwrap(), "A256KW").await;
    assert_eq!(kind, ErrorKind::NOT_FOUND, "{message}");
    let (_, message) = keys.refusal("a/../../key", "A256KW").await;
    assert_eq!(message, "failed to retrieve the key encryption key: invalid key path: cannot contain '..'");
    for (name, bytes) in [
        ("empty", b"".to_vec()),
        ("text.pem", b"no PEM".to_vec()),
        ("certificate.pem", Rsa::pem("CERTIFICATE", b"no key").into_bytes()),
        ("list.json", b"[]".to_vec()),
        ("kind.json", br#"{"kty":"other"}"#.to_vec()),
        ("half.json", br#"{"kty":"RSA","n":"AA","e":"AQAB","d":"AA"}"#.to_vec()),
        ("long", vec![1; (1 << 20) + 1]),
    ] {
        keys.write(name, bytes);
        let (_, message) = keys.refusal(name, "A256KW").await;
        assert!(message.starts_with("failed to retrieve the key encryption key: failed to "), "{message}");
    }
    std::fs::create_dir(keys.folder.path().join("folder")).unwrap();
    let (_, message) = keys.refusal("folder", "A256KW").await;
    assert!(message.ends_with("it is no file"), "{message}");
}

#[tokio::test]
async fn the_folder_must_be_there() {
    let error = open("").await.err().unwrap();
    assert_eq!((error.kind(), error.field()), (ErrorKind::INVALID, Some("path")));
    let error = open("/does/not/exist").await.err().unwrap();
    assert!(error.message().starts_with("could not stat path '/does/not/exist': "), "{}", error.message());
    let keys = Keys::open().await;
    let context = CallContext::background("app");
    assert!(keys.crypto.ping(&context).await.is_ok());
    keys.folder.close().unwrap();
    assert_eq!(keys.crypto.ping(&context).await.unwrap_err().kind(), ErrorKind::UNAVAILABLE);
}
