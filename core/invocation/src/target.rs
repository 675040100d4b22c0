//! What an id stands for: an application, an endpoint that a resource names, or a URL.

use crate::error::InvokeError;
use crate::resolve::AppName;

/// Whether an id is a URL.
pub(crate) fn is_url(id: &str) -> bool {
    id.starts_with("http://") || id.starts_with("https://")
}

/// An id with or without a namespace.
pub(crate) fn app_name(id: &str, own_namespace: &str) -> Result<AppName, InvokeError> {
    let (id, namespace) = match id.split_once('.') {
        None => (id, own_namespace),
        Some((_, namespace)) if namespace.contains('.') => return Err(InvokeError::AppId(id.to_owned())),
        Some((id, namespace)) => (id, namespace),
    };
    Ok(AppName { id: id.to_owned(), namespace: namespace.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_may_name_a_namespace() {
        let name = |id: &str, namespace: &str| AppName { id: id.into(), namespace: namespace.into() };
        assert_eq!(app_name("a", "own").unwrap(), name("a", "own"));
        assert_eq!(app_name("a.b", "own").unwrap(), name("a", "b"));
        assert_eq!(app_name("a.b.c", "own").unwrap_err().to_string(), "invalid app id a.b.c");
        assert!(is_url("https://x") && !is_url("httpx"));
    }
}
