//! What is to be written, as Dapr takes it: a quoted string is unquoted, and what then reads as base64 is decoded.

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};

/// As forgiving as Go's: bits that are left over do not matter.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

/// The bytes for the file. Plain text that happens to be base64 is decoded as well, as in Dapr.
pub(crate) fn decode(data: &[u8]) -> Cow<'_, [u8]> {
    let unquoted = std::str::from_utf8(data).ok().and_then(unquote);
    let data = unquoted.map_or(Cow::Borrowed(data), Cow::Owned);
    let without_breaks: Cow<'_, [u8]> = if data.contains(&b'\n') || data.contains(&b'\r') {
        data.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect()
    } else {
        Cow::Borrowed(&data)
    };
    match BASE64.decode(without_breaks) {
        Ok(decoded) => Cow::Owned(decoded),
        Err(_) => data,
    }
}

/// The value of a Go string or character literal.
fn unquote(text: &str) -> Option<Vec<u8>> {
    let quote = text.chars().next().filter(|quote| matches!(quote, '"' | '`' | '\''))?;
    let inner = text.strip_prefix(quote)?.strip_suffix(quote)?;
    if quote == '`' {
        return (!inner.contains('`')).then(|| inner.replace('\r', "").into_bytes());
    }
    let mut value = Vec::with_capacity(inner.len());
    let (mut rest, mut characters) = (inner.chars(), 0);
    while let Some(next) = rest.next() {
        characters += 1;
        match next {
            '\n' => return None,
            found if found == quote => return None,
            '\\' => escape(&mut rest, quote, &mut value)?,
            plain => push(&mut value, plain),
        }
    }
    (quote == '"' || characters == 1).then_some(value)
}

fn push(value: &mut Vec<u8>, character: char) {
    value.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
}

/// What follows a backslash.
fn escape(rest: &mut std::str::Chars<'_>, quote: char, value: &mut Vec<u8>) -> Option<()> {
    match rest.next()? {
        'a' => value.push(7),
        'b' => value.push(8),
        'f' => value.push(12),
        'n' => value.push(b'\n'),
        'r' => value.push(b'\r'),
        't' => value.push(b'\t'),
        'v' => value.push(11),
        '\\' => value.push(b'\\'),
        'x' => value.push(u8::try_from(number(rest, 0, 2, 16)?).ok()?),
        'u' => push(value, char::from_u32(number(rest, 0, 4, 16)?)?),
        'U' => push(value, char::from_u32(number(rest, 0, 8, 16)?)?),
        found if found == quote => push(value, found),
        digit => value.push(u8::try_from(number(rest, digit.to_digit(8)?, 2, 8)?).ok()?),
    }
    Some(())
}

fn number(rest: &mut std::str::Chars<'_>, start: u32, digits: u32, radix: u32) -> Option<u32> {
    (0..digits)
        .try_fold(start, |number, _| number.checked_mul(radix)?.checked_add(rest.next()?.to_digit(radix)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(data: &str) -> String {
        String::from_utf8(decode(data.as_bytes()).into_owned()).unwrap()
    }

    #[test]
    fn quoted_and_encoded_payloads_are_undone() {
        assert_eq!(text("Hello World!"), "Hello World!");
        assert_eq!(text("\"Hello, \\\"World\\\" \\u00e9\\n\""), "Hello, \"World\" é\n");
        assert_eq!(text("aGVsbG8="), "hello");
        assert_eq!(text("\"aGVs\\nbG8=\""), "hello");
        assert_eq!(text("`raw\\n!`"), "raw\\n!");
        assert_eq!(text("'x'"), "x");
        assert_eq!(text(""), "");
        assert_eq!(decode(b"abcd").as_ref(), [0x69, 0xb7, 0x1d], "it reads as base64");
        assert_eq!(decode(&[0xff, 0x00]).as_ref(), [0xff, 0x00]);
        assert_eq!(decode(b"\"\\xff\\101!\"").as_ref(), b"\xffA!");
    }

    #[test]
    fn what_go_does_not_unquote_stays() {
        for data in ["\"a\\/b!\"", "'two'", "\"open!", "\"a\"b\"", "{\"a\": 1}", "\"line\nbreak!\""] {
            assert_eq!(text(data), data);
        }
    }
}
