//! The one error type that crosses the boundary.

use std::fmt;

use abi_stable::StableAbi;
use abi_stable::std_types::{ROption, RString};

use crate::Metadata;

/// What went wrong, as the caller must treat it. New kinds may be added; an unknown one counts as [`ErrorKind::INTERNAL`].
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ErrorKind(pub u8);

impl ErrorKind {
    /// The plugin failed in a way that has no better kind.
    pub const INTERNAL: Self = Self(0);
    /// What was asked for does not exist.
    pub const NOT_FOUND: Self = Self(1);
    /// The stored etag differs from the one given.
    pub const ETAG_MISMATCH: Self = Self(2);
    /// The etag given cannot be one of this store's.
    pub const ETAG_INVALID: Self = Self(3);
    /// The request or the component's metadata is wrong; the message names the field.
    pub const INVALID: Self = Self(4);
    /// The back end cannot be reached now.
    pub const UNAVAILABLE: Self = Self(5);
    /// The back end asks for fewer calls.
    pub const THROTTLED: Self = Self(6);
    /// The deadline passed.
    pub const TIMEOUT: Self = Self(7);
    /// The component does not offer this operation.
    pub const UNSUPPORTED: Self = Self(8);
    /// The back end refused the credentials or the right.
    pub const DENIED: Self = Self(9);
    /// The plugin panicked; set by the boundary, never by a plugin.
    pub const PANIC: Self = Self(10);

    /// The kind's name in logs, spans and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::NOT_FOUND => "not_found",
            Self::ETAG_MISMATCH => "etag_mismatch",
            Self::ETAG_INVALID => "etag_invalid",
            Self::INVALID => "invalid",
            Self::UNAVAILABLE => "unavailable",
            Self::THROTTLED => "throttled",
            Self::TIMEOUT => "timeout",
            Self::UNSUPPORTED => "unsupported",
            Self::DENIED => "denied",
            Self::PANIC => "panic",
            _ => "internal",
        }
    }
}

/// A failed call: kind, message and whether trying again can help.
///
/// Messages reach logs and clients: no secret may stand in them.
#[repr(C)]
#[derive(StableAbi, Clone, PartialEq)]
pub struct Error {
    kind: ErrorKind,
    retriable: bool,
    message: RString,
    /// The metadata field or request part that is wrong, when there is one.
    field: ROption<RString>,
    /// What else is known about the failure.
    details: Metadata,
}

/// A plugin call's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind`. [`ErrorKind::UNAVAILABLE`], [`ErrorKind::THROTTLED`] and [`ErrorKind::TIMEOUT`] start out as retriable.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let retriable = matches!(kind, ErrorKind::UNAVAILABLE | ErrorKind::THROTTLED | ErrorKind::TIMEOUT);
        Self {
            kind,
            retriable,
            message: message.into().into(),
            field: ROption::RNone,
            details: Metadata::new(),
        }
    }

    /// An error without a better kind.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::INTERNAL, message)
    }

    /// A wrong request or wrong component metadata.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::INVALID, message)
    }

    /// A back end that cannot be reached.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::UNAVAILABLE, message)
    }

    /// An operation that the component does not offer.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::UNSUPPORTED, message)
    }

    /// Names the metadata field or request part that is wrong.
    #[must_use]
    pub fn with_field(mut self, field: impl Into<String>) -> Self {
        self.field = ROption::RSome(field.into().into());
        self
    }

    /// Says whether trying again can help.
    #[must_use]
    pub fn with_retriable(mut self, retriable: bool) -> Self {
        self.retriable = retriable;
        self
    }

    /// Adds what else is known about the failure, such as the status that a server answered. An output binding's details
    /// reach the caller as response metadata.
    #[must_use]
    pub fn with_details(mut self, details: Metadata) -> Self {
        self.details = details;
        self
    }

    /// How the caller must treat it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether trying again can help.
    pub fn is_retriable(&self) -> bool {
        self.retriable
    }

    /// The message, lower case, without a full stop.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What else is known about the failure.
    pub fn details(&self) -> &Metadata {
        &self.details
    }

    /// The field that is wrong, if one is.
    pub fn field(&self) -> Option<&str> {
        self.field.as_ref().map(RString::as_str).into()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field() {
            Some(field) => write!(f, "{field}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {self}", self.kind.name())
    }
}

impl std::error::Error for Error {}
