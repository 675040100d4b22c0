//! An event as conditions see it: a map whose numbers are doubles.

use std::collections::HashMap;
use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use cel::Value;
use cel::objects::{Key, Map};

use super::RoutingError;
use super::check::Needs;
use crate::Event;
use crate::event::FieldValue;
use crate::field;
use crate::tree::{self, Tree};

/// The fields of an event that conditions look at; what they do not name is not even read.
pub(super) fn of_event(event: &Event<'_>, needs: &Needs) -> Result<Value, RoutingError> {
    let mut fields: HashMap<Key, Value> = HashMap::new();
    for (name, value) in event.values().filter(|(name, _)| needs.has(name)) {
        let value = match value {
            FieldValue::Json(json) => tree::read(json)
                .map_err(|error| RoutingError::Field { field: name.to_owned(), reason: error.to_string() })?,
            FieldValue::Text(text) => Value::from(text),
            // In an envelope that was made here the data is base64, as the application will see it.
            FieldValue::Bytes(bytes) if name == field::DATA_BASE64 => Value::from(STANDARD.encode(bytes)),
            FieldValue::Bytes(bytes) => Value::from(bytes.to_vec()),
        };
        fields.insert(Key::from(name), value);
    }
    Ok(Value::Map(Map { map: Arc::new(fields) }))
}

impl Tree for Value {
    fn null() -> Self {
        Self::Null
    }

    fn boolean(value: bool) -> Self {
        Self::Bool(value)
    }

    fn number(value: f64) -> Self {
        Self::Float(value)
    }

    fn text(value: String) -> Self {
        Self::from(value)
    }

    fn list(items: Vec<Self>) -> Self {
        Self::List(Arc::new(items))
    }

    fn map(entries: Vec<(String, Self)>) -> Self {
        let entries = entries.into_iter().map(|(key, value)| (Key::from(key), value));
        Self::Map(Map { map: Arc::new(entries.collect()) })
    }
}
