//! RSA keys in the one form that they are used in: PKCS#8, and SubjectPublicKeyInfo for the public half.

use zeroize::Zeroizing;

use crate::key::Secret;

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const SEQUENCE: u8 = 0x30;

/// The algorithm of RSA keys, 1.2.840.113549.1.1.1, with its empty parameters.
const RSA: [u8; 15] =
    [SEQUENCE, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

/// PKCS#8 around a key in PKCS#1.
pub(crate) fn private_key(pkcs1: &[u8]) -> Secret {
    let version = [INTEGER, 1, 0];
    let key = element(OCTET_STRING, &[pkcs1]);
    element(SEQUENCE, &[&version, &RSA, &key])
}

/// SubjectPublicKeyInfo around a public key in PKCS#1.
pub(crate) fn public_key(pkcs1: &[u8]) -> Vec<u8> {
    // No bit of the last byte is unused.
    let key = element(BIT_STRING, &[&[0], pkcs1]);
    element(SEQUENCE, &[&RSA, &key]).to_vec()
}

/// Whether a key in one of the two forms is an RSA key: its algorithm stands right at the beginning.
pub(crate) fn is_rsa(key: &[u8]) -> bool {
    let beginning = &key[..key.len().min(32)];
    beginning.windows(RSA.len()).any(|window| window == RSA)
}

/// Numbers as PKCS#1 has them.
pub(crate) fn sequence_of_integers(integers: &[&[u8]]) -> Secret {
    let integers: Vec<Secret> = integers.iter().map(|integer| self::integer(integer)).collect();
    let integers: Vec<&[u8]> = integers.iter().map(|integer| integer.as_slice()).collect();
    element(SEQUENCE, &integers)
}

/// Without zeros at the front, save one that keeps it from being negative.
fn integer(bytes: &[u8]) -> Secret {
    let first = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
    match bytes.get(first) {
        Some(byte) if *byte < 0x80 => element(INTEGER, &[&bytes[first..]]),
        _ => element(INTEGER, &[&[0], &bytes[first..]]),
    }
}

fn element(tag: u8, parts: &[&[u8]]) -> Secret {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    // Made as large as it becomes: growing would leave copies behind.
    let mut element = Zeroizing::new(Vec::with_capacity(length + 2 + size_of::<usize>()));
    element.push(tag);
    let bytes = length.to_be_bytes();
    let digits = &bytes[bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len() - 1)..];
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => element.push(short),
        _ => {
            element.push(0x80 | digits.len() as u8);
            element.extend_from_slice(digits);
        }
    }
    parts.iter().for_each(|part| element.extend_from_slice(part));
    element
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_as_short_as_can_be_and_never_negative() {
        assert_eq!(integer(&[0, 0, 1]).as_slice(), [2, 1, 1]);
        assert_eq!(integer(&[0x80]).as_slice(), [2, 2, 0, 0x80]);
        assert_eq!(integer(&[0]).as_slice(), [2, 1, 0]);
        assert_eq!(integer(&[]).as_slice(), [2, 1, 0]);
    }

    #[test]
    fn a_length_has_as_many_bytes_as_it_needs() {
        let begins = |length: usize| element(OCTET_STRING, &[&vec![0; length]])[..4].to_vec();
        assert_eq!(begins(127)[..2], [4, 127]);
        assert_eq!(begins(128)[..3], [4, 0x81, 128]);
        assert_eq!(begins(256), [4, 0x82, 1, 0]);
    }
}
