//! How making or reading a document can fail; the texts are Dapr's.

/// Why a document could not be written or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Key wrapping algorithm that the scheme does not have.
    #[error("option Algorithm is not valid: algorithm {0} is not supported")]
    Algorithm(String),
    /// Cipher that the scheme does not have.
    #[error("option Cipher is not valid: cipher {0} is not supported")]
    Cipher(String),
    /// The system gave no random bytes.
    #[error("failed to generate file key: the system gave no random bytes")]
    Random,
    /// The names in the header leave no room for the rest of it.
    #[error("failed to sign header: header is too long")]
    HeaderTooLong,
    /// What the document begins with is no header.
    #[error("invalid header: {0}")]
    Header(&'static str),
    /// Neither the document nor the caller says which key to use.
    #[error("document's manifest does not contain a key name, and no key name was provided")]
    KeyNameMissing,
    /// The header was changed, or its key is not the one that wrapped the file key.
    #[error("failed to validate the document's signature")]
    Signature,
    /// A segment was changed, moved or cut off.
    #[error("error processing segment {0}: failed to decrypt segment")]
    Segment(u32),
    /// A segment that could not be encrypted.
    #[error("error processing segment {0}: failed to encrypt segment")]
    Seal(u32),
    /// The text has more segments than the scheme can count.
    #[error("input stream is too large")]
    TooLarge,
}
