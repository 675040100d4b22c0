//! JSON as Go reads it, where that differs from serde: `null` is an absent value, a list is never an object, and the case of
//! field names does not matter (an official SDK writes `entryID`).

mod any_case;

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;
use mecha_plugin_api::Metadata;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use any_case::AnyCase;

use crate::error::ApiError;

/// A JSON object; serde's derived structs would take a list for one as well.
#[derive(Debug, Default)]
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(AnyCase(map)).map(Object)
    }
}

/// A field whose `null` counts as absent.
pub(crate) fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// A request's `metadata`.
#[derive(Debug, Default, Deserialize)]
#[serde(transparent)]
pub(crate) struct MetadataObject(#[serde(deserialize_with = "nullable")] BTreeMap<String, String>);

impl MetadataObject {
    /// As the boundary has it, with what the query adds; the query comes first, as in Dapr.
    pub(crate) fn merged(self, query: &Metadata) -> Metadata {
        let mut metadata: Metadata = self.0.into_iter().collect();
        for (key, value) in query.iter() {
            metadata.insert(key, value);
        }
        metadata
    }
}

impl MetadataObject {
    /// With what it does not say itself taken from `below`.
    pub(crate) fn over(self, below: &Metadata) -> Metadata {
        let own = self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        below.iter().chain(own).collect()
    }
}

/// Reads a JSON body.
pub(crate) fn parse<'a, T: Deserialize<'a>>(body: &'a Bytes) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(ApiError::malformed_body)
}

/// The text as bytes without insignificant white space, sharing `source` where nothing needs to go; numbers, order and
/// escapes stay as they are.
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
    use serde_json::value::RawValue;

    use super::*;

    #[derive(Deserialize)]
    struct Item<'a> {
        #[serde(borrow, default)]
        value: Option<&'a RawValue>,
        #[serde(default, deserialize_with = "nullable")]
        key: String,
        #[serde(default)]
        metadata: MetadataObject,
    }

    #[test]
    fn the_case_of_names_does_not_matter_and_the_first_of_two_counts() {
        let text = r#"{"KEY": "k", "Value": 1, "other": 2, "k\u0065y": "later"}"#;
        let Object(item) = serde_json::from_str::<Object<Item<'_>>>(text).unwrap();
        assert_eq!((item.key.as_str(), item.value.map(RawValue::get)), ("k", Some("1")));
    }

    #[test]
    fn a_list_is_no_object_and_null_is_absent() {
        assert!(serde_json::from_str::<Object<Item<'_>>>("[]").is_err());
        let text = r#"{"value": {"a": 1}, "key": null, "metadata": null}"#;
        let Object(item) = serde_json::from_str::<Object<Item<'_>>>(text).unwrap();
        assert_eq!((item.value.unwrap().get(), item.key.as_str()), (r#"{"a": 1}"#, ""));
        let query: Metadata = [("a".to_owned(), "1".to_owned())].into_iter().collect();
        assert_eq!(item.metadata.merged(&query).get("a"), Some("1"));
    }

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
