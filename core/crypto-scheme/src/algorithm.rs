//! The algorithms of the scheme: their names in the API and their numbers in a document.

use ring::aead::{AES_256_GCM, Algorithm, CHACHA20_POLY1305};

use crate::Error;

/// How the file key is wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyAlgorithm {
    /// AES key wrap (RFC 3394) with a key of 256 bits.
    A256Kw,
    /// AES-CBC without padding and a key of 128 bits.
    A128CbcNoPad,
    /// The same with 192 bits.
    A192CbcNoPad,
    /// The same with 256 bits.
    A256CbcNoPad,
    /// RSA-OAEP with SHA-256.
    RsaOaep256,
}

const KEY_ALGORITHMS: [(KeyAlgorithm, &str, u8); 5] = [
    (KeyAlgorithm::A256Kw, "A256KW", 1),
    (KeyAlgorithm::A128CbcNoPad, "A128CBC-NOPAD", 2),
    (KeyAlgorithm::A192CbcNoPad, "A192CBC-NOPAD", 3),
    (KeyAlgorithm::A256CbcNoPad, "A256CBC-NOPAD", 4),
    (KeyAlgorithm::RsaOaep256, "RSA-OAEP-256", 5),
];

impl KeyAlgorithm {
    /// By its name in any case, or by `AES` or `RSA`.
    ///
    /// # Errors
    /// [`Error::Algorithm`].
    pub fn named(name: &str) -> Result<Self, Error> {
        let name = name.to_uppercase();
        match name.as_str() {
            "AES" => return Ok(Self::A256Kw),
            "RSA" => return Ok(Self::RsaOaep256),
            _ => {}
        }
        let found = KEY_ALGORITHMS.iter().find(|(_, known, _)| *known == name);
        found.map(|(algorithm, ..)| *algorithm).ok_or(Error::Algorithm(name))
    }

    pub(crate) fn numbered(number: u8) -> Option<Self> {
        KEY_ALGORITHMS.iter().find(|(.., known)| *known == number).map(|(algorithm, ..)| *algorithm)
    }

    /// Its name, which key stores know it by.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    pub(crate) fn number(self) -> u8 {
        self.row().2
    }

    fn row(self) -> &'static (Self, &'static str, u8) {
        // The table stands in the order of the enum.
        &KEY_ALGORITHMS[self as usize]
    }
}

/// What encrypts the segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cipher {
    /// AES-GCM with 256 bits.
    #[default]
    AesGcm,
    /// ChaCha20-Poly1305.
    ChaCha20Poly1305,
}

impl Cipher {
    /// By its name in any case.
    ///
    /// # Errors
    /// [`Error::Cipher`].
    pub fn named(name: &str) -> Result<Self, Error> {
        let name = name.to_uppercase();
        match name.as_str() {
            "AES-GCM" => Ok(Self::AesGcm),
            "CHACHA20-POLY1305" => Ok(Self::ChaCha20Poly1305),
            _ => Err(Error::Cipher(name)),
        }
    }

    pub(crate) fn numbered(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::AesGcm),
            2 => Some(Self::ChaCha20Poly1305),
            _ => None,
        }
    }

    pub(crate) fn number(self) -> u8 {
        match self {
            Self::AesGcm => 1,
            Self::ChaCha20Poly1305 => 2,
        }
    }

    pub(crate) fn aead(self) -> &'static Algorithm {
        match self {
            Self::AesGcm => &AES_256_GCM,
            Self::ChaCha20Poly1305 => &CHACHA20_POLY1305,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_belongs_to_its_algorithm() {
        for (algorithm, name, number) in KEY_ALGORITHMS {
            assert_eq!((algorithm.name(), algorithm.number()), (name, number));
            assert_eq!(KeyAlgorithm::numbered(number), Some(algorithm));
            assert_eq!(KeyAlgorithm::named(&name.to_lowercase()), Ok(algorithm));
        }
        assert_eq!(KeyAlgorithm::numbered(0), None);
    }

    #[test]
    fn short_names_stand_for_the_usual_algorithm_and_unknown_ones_for_none() {
        assert_eq!(KeyAlgorithm::named("aes"), Ok(KeyAlgorithm::A256Kw));
        assert_eq!(KeyAlgorithm::named("RSA"), Ok(KeyAlgorithm::RsaOaep256));
        let error = KeyAlgorithm::named("a128kw").unwrap_err();
        assert_eq!(error.to_string(), "option Algorithm is not valid: algorithm A128KW is not supported");
        let error = Cipher::named("aes-cbc").unwrap_err();
        assert_eq!(error.to_string(), "option Cipher is not valid: cipher AES-CBC is not supported");
    }
}
