//! Answers that are errors, from gRPC's codes to the kinds of the boundary.

use mecha_plugin_api::{Error, ErrorKind};
use mecha_proto::error_model::StatusExt as _;
use tonic::{Code, Status};

/// The field that an error about an etag names.
const ETAG: &str = "etag";

/// What a status says.
pub(crate) fn error(status: Status) -> Error {
    let kind = match (status.code(), about_etag(&status)) {
        (Code::FailedPrecondition, Some(description)) => {
            return Error::new(ErrorKind::ETAG_MISMATCH, description);
        }
        (Code::InvalidArgument, Some(description)) => {
            return Error::new(ErrorKind::ETAG_INVALID, description);
        }
        (Code::InvalidArgument | Code::OutOfRange, None) => ErrorKind::INVALID,
        (Code::NotFound, _) => ErrorKind::NOT_FOUND,
        (Code::Unavailable, _) => ErrorKind::UNAVAILABLE,
        (Code::ResourceExhausted, _) => ErrorKind::THROTTLED,
        (Code::DeadlineExceeded, _) => ErrorKind::TIMEOUT,
        (Code::Unimplemented, _) => ErrorKind::UNSUPPORTED,
        (Code::PermissionDenied | Code::Unauthenticated, _) => ErrorKind::DENIED,
        _ => ErrorKind::INTERNAL,
    };
    Error::new(kind, status.message())
}

/// The description of the only violation, if that is about the etag.
fn about_etag(status: &Status) -> Option<String> {
    match status.get_details_bad_request()?.field_violations.as_slice() {
        [violation] if violation.field == ETAG => Some(violation.description.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use mecha_proto::error_model::ErrorDetails;

    use super::*;

    fn violated(code: Code, field: &str) -> Status {
        let details = ErrorDetails::with_bad_request_violation(field, "not that one");
        Status::with_error_details(code, "refused", details)
    }

    #[test]
    fn an_etag_is_told_from_other_fields() {
        let mismatch = error(violated(Code::FailedPrecondition, "etag"));
        assert_eq!((mismatch.kind(), mismatch.message()), (ErrorKind::ETAG_MISMATCH, "not that one"));
        assert_eq!(error(violated(Code::InvalidArgument, "etag")).kind(), ErrorKind::ETAG_INVALID);
        assert_eq!(error(violated(Code::InvalidArgument, "key")).kind(), ErrorKind::INVALID);
        assert_eq!(error(violated(Code::FailedPrecondition, "key")).kind(), ErrorKind::INTERNAL);
        assert_eq!(error(Status::invalid_argument("no")).kind(), ErrorKind::INVALID);
    }

    #[test]
    fn what_may_help_to_repeat_is_retriable() {
        assert!(error(Status::unavailable("gone")).is_retriable());
        assert!(!error(Status::not_found("no")).is_retriable());
    }
}
