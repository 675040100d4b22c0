//! Where certificates and keys come from: PEM text, or a file that is read again when it may have changed.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// What begins every block of a PEM text.
const PEM: &str = "-----BEGIN ";

/// A setting that holds PEM text or the path of a file with it.
#[derive(Clone, PartialEq, Eq)]
pub enum Source {
    /// The text itself.
    Pem(String),
    /// A file.
    File(PathBuf),
}

impl Source {
    /// PEM text is known by its first line; anything else is a path.
    pub fn of(value: &str) -> Self {
        if value.contains(PEM) { Self::Pem(value.to_owned()) } else { Self::File(value.trim().into()) }
    }

    /// The file, where it is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Pem(_) => None,
            Self::File(file) => Some(file),
        }
    }

    fn read(&self, field: Field) -> Result<Vec<u8>, Error> {
        match self {
            Self::Pem(text) => Ok(text.clone().into_bytes()),
            Self::File(file) => std::fs::read(file).map_err(|source| Error::Unreadable {
                field,
                file: file.display().to_string(),
                source,
            }),
        }
    }
}

/// The text may be a key.
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pem(_) => f.write_str("Pem(***)"),
            Self::File(file) => f.debug_tuple("File").field(file).finish(),
        }
    }
}

/// The settings that this is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// Who signs the certificates of runtimes.
    TrustAnchors,
    /// The own certificate, with those between it and the anchors.
    CertificateChain,
    /// Its private key.
    Key,
}

impl Field {
    /// The environment variable of Dapr's that sets it.
    pub fn variable(self) -> &'static str {
        match self {
            Self::TrustAnchors => "DAPR_TRUST_ANCHORS",
            Self::CertificateChain => "DAPR_CERT_CHAIN",
            Self::Key => "DAPR_CERT_KEY",
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TrustAnchors => "mtls.trust-anchors",
            Self::CertificateChain => "mtls.certificate-chain",
            Self::Key => "mtls.key",
        })
    }
}

/// Everything that mutual TLS is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sources {
    /// Who signs the certificates of runtimes.
    pub trust_anchors: Source,
    /// The own certificate, with those between it and the anchors.
    pub certificate_chain: Source,
    /// Its private key.
    pub key: Source,
}

impl Sources {
    /// From three settings, each PEM text or a path.
    ///
    /// # Errors
    /// [`Error::Missing`] of the first that is not set.
    pub fn new(
        trust_anchors: Option<&str>,
        certificate_chain: Option<&str>,
        key: Option<&str>,
    ) -> Result<Self, Error> {
        let given = |field, value: Option<&str>| {
            let value = value.filter(|value| !value.trim().is_empty());
            value.map(Source::of).ok_or(Error::Missing { field })
        };
        Ok(Self {
            trust_anchors: given(Field::TrustAnchors, trust_anchors)?,
            certificate_chain: given(Field::CertificateChain, certificate_chain)?,
            key: given(Field::Key, key)?,
        })
    }

    /// The files among them, which may be watched.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        [&self.trust_anchors, &self.certificate_chain, &self.key].into_iter().filter_map(Source::file)
    }

    pub(crate) fn read(&self) -> Result<Material, Error> {
        Ok(Material {
            trust_anchors: self.trust_anchors.read(Field::TrustAnchors)?,
            certificate_chain: self.certificate_chain.read(Field::CertificateChain)?,
            key: self.key.read(Field::Key)?,
        })
    }
}

/// The texts as they were read.
#[derive(PartialEq, Eq)]
pub(crate) struct Material {
    pub(crate) trust_anchors: Vec<u8>,
    pub(crate) certificate_chain: Vec<u8>,
    pub(crate) key: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_told_from_a_path_and_never_shown() {
        assert_eq!(Source::of(" /tls/ca.crt\n"), Source::File("/tls/ca.crt".into()));
        let text = Source::of("-----BEGIN PRIVATE KEY-----\nsecret");
        assert!(text.file().is_none() && !format!("{text:?}").contains("secret"));
    }

    #[test]
    fn what_is_missing_is_named_with_the_ways_to_set_it() {
        let text = Sources::new(Some("/ca"), Some("/crt"), Some(" ")).unwrap_err().to_string();
        for part in ["mtls.key", "DAPR_CERT_KEY", "mecha certs new"] {
            assert!(text.contains(part), "{text}");
        }
    }
}
