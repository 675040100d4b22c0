//! Shutdown over HTTP.

use crate::http::request::Request;
use crate::http::response::{Reply, empty};

const FORCE: &str = "dapr-force-shutdown";

pub(crate) fn answer(request: &Request<'_>) -> Reply {
    request.runtime.request_shutdown(request.header(FORCE) == Some("true"));
    empty()
}
