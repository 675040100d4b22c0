//! A provider of identities inside the test: its description, its keys, its tokens, and what it was asked.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use mecha_testkit::{Asked, Scripted, ScriptedApp};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};

/// The id of the key that the provider signs with.
pub const KEY: &str = "k1";
/// For whom its tokens are.
pub const AUDIENCE: &str = "me";

/// The provider.
pub struct Provider {
    app: ScriptedApp,
    key: EcdsaKeyPair,
}

impl Provider {
    /// Starts it with a key of its own.
    pub async fn start() -> Self {
        let key = new_key();
        let keys = jwks(&key);
        let app = ScriptedApp::start(move |asked: Asked| {
            let keys = keys.clone();
            async move { answer(&asked, &keys) }
        });
        Self { app: app.await.unwrap(), key }
    }

    /// A page of it; its issuer has none.
    pub fn url(&self, page: &str) -> String {
        format!("http://127.0.0.1:{}{page}", self.app.port())
    }

    /// Everything that a page was asked.
    pub fn asked_at(&self, page: &str) -> Vec<Asked> {
        self.app.asked_at(page)
    }

    /// A token that is good for an hour, with these claims in place of its own.
    pub fn token(&self, changed: &Value) -> String {
        self.signed(&json!({"alg": "ES256", "kid": KEY, "typ": "JWT"}), changed, &self.key)
    }

    /// A token with a head of the test's choice.
    pub fn token_with_head(&self, head: &Value) -> String {
        self.signed(head, &json!({}), &self.key)
    }

    /// A token that says it is the provider's, and was signed by somebody else.
    pub fn forged(&self) -> String {
        self.signed(&json!({"alg": "ES256", "kid": KEY}), &json!({}), &new_key())
    }

    fn signed(&self, head: &Value, changed: &Value, key: &EcdsaKeyPair) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let mut claims = json!({"iss": self.url(""), "aud": AUDIENCE, "iat": now, "exp": now + 3600});
        for (name, value) in changed.as_object().unwrap() {
            // A number is so many seconds from now.
            claims[name] = match (name.as_str(), value.as_i64()) {
                ("exp" | "nbf" | "iat", Some(seconds)) => json!(now.saturating_add_signed(seconds)),
                _ => value.clone(),
            };
        }
        let text = format!("{}.{}", part(head), part(&claims));
        let signature = key.sign(&SystemRandom::new(), text.as_bytes()).unwrap();
        format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }
}

fn part(value: &Value) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(value.to_string())
}

fn new_key() -> EcdsaKeyPair {
    let (random, algorithm) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
    let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).unwrap()
}

/// The key as a JWKS, beside one of a kind that nobody knows and one that nobody may use.
fn jwks(key: &EcdsaKeyPair) -> Value {
    // An uncompressed point: a byte that says so, then its two halves.
    let (x, y) = key.public_key().as_ref()[1..].split_at(32);
    let coordinate = |half: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(half);
    json!({"keys": [
        {"kty": "new", "kid": "unknown"},
        {"kty": "oct", "kid": "shared", "k": BASE64_URL_SAFE_NO_PAD.encode("secret")},
        {"kty": "EC", "kid": KEY, "crv": "P-256", "use": "sig", "alg": "ES256", "x": coordinate(x), "y": coordinate(y)},
    ]})
}

/// The provider's pages. Its token endpoint takes credentials in the form only, and says no to the scope `nothing`.
fn answer(asked: &Asked, keys: &Value) -> Scripted {
    let here = format!("http://{}", asked.header("host"));
    let body = String::from_utf8_lossy(&asked.body).into_owned();
    match asked.path.as_str() {
        "/.well-known/openid-configuration" => {
            Scripted::json(&json!({"issuer": here, "jwks_uri": format!("{here}/keys")}))
        }
        "/other/.well-known/openid-configuration" => {
            Scripted::json(&json!({"issuer": here, "jwks_uri": format!("{here}/keys")}))
        }
        "/keys" => Scripted::json(keys),
        "/token" if !body.contains("client_secret=s3cret") || body.contains("scope=nothing") => {
            Scripted::status(401).with_body(json!({"error": "invalid_client"}).to_string())
        }
        "/token" => {
            Scripted::json(&json!({"access_token": "the-token", "token_type": "bearer", "expires_in": 3600}))
        }
        _ => Scripted::status(404),
    }
}
