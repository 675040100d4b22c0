//! Deserialisers with the tolerance of Dapr's own readers: a scalar where text is wanted, `null` for an absent value.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::{Map, Value};

use crate::{duration, yaml::number_text};

/// Text, or a number or boolean as text; `null` is empty.
pub(crate) fn text<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    scalar_text(&Value::deserialize(from)?).map_err(D::Error::custom)
}

/// As [`text`], where empty text means absent.
pub(crate) fn optional_text<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Ok(Some(text(from)?).filter(|text| !text.is_empty()))
}

/// A list of [`text`]; `null` is empty.
pub(crate) fn texts<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let items = Option::<Vec<Value>>::deserialize(from)?.unwrap_or_default();
    items.iter().map(|item| scalar_text(item).map_err(D::Error::custom)).collect()
}

/// Text by name; `null` is empty.
pub(crate) fn text_map<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, String>, D::Error> {
    let entries = Option::<Map<String, Value>>::deserialize(from)?.unwrap_or_default();
    entries
        .into_iter()
        .map(|(name, value)| Ok((name, scalar_text(&value).map_err(D::Error::custom)?)))
        .collect()
}

/// Values by name, where `null` is a value's default, and that of the whole is empty.
pub(crate) fn named<'de, D, T>(from: D) -> Result<BTreeMap<String, T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    let entries = Option::<BTreeMap<String, Option<T>>>::deserialize(from)?.unwrap_or_default();
    Ok(entries.into_iter().map(|(name, value)| (name, value.unwrap_or_default())).collect())
}

/// Any value, where `null` is its default.
pub(crate) fn or_default<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(from)?.unwrap_or_default())
}

/// A Go duration, as text or as a count of nanoseconds.
pub(crate) fn optional_duration<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    match Value::deserialize(from)? {
        Value::Null => Ok(None),
        Value::Number(nanos) if nanos.is_u64() => Ok(nanos.as_u64().map(Duration::from_nanos)),
        Value::String(text) => duration::parse(&text)
            .map(Some)
            .ok_or_else(|| D::Error::custom(format!("`{text}` is not a duration such as 500ms or 1m30s"))),
        other => Err(D::Error::custom(format!("{other} is not a duration such as 500ms or 1m30s"))),
    }
}

fn scalar_text(value: &Value) -> Result<String, String> {
    match value {
        Value::Null => Ok(String::new()),
        Value::String(text) => Ok(text.clone()),
        Value::Bool(flag) => Ok(flag.to_string()),
        Value::Number(number) => Ok(number_text(number)),
        Value::Array(_) => Err("expected text, found a list".to_owned()),
        Value::Object(_) => Err("expected text, found a mapping".to_owned()),
    }
}

/// Renames keys that differ from a known one only by case. Dapr's JSON reader ignores case, so `secretkeyRef` works
/// there, and a silently ignored secret would be worse here than a tolerant reader.
pub(crate) fn fix_case(map: &mut Map<String, Value>, known: &[&str]) {
    for name in known {
        if map.contains_key(*name) {
            continue;
        }
        let variant = map.keys().find(|key| key.eq_ignore_ascii_case(name)).cloned();
        if let Some(value) = variant.and_then(|key| map.remove(&key)) {
            map.insert((*name).to_owned(), value);
        }
    }
}
