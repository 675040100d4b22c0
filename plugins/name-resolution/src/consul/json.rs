//! Settings in JSON as Dapr reads them: names of fields in any case, wrong types refused by name.

use std::time::Duration;

use mecha_plugin_api::{ComponentSpec, Error, Result, parse_duration};
use serde_json::{Map, Value};

/// A setting that is no text; `None` when it is absent or `null`.
pub(super) fn setting(spec: &ComponentSpec, field: &str) -> Result<Option<Value>> {
    let Some(text) = spec.text(field) else { return Ok(None) };
    let value: Value = serde_json::from_str(text).map_err(|error| {
        Error::invalid(format!("error deserializing to configSpec: {error}")).with_field(field)
    })?;
    Ok((!value.is_null()).then_some(value))
}

/// An object whose fields are looked up in any case.
#[derive(Clone, Default)]
pub(super) struct Object {
    /// The setting that it is.
    name: String,
    fields: Map<String, Value>,
}

impl Object {
    /// The setting `field`; empty when there is none.
    pub(super) fn read(spec: &ComponentSpec, field: &str) -> Result<Option<Self>> {
        setting(spec, field)?.map(|value| Self::of(field, value)).transpose()
    }

    fn of(name: &str, value: Value) -> Result<Self> {
        match value {
            Value::Object(fields) => Ok(Self { name: name.to_owned(), fields }),
            _ => Err(wrong(name, "an object")),
        }
    }

    fn get(&self, field: &str) -> Option<(String, &Value)> {
        let found = self.fields.iter().find(|(name, _)| name.eq_ignore_ascii_case(field));
        found
            .filter(|(_, value)| !value.is_null())
            .map(|(_, value)| (format!("{}.{field}", self.name), value))
    }

    pub(super) fn object(&self, field: &str) -> Result<Self> {
        let Some((name, value)) = self.get(field) else { return Ok(Self::default()) };
        Self::of(&name, value.clone())
    }

    /// Text; `None` when it is empty.
    pub(super) fn text(&self, field: &str) -> Result<Option<String>> {
        match self.get(field) {
            None => Ok(None),
            Some((_, Value::String(text))) => Ok((!text.is_empty()).then(|| text.clone())),
            Some((name, _)) => Err(wrong(&name, "a text")),
        }
    }

    pub(super) fn flag(&self, field: &str) -> Result<bool> {
        match self.get(field) {
            None => Ok(false),
            Some((_, Value::Bool(flag))) => Ok(*flag),
            Some((_, Value::String(text))) if text == "true" || text == "false" => Ok(text == "true"),
            Some((name, _)) => Err(wrong(&name, "true or false")),
        }
    }

    pub(super) fn number(&self, field: &str) -> Result<u64> {
        match self.get(field) {
            None => Ok(0),
            Some((name, value)) => value.as_u64().ok_or_else(|| wrong(&name, "a number")),
        }
    }

    /// A duration in nanoseconds, as Go writes it, or as text.
    pub(super) fn duration(&self, field: &str) -> Result<Option<Duration>> {
        let Some((name, value)) = self.get(field) else { return Ok(None) };
        let duration = match value {
            Value::Number(number) => number.as_u64().map(Duration::from_nanos),
            Value::String(text) => parse_duration(text),
            _ => None,
        };
        let duration = duration.ok_or_else(|| wrong(&name, "a duration"))?;
        Ok((!duration.is_zero()).then_some(duration))
    }

    /// Pairs of texts.
    pub(super) fn pairs(&self, field: &str) -> Result<Vec<(String, String)>> {
        let Some((name, value)) = self.get(field) else { return Ok(Vec::new()) };
        let Value::Object(fields) = value else { return Err(wrong(&name, "an object")) };
        let pairs = fields.iter().map(|(key, value)| {
            let text = value.as_str().ok_or_else(|| wrong(&format!("{name}.{key}"), "a text"))?;
            Ok((key.clone(), text.to_owned()))
        });
        pairs.collect()
    }

    /// As it was written.
    pub(super) fn into_fields(self) -> Map<String, Value> {
        self.fields
    }
}

pub(super) fn wrong(field: &str, expected: &str) -> Error {
    Error::invalid(format!("error deserializing to configSpec: {field} must be {expected}")).with_field(field)
}
