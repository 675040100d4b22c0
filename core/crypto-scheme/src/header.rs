//! The three lines that a document begins with.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::{Buf, Bytes};

use crate::manifest::NONCE_PREFIX;
use crate::{Error, FileKey, Manifest, Opener, SCHEME, SEGMENT};

/// Writes and signs a header.
pub(crate) fn write(
    key: &FileKey,
    manifest: &Manifest,
    nonce_prefix: &[u8; NONCE_PREFIX],
) -> Result<Bytes, Error> {
    let mut header = SCHEME.as_bytes().to_vec();
    header.push(b'\n');
    header.extend(manifest.write(nonce_prefix));
    header.push(b'\n');
    let mac = key.sign(&header)?;
    header.extend(BASE64_STANDARD.encode(mac).into_bytes());
    header.push(b'\n');
    if header.len() > SEGMENT {
        return Err(Error::HeaderTooLong);
    }
    Ok(header.into())
}

/// Reads a header from a document that arrives in pieces.
#[derive(Debug, Default)]
pub struct HeaderReader {
    read: Vec<u8>,
    /// Where the lines end that were read whole, their ends included.
    ends: Vec<usize>,
}

impl HeaderReader {
    /// Reads on, and leaves in `input` what comes after the header. `None` when the header goes on.
    ///
    /// # Errors
    /// [`Error::Header`].
    pub fn read(&mut self, input: &mut Bytes) -> Result<Option<Header>, Error> {
        while !input.is_empty() {
            let end = input.iter().position(|byte| *byte == b'\n');
            let taken = end.map_or(input.len(), |end| end + 1);
            if self.read.len() + taken > SEGMENT {
                return Err(self.incomplete());
            }
            self.read.extend_from_slice(&input[..taken]);
            input.advance(taken);
            if end.is_some() {
                self.end_line()?;
            }
            if let &[_, manifest, mac] = self.ends.as_slice() {
                return Header::parse(&self.read, manifest, mac).map(Some);
            }
        }
        Ok(None)
    }

    fn end_line(&mut self) -> Result<(), Error> {
        let (begin, end) = (self.ends.last().copied().unwrap_or_default(), self.read.len());
        let line = &self.read[begin..end - 1];
        if line.is_empty() {
            return Err(Error::Header("invalid format"));
        }
        if self.ends.is_empty() && line != SCHEME.as_bytes() {
            return Err(Error::Header("unsupported scheme"));
        }
        self.ends.push(end);
        Ok(())
    }

    /// Why a document that ends here, or whose lines do not end, has no header.
    pub fn incomplete(&self) -> Error {
        Error::Header(match self.ends.len() {
            0 => "scheme name not found",
            1 => "manifest not found",
            _ => "message authentication code not found",
        })
    }
}

/// A header that was read, but not verified.
#[derive(Debug, Clone)]
pub struct Header {
    manifest: Manifest,
    nonce_prefix: [u8; NONCE_PREFIX],
    /// The first two lines as they arrived: another writer's JSON may look different from ours.
    signed: Vec<u8>,
    /// `None` when it is no base64.
    mac: Option<Vec<u8>>,
}

impl Header {
    fn parse(header: &[u8], manifest_end: usize, mac_end: usize) -> Result<Self, Error> {
        let (signed, mac) = (&header[..manifest_end], &header[manifest_end..mac_end - 1]);
        let line = &signed[SCHEME.len() + 1..manifest_end - 1];
        let (manifest, nonce_prefix) = Manifest::read(line).ok_or(Error::Header("invalid manifest"))?;
        Ok(Self { manifest, nonce_prefix, signed: signed.to_vec(), mac: BASE64_STANDARD.decode(mac).ok() })
    }

    /// How the file key was wrapped, as the header says. Nothing vouches for it before [`Self::open`].
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The key to unwrap the file key with: the one given, or else the one in the header.
    ///
    /// # Errors
    /// [`Error::KeyNameMissing`].
    pub fn key_name<'a>(&'a self, given: &'a str) -> Result<&'a str, Error> {
        [given, self.manifest.key_name.as_str()]
            .into_iter()
            .find(|name| !name.is_empty())
            .ok_or(Error::KeyNameMissing)
    }

    /// Verifies the header and begins with the segments.
    ///
    /// # Errors
    /// [`Error::Signature`].
    pub fn open(&self, key: &FileKey) -> Result<Opener, Error> {
        key.verify(&self.signed, self.mac.as_deref().unwrap_or_default())?;
        let payload = key.payload_key(&self.nonce_prefix, self.manifest.cipher);
        Ok(Opener::new(payload.ok_or(Error::Signature)?, self.nonce_prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(document: &str) -> String {
        let mut reader = HeaderReader::default();
        match reader.read(&mut Bytes::copy_from_slice(document.as_bytes())) {
            Ok(Some(header)) => panic!("{header:?}"),
            Ok(None) => reader.incomplete().to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_is_no_header_is_told_as_dapr_tells_it() {
        assert_eq!(refusal(""), "invalid header: scheme name not found");
        assert_eq!(refusal("dapr.io/enc/v1"), "invalid header: scheme name not found");
        assert_eq!(refusal("\n"), "invalid header: invalid format");
        assert_eq!(refusal("dapr.io/enc/v2\n{}\nx\n"), "invalid header: unsupported scheme");
        assert_eq!(refusal("dapr.io/enc/v1\n{}"), "invalid header: manifest not found");
        assert_eq!(
            refusal("dapr.io/enc/v1\n{}\nmac"),
            "invalid header: message authentication code not found"
        );
        assert_eq!(refusal("dapr.io/enc/v1\n\nmac\n"), "invalid header: invalid format");
        assert_eq!(refusal("dapr.io/enc/v1\n{}\nmac\n"), "invalid header: invalid manifest");
        assert_eq!(refusal(&"x".repeat(SEGMENT + 1)), "invalid header: scheme name not found");
    }

    #[test]
    fn a_name_that_fills_the_header_is_refused() {
        let manifest = |name: usize| Manifest {
            key_name: "x".repeat(name),
            algorithm: crate::KeyAlgorithm::A256Kw,
            wrapped_key: vec![1],
            cipher: crate::Cipher::AesGcm,
        };
        let key = FileKey::unwrapped(&[1; 32]);
        assert!(write(&key, &manifest(65_000), &[0; 7]).is_ok());
        assert_eq!(write(&key, &manifest(SEGMENT), &[0; 7]), Err(Error::HeaderTooLong));
    }
}
