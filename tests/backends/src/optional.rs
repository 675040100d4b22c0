//! What a machine may lack: said clearly there, an error in CI.

use std::env;

use crate::error::{BackendError, Result};

/// A back end that this machine may do without, or none, and a line about it, where its program cannot be had. With `CI=true`
/// that is an error: CI must skip nothing.
pub fn optional<T>(started: Result<T>) -> Result<Option<T>> {
    let must_have = env::var("CI").as_deref() == Ok("true");
    match started {
        Err(error @ BackendError::Missing { .. }) if !must_have => {
            eprintln!("skipped: {error}");
            Ok(None)
        }
        started => started.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_cannot_be_had_is_optional_and_not_in_ci() {
        let missing = BackendError::Missing { program: "x", package: "y", hint: "z".to_owned() };
        let is_ci = env::var("CI").as_deref() == Ok("true");
        assert_eq!(optional::<()>(Err(missing)).is_err(), is_ci);
        assert!(optional::<()>(Err(BackendError::NoPort { tries: 1 })).is_err());
        assert_eq!(optional(Ok(1)).unwrap(), Some(1));
    }
}
