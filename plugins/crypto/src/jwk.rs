//! One key in JSON (RFC 7517).

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use mecha_plugin_api::{Error, Result};
use serde::Deserialize;
use zeroize::{Zeroize, Zeroizing};

use crate::der;
use crate::key::{Key, Material, Secret};

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    #[serde(default)]
    key_ops: Vec<String>,
    k: Option<Text>,
    n: Option<Text>,
    e: Option<Text>,
    d: Option<Text>,
    p: Option<Text>,
    q: Option<Text>,
    dp: Option<Text>,
    dq: Option<Text>,
    qi: Option<Text>,
}

/// A field that may be secret.
#[derive(Deserialize)]
struct Text(String);

impl Drop for Text {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

pub(crate) fn parse(bytes: &[u8]) -> Result<Key> {
    // What serde says quotes no values of these fields, which are all texts.
    let jwk: Jwk =
        serde_json::from_slice(bytes).map_err(|error| Error::invalid(format!("it is no JWK: {error}")))?;
    let material = match jwk.kty.as_str() {
        "oct" => Material::Symmetric(field("k", &jwk.k)?),
        "RSA" if jwk.d.is_some() => Material::RsaPrivate(private_key(&jwk)?),
        "RSA" => {
            let (n, e) = (field("n", &jwk.n)?, field("e", &jwk.e)?);
            Material::RsaPublic(der::public_key(&der::sequence_of_integers(&[&n, &e])))
        }
        "EC" | "OKP" => Material::Other,
        _ => return Err(Error::invalid("invalid key type")),
    };
    let given = |text: &String| !text.is_empty();
    Ok(Key {
        material,
        algorithm: jwk.alg.filter(given),
        purpose: jwk.purpose.filter(given),
        operations: jwk.key_ops,
    })
}

fn private_key(jwk: &Jwk) -> Result<Secret> {
    let fields = [
        ("n", &jwk.n),
        ("e", &jwk.e),
        ("d", &jwk.d),
        ("p", &jwk.p),
        ("q", &jwk.q),
        ("dp", &jwk.dp),
        ("dq", &jwk.dq),
        ("qi", &jwk.qi),
    ];
    let mut integers = vec![Zeroizing::new(vec![0])];
    for (name, text) in fields {
        integers.push(field(name, text)?);
    }
    let integers: Vec<&[u8]> = integers.iter().map(|integer| integer.as_slice()).collect();
    Ok(der::private_key(&der::sequence_of_integers(&integers)))
}

fn field(name: &str, text: &Option<Text>) -> Result<Secret> {
    let text = text.as_ref().ok_or_else(|| Error::invalid(format!("the JWK has no field {name:?}")))?;
    let decoded = BASE64_URL_SAFE_NO_PAD.decode(text.0.trim_end_matches('='));
    let decoded =
        decoded.map_err(|_| Error::invalid(format!("field {name:?} of the JWK is no base64url")))?;
    Ok(Zeroizing::new(decoded))
}
