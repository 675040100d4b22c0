//! Showing a value without showing a secret.

use std::fmt;

/// What stands in place of a secret.
pub const REDACTED: &str = "***";

/// Parts of metadata names whose values are secrets even when a file states them in plain.
const SECRET_NAMES: [&str; 11] = [
    "password",
    "passwd",
    "secret",
    "token",
    "apikey",
    "accesskey",
    "accountkey",
    "privatekey",
    "encryptionkey",
    "connectionstring",
    "credential",
];

/// Whether a metadata entry of this name holds a secret, judged by the name alone.
#[must_use]
pub fn names_a_secret(name: &str) -> bool {
    let letters: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    let letters = letters.to_ascii_lowercase();
    SECRET_NAMES.iter().any(|part| letters.contains(part))
}

/// A value that prints as [`REDACTED`] when it is a secret, in `Display` and in `Debug`.
#[derive(Clone, Copy)]
pub struct Redacted<'a> {
    value: &'a str,
    secret: bool,
}

impl<'a> Redacted<'a> {
    /// Wraps a value; `secret` says whether to hide it.
    #[must_use]
    pub fn new(value: &'a str, secret: bool) -> Self {
        Self { value, secret }
    }

    fn shown(&self) -> &'a str {
        if self.secret { REDACTED } else { self.value }
    }
}

impl fmt::Display for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.shown())
    }
}

impl fmt::Debug for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.shown(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn judges_names() {
        for name in ["redisPassword", "access-key", "primaryEncryptionKey", "SAS_TOKEN", "connectionString"] {
            assert!(names_a_secret(name), "{name}");
        }
        for name in ["redisHost", "keyPrefix", "actorStateStore", "ttlInSeconds"] {
            assert!(!names_a_secret(name), "{name}");
        }
    }
}
