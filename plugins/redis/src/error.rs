//! What can go wrong with a command, and the kind of error that each becomes at the boundary.

use mecha_plugin_api::{Error, ErrorKind};
use redis::{RedisError, ServerError};

use crate::metadata::Address;

/// Why a command gave no answer that can be used.
#[derive(Debug)]
pub(crate) enum Failure {
    /// There was no connection, so nothing was sent.
    Unreachable(Error),
    /// The connection broke or the answer did not come in time; the command may have taken effect.
    Interrupted(RedisError),
    /// The server answered with an error.
    Refused(ServerError),
    /// The server answered something that this command cannot answer.
    Unexpected(&'static str),
}

impl Failure {
    /// The code of the server's error, e.g. `WRONGTYPE`.
    pub(crate) fn code(&self) -> Option<&str> {
        match self {
            Self::Refused(error) => Some(error.code()),
            Self::Unreachable(_) | Self::Interrupted(_) | Self::Unexpected(_) => None,
        }
    }

    /// What `error.type` of a span says; holds no key and no value.
    pub(crate) fn type_name(&self) -> &str {
        match self {
            Self::Refused(error) => error.code(),
            Self::Interrupted(error) if error.is_timeout() => "timeout",
            Self::Unreachable(_) | Self::Interrupted(_) => "connection",
            Self::Unexpected(_) => "unexpected_reply",
        }
    }

    /// The text of the server's error as it came over the wire, without the leading minus.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Refused(error) => match error.details() {
                Some(details) => format!("{} {details}", error.code()),
                None => error.code().to_owned(),
            },
            Self::Unreachable(error) => error.message().to_owned(),
            Self::Interrupted(error) if error.is_timeout() => "redis did not answer in time".to_owned(),
            Self::Interrupted(error) => format!("the connection to redis broke: {error}"),
            Self::Unexpected(what) => (*what).to_owned(),
        }
    }

    fn kind(&self) -> ErrorKind {
        match self {
            Self::Refused(error) => refusal_kind(error.code()),
            Self::Unreachable(error) => error.kind(),
            Self::Interrupted(error) if error.is_timeout() => ErrorKind::TIMEOUT,
            Self::Interrupted(_) => ErrorKind::UNAVAILABLE,
            Self::Unexpected(_) => ErrorKind::INTERNAL,
        }
    }

    /// The error for the caller, its message led by `context` unless that is empty.
    pub(crate) fn into_error(self, context: &str) -> Error {
        let text = self.text();
        Error::new(self.kind(), if context.is_empty() { text } else { format!("{context}: {text}") })
    }
}

/// Codes of a server that cannot serve now but will, and of one that refuses this user; the rest has no better kind.
fn refusal_kind(code: &str) -> ErrorKind {
    match code {
        "LOADING" | "BUSY" | "READONLY" | "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN" | "NOREPLICAS" => {
            ErrorKind::UNAVAILABLE
        }
        "NOAUTH" | "WRONGPASS" | "NOPERM" => ErrorKind::DENIED,
        _ => ErrorKind::INTERNAL,
    }
}

/// Why a connection could not be made; `password_field` is the field that holds the password it was tried with.
pub(crate) fn connect_error(server: &Address, error: &RedisError, password_field: &'static str) -> Error {
    let text = error.to_string();
    let kind = match error.kind() {
        redis::ErrorKind::AuthenticationFailed => ErrorKind::DENIED,
        _ if text.contains("DB index is out of range") => ErrorKind::INVALID,
        _ => error.code().map_or(ErrorKind::UNAVAILABLE, connect_refusal_kind),
    };
    let error = Error::new(kind, format!("cannot connect to redis at {server}: {text}"));
    match kind {
        ErrorKind::DENIED => error.with_field(password_field),
        ErrorKind::INVALID => error.with_field("redisDB"),
        _ => error,
    }
}

/// A refusal while connecting passes by (too many clients, loading) unless it is about the user or the database.
fn connect_refusal_kind(code: &str) -> ErrorKind {
    match refusal_kind(code) {
        ErrorKind::DENIED => ErrorKind::DENIED,
        _ => ErrorKind::UNAVAILABLE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_follow_the_servers_code() {
        assert_eq!(refusal_kind("LOADING"), ErrorKind::UNAVAILABLE);
        assert_eq!(refusal_kind("NOPERM"), ErrorKind::DENIED);
        assert_eq!(refusal_kind("ERR"), ErrorKind::INTERNAL);
        assert_eq!(connect_refusal_kind("ERR"), ErrorKind::UNAVAILABLE);
        assert_eq!(connect_refusal_kind("WRONGPASS"), ErrorKind::DENIED);
    }

    #[test]
    fn a_late_answer_is_a_timeout_and_a_broken_connection_is_not() {
        let late = RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut));
        assert_eq!(Failure::Interrupted(late).into_error("").kind(), ErrorKind::TIMEOUT);
        let broken = RedisError::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        let error = Failure::Interrupted(broken).into_error("failed to set key k");
        assert_eq!(error.kind(), ErrorKind::UNAVAILABLE);
        assert!(error.is_retriable());
        assert!(error.message().starts_with("failed to set key k: "));
    }
}
