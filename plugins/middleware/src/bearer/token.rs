//! Whether a token holds: its signature, its issuer, its audience and its time.

use std::collections::HashSet;
use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation, decode, decode_header};
use serde::Deserialize;

/// How far clocks may differ, in seconds.
const SKEW: u64 = 300;

/// What a token must say.
pub(super) struct Expected {
    pub(super) issuer: String,
    pub(super) audience: String,
}

/// What is read of a token besides what the library checks.
#[derive(Deserialize)]
struct Claims {
    iat: Option<f64>,
}

/// A token's head; `None` when it is no token.
pub(super) fn head(token: &str) -> Option<Header> {
    decode_header(token).ok()
}

impl Expected {
    /// Whether a token holds, signed with the issuer's key.
    pub(super) fn holds(&self, token: &str, head: &Header, key: &Jwk) -> bool {
        if !fits(head.alg, key) {
            return false;
        }
        let Ok(key) = DecodingKey::from_jwk(key) else { return false };
        match decode::<Claims>(token, &key, &self.validation(head.alg)) {
            Ok(decoded) => decoded.claims.iat.is_none_or(|issued| issued <= now() + SKEW as f64),
            Err(error) => {
                tracing::debug!("a token is refused: {error}");
                false
            }
        }
    }

    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.leeway = SKEW;
        validation.validate_nbf = true;
        // As in Dapr a token need not end; one that says when it does must not have.
        validation.required_spec_claims = HashSet::from(["iss".to_owned(), "aud".to_owned()]);
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[&self.audience]);
        validation
    }
}

/// Whether a key is one for an algorithm; the token alone must not say so.
fn fits(algorithm: Algorithm, key: &Jwk) -> bool {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    let common = &key.common;
    if common.public_key_use.as_ref().is_some_and(|purpose| *purpose != PublicKeyUse::Signature) {
        return false;
    }
    // The names of both kinds are the standard's.
    if common.key_algorithm.is_some_and(|named| named.to_string() != format!("{algorithm:?}")) {
        return false;
    }
    match &key.algorithm {
        AlgorithmParameters::RSA(_) => matches!(algorithm, RS256 | RS384 | RS512 | PS256 | PS384 | PS512),
        AlgorithmParameters::EllipticCurve(curve) => match curve.curve {
            EllipticCurve::P256 => algorithm == ES256,
            EllipticCurve::P384 => algorithm == ES384,
            _ => false,
        },
        AlgorithmParameters::OctetKeyPair(_) => algorithm == EdDSA,
        // A key that issuer and reader share, or one of a kind that came later.
        _ => false,
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
