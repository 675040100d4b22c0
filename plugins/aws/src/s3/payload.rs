//! The JSON of the binding's requests and answers, in Dapr's names, and the text forms of data.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use mecha_plugin_api::{Error, Result};
use serde::{Deserialize, Serialize};

use super::ERROR;

/// The answer to `create`.
#[derive(Serialize)]
pub(crate) struct Created {
    pub(crate) location: String,
    #[serde(rename = "versionID")]
    pub(crate) version_id: Option<String>,
    #[serde(rename = "presignURL", skip_serializing_if = "Option::is_none")]
    pub(crate) presign_url: Option<String>,
}

/// The answer to `presign`.
#[derive(Serialize)]
pub(crate) struct Presigned {
    #[serde(rename = "presignURL")]
    pub(crate) presign_url: String,
}

/// What `list` is asked.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ListRequest {
    pub(crate) marker: String,
    pub(crate) prefix: String,
    pub(crate) max_results: i32,
    pub(crate) delimiter: String,
}

/// What `bulkGet` and `bulkCreate` are asked.
#[derive(Deserialize)]
#[serde(bound = "T: Deserialize<'de>")]
pub(crate) struct BulkRequest<T> {
    #[serde(default = "Vec::new")]
    pub(crate) items: Vec<T>,
    pub(crate) concurrency: Option<i64>,
}

/// An object to get, into a file or into the answer.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GetItem {
    #[serde(default)]
    pub(crate) key: String,
    pub(crate) file_path: Option<String>,
}

/// An object to create, from a file or from the request.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreateItem {
    #[serde(default)]
    pub(crate) key: String,
    pub(crate) data: Option<String>,
    pub(crate) content_type: Option<String>,
    pub(crate) file_path: Option<String>,
}

/// What `bulkDelete` is asked.
#[derive(Deserialize)]
pub(crate) struct DeleteRequest {
    #[serde(default)]
    pub(crate) keys: Vec<String>,
}

/// What became of one object of a bulk operation.
#[derive(Serialize, Default, Clone, PartialEq, Debug)]
pub(crate) struct ItemResult {
    pub(crate) key: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) data: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) location: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) error: String,
}

impl ItemResult {
    /// One that failed.
    pub(crate) fn failed(key: impl Into<String>, error: impl Into<String>) -> Self {
        Self { key: key.into(), error: error.into(), ..Self::default() }
    }
}

/// Reads a request's data.
pub(crate) fn read<'d, T: Deserialize<'d>>(data: &'d [u8], operation: &str) -> Result<T> {
    serde_json::from_slice(data).map_err(|error| {
        Error::invalid(format!("{ERROR}: invalid {operation} payload: {error}")).with_field("data")
    })
}

/// Writes an answer's data.
pub(crate) fn write(answer: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(answer)
        .map_err(|error| Error::internal(format!("{ERROR}: cannot write the answer: {error}")))
}

/// Data that came as a JSON string stands for that string; anything else for itself.
pub(crate) fn unquoted(data: Bytes) -> Bytes {
    if data.len() < 2 || data.first() != Some(&b'"') || data.last() != Some(&b'"') {
        return data;
    }
    match serde_json::from_slice::<String>(&data) {
        Ok(text) => text.into(),
        Err(_) => data,
    }
}

/// Decodes base64 that may be broken into lines.
pub(crate) fn decoded(data: &[u8]) -> Result<Bytes> {
    let has_lines = data.iter().any(|byte| matches!(byte, b'\r' | b'\n'));
    let decoded = match has_lines {
        true => STANDARD
            .decode(data.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect::<Vec<u8>>()),
        false => STANDARD.decode(data),
    };
    let wrong = |error| {
        Error::invalid(format!("{ERROR}: uploading failed: the data is not base64: {error}"))
            .with_field("data")
    };
    decoded.map(Bytes::from).map_err(wrong)
}

/// Encodes as base64.
pub(crate) fn encoded(data: &[u8]) -> String {
    STANDARD.encode(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_json_string_is_unquoted() {
        for (data, expected) in [
            (r#""a\nb""#, "a\nb"),
            ("plain", "plain"),
            (r#"{"a":1}"#, r#"{"a":1}"#),
            (r#""a" and "b""#, r#""a" and "b""#),
            ("\"", "\""),
            ("\"\"", ""),
        ] {
            assert_eq!(unquoted(Bytes::from_static(data.as_bytes())), expected);
        }
    }

    #[test]
    fn base64_may_be_broken_into_lines() {
        assert_eq!(decoded(b"aGVs\r\nbG8=\n").unwrap(), "hello");
        assert_eq!(decoded(b"aGVsbG8=").unwrap(), "hello");
        assert_eq!(decoded(b"no base64!").unwrap_err().field(), Some("data"));
    }

    #[test]
    fn answers_have_daprs_names() {
        let created = Created { location: "l".into(), version_id: None, presign_url: None };
        assert_eq!(write(&created).unwrap(), br#"{"location":"l","versionID":null}"#);
        assert_eq!(write(&ItemResult::failed("k", "e")).unwrap(), br#"{"key":"k","error":"e"}"#);
        let bulk: BulkRequest<GetItem> =
            read(br#"{"items":[{"key":"a","filePath":"/f"}]}"#, "bulkGet").unwrap();
        assert_eq!((bulk.items[0].file_path.as_deref(), bulk.concurrency), (Some("/f"), None));
    }
}
