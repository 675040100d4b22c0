//! Requests' paths.

use crate::texts;

/// A method, and the path that it goes to.
pub(crate) fn http_routes(data: &[u8]) {
    let [method, path] = texts(data);
    let Some(cleaned) = mecha_gateway::fuzzing::route(method.trim(), &path) else { return };
    let again = mecha_gateway::fuzzing::route(method.trim(), &cleaned);
    assert_eq!(again.as_deref(), Some(cleaned.as_str()), "a cleaned path is clean");
}
