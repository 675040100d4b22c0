//! Encrypted documents.

use bytes::Bytes;
use mecha_enc::{Cipher, Error, FileKey, HeaderReader, KeyAlgorithm, Manifest, seal};

/// The first byte says in which pieces the document arrives, the next two which of its bytes is another; the rest is the
/// text. As it was sealed it opens to the same text; with a byte changed it does not open; and the input itself, taken for a
/// document, breaks nothing.
pub(crate) fn encrypted(data: &[u8]) {
    let [piece, high, low, text @ ..] = data else { return };
    let key = FileKey::unwrapped(&[7; 32]);
    let piece = usize::from(*piece).max(1) * 16;
    let _ = open(&key, text, piece);

    let cipher = if high & 1 == 0 { Cipher::AesGcm } else { Cipher::ChaCha20Poly1305 };
    let mut document = sealed(&key, cipher, text).expect("a text can be sealed");
    assert_eq!(open(&key, &document, piece).expect("it was sealed with this key"), text);
    let at = usize::from(u16::from_be_bytes([*high, *low])) % document.len();
    document[at] ^= 1;
    let opened = open(&key, &document, piece);
    assert!(opened.is_err(), "byte {at} was changed, and it opens to {opened:?}");
}

fn sealed(key: &FileKey, cipher: Cipher, text: &[u8]) -> Result<Vec<u8>, Error> {
    let manifest = Manifest {
        key_name: "key".to_owned(),
        algorithm: KeyAlgorithm::A256Kw,
        wrapped_key: vec![1; 40],
        cipher,
    };
    let (header, mut sealer) = seal(key, &manifest)?;
    let mut document = header.to_vec();
    let mut input = Bytes::copy_from_slice(text);
    while let Some(segment) = sealer.next(&mut input)? {
        document.extend_from_slice(&segment);
    }
    document.extend(sealer.finish()?.unwrap_or_default());
    Ok(document)
}

fn open(key: &FileKey, document: &[u8], piece: usize) -> Result<Vec<u8>, Error> {
    let mut reader = HeaderReader::default();
    let (mut opener, mut text) = (None, Vec::new());
    for piece in document.chunks(piece) {
        let mut input = Bytes::copy_from_slice(piece);
        if opener.is_none() {
            opener = reader.read(&mut input)?.map(|header| header.open(key)).transpose()?;
        }
        if let Some(opener) = &mut opener {
            while let Some(segment) = opener.next(&mut input)? {
                text.extend_from_slice(&segment);
            }
        }
    }
    let opener = opener.ok_or_else(|| reader.incomplete())?;
    text.extend(opener.finish()?.unwrap_or_default());
    Ok(text)
}
