//! The block's errors: a store's failure as the caller is told of it.

use http::StatusCode;
use mecha_plugin_api::{Error, ErrorKind};
use mecha_runtime::{CallError, PutError};
use tonic::Code;

use crate::error::ApiError;

const CATEGORY: &str = "objects";

/// A failure, and what HTTP has its own words for.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) error: ApiError,
    pub(super) why: Why,
}

/// What HTTP has its own words for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The object is not the one that `If-Match` names.
    Changed,
    /// The object is one that `If-None-Match` names: its etag.
    Unchanged(String),
    /// None of the range lies in the object: its size.
    Range(String),
    Other,
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self { error, why: Why::Other }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        refusal.error
    }
}

/// A request that cannot be.
pub(super) fn invalid(message: impl Into<String>) -> ApiError {
    error("ERR_OBJECT_INVALID", StatusCode::BAD_REQUEST, Code::InvalidArgument, message.into())
}

/// An object that did not come whole.
pub(super) fn incomplete(message: impl Into<String>) -> ApiError {
    error("ERR_OBJECT_INCOMPLETE", StatusCode::BAD_REQUEST, Code::InvalidArgument, message.into())
}

pub(super) fn not_configured() -> ApiError {
    let (http, grpc) = (StatusCode::INTERNAL_SERVER_ERROR, Code::FailedPrecondition);
    error("ERR_OBJECT_STORE_NOT_CONFIGURED", http, grpc, "object store is not configured".to_owned())
}

pub(super) fn not_found(store: &str) -> ApiError {
    let (http, grpc) = (StatusCode::BAD_REQUEST, Code::InvalidArgument);
    error("ERR_OBJECT_STORE_NOT_FOUND", http, grpc, format!("object store {store} not found"))
}

/// What a put came to.
pub(super) fn of_put(what: &str, failure: PutError) -> Refusal {
    match failure {
        PutError::Store(failure) => of_call(what, &failure),
        PutError::BrokenOff(_) | PutError::Size { .. } => incomplete(format!("{what}: {failure}")).into(),
    }
}

/// A store's failure; `what` says what was being done.
pub(super) fn of_call(what: &str, failure: &CallError) -> Refusal {
    let message = format!("{what}: {failure}");
    match failure {
        CallError::Plugin { error, .. } => {
            let (code, http, grpc) = codes(error);
            Refusal { error: self::error(code, http, grpc, message), why: why(error) }
        }
        CallError::Gone { .. } => {
            let (http, grpc) = (StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable);
            error("ERR_OBJECT_STORE_UNAVAILABLE", http, grpc, message).into()
        }
        CallError::Timeout { .. } | CallError::Policy { .. } => {
            let (http, grpc) = (StatusCode::GATEWAY_TIMEOUT, Code::DeadlineExceeded);
            error("ERR_OBJECT_STORE_TIMEOUT", http, grpc, message).into()
        }
    }
}

fn codes(error: &Error) -> (&'static str, StatusCode, Code) {
    match error.kind() {
        ErrorKind::NOT_FOUND => ("ERR_OBJECT_NOT_FOUND", StatusCode::NOT_FOUND, Code::NotFound),
        ErrorKind::ETAG_MISMATCH => {
            ("ERR_OBJECT_PRECONDITION_FAILED", StatusCode::PRECONDITION_FAILED, Code::Aborted)
        }
        ErrorKind::INVALID if error.field() == Some("range") => {
            ("ERR_OBJECT_RANGE", StatusCode::RANGE_NOT_SATISFIABLE, Code::OutOfRange)
        }
        ErrorKind::INVALID | ErrorKind::ETAG_INVALID => {
            ("ERR_OBJECT_INVALID", StatusCode::BAD_REQUEST, Code::InvalidArgument)
        }
        ErrorKind::DENIED => ("ERR_OBJECT_DENIED", StatusCode::FORBIDDEN, Code::PermissionDenied),
        ErrorKind::UNSUPPORTED => {
            ("ERR_OBJECT_UNSUPPORTED", StatusCode::NOT_IMPLEMENTED, Code::Unimplemented)
        }
        ErrorKind::THROTTLED => {
            ("ERR_OBJECT_STORE_THROTTLED", StatusCode::TOO_MANY_REQUESTS, Code::ResourceExhausted)
        }
        ErrorKind::UNAVAILABLE => {
            ("ERR_OBJECT_STORE_UNAVAILABLE", StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable)
        }
        ErrorKind::TIMEOUT => {
            ("ERR_OBJECT_STORE_TIMEOUT", StatusCode::GATEWAY_TIMEOUT, Code::DeadlineExceeded)
        }
        _ => ("ERR_OBJECT_STORE", StatusCode::INTERNAL_SERVER_ERROR, Code::Internal),
    }
}

fn why(error: &Error) -> Why {
    let detail = |name| error.details().get(name).unwrap_or_default().to_owned();
    match (error.kind(), error.field()) {
        (ErrorKind::ETAG_MISMATCH, Some("ifMatch")) => Why::Changed,
        (ErrorKind::ETAG_MISMATCH, Some("ifNoneMatch")) => Why::Unchanged(detail("etag")),
        (ErrorKind::INVALID, Some("range")) => Why::Range(detail("size")),
        _ => Why::Other,
    }
}

fn error(code: &'static str, http: StatusCode, grpc: Code, message: String) -> ApiError {
    ApiError::basic(code, CATEGORY, http, grpc, message)
}

#[cfg(test)]
mod tests {
    use mecha_plugin_api::object::{ByteRange, Conditions};

    use super::*;

    fn refused(error: Error) -> (u16, &'static str, Why) {
        let refusal = of_call("get a", &CallError::Plugin { component: "files".into(), error });
        (refusal.error.http.as_u16(), refusal.error.code, refusal.why)
    }

    #[test]
    fn what_the_boundary_says_of_ranges_and_conditions_becomes_http() {
        let range = ByteRange { first: Some(9).into(), last: None.into() }.within(3).unwrap_err();
        assert_eq!(refused(range), (416, "ERR_OBJECT_RANGE", Why::Range("3".into())));
        let any = Conditions { if_none_match: vec!["*".into()].into(), ..Conditions::default() };
        let unchanged = (412, "ERR_OBJECT_PRECONDITION_FAILED", Why::Unchanged("e".into()));
        assert_eq!(refused(any.check(Some("e")).unwrap_err()), unchanged);
        let other = Conditions { if_match: vec!["f".into()].into(), ..Conditions::default() };
        let changed = (412, "ERR_OBJECT_PRECONDITION_FAILED", Why::Changed);
        assert_eq!(refused(other.check(Some("e")).unwrap_err()), changed);
    }

    #[test]
    fn what_may_be_tried_again_is_no_internal_error() {
        assert_eq!(refused(Error::unavailable("down")).0, 503);
        assert_eq!(refused(Error::new(ErrorKind::THROTTLED, "slow down")).0, 429);
        assert_eq!(refused(Error::internal("oops")).0, 500);
        let gone = of_call("get a", &CallError::Gone { component: "files".into() });
        assert_eq!(gone.error.http, StatusCode::SERVICE_UNAVAILABLE);
    }
}
