//! Reads a stored value: the command and what its answer means.

use mecha_plugin_api::state::StateItem;
use mecha_plugin_api::{Buf, Metadata, ROption, RString};
use redis::{Cmd, Value};

use crate::error::Failure;

/// The command's name: only the two fields that make up a value, so that a hash with other fields costs nothing.
pub(crate) const READ: &str = "HMGET";

/// The command that reads the value under `key`.
pub(crate) fn read_command(key: &str) -> Cmd {
    let mut command = Cmd::with_capacity(4, key.len() + 16);
    command.arg(READ).arg(key).arg("data").arg("version");
    command
}

/// The answer to [`read_command`].
pub(crate) fn from_fields(answer: Value) -> Result<Option<StateItem>, Failure> {
    let fields = match answer {
        Value::Array(fields) => fields,
        Value::ServerError(error) => return Err(Failure::Refused(error)),
        _ => return Err(Failure::Unexpected("redis answered HMGET with something else than two fields")),
    };
    let mut fields = fields.into_iter();
    match (fields.next(), fields.next()) {
        (Some(Value::BulkString(data)), Some(Value::BulkString(version))) => {
            Ok(Some(item(data, ROption::RSome(etag(version)?))))
        }
        (Some(Value::Nil), Some(Value::Nil)) => Ok(None),
        _ => Err(Failure::Unexpected("required hash field 'data' or 'version' was not found")),
    }
}

/// The answer to GET on a key that holds a plain string.
pub(crate) fn from_plain(answer: Value) -> Result<Option<StateItem>, Failure> {
    match answer {
        Value::BulkString(data) => Ok(Some(item(data, ROption::RNone))),
        Value::Nil => Ok(None),
        Value::ServerError(error) => Err(Failure::Refused(error)),
        _ => Err(Failure::Unexpected("redis answered GET with something else than a string")),
    }
}

fn item(data: Vec<u8>, etag: ROption<RString>) -> StateItem {
    StateItem { value: Buf::from(data), etag, metadata: Metadata::new() }
}

fn etag(version: Vec<u8>) -> Result<RString, Failure> {
    match String::from_utf8(version) {
        Ok(version) => Ok(version.into()),
        Err(_) => Err(Failure::Unexpected("hash field 'version' is not text")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn two_fields_make_a_value() {
        let item = from_fields(Value::Array(vec![bulk("{}"), bulk("7")])).unwrap().unwrap();
        assert_eq!(&item.value[..], b"{}");
        assert_eq!(item.etag.as_ref().map(RString::as_str).into_option(), Some("7"));
    }

    #[test]
    fn no_field_is_no_value_and_one_field_is_an_error() {
        assert!(from_fields(Value::Array(vec![Value::Nil, Value::Nil])).unwrap().is_none());
        assert!(from_fields(Value::Array(vec![bulk("x"), Value::Nil])).is_err());
        assert!(from_fields(Value::Array(vec![Value::Nil, bulk("1")])).is_err());
        assert!(from_fields(Value::Okay).is_err());
    }
}
