//! A document's own key, and the two keys that are derived from it: one signs the header, one encrypts the segments.

use ring::aead::{LessSafeKey, UnboundKey};
use ring::hkdf::{self, HKDF_SHA256, KeyType, Salt};
use ring::hmac::{self, HMAC_SHA256};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use crate::manifest::NONCE_PREFIX;
use crate::{Cipher, Error};

/// Length of every key of the scheme.
const LENGTH: usize = 32;

/// The key of one document. Its bytes are erased when it is dropped.
pub struct FileKey(Zeroizing<[u8; LENGTH]>);

impl FileKey {
    /// A new one.
    ///
    /// # Errors
    /// [`Error::Random`].
    pub fn generate() -> Result<Self, Error> {
        let mut key = Zeroizing::new([0; LENGTH]);
        fill_random(key.as_mut())?;
        Ok(Self(key))
    }

    /// The one that a wrapped key was. Bytes that cannot be one become a key that fits no document: whether unwrapping failed
    /// or gave the wrong key then looks and lasts the same.
    pub fn unwrapped(bytes: &[u8]) -> Self {
        let mut key = Zeroizing::new([0; LENGTH]);
        if bytes.len() == LENGTH {
            key.copy_from_slice(bytes);
        }
        Self(key)
    }

    /// The bytes to wrap.
    pub fn bytes(&self) -> &[u8] {
        self.0.as_ref()
    }

    /// Signs the lines of a header.
    pub(crate) fn sign(&self, lines: &[u8]) -> Result<hmac::Tag, Error> {
        Ok(hmac::sign(&self.header_key()?, lines))
    }

    /// Whether this key signed the lines; takes the same time whether it did or not.
    pub(crate) fn verify(&self, lines: &[u8], mac: &[u8]) -> Result<(), Error> {
        hmac::verify(&self.header_key()?, lines, mac).map_err(|_| Error::Signature)
    }

    fn header_key(&self) -> Result<hmac::Key, Error> {
        let key = self.derive(&[], b"header").ok_or(Error::Signature)?;
        Ok(hmac::Key::new(HMAC_SHA256, key.as_ref()))
    }

    /// The key of the segments.
    pub(crate) fn payload_key(
        &self,
        nonce_prefix: &[u8; NONCE_PREFIX],
        cipher: Cipher,
    ) -> Option<LessSafeKey> {
        let key = self.derive(nonce_prefix, b"payload")?;
        UnboundKey::new(cipher.aead(), key.as_ref()).ok().map(LessSafeKey::new)
    }

    fn derive(&self, salt: &[u8], info: &[u8]) -> Option<Zeroizing<[u8; LENGTH]>> {
        let mut key = Zeroizing::new([0; LENGTH]);
        let secret: hkdf::Prk = Salt::new(HKDF_SHA256, salt).extract(self.bytes());
        secret.expand(&[info], KeyLength).ok()?.fill(key.as_mut()).ok()?;
        Some(key)
    }
}

impl std::fmt::Debug for FileKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("FileKey(..)")
    }
}

struct KeyLength;

impl KeyType for KeyLength {
    fn len(&self) -> usize {
        LENGTH
    }
}

pub(crate) fn fill_random(bytes: &mut [u8]) -> Result<(), Error> {
    SystemRandom::new().fill(bytes).map_err(|_| Error::Random)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_keys_are_alike_and_none_shows_in_a_log() {
        let (one, other) = (FileKey::generate().unwrap(), FileKey::generate().unwrap());
        assert_ne!(one.bytes(), other.bytes());
        assert_eq!(format!("{one:?}"), "FileKey(..)");
    }

    #[test]
    fn bytes_of_another_length_are_no_key() {
        assert_eq!(FileKey::unwrapped(&[7; 31]).bytes(), [0; 32]);
        assert_eq!(FileKey::unwrapped(&[7; 32]).bytes(), [7; 32]);
    }

    #[test]
    fn only_the_key_that_signed_verifies() {
        let (one, other) = (FileKey::generate().unwrap(), FileKey::generate().unwrap());
        let mac = one.sign(b"lines").unwrap();
        assert_eq!(one.verify(b"lines", mac.as_ref()), Ok(()));
        assert_eq!(one.verify(b"lines!", mac.as_ref()), Err(Error::Signature));
        assert_eq!(other.verify(b"lines", mac.as_ref()), Err(Error::Signature));
    }
}
