//! JSON texts without their insignificant white space.

use bytes::Bytes;

/// The text as bytes, sharing `source` where nothing needs to go; numbers, order and escapes stay as they are.
pub(crate) fn compact(text: &str, source: &Bytes) -> Bytes {
    let bytes = text.as_bytes();
    if !has_space_outside_strings(bytes) {
        return if within(bytes, source) { source.slice_ref(bytes) } else { Bytes::copy_from_slice(bytes) };
    }
    let mut compacted = Vec::with_capacity(bytes.len());
    walk(bytes, |byte| compacted.push(byte));
    compacted.into()
}

fn within(part: &[u8], whole: &Bytes) -> bool {
    let (whole, part) = (whole.as_ptr_range(), part.as_ptr_range());
    whole.start <= part.start && part.end <= whole.end
}

fn has_space_outside_strings(bytes: &[u8]) -> bool {
    let mut kept = 0;
    walk(bytes, |_| kept += 1);
    kept != bytes.len()
}

/// Hands every byte but white space outside of strings to `keep`.
fn walk(bytes: &[u8], mut keep: impl FnMut(u8)) {
    let (mut in_string, mut escaped) = (false, false);
    for &byte in bytes {
        if in_string {
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
        } else if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            continue;
        } else {
            in_string = byte == b'"';
        }
        keep(byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_white_space_outside_of_strings_goes() {
        let given = "{ \"a b\" : [ 1.50,\n 12345678901234567890, \"c \\\" d\" ] }";
        let compacted = compact(given, &Bytes::new());
        assert_eq!(compacted, "{\"a b\":[1.50,12345678901234567890,\"c \\\" d\"]}");
    }

    #[test]
    fn a_compact_text_shares_its_source() {
        let source = Bytes::from_static(b"[{\"value\":\"x\"}]");
        let part = std::str::from_utf8(&source[10..13]).unwrap();
        assert_eq!(compact(part, &source).as_ptr(), part.as_ptr());
    }
}
