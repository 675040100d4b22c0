//! The second line of a document: how its file key was wrapped, as JSON.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};

use crate::{Cipher, KeyAlgorithm};

/// Bytes of the nonces that a document chooses for itself.
pub(crate) const NONCE_PREFIX: usize = 7;

/// How a document's file key was wrapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The key to unwrap it with; empty when the document does not say.
    pub key_name: String,
    /// How it is wrapped.
    pub algorithm: KeyAlgorithm,
    /// The file key, wrapped.
    pub wrapped_key: Vec<u8>,
    /// What encrypts the segments.
    pub cipher: Cipher,
}

/// The same as it stands in the document. Unknown fields are passed over, as everywhere in Dapr.
#[derive(Serialize, Deserialize)]
struct Written<'a> {
    #[serde(default, skip_serializing_if = "str::is_empty")]
    k: std::borrow::Cow<'a, str>,
    kw: u8,
    wfk: String,
    cph: u8,
    np: String,
}

impl Manifest {
    /// The line, without its end.
    pub(crate) fn write(&self, nonce_prefix: &[u8; NONCE_PREFIX]) -> Vec<u8> {
        let written = Written {
            k: self.key_name.as_str().into(),
            kw: self.algorithm.number(),
            wfk: BASE64_STANDARD.encode(&self.wrapped_key),
            cph: self.cipher.number(),
            np: BASE64_STANDARD.encode(nonce_prefix),
        };
        // Texts and numbers always become JSON.
        serde_json::to_vec(&written).unwrap_or_default()
    }

    /// Reads the line. Why it cannot be read is nobody's business.
    pub(crate) fn read(line: &[u8]) -> Option<(Self, [u8; NONCE_PREFIX])> {
        let written: Written<'_> = serde_json::from_slice(line).ok()?;
        let manifest = Self {
            key_name: written.k.into_owned(),
            algorithm: KeyAlgorithm::numbered(written.kw)?,
            wrapped_key: BASE64_STANDARD.decode(&written.wfk).ok().filter(|key| !key.is_empty())?,
            cipher: Cipher::numbered(written.cph)?,
        };
        Some((manifest, BASE64_STANDARD.decode(&written.np).ok()?.try_into().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(key_name: &str) -> Manifest {
        let (algorithm, cipher) = (KeyAlgorithm::RsaOaep256, Cipher::ChaCha20Poly1305);
        Manifest { key_name: key_name.into(), algorithm, wrapped_key: b"wrapped".to_vec(), cipher }
    }

    #[test]
    fn the_fields_stand_in_dapr_s_order_and_a_name_that_is_not_there_is_left_out() {
        let line = manifest("mykey").write(b"crypto!");
        assert_eq!(line, br#"{"k":"mykey","kw":5,"wfk":"d3JhcHBlZA==","cph":2,"np":"Y3J5cHRvIQ=="}"#);
        let line = manifest("").write(b"crypto!");
        assert_eq!(line, br#"{"kw":5,"wfk":"d3JhcHBlZA==","cph":2,"np":"Y3J5cHRvIQ=="}"#);
        assert_eq!(Manifest::read(&line), Some((manifest(""), *b"crypto!")));
    }

    #[test]
    fn what_is_not_whole_is_no_manifest() {
        for line in [
            r#"{"kw":6,"wfk":"d3JhcHBlZA==","cph":2,"np":"Y3J5cHRvIQ=="}"#,
            r#"{"kw":5,"wfk":"","cph":2,"np":"Y3J5cHRvIQ=="}"#,
            r#"{"kw":5,"wfk":"d3JhcHBlZA==","cph":0,"np":"Y3J5cHRvIQ=="}"#,
            r#"{"kw":5,"wfk":"d3JhcHBlZA==","cph":2,"np":"Y3J5cHRv"}"#,
            r#"{"kw":"5","wfk":"d3JhcHBlZA==","cph":2,"np":"Y3J5cHRvIQ=="}"#,
            "[]",
            "",
        ] {
            assert_eq!(Manifest::read(line.as_bytes()), None, "{line}");
        }
    }
}
