//! A metadata value of any YAML or JSON type → the text that a plugin sees.

use serde_json::Value;

use crate::yaml::number_text;

/// The text of a metadata value, by the rules of Dapr's `DynamicValue`: text as it is, `null` as no value, everything
/// else as compact JSON.
#[must_use]
pub fn dynamic_text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) => Some(number_text(number)),
        Value::Array(_) | Value::Object(_) => {
            let mut text = String::new();
            write_json(value, &mut text);
            Some(text)
        }
    }
}

fn write_json(value: &Value, into: &mut String) {
    match value {
        Value::Array(items) => {
            into.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    into.push(',');
                }
                write_json(item, into);
            }
            into.push(']');
        }
        Value::Object(map) => {
            into.push('{');
            for (index, (name, item)) in map.iter().enumerate() {
                if index > 0 {
                    into.push(',');
                }
                write_string(name, into);
                into.push(':');
                write_json(item, into);
            }
            into.push('}');
        }
        Value::String(text) => write_string(text, into),
        Value::Number(number) => into.push_str(&number_text(number)),
        Value::Null | Value::Bool(_) => into.push_str(&value.to_string()),
    }
}

/// Go's JSON writer also escapes what HTML and JavaScript would trip over; a plugin that compares text sees it.
fn write_string(text: &str, into: &mut String) {
    for c in Value::from(text).to_string().chars() {
        match c {
            '<' => into.push_str("\\u003c"),
            '>' => into.push_str("\\u003e"),
            '&' => into.push_str("\\u0026"),
            '\u{2028}' => into.push_str("\\u2028"),
            '\u{2029}' => into.push_str("\\u2029"),
            other => into.push(other),
        }
    }
}

/// The text of a value that came from a secret store or the environment. Dapr passes those through the same unquoting
/// as values from a file, so that `"abc"` with its quotes becomes `abc`.
pub(crate) fn unquoted(text: String) -> String {
    let bytes = text.as_bytes();
    let inner = match bytes {
        [b'"', .., b'"'] => serde_json::from_str(&text).ok(),
        [b'`', inner @ .., b'`'] if !inner.contains(&b'`') => Some(text[1..text.len() - 1].replace('\r', "")),
        _ => None,
    };
    inner.unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn prints_values_as_dapr_does() {
        for (value, text) in [
            (json!("a \"b\""), "a \"b\""),
            (json!(true), "true"),
            (json!(3.0), "3"),
            (json!({"b": [1, 2.5], "a": "<x>"}), r#"{"a":"\u003cx\u003e","b":[1,2.5]}"#),
            (json!([]), "[]"),
        ] {
            assert_eq!(dynamic_text(&value).as_deref(), Some(text));
        }
        assert_eq!(dynamic_text(&Value::Null), None);
    }

    #[test]
    fn unquotes_as_go_does() {
        for (given, expected) in [
            ("\"a\\nb\"", "a\nb"),
            ("`a\\n`", "a\\n"),
            ("\"", "\""),
            ("`", "`"),
            ("a\"b\"", "a\"b\""),
            ("", ""),
        ] {
            assert_eq!(unquoted(given.to_owned()), expected);
        }
    }
}
