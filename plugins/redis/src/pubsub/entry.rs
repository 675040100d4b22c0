//! A stream's entry as Dapr writes and reads it: the message in `data`, its metadata as JSON in `metadata`.

use std::collections::BTreeMap;

use bytes::Bytes;
use mecha_plugin_api::{CallContext, Metadata};
use redis::{Cmd, Value, cmd};
use serde_json::Value as Json;

use super::metadata::Trim;
use crate::error::Failure;

const DATA: &[u8] = b"data";
const METADATA: &[u8] = b"metadata";
const TRACEPARENT: &str = "traceparent";

/// A message and where it stands in its stream.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) id: String,
    pub(crate) data: Bytes,
    pub(crate) metadata: Metadata,
    /// How often it was delivered before.
    pub(crate) redelivered: u32,
}

/// The command that appends a message; `now` is in milliseconds since 1970, as entry ids are.
pub(crate) fn add(topic: &str, trim: Trim, now: u64, data: &[u8], metadata: &str) -> Cmd {
    let mut command = cmd("XADD");
    command.arg(topic);
    match trim {
        Trim::Nothing => {}
        Trim::Length(length) => {
            command.arg("MAXLEN").arg("~").arg(length);
        }
        Trim::Age(age) => {
            let oldest = u128::from(now).saturating_sub(age.as_millis());
            command.arg("MINID").arg("~").arg(format!("{oldest}-1"));
        }
    }
    command.arg("*").arg(DATA).arg(data).arg(METADATA).arg(metadata);
    command
}

/// The metadata of a message as it lies in its entry: the request's, the message's own over it, and the trace.
pub(crate) fn metadata(context: &CallContext, request: &Metadata, own: &Metadata) -> String {
    let mut pairs: BTreeMap<&str, &str> = BTreeMap::new();
    for (key, value) in request.iter().chain(own.iter()) {
        pairs.insert(key, value);
    }
    let traceparent = context.traceparent();
    if let Some(traceparent) = &traceparent
        && request.get(TRACEPARENT).is_none()
        && own.get(TRACEPARENT).is_none()
    {
        pairs.insert(TRACEPARENT, traceparent);
    }
    escaped(&serde_json::to_string(&pairs).unwrap_or_else(|_| "{}".to_owned()))
}

/// Go's encoder writes these five characters as escapes; they can stand only inside a JSON text's strings.
fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                text.push_str(&format!("\\u{:04x}", u32::from(character)));
            }
            other => text.push(other),
        }
    }
    text
}

/// The entries of an XREADGROUP answer on one stream; nothing new is no entry.
pub(crate) fn from_read(answer: Value) -> Result<Vec<Entry>, Failure> {
    match answer {
        Value::Nil => Ok(Vec::new()),
        Value::Array(streams) => {
            let mut entries = Vec::new();
            for stream in streams {
                let Value::Array(stream) = stream else { return Err(unexpected()) };
                entries.extend(
                    from_list(stream.into_iter().nth(1).unwrap_or(Value::Nil))?.into_iter().flatten(),
                );
            }
            Ok(entries)
        }
        _ => Err(unexpected()),
    }
}

/// The entries of an XCLAIM answer; `None` for one that was deleted from its stream.
pub(crate) fn from_list(answer: Value) -> Result<Vec<Option<Entry>>, Failure> {
    let Value::Array(list) = answer else { return Err(unexpected()) };
    list.into_iter().map(entry).collect()
}

fn entry(value: Value) -> Result<Option<Entry>, Failure> {
    let Value::Array(parts) = value else {
        return if value == Value::Nil { Ok(None) } else { Err(unexpected()) };
    };
    match <[Value; 2]>::try_from(parts) {
        Ok([Value::BulkString(id), Value::Array(fields)]) => {
            let id = String::from_utf8(id).map_err(|_| unexpected())?;
            Ok(Some(from_fields(id, fields)))
        }
        Ok([_, Value::Nil]) => Ok(None),
        _ => Err(unexpected()),
    }
}

fn from_fields(id: String, fields: Vec<Value>) -> Entry {
    let mut entry = Entry { id, data: Bytes::new(), metadata: Metadata::new(), redelivered: 0 };
    if !fields.iter().step_by(2).any(|name| matches!(name, Value::BulkString(name) if name == DATA)) {
        entry.data = as_object(&fields);
    }
    let mut fields = fields.into_iter();
    while let (Some(Value::BulkString(name)), Some(Value::BulkString(value))) = (fields.next(), fields.next())
    {
        match name.as_slice() {
            DATA => entry.data = value.into(),
            METADATA => entry.metadata = read_metadata(&entry.id, &value),
            _ => {}
        }
    }
    entry
}

/// An entry that neither Dapr nor this plugin wrote: its fields as a JSON object.
fn as_object(fields: &[Value]) -> Bytes {
    let text = |value: &Value| match value {
        Value::BulkString(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        _ => None,
    };
    let pair = |pair: &[Value]| Some((text(pair.first()?)?, text(pair.get(1)?)?));
    let object: BTreeMap<String, String> = fields.chunks(2).filter_map(pair).collect();
    serde_json::to_vec(&object).unwrap_or_default().into()
}

fn read_metadata(id: &str, json: &[u8]) -> Metadata {
    let Ok(pairs) = serde_json::from_slice::<BTreeMap<String, Json>>(json) else {
        tracing::warn!(entry = id, "the metadata of a message is no JSON object");
        return Metadata::new();
    };
    let text = |value: Json| match value {
        Json::String(text) => text,
        other => other.to_string(),
    };
    pairs.into_iter().map(|(key, value)| (key, text(value))).collect()
}

fn unexpected() -> Failure {
    Failure::Unexpected("redis answered something else than entries of a stream")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn words(command: &Cmd) -> Vec<String> {
        let text = |argument| match argument {
            redis::Arg::Simple(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            _ => String::new(),
        };
        command.args_iter().map(text).collect()
    }

    #[test]
    fn an_entry_is_written_as_dapr_writes_it() {
        let plain = words(&add("t", Trim::Nothing, 0, b"x", "{}"));
        assert_eq!(plain, ["XADD", "t", "*", "data", "x", "metadata", "{}"]);
        assert_eq!(words(&add("t", Trim::Length(9), 0, b"", "{}"))[2..6], ["MAXLEN", "~", "9", "*"]);
        let aged = add("t", Trim::Age(Duration::from_secs(1)), 5000, b"", "{}");
        assert_eq!(words(&aged)[2..6], ["MINID", "~", "4000-1", "*"]);
    }

    #[test]
    fn metadata_is_sorted_and_escaped_like_gos() {
        let context = CallContext::background("app");
        assert_eq!(metadata(&context, &Metadata::new(), &Metadata::new()), "{}");
        let request = Metadata::from_iter([("rawPayload", "true"), ("b", "<&>")]);
        let own = Metadata::from_iter([("rawPayload", "false"), ("a", "\u{2028}\"")]);
        let expected = r#"{"a":"\u2028\"","b":"\u003c\u0026\u003e","rawPayload":"false"}"#;
        assert_eq!(metadata(&context, &request, &own), expected);
    }

    #[test]
    fn the_calls_trace_goes_along_unless_the_message_has_its_own() {
        let context = CallContext { trace_id: [1; 16], span_id: [2; 8], ..CallContext::background("app") };
        let json = metadata(&context, &Metadata::new(), &Metadata::new());
        assert!(json.contains("\"traceparent\":\"00-0101"), "{json}");
        let own = Metadata::from_iter([("Traceparent", "00-x")]);
        assert_eq!(metadata(&context, &Metadata::new(), &own), r#"{"Traceparent":"00-x"}"#);
    }

    #[test]
    fn an_entry_of_somebody_else_is_an_object_of_its_fields() {
        let fields = ["b", "2", "a", "x"].map(|text| Value::BulkString(text.as_bytes().to_vec())).to_vec();
        assert_eq!(&from_fields("1-0".to_owned(), fields).data[..], br#"{"a":"x","b":"2"}"#);
    }

    #[test]
    fn entries_are_read_and_deleted_ones_told() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let fields = ["metadata", r#"{"a":"1","n":2}"#, "other", "y", "data", "x"].map(text).to_vec();
        let list = Value::Array(vec![
            Value::Array(vec![text("1-0"), Value::Array(fields)]),
            Value::Array(vec![text("2-0"), Value::Nil]),
            Value::Nil,
        ]);
        let entries = from_list(list).unwrap();
        let entry = entries[0].as_ref().unwrap();
        assert_eq!((entry.id.as_str(), &entry.data[..]), ("1-0", &b"x"[..]));
        assert_eq!((entry.metadata.get("a"), entry.metadata.get("n")), (Some("1"), Some("2")));
        assert!(entries[1].is_none() && entries[2].is_none());
        assert!(from_read(Value::Nil).unwrap().is_empty());
        assert!(from_read(Value::Int(1)).is_err());
    }
}
