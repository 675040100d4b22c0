//! The text of a document, segment by segment. Each has its own nonce: the document's prefix, the segment's number, and whether
//! it is the last. That is what notices a segment that was moved or left out.

use bytes::{Buf, Bytes, BytesMut};
use ring::aead::{Aad, LessSafeKey, NONCE_LEN, Nonce};
use ring::error::Unspecified;

use crate::manifest::NONCE_PREFIX;
use crate::{Error, FileKey, Manifest, SEGMENT, TAG, header};

/// Begins a document: its header, and what encrypts its text.
///
/// # Errors
/// [`Error::Random`], [`Error::HeaderTooLong`].
pub fn seal(key: &FileKey, manifest: &Manifest) -> Result<(Bytes, Sealer), Error> {
    let mut nonce_prefix = [0; NONCE_PREFIX];
    crate::key::fill_random(&mut nonce_prefix)?;
    seal_with(key, manifest, nonce_prefix)
}

pub(crate) fn seal_with(
    key: &FileKey,
    manifest: &Manifest,
    nonce_prefix: [u8; NONCE_PREFIX],
) -> Result<(Bytes, Sealer), Error> {
    let header = header::write(key, manifest, &nonce_prefix)?;
    let payload = key.payload_key(&nonce_prefix, manifest.cipher).ok_or(Error::Seal(0))?;
    Ok((header, Sealer(Segments::new(SEGMENT, payload, nonce_prefix))))
}

/// Encrypts a text that arrives in pieces.
pub struct Sealer(Segments);

impl Sealer {
    /// Takes from `input` until a segment is full and certainly not the last: then it is given encrypted, and more may be left
    /// in `input`. `None` when all of `input` was taken.
    ///
    /// # Errors
    /// [`Error::TooLarge`].
    pub fn next(&mut self, input: &mut Bytes) -> Result<Option<Bytes>, Error> {
        self.0.next(input, encrypt)
    }

    /// The text ends here: its last segment, or none when there was no text at all.
    ///
    /// # Errors
    /// [`Error::Seal`].
    pub fn finish(self) -> Result<Option<Bytes>, Error> {
        self.0.finish(encrypt)
    }
}

/// Decrypts the segments of a document that arrive in pieces. What it gives is authentic; whether more should have come is known
/// only at the end.
pub struct Opener(Segments);

impl Opener {
    pub(crate) fn new(key: LessSafeKey, nonce_prefix: [u8; NONCE_PREFIX]) -> Self {
        Self(Segments::new(SEGMENT + TAG, key, nonce_prefix))
    }

    /// Takes from `input` until a segment is whole and certainly not the last: then it is given decrypted, and more may be left
    /// in `input`. `None` when all of `input` was taken.
    ///
    /// # Errors
    /// [`Error::Segment`].
    pub fn next(&mut self, input: &mut Bytes) -> Result<Option<Bytes>, Error> {
        self.0.next(input, decrypt)
    }

    /// The document ends here: its last segment, or none when the text is empty.
    ///
    /// # Errors
    /// [`Error::Segment`], also when the document was cut off.
    pub fn finish(self) -> Result<Option<Bytes>, Error> {
        self.0.finish(decrypt)
    }
}

/// Encrypts or decrypts one segment in its place.
type Process = fn(&LessSafeKey, Nonce, &mut BytesMut, u32) -> Result<(), Error>;

fn encrypt(key: &LessSafeKey, nonce: Nonce, segment: &mut BytesMut, number: u32) -> Result<(), Error> {
    key.seal_in_place_append_tag(nonce, Aad::empty(), segment).map_err(|Unspecified| Error::Seal(number))
}

fn decrypt(key: &LessSafeKey, nonce: Nonce, segment: &mut BytesMut, number: u32) -> Result<(), Error> {
    let opened = key.open_in_place(nonce, Aad::empty(), segment);
    let length = opened.map_err(|Unspecified| Error::Segment(number))?.len();
    segment.truncate(length);
    Ok(())
}

struct Segments {
    /// Bytes of a whole segment, as it arrives.
    size: usize,
    key: LessSafeKey,
    nonce_prefix: [u8; NONCE_PREFIX],
    waiting: BytesMut,
    number: u32,
}

impl Segments {
    fn new(size: usize, key: LessSafeKey, nonce_prefix: [u8; NONCE_PREFIX]) -> Self {
        Self { size, key, nonce_prefix, waiting: BytesMut::new(), number: 0 }
    }

    fn next(&mut self, input: &mut Bytes, process: Process) -> Result<Option<Bytes>, Error> {
        let taken = input.len().min(self.size - self.waiting.len());
        // A document of many segments fills each buffer once, without letting it grow on the way.
        if taken == self.size || self.number > 0 {
            self.waiting.reserve(self.size + TAG - self.waiting.len());
        }
        self.waiting.extend_from_slice(&input[..taken]);
        input.advance(taken);
        // Whether a full segment is the last shows only when more comes.
        if self.waiting.len() < self.size || input.is_empty() {
            return Ok(None);
        }
        let segment = self.process(false, process)?;
        self.number = self.number.checked_add(1).ok_or(Error::TooLarge)?;
        Ok(Some(segment))
    }

    fn finish(mut self, process: Process) -> Result<Option<Bytes>, Error> {
        if self.waiting.is_empty() { Ok(None) } else { self.process(true, process).map(Some) }
    }

    fn process(&mut self, is_last: bool, process: Process) -> Result<Bytes, Error> {
        let mut segment = std::mem::take(&mut self.waiting);
        process(&self.key, self.nonce(is_last), &mut segment, self.number)?;
        Ok(segment.freeze())
    }

    fn nonce(&self, is_last: bool) -> Nonce {
        let mut nonce = [0; NONCE_LEN];
        let (prefix, rest) = nonce.split_at_mut(NONCE_PREFIX);
        prefix.copy_from_slice(&self.nonce_prefix);
        let (number, last) = rest.split_at_mut(size_of::<u32>());
        number.copy_from_slice(&self.number.to_be_bytes());
        last.fill(u8::from(is_last));
        Nonce::assume_unique_for_key(nonce)
    }
}
