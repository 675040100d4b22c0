//! Writing JSON straight into one buffer, and reading parts of it without copies.

use std::borrow::{Borrow, Cow};
use std::fmt;

use serde::de::{Deserialize, Deserializer, Visitor};

/// One JSON object in the making. Keys are ours and need no escaping.
pub(crate) struct Object(String);

impl Object {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        let mut text = String::with_capacity(capacity);
        text.push('{');
        Self(text)
    }

    /// A field with a text.
    pub(crate) fn text(&mut self, key: &str, value: &str) {
        self.key(key);
        push_text(&mut self.0, value);
    }

    /// A field with bytes as text: what is not UTF-8 becomes U+FFFD, one for each byte.
    pub(crate) fn bytes_as_text(&mut self, key: &str, value: &[u8]) {
        self.key(key);
        self.0.push('"');
        for chunk in value.utf8_chunks() {
            escape(&mut self.0, chunk.valid());
            for _ in chunk.invalid() {
                self.0.push(char::REPLACEMENT_CHARACTER);
            }
        }
        self.0.push('"');
    }

    /// A field with bytes in base64.
    pub(crate) fn base64(&mut self, key: &str, value: &[u8]) {
        self.key(key);
        push_base64(&mut self.0, value);
    }

    /// A field with a value that is JSON already.
    pub(crate) fn json(&mut self, key: &str, value: &str) {
        self.key(key);
        self.0.push_str(value);
    }

    /// A field whose key is not ours.
    pub(crate) fn foreign(&mut self, key: &str, value: &str) {
        self.separate();
        push_text(&mut self.0, key);
        self.0.push(':');
        self.0.push_str(value);
    }

    /// A text under a key that is not ours.
    pub(crate) fn foreign_text(&mut self, key: &str, value: &str) {
        self.foreign(key, "");
        push_text(&mut self.0, value);
    }

    /// The finished object.
    pub(crate) fn finish(mut self) -> String {
        self.0.push('}');
        self.0
    }

    fn key(&mut self, key: &str) {
        self.separate();
        self.0.push('"');
        self.0.push_str(key);
        self.0.push_str("\":");
    }

    fn separate(&mut self) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
    }
}

/// Appends a JSON string.
pub(crate) fn push_text(out: &mut String, text: &str) {
    out.push('"');
    escape(out, text);
    out.push('"');
}

/// Appends bytes as a JSON string in base64.
pub(crate) fn push_base64(out: &mut String, bytes: &[u8]) {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    out.push('"');
    STANDARD.encode_string(bytes, out);
    out.push('"');
}

fn escape(out: &mut String, text: &str) {
    let mut written = 0;
    for (index, byte) in text.bytes().enumerate() {
        // Every byte that needs escaping is ASCII, so that `index` is on a character.
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.push_str(&text[written..index]);
        push_escaped(out, byte);
        written = index + 1;
    }
    out.push_str(&text[written..]);
}

fn push_escaped(out: &mut String, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    match byte {
        b'"' => out.push_str("\\\""),
        b'\\' => out.push_str("\\\\"),
        b'\n' => out.push_str("\\n"),
        b'\r' => out.push_str("\\r"),
        b'\t' => out.push_str("\\t"),
        control => {
            out.push_str("\\u00");
            out.push(char::from(HEX[usize::from(control >> 4)]));
            out.push(char::from(HEX[usize::from(control & 15)]));
        }
    }
}

/// A key, borrowed from the text unless it holds escapes: serde's own `Cow` always copies.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key<'a>(pub(crate) Cow<'a, str>);

impl Borrow<str> for Key<'_> {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Key<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }
        }
        from.deserialize_str(Text)
    }
}

/// The text that a JSON value is, if it is one.
pub(crate) fn text(json: &str) -> Option<Cow<'_, str>> {
    if !json.starts_with('"') {
        return None;
    }
    match serde_json::from_str::<Key<'_>>(json) {
        Ok(text) => Some(text.0),
        Err(_) => serde_json::from_str(&mend_surrogates(json)).ok().map(Cow::Owned),
    }
}

/// Replaces escapes of lone surrogates, which a Rust text cannot hold, by that of U+FFFD, as Go's reader does. Every other
/// escape stays.
pub(crate) fn mend_surrogates(json: &str) -> String {
    let mut mended = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = rest.find('\\') {
        mended.push_str(&rest[..at]);
        rest = &rest[at..];
        let length = match (surrogate(rest), rest.get(6..).and_then(surrogate)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
            (Some(_), _) => {
                mended.push_str("\\ufffd");
                rest = &rest[6..];
                continue;
            }
            // A backslash and what it escapes, which may be a backslash.
            (None, _) => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
        };
        mended.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    mended.push_str(rest);
    mended
}

/// The surrogate whose escape a text begins with.
fn surrogate(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    u16::from_str_radix(digits, 16).ok().filter(|unit| (0xd800..=0xdfff).contains(unit))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn writes_what_a_reader_reads_back() {
        let text = "a\"b\\c\n\r\t\u{0}\u{1f}\u{7f} é 😀 </script>";
        let mut object = Object::with_capacity(0);
        object.text("text", text);
        object.foreign("ke\"y", "[1]");
        object.bytes_as_text("lossy", b"a\xff\xfeb\xe2\x82");
        object.base64("bytes", &[0, 255]);
        object.json("json", "{}");
        let read: Value = serde_json::from_str(&object.finish()).unwrap();
        assert_eq!(read["text"], text);
        assert_eq!(read["ke\"y"], serde_json::json!([1]));
        assert_eq!(read["lossy"], "a\u{fffd}\u{fffd}b\u{fffd}\u{fffd}");
        assert_eq!(read["bytes"], "AP8=");
        assert_eq!(Object::with_capacity(0).finish(), "{}");
    }

    #[test]
    fn reads_texts_that_hold_half_a_character() {
        for (json, expected) in [
            (r#""plain""#, "plain"),
            (r#""a\n\u00e9""#, "a\né"),
            (r#""\ud83d\ude00""#, "😀"),
            (r#""\ud83d""#, "\u{fffd}"),
            (r#""\ud83dx\ude00\\ud83d\\""#, "\u{fffd}x\u{fffd}\\ud83d\\"),
            (r#""\ud83d\ud83d\ude00""#, "\u{fffd}😀"),
        ] {
            assert_eq!(text(json).as_deref(), Some(expected), "{json}");
        }
        assert_eq!((text("5"), text("null"), text("{}")), (None, None, None));
    }
}
