//! Whole documents: as another implementation wrote them, there and back, changed and cut off.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use proptest::prelude::*;

use crate::segments::seal_with;
use crate::{Cipher, Error, FileKey, HeaderReader, KeyAlgorithm, Manifest, SEGMENT, TAG, seal};

const CIPHERS: [Cipher; 2] = [Cipher::AesGcm, Cipher::ChaCha20Poly1305];

fn key() -> FileKey {
    FileKey::unwrapped(&std::array::from_fn::<u8, 32, _>(|index| index as u8))
}

fn manifest(key_name: &str, cipher: Cipher) -> Manifest {
    let (algorithm, wrapped_key) = (KeyAlgorithm::A256Kw, b"wrapped".to_vec());
    Manifest { key_name: key_name.into(), algorithm, wrapped_key, cipher }
}

fn text(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index % 251) as u8).collect()
}

/// Encrypts with nonces that another implementation used as well.
fn encrypted(manifest: &Manifest, text: &[u8], piece: usize) -> Vec<u8> {
    let (header, mut sealer) = seal_with(&key(), manifest, *b"crypto!").unwrap();
    let mut document = header.to_vec();
    for piece in text.chunks(piece) {
        let mut piece = Bytes::copy_from_slice(piece);
        while let Some(segment) = sealer.next(&mut piece).unwrap() {
            document.extend(segment);
        }
    }
    document.extend(sealer.finish().unwrap().unwrap_or_default());
    document
}

fn decrypted(key: &FileKey, document: &[u8], piece: usize) -> Result<Vec<u8>, Error> {
    let (mut reader, mut opener, mut text) = (HeaderReader::default(), None, Vec::new());
    for piece in document.chunks(piece) {
        let mut piece = Bytes::copy_from_slice(piece);
        if opener.is_none()
            && let Some(header) = reader.read(&mut piece)?
        {
            opener = Some(header.open(key)?);
        }
        let Some(opener) = &mut opener else { continue };
        while let Some(segment) = opener.next(&mut piece)? {
            text.extend(segment);
        }
    }
    let opener = opener.ok_or_else(|| reader.incomplete())?;
    text.extend(opener.finish()?.unwrap_or_default());
    Ok(text)
}

/// Where the header ends.
fn header_length(document: &[u8]) -> usize {
    let ends = document.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    ends.map(|(index, _)| index + 1).nth(2).unwrap()
}

#[test]
fn a_short_document_is_the_one_that_another_implementation_writes() {
    for (cipher, number, mac, segment) in [
        (
            Cipher::AesGcm,
            1,
            "EbP9ZjAtxaM5dc6JS/1ocnV7FFZunmT+lGiIXtMzk6g=",
            "88c180cd4e2204ec9927cd515d56d8ba6aa4ce68afbc0c0a8ea5b7",
        ),
        (
            Cipher::ChaCha20Poly1305,
            2,
            "JSYNaMMyeaP5Dd3zO7xQGi5DA8keMc1kHF0PIi48yy8=",
            "752eaf3c2a2c1da8995d46023497821494cf46ff2abdbf80b263dc",
        ),
    ] {
        let line =
            format!(r#"{{"k":"mykey","kw":1,"wfk":"d3JhcHBlZA==","cph":{number},"np":"Y3J5cHRvIQ=="}}"#);
        let mut expected = format!("dapr.io/enc/v1\n{line}\n{mac}\n").into_bytes();
        expected.extend(hex::decode(segment).unwrap());
        assert_eq!(encrypted(&manifest("mykey", cipher), b"hello world", 4), expected);
        assert_eq!(decrypted(&key(), &expected, 7).unwrap(), b"hello world");
    }
}

#[test]
fn a_document_of_several_segments_is_the_one_that_another_implementation_writes() {
    for (cipher, sum) in [
        (Cipher::AesGcm, "c2c3ce0915918d8115ab96e4c19f05324df747d26b8791d008598812745f2a57"),
        (Cipher::ChaCha20Poly1305, "6e1621f5e1853f7c42ec78c58d949ce08f9f5e91af401427e05733ba27fb69fe"),
    ] {
        let document = encrypted(&manifest("", cipher), &text(150_000), 10_000);
        let found = ring::digest::digest(&ring::digest::SHA256, &document);
        assert_eq!((document.len(), hex::encode(found)), (150_166, sum.to_owned()));
    }
}

#[test]
fn a_text_of_any_length_comes_back_whatever_pieces_it_is_in() {
    for cipher in CIPHERS {
        for length in [0, 1, SEGMENT - 1, SEGMENT, SEGMENT + 1, 2 * SEGMENT, 3 * SEGMENT + 5] {
            for piece in [1_000, SEGMENT, SEGMENT + TAG, 4 * SEGMENT] {
                let document = encrypted(&manifest("k", cipher), &text(length), piece);
                assert_eq!(decrypted(&key(), &document, piece).unwrap(), text(length), "{length} by {piece}");
                let segments = length.div_ceil(SEGMENT);
                assert_eq!(document.len(), header_length(&document) + length + segments * TAG);
            }
        }
    }
}

#[test]
fn a_segment_is_given_as_soon_as_the_next_one_begins() {
    let (_, mut sealer) = seal(&key(), &manifest("k", Cipher::AesGcm)).unwrap();
    assert_eq!(sealer.next(&mut text(SEGMENT).into()).unwrap(), None);
    let segment = sealer.next(&mut text(1).into()).unwrap().unwrap();
    assert_eq!(segment.len(), SEGMENT + TAG);
}

#[test]
fn the_same_text_never_gives_the_same_document() {
    let document = || seal(&FileKey::generate().unwrap(), &manifest("k", Cipher::AesGcm)).unwrap().0;
    assert_ne!(document(), document());
}

#[test]
fn whatever_is_changed_is_noticed() {
    for cipher in CIPHERS {
        let document = encrypted(&manifest("k", cipher), &text(SEGMENT + 100), SEGMENT);
        let (header, second) = (header_length(&document), header_length(&document) + SEGMENT + TAG);
        for (place, expected) in [
            (header, Error::Segment(0)),
            (second - 1, Error::Segment(0)),
            (second, Error::Segment(1)),
            (document.len() - 1, Error::Segment(1)),
        ] {
            let mut changed = document.clone();
            changed[place] ^= 1;
            assert_eq!(decrypted(&key(), &changed, 9_000), Err(expected), "at {place}");
        }
    }
}

#[test]
fn a_changed_header_and_another_key_do_not_fit_the_signature() {
    let document = encrypted(&manifest("k", Cipher::AesGcm), b"text", 10);
    let renamed =
        String::from_utf8_lossy(&document[..header_length(&document)]).replace(r#""k":"k""#, r#""k":"j""#);
    assert_eq!(decrypted(&key(), renamed.as_bytes(), 1_000), Err(Error::Signature));
    assert_eq!(decrypted(&FileKey::generate().unwrap(), &document, 1_000), Err(Error::Signature));
    assert_eq!(decrypted(&FileKey::unwrapped(&[]), &document, 1_000), Err(Error::Signature));
    let unsigned =
        "dapr.io/enc/v1\n{\"kw\":1,\"wfk\":\"d3JhcHBlZA==\",\"cph\":1,\"np\":\"Y3J5cHRvIQ==\"}\n!\n";
    assert_eq!(decrypted(&key(), unsigned.as_bytes(), 1_000), Err(Error::Signature));
}

#[test]
fn segments_that_are_moved_left_out_or_cut_off_are_noticed() {
    let document = encrypted(&manifest("k", Cipher::AesGcm), &text(3 * SEGMENT), SEGMENT);
    let header = header_length(&document);
    let segments: Vec<_> = document[header..].chunks(SEGMENT + TAG).collect();
    let of = |order: &[usize]| {
        let chosen = order.iter().flat_map(|index| segments[*index].iter().copied());
        document[..header].iter().copied().chain(chosen).collect::<Vec<_>>()
    };
    assert_eq!(decrypted(&key(), &of(&[0, 1, 2]), 5_000).unwrap(), text(3 * SEGMENT));
    assert_eq!(decrypted(&key(), &of(&[1, 0, 2]), 5_000), Err(Error::Segment(0)));
    assert_eq!(decrypted(&key(), &of(&[0, 2]), 5_000), Err(Error::Segment(1)));
    assert_eq!(decrypted(&key(), &of(&[0, 1]), 5_000), Err(Error::Segment(1)));
    assert_eq!(decrypted(&key(), &of(&[0, 1, 2, 2]), 5_000), Err(Error::Segment(2)));
    assert_eq!(decrypted(&key(), &document[..document.len() - 1], 5_000), Err(Error::Segment(2)));
    // The scheme's own gap: an empty text has no segment that could vouch for its end.
    assert_eq!(decrypted(&key(), &document[..header], 5_000).unwrap(), b"");
}

#[test]
fn the_manifest_says_which_key_unless_the_caller_does() {
    let read = |name: &str| {
        let document = encrypted(&manifest(name, Cipher::AesGcm), b"", 1);
        HeaderReader::default().read(&mut document.into()).unwrap().unwrap()
    };
    assert_eq!(read("mine").key_name(""), Ok("mine"));
    assert_eq!(read("mine").key_name("yours"), Ok("yours"));
    assert_eq!(read("").key_name(""), Err(Error::KeyNameMissing));
    assert_eq!(read("mine").manifest(), &manifest("mine", Cipher::AesGcm));
}

#[test]
fn a_header_of_another_writer_is_verified_as_it_stands() {
    let line =
        "{ \"np\": \"Y3J5cHRvIQ==\", \"cph\": 1, \"wfk\": \"d3JhcHBlZA==\", \"kw\": 1, \"more\": [1] }";
    let signed = format!("dapr.io/enc/v1\n{line}\n");
    let mac = BASE64_STANDARD.encode(key().sign(signed.as_bytes()).unwrap());
    assert_eq!(decrypted(&key(), format!("{signed}{mac}\n").as_bytes(), 10).unwrap(), b"");
}

proptest! {
    #[test]
    fn bytes_of_any_kind_are_read_without_harm(document in proptest::collection::vec(any::<u8>(), 0..300), piece in 1..40_usize) {
        prop_assert!(decrypted(&key(), &document, piece).is_err());
        let mut begun = b"dapr.io/enc/v1\n".to_vec();
        begun.extend(&document);
        prop_assert!(decrypted(&key(), &begun, piece).is_err());
    }
}
