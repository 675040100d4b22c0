//! An answer before it becomes HTTP.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use serde::Serialize;

use crate::error::ApiError;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// Status, headers and body.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// 204: success without a body.
pub(crate) fn empty() -> Reply {
    Reply { status: StatusCode::NO_CONTENT, headers: HeaderMap::new(), body: Bytes::new() }
}

impl Reply {
    pub(crate) fn json(status: StatusCode, body: Bytes) -> Self {
        let mut headers = HeaderMap::with_capacity(4);
        headers.insert(CONTENT_TYPE, JSON);
        Self { status, headers, body }
    }

    /// A value as JSON.
    pub(crate) fn of<T: Serialize>(value: &T) -> Self {
        // The values of this crate are maps of strings, which always become JSON.
        Self::json(StatusCode::OK, serde_json::to_vec(value).unwrap_or_default().into())
    }

    pub(crate) fn text(status: StatusCode, text: &'static str) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, TEXT);
        Self { status, headers, body: Bytes::from_static(text.as_bytes()) }
    }

    pub(crate) fn error(error: &ApiError) -> Self {
        Self::json(error.http, error.json())
    }

    /// Adds a header; one that HTTP cannot carry is left out.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            self.headers.insert(name, value);
        }
        self
    }
}
