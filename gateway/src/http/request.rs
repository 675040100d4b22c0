//! Parts of a request: decoded path segments, the query, the JSON body.

use bytes::Bytes;
use mecha_plugin_api::Metadata;
use serde::Deserialize;

use crate::error::ApiError;

/// A query string's pairs, decoded.
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn read(query: Option<&str>) -> Self {
        let Some(query) = query.filter(|query| !query.is_empty()) else { return Self(Vec::new()) };
        let pairs = query.split('&').filter_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            // As in Go a pair that cannot be decoded is left out.
            Some((unescape(key)?, unescape(value)?))
        });
        Self(pairs.collect())
    }

    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// `metadata.<key>=<value>`, the first of each.
    pub(crate) fn metadata(&self) -> Metadata {
        let mut metadata = Metadata::new();
        for (name, value) in &self.0 {
            if let Some(key) = name.strip_prefix("metadata.").filter(|key| metadata.get(key).is_none()) {
                metadata.insert(key, value.as_str());
            }
        }
        metadata
    }
}

/// Decodes as Go's `url.QueryUnescape`: `+` is a space; `None` for a bad escape or text that is not UTF-8.
pub(crate) fn unescape(text: &str) -> Option<String> {
    if !text.contains(['%', '+']) {
        return Some(text.to_owned());
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => hex(bytes.next()?)? << 4 | hex(bytes.next()?)?,
            other => other,
        });
    }
    String::from_utf8(decoded).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// Reads a JSON body.
pub(crate) fn parse<'a, T: Deserialize<'a>>(body: &'a Bytes) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(ApiError::malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_as_go_does() {
        assert_eq!(unescape("a+b%2Fc").as_deref(), Some("a b/c"));
        for bad in ["%", "%2", "%zz", "%ff", "%+1"] {
            assert_eq!(unescape(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_first_of_repeated_metadata_counts() {
        let query = Query::read(Some("metadata.a=1&metadata.a=2&b=%zz&consistency=strong"));
        assert_eq!(query.metadata().get("a"), Some("1"));
        assert_eq!((query.get("b"), query.get("consistency")), (None, Some("strong")));
    }
}
