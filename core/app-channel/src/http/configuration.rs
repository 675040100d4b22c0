//! Changes of configuration over HTTP.

use bytes::Bytes;
use http::Method;
use http::header::CONTENT_TYPE;
use mecha_observability::Propagated;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{HttpApp, JSON, success};
use crate::error::AppError;

/// What stands in a path as it is; as in Dapr a key with slashes is several segments.
const KEY: AsciiSet =
    NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/').remove(b':');

impl HttpApp {
    /// Tells of a changed item.
    ///
    /// # Errors
    /// [`AppError`].
    pub async fn configuration_changed(
        &self,
        store: &str,
        key: &str,
        body: Bytes,
        trace: &Propagated,
    ) -> Result<(), AppError> {
        let key = utf8_percent_encode(key, &KEY);
        let mut headers = self.0.headers(trace);
        headers.insert(CONTENT_TYPE, JSON);
        let answer = self.send(Method::POST, &format!("/configuration/{store}/{key}"), headers, body).await?;
        success(answer).map(drop)
    }
}
