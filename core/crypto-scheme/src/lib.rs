//! Documents in Dapr's encryption scheme `dapr.io/enc/v1`: written and read segment by segment, whatever their length.
//!
//! A document is a header of three lines and then its text in segments of 64 KiB, each encrypted and authenticated on its own.
//! The header names the key that wraps the document's own key, the file key, and is signed with it. The crate is pure: it
//! neither reads nor sends anything, and whoever uses it has the file key wrapped and unwrapped.
//!
//! - Encrypting: [`FileKey::generate`] → wrap it → [`seal`] gives the header and a [`Sealer`] for the text.
//! - Decrypting: [`HeaderReader`] gives the [`Header`] → unwrap its key → [`Header::open`] gives an [`Opener`] for the rest.
//!
//! A segment that was changed, left out or moved is noticed, and so is a document that was cut off, with one exception that is
//! the scheme's: a document cut off right after its header is a valid empty one.

mod algorithm;
mod error;
mod header;
mod key;
mod manifest;
mod segments;
#[cfg(test)]
mod tests;

pub use algorithm::{Cipher, KeyAlgorithm};
pub use error::Error;
pub use header::{Header, HeaderReader};
pub use key::FileKey;
pub use manifest::Manifest;
pub use segments::{Opener, Sealer, seal};

/// The scheme's name, and the first line of every document.
pub const SCHEME: &str = "dapr.io/enc/v1";

/// Bytes of text in a segment; the last one may have fewer.
pub const SEGMENT: usize = 64 << 10;

/// Bytes that a segment grows by.
pub const TAG: usize = 16;
