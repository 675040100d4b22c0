//! What a file holds: a key in PEM, a key in JSON, or the bytes of a symmetric one.

use std::path::Path;

use base64::Engine;
use base64::alphabet::{Alphabet, STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use mecha_plugin_api::{Error, Result};
use zeroize::Zeroizing;

use crate::{der, jwk};

/// Bytes that are erased when they are dropped.
pub(crate) type Secret = Zeroizing<Vec<u8>>;

/// A key, and what it may be used for.
pub(crate) struct Key {
    pub(crate) material: Material,
    /// The only algorithm that it may be used with.
    pub(crate) algorithm: Option<String>,
    /// What it is for, `enc` or `sig`.
    pub(crate) purpose: Option<String>,
    /// The operations that it may be used for; any when there are none.
    pub(crate) operations: Vec<String>,
}

/// The key itself.
pub(crate) enum Material {
    /// Bytes.
    Symmetric(Secret),
    /// Both halves of an RSA key, as PKCS#8.
    RsaPrivate(Secret),
    /// The public half of one, as SubjectPublicKeyInfo.
    RsaPublic(Vec<u8>),
    /// A key that wraps nothing: of elliptic curves.
    Other,
}

/// What a key is asked to do.
#[derive(Clone, Copy)]
pub(crate) enum Use {
    Wrap,
    Unwrap,
}

impl Use {
    /// As JSON keys list it.
    fn operation(self) -> &'static str {
        match self {
            Self::Wrap => "wrapKey",
            Self::Unwrap => "unwrapKey",
        }
    }

    /// As spans call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Wrap => "wrap_key",
            Self::Unwrap => "unwrap_key",
        }
    }

    /// As messages call it.
    pub(crate) fn verb(self) -> &'static str {
        match self {
            Self::Wrap => "encrypt data",
            Self::Unwrap => "decrypt data",
        }
    }
}

impl Key {
    /// Tells by the file's ending what it holds, or else by how it begins.
    pub(crate) fn parse(bytes: &[u8], path: &Path) -> Result<Self> {
        if bytes.is_empty() {
            return Err(Error::invalid("key is empty"));
        }
        let ending = path.extension().map(|ending| ending.to_ascii_lowercase());
        match ending.as_ref().and_then(|ending| ending.to_str()) {
            Some("json") => jwk::parse(bytes),
            Some("pem") => pem(bytes),
            // Bytes of a symmetric key may begin with anything.
            _ if bytes[0] == b'{' && !matches!(bytes.len(), 16 | 24 | 32) => jwk::parse(bytes),
            _ if bytes.starts_with(b"-----") => pem(bytes),
            _ => Ok(Self::of(Material::Symmetric(symmetric(bytes)))),
        }
    }

    /// A key for everything.
    pub(crate) fn of(material: Material) -> Self {
        Self { material, algorithm: None, purpose: None, operations: Vec::new() }
    }

    /// Whether the key may be used so.
    pub(crate) fn allows(&self, usage: Use, algorithm: &str) -> Result<()> {
        let operation = usage.operation();
        let is_listed =
            self.operations.is_empty() || self.operations.iter().any(|listed| listed == operation);
        if !is_listed || self.purpose.as_deref().is_some_and(|purpose| purpose != "enc") {
            return Err(Error::unsupported(format!("key cannot perform the '{operation}' operation")));
        }
        if self.algorithm.as_deref().is_some_and(|only| only != algorithm) {
            return Err(Error::unsupported(format!("key cannot be used with algorithm '{algorithm}'")));
        }
        Ok(())
    }
}

fn pem(bytes: &[u8]) -> Result<Key> {
    let parsed = pem::parse(bytes).map_err(|error| Error::invalid(format!("it is no PEM: {error}")))?;
    let (tag, contents) = (parsed.tag().to_owned(), Zeroizing::new(parsed.into_contents()));
    Ok(Key::of(match tag.as_str() {
        "RSA PRIVATE KEY" => Material::RsaPrivate(der::private_key(&contents)),
        "RSA PUBLIC KEY" => Material::RsaPublic(der::public_key(&contents)),
        "PRIVATE KEY" if der::is_rsa(&contents) => Material::RsaPrivate(contents),
        "PUBLIC KEY" if der::is_rsa(&contents) => Material::RsaPublic(contents.to_vec()),
        "PRIVATE KEY" | "PUBLIC KEY" | "EC PRIVATE KEY" => Material::Other,
        other => return Err(Error::invalid(format!("PEM of {other:?} holds no key"))),
    }))
}

/// Base64 of either alphabet, or else the bytes as they are.
fn symmetric(bytes: &[u8]) -> Secret {
    let is_filling = |byte: &u8| matches!(byte, b'\n' | b'=');
    let end = bytes.iter().rposition(|byte| !is_filling(byte)).map_or(0, |last| last + 1);
    let decoded = [STANDARD, URL_SAFE].iter().find_map(|alphabet| base64(alphabet, &bytes[..end]));
    Zeroizing::new(decoded.unwrap_or_else(|| bytes.to_vec()))
}

fn base64(alphabet: &Alphabet, text: &[u8]) -> Option<Vec<u8>> {
    let config = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    let line_ends = |byte: &u8| !matches!(byte, b'\r' | b'\n');
    let text: Secret = Zeroizing::new(text.iter().copied().filter(line_ends).collect());
    GeneralPurpose::new(alphabet, config).decode(&*text).ok()
}
