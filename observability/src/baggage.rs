//! Checks W3C `baggage`. The runtime only carries it, but Dapr refuses a call whose baggage is broken.

/// Longest header (W3C Baggage 3.3.2).
const MAX_BYTES: usize = 8192;
/// Most members, by the same section: what a platform must carry at least is what Dapr carries at most.
const MAX_MEMBERS: usize = 64;

/// Why a `baggage` header is refused. The texts follow those that Dapr's clients see behind `invalid baggage header: `.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BaggageError {
    /// The header is longer than 8192 bytes.
    #[error("baggage-string too large: {0}")]
    TooLarge(usize),
    /// The header has more than 64 members.
    #[error("too many list-members in baggage-string")]
    TooManyMembers,
    /// A member is not `key=value`.
    #[error("invalid baggage list-member: {0:?}")]
    Member(String),
    /// A key is not a token.
    #[error("invalid key: {0:?}")]
    Key(String),
    /// A value has characters that must be percent-encoded.
    #[error("invalid value: {0:?}")]
    Value(String),
    /// A property behind `;` is malformed.
    #[error("invalid baggage list-member property: {0:?}")]
    Property(String),
}

/// Checks a whole header; several headers are joined with `,` first.
pub fn validate(header: &str) -> Result<(), BaggageError> {
    if header.is_empty() {
        return Ok(());
    }
    if header.len() > MAX_BYTES {
        return Err(BaggageError::TooLarge(header.len()));
    }
    header.split(',').try_for_each(validate_member)?;
    if header.split(',').count() > MAX_MEMBERS { Err(BaggageError::TooManyMembers) } else { Ok(()) }
}

fn validate_member(member: &str) -> Result<(), BaggageError> {
    let mut parts = member.split(';');
    let pair = parts.next().unwrap_or_default();
    let (key, value) = pair.split_once('=').ok_or_else(|| BaggageError::Member(member.to_owned()))?;
    let (key, value) = (key.trim(), value.trim());
    if !is_token(key) {
        return Err(BaggageError::Key(key.to_owned()));
    }
    if !is_value(value) {
        return Err(BaggageError::Value(value.to_owned()));
    }
    match parts.find(|property| !is_property(property)) {
        Some(property) => Err(BaggageError::Property(property.to_owned())),
        None => Ok(()),
    }
}

fn is_property(property: &str) -> bool {
    match property.split_once('=') {
        Some((key, value)) => is_token(key.trim()) && is_value(value.trim()),
        None => is_token(property.trim()),
    }
}

/// RFC 7230 token.
fn is_token(text: &str) -> bool {
    let allowed = |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c);
    !text.is_empty() && text.bytes().all(allowed)
}

/// Baggage octets, with every `%` in front of two hex digits.
fn is_value(text: &str) -> bool {
    let octet = |c: u8| matches!(c, 0x21 | 0x23..=0x2b | 0x2d..=0x3a | 0x3c..=0x5b | 0x5d..=0x7e);
    let mut escapes = text.split('%').skip(1);
    let is_escape =
        |rest: &str| rest.as_bytes().get(..2).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit));
    text.bytes().all(octet) && escapes.all(is_escape)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sound_headers_pass() {
        for header in ["", "a=1", " a = 1 ; p ; q=2 , b=", "key=%20x%C3%A9", "serverNode=DF%2028,userId=a/b"]
        {
            assert_eq!(validate(header), Ok(()), "{header}");
        }
    }

    #[test]
    fn broken_headers_say_what_is_wrong() {
        let cases = [
            ("a", BaggageError::Member("a".into())),
            ("a=1,,b=2", BaggageError::Member(String::new())),
            ("a b=1", BaggageError::Key("a b".into())),
            ("=1", BaggageError::Key(String::new())),
            ("a=b c", BaggageError::Value("b c".into())),
            ("a=%zz", BaggageError::Value("%zz".into())),
            ("a=%2", BaggageError::Value("%2".into())),
            ("a=1;p q", BaggageError::Property("p q".into())),
        ];
        for (header, error) in cases {
            assert_eq!(validate(header), Err(error), "{header}");
        }
    }

    #[test]
    fn limits_hold() {
        let many = vec!["a=1"; 65].join(",");
        assert_eq!(validate(&many), Err(BaggageError::TooManyMembers));
        assert_eq!(validate(&many[4..]), Ok(()));
        assert_eq!(validate(&"a".repeat(9000)), Err(BaggageError::TooLarge(9000)));
    }
}
