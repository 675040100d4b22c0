//! An answer before it becomes HTTP.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Response, StatusCode};
use mecha_plugin_api::Metadata;
use serde::Serialize;

use super::body::{Body, ResponseBody};
use crate::error::ApiError;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// Status, headers and body.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
}

/// 204: success without a body.
pub(crate) fn empty() -> Reply {
    Reply { status: StatusCode::NO_CONTENT, headers: HeaderMap::new(), body: Body::Whole(Bytes::new()) }
}

impl Reply {
    pub(crate) fn json(status: StatusCode, body: Bytes) -> Self {
        let mut headers = HeaderMap::with_capacity(4);
        headers.insert(CONTENT_TYPE, JSON);
        Self { status, headers, body: Body::Whole(body) }
    }

    /// A value as JSON.
    pub(crate) fn of<T: Serialize>(value: &T) -> Self {
        // The values of this crate are maps of strings, which always become JSON.
        Self::json(StatusCode::OK, serde_json::to_vec(value).unwrap_or_default().into())
    }

    pub(crate) fn text(status: StatusCode, text: impl Into<Bytes>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, TEXT);
        Self { status, headers, body: Body::Whole(text.into()) }
    }

    pub(crate) fn error(error: &ApiError) -> Self {
        let mut reply = Self::json(error.http, error.json());
        reply.metadata(&error.metadata);
        reply
    }

    /// Sets a header; a value that HTTP cannot carry is left out.
    pub(crate) fn header(&mut self, name: &'static str, value: &str) {
        if let Ok(value) = HeaderValue::try_from(value) {
            self.headers.insert(HeaderName::from_static(name), value);
        }
    }

    /// Sets a header for each pair, `metadata.<key>`; what HTTP cannot carry is left out.
    pub(crate) fn metadata(&mut self, metadata: &Metadata) {
        for (key, value) in metadata.iter() {
            let name = HeaderName::try_from(format!("metadata.{key}"));
            if let (Ok(name), Ok(value)) = (name, HeaderValue::try_from(value)) {
                self.headers.insert(name, value);
            }
        }
    }

    pub(crate) fn into_response(self) -> Response<ResponseBody> {
        let mut response = Response::new(self.body.into_response_body());
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}
