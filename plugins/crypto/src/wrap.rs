//! The algorithms that wrap keys.

use aws_lc_rs::key_wrap::{self, AesKek, KeyWrap};
use aws_lc_rs::rsa::{
    OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OAEP_SHA384_MGF1SHA384, OAEP_SHA512_MGF1SHA512,
    OaepAlgorithm, OaepPrivateDecryptingKey, OaepPublicEncryptingKey, PrivateDecryptingKey,
    PublicEncryptingKey,
};
use mecha_plugin_api::{Error, Result};

use crate::key::{Key, Material};

/// What RFC 3394 puts in front of a wrapped key.
const CHECK: usize = 8;

/// A way to wrap.
enum Algorithm {
    /// AES key wrap with a key of so many bytes.
    KeyWrap(usize),
    Oaep(&'static OaepAlgorithm),
}

impl Algorithm {
    fn named(name: &str) -> Result<Self> {
        Ok(match name {
            "A128KW" => Self::KeyWrap(16),
            "A256KW" => Self::KeyWrap(32),
            "RSA-OAEP" => Self::Oaep(&OAEP_SHA1_MGF1SHA1),
            "RSA-OAEP-256" => Self::Oaep(&OAEP_SHA256_MGF1SHA256),
            "RSA-OAEP-384" => Self::Oaep(&OAEP_SHA384_MGF1SHA384),
            "RSA-OAEP-512" => Self::Oaep(&OAEP_SHA512_MGF1SHA512),
            // Among them, as in Dapr, AES-CBC: the scheme has no place for the vector that it would need.
            _ => return Err(Error::unsupported("unsupported algorithm")),
        })
    }
}

pub(crate) fn wrap(key: &Key, algorithm: &str, plain: &[u8]) -> Result<Vec<u8>> {
    match (Algorithm::named(algorithm)?, &key.material) {
        (Algorithm::KeyWrap(size), Material::Symmetric(key)) => {
            let mut wrapped = vec![0; plain.len() + CHECK];
            let wrapping = kek(size, key)?.wrap(plain, &mut wrapped);
            wrapping.map_err(|_| Error::invalid("the key to wrap is no multiple of 8 bytes"))?;
            Ok(wrapped)
        }
        (Algorithm::Oaep(oaep), Material::RsaPrivate(key)) => {
            encrypt(oaep, private_key(key)?.public_key(), plain)
        }
        (Algorithm::Oaep(oaep), Material::RsaPublic(key)) => {
            let key = PublicEncryptingKey::from_der(key);
            encrypt(oaep, key.map_err(|error| unusable(&error.to_string()))?, plain)
        }
        _ => Err(mismatch()),
    }
}

pub(crate) fn unwrap(key: &Key, algorithm: &str, wrapped: &[u8]) -> Result<Vec<u8>> {
    // Every failure is told alike: what exactly does not fit is of use to nobody but an attacker.
    let refused = |_| Error::invalid("integrity check failed");
    match (Algorithm::named(algorithm)?, &key.material) {
        (Algorithm::KeyWrap(size), Material::Symmetric(key)) => {
            let length = wrapped.len().saturating_sub(CHECK);
            let mut plain = vec![0; length];
            kek(size, key)?.unwrap(wrapped, &mut plain).map_err(refused)?;
            Ok(plain)
        }
        (Algorithm::Oaep(oaep), Material::RsaPrivate(key)) => {
            let key = OaepPrivateDecryptingKey::new(private_key(key)?).map_err(|_| mismatch())?;
            let mut plain = vec![0; key.min_output_size()];
            let length = key.decrypt(oaep, wrapped, &mut plain, None).map_err(refused)?.len();
            plain.truncate(length);
            Ok(plain)
        }
        _ => Err(mismatch()),
    }
}

fn kek(size: usize, key: &[u8]) -> Result<AesKek> {
    if key.len() != size {
        return Err(mismatch());
    }
    let cipher = if size == 16 { &key_wrap::AES_128 } else { &key_wrap::AES_256 };
    AesKek::new(cipher, key).map_err(|_| mismatch())
}

fn private_key(pkcs8: &[u8]) -> Result<PrivateDecryptingKey> {
    PrivateDecryptingKey::from_pkcs8(pkcs8).map_err(|error| unusable(&error.to_string()))
}

fn encrypt(oaep: &'static OaepAlgorithm, key: PublicEncryptingKey, plain: &[u8]) -> Result<Vec<u8>> {
    let key = OaepPublicEncryptingKey::new(key).map_err(|_| mismatch())?;
    let mut wrapped = vec![0; key.ciphertext_size()];
    let length = key.encrypt(oaep, plain, &mut wrapped, None);
    let length = length.map_err(|_| Error::invalid("the key to wrap is too long for the RSA key"))?.len();
    wrapped.truncate(length);
    Ok(wrapped)
}

fn mismatch() -> Error {
    Error::invalid("key type mismatch")
}

fn unusable(reason: &str) -> Error {
    Error::invalid(format!("the RSA key cannot be used: {reason}"))
}
