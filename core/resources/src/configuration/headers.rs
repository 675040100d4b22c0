//! Lists of headers in one text, as `OTEL_EXPORTER_OTLP_HEADERS` and our own settings have them.

use super::Headers;

/// A header list that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// An entry without `=`.
    #[error("missing '=' in header entry {0}")]
    NoValue(usize),
    /// A name with characters that HTTP does not allow.
    #[error("invalid header key {0:?}")]
    Name(String),
    /// A value that is not percent-encoded text.
    #[error("the value of header {0} is not percent-encoded text")]
    Escape(String),
}

/// Reads `name=value,name=value`, with percent-encoded values, as OpenTelemetry defines it.
pub fn parse_headers(text: &str) -> Result<Headers, HeaderError> {
    let mut headers = Vec::new();
    for (index, entry) in text.split(',').enumerate() {
        let (name, value) = entry.split_once('=').ok_or(HeaderError::NoValue(index))?;
        let name = name.trim();
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(HeaderError::Name(name.to_owned()));
        }
        let value = unescaped(value).ok_or_else(|| HeaderError::Escape(name.to_owned()))?;
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    Ok(Headers(headers))
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        if byte == b'%' {
            let digits = std::str::from_utf8(after.get(..2)?).ok()?;
            // from_str_radix alone would also take `+5`.
            if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return None;
            }
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &after[2..];
        } else {
            bytes.push(byte);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names_and_escaped_values() {
        assert_eq!(
            parse_headers("a=b%20c, d=e").unwrap().0,
            [("a".into(), "b c".into()), ("d".into(), "e".into())]
        );
    }

    #[test]
    fn refuses_what_is_no_list() {
        for text in ["a", "a b=c", "a=%zz", "a=%+5"] {
            assert!(parse_headers(text).is_err(), "{text}");
        }
    }
}
