//! State encryption: AES-GCM over each value, with the key's name beside it, in Dapr's format.
//!
//! Stored: `base64(nonce ‖ ciphertext ‖ tag)||<key name>`, the name being that of the secret that holds the key. Values that
//! daprd wrote can be read. What we write over HTTP is the value's JSON text (daprd writes Go's print of it, which no one
//! can read back as JSON).

use std::sync::Arc;

use aes_gcm::aead::consts::U12;
use aes_gcm::aead::{Aead, Generate, KeyInit, Nonce};
use aes_gcm::aes::Aes192;
use aes_gcm::{Aes128Gcm, Aes256Gcm, AesGcm};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

const SEPARATOR: &[u8] = b"||";
const NONCE_BYTES: usize = 12;

/// What is wrong with a key or with a stored value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncryptionError {
    /// The key is no hex text of 16, 24 or 32 bytes.
    #[error("an encryption key is the hex form of 16, 24 or 32 bytes")]
    Key,
    /// The key does not come from a secret, so that it has no name.
    #[error("an encryption key must come from a secret store: use secretKeyRef and auth.secretStore")]
    Unnamed,
    /// The record names no key.
    #[error("encryption key name not found on record")]
    NoName,
    /// The record names a key that is neither primary nor secondary.
    #[error("the value was encrypted with key {0}, which is neither the primary nor the secondary one")]
    UnknownKey(String),
    /// The record is no record.
    #[error("the stored value is not an encrypted record")]
    Malformed,
    /// The key does not fit the value, or the value was changed.
    #[error("the value cannot be decrypted with key {0}: the key differs or the value was changed")]
    Refused(String),
    /// No randomness for a nonce.
    #[error("the system gives no random numbers for a nonce")]
    Nonce,
}

/// A named key.
#[derive(Clone)]
pub struct EncryptionKey {
    name: Arc<str>,
    cipher: Arc<Cipher>,
}

enum Cipher {
    Aes128(Box<Aes128Gcm>),
    Aes192(Box<AesGcm<Aes192, U12>>),
    Aes256(Box<Aes256Gcm>),
}

impl EncryptionKey {
    /// A key from its hex form.
    ///
    /// # Errors
    /// [`EncryptionError::Key`].
    pub fn from_hex(name: &str, key: &str) -> Result<Self, EncryptionError> {
        let bytes = hex::decode(key.trim()).map_err(|_| EncryptionError::Key)?;
        let wrong = |_| EncryptionError::Key;
        let cipher = match bytes.len() {
            16 => Cipher::Aes128(Box::new(Aes128Gcm::new_from_slice(&bytes).map_err(wrong)?)),
            24 => Cipher::Aes192(Box::new(AesGcm::new_from_slice(&bytes).map_err(wrong)?)),
            32 => Cipher::Aes256(Box::new(Aes256Gcm::new_from_slice(&bytes).map_err(wrong)?)),
            _ => return Err(EncryptionError::Key),
        };
        Ok(Self { name: name.into(), cipher: Arc::new(cipher) })
    }

    fn seal(&self, nonce: &Nonce<Aes256Gcm>, plain: &[u8]) -> Option<Vec<u8>> {
        match &*self.cipher {
            Cipher::Aes128(cipher) => cipher.encrypt(nonce, plain).ok(),
            Cipher::Aes192(cipher) => cipher.encrypt(nonce, plain).ok(),
            Cipher::Aes256(cipher) => cipher.encrypt(nonce, plain).ok(),
        }
    }

    fn open(&self, nonce: &Nonce<Aes256Gcm>, sealed: &[u8]) -> Option<Vec<u8>> {
        match &*self.cipher {
            Cipher::Aes128(cipher) => cipher.decrypt(nonce, sealed).ok(),
            Cipher::Aes192(cipher) => cipher.decrypt(nonce, sealed).ok(),
            Cipher::Aes256(cipher) => cipher.decrypt(nonce, sealed).ok(),
        }
    }
}

/// The keys of one store.
#[derive(Clone)]
pub struct Encryption {
    primary: EncryptionKey,
    secondary: Option<EncryptionKey>,
}

impl Encryption {
    /// Encrypts with `primary`, decrypts with either.
    pub fn new(primary: EncryptionKey, secondary: Option<EncryptionKey>) -> Self {
        Self { primary, secondary }
    }

    /// The record to store for a value.
    ///
    /// # Errors
    /// [`EncryptionError::Nonce`].
    pub fn encrypt(&self, value: &[u8]) -> Result<Vec<u8>, EncryptionError> {
        let nonce = Nonce::<Aes256Gcm>::try_generate().map_err(|_| EncryptionError::Nonce)?;
        // GCM refuses only values beyond 64 GiB, far over any body limit.
        let sealed = self.primary.seal(&nonce, value).ok_or(EncryptionError::Malformed)?;
        let record = [&nonce[..], &sealed].concat();
        let mut text = STANDARD.encode(record).into_bytes();
        text.extend_from_slice(SEPARATOR);
        text.extend_from_slice(self.primary.name.as_bytes());
        Ok(text)
    }

    /// The value of a stored record.
    ///
    /// # Errors
    /// [`EncryptionError`] that says what does not fit.
    pub fn decrypt(&self, record: &[u8]) -> Result<Vec<u8>, EncryptionError> {
        let (text, name) = split(record)?;
        let bytes = STANDARD.decode(text).map_err(|_| EncryptionError::Malformed)?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_BYTES).ok_or(EncryptionError::Malformed)?;
        let nonce = Nonce::<Aes256Gcm>::try_from(nonce).map_err(|_| EncryptionError::Malformed)?;
        let keys: Vec<_> = self.keys().filter(|key| key.name.as_bytes() == name).collect();
        let shown = String::from_utf8_lossy(name).into_owned();
        if keys.is_empty() {
            return Err(EncryptionError::UnknownKey(shown));
        }
        // Both keys may stand in one secret and then share its name; the tag tells which one it was.
        let opened = keys.into_iter().find_map(|key| key.open(&nonce, sealed));
        opened.ok_or(EncryptionError::Refused(shown))
    }

    fn keys(&self) -> impl Iterator<Item = &EncryptionKey> {
        std::iter::once(&self.primary).chain(&self.secondary)
    }
}

fn split(record: &[u8]) -> Result<(&[u8], &[u8]), EncryptionError> {
    let at = record.windows(SEPARATOR.len()).rposition(|window| window == SEPARATOR);
    let at = at.ok_or(EncryptionError::NoName)?;
    let name = &record[at + SEPARATOR.len()..];
    if name.is_empty() { Err(EncryptionError::NoName) } else { Ok((&record[..at], name)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str, byte: u8, bytes: usize) -> EncryptionKey {
        EncryptionKey::from_hex(name, &hex::encode(vec![byte; bytes])).unwrap()
    }

    #[test]
    fn what_is_written_can_be_read_with_every_key_length() {
        for bytes in [16, 24, 32] {
            let encryption = Encryption::new(key("secret", 7, bytes), None);
            let record = encryption.encrypt(b"{\"a\":1}").unwrap();
            assert!(record.ends_with(b"||secret"));
            assert_ne!(record, encryption.encrypt(b"{\"a\":1}").unwrap(), "a nonce is used once");
            assert_eq!(encryption.decrypt(&record).unwrap(), b"{\"a\":1}");
        }
    }

    #[test]
    fn an_older_key_still_reads_also_under_the_same_name() {
        let old = Encryption::new(key("secret", 1, 32), None).encrypt(b"v").unwrap();
        let rotated = Encryption::new(key("secret", 2, 32), Some(key("secret", 1, 32)));
        assert_eq!(rotated.decrypt(&old).unwrap(), b"v");
    }

    #[test]
    fn a_record_of_the_format_is_read() {
        // AES-256-GCM of "text" under 32 zero bytes with a zero nonce, as any other implementation makes it.
        let encryption = Encryption::new(key("k", 0, 32), None);
        let nonce = Nonce::<Aes256Gcm>::default();
        let sealed = key("k", 0, 32).seal(&nonce, b"text").unwrap();
        let record = format!("{}||k", STANDARD.encode([&nonce[..], &sealed].concat()));
        assert_eq!(encryption.decrypt(record.as_bytes()).unwrap(), b"text");
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let encryption = Encryption::new(key("a", 1, 16), None);
        let foreign = Encryption::new(key("b", 1, 16), None).encrypt(b"v").unwrap();
        let refused = Encryption::new(key("a", 2, 16), None).encrypt(b"v").unwrap();
        assert_eq!(encryption.decrypt(&foreign), Err(EncryptionError::UnknownKey("b".into())));
        assert_eq!(encryption.decrypt(&refused), Err(EncryptionError::Refused("a".into())));
        assert_eq!(encryption.decrypt(b"plain"), Err(EncryptionError::NoName));
        assert_eq!(encryption.decrypt(b"AA==||"), Err(EncryptionError::NoName));
        assert_eq!(encryption.decrypt(b"AA==||a"), Err(EncryptionError::Malformed));
        assert_eq!(encryption.decrypt(b"*||a"), Err(EncryptionError::Malformed));
        assert!(EncryptionKey::from_hex("k", "abc").is_err());
        assert!(EncryptionKey::from_hex("k", "abcd").is_err());
    }
}
