//! What reads requests, for the fuzzing of it: not part of the interface.

use hyper::Method;

use crate::http::path::Path;
use crate::http::router::Route;

/// Cleans a request's path and finds its route. The cleaned path; `None` for what is no method or no path.
pub fn route(method: &str, path: &str) -> Option<String> {
    let method = Method::from_bytes(method.as_bytes()).ok()?;
    let path = Path::parse(path)?;
    let route = Route::of(&method, &path);
    let _ = (route.part(), route.wants_stream(), route.is_public());
    Some(path.as_str().to_owned())
}
