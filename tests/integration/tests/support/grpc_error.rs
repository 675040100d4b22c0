//! What a failed call must look like to a client of Dapr's gRPC API: code, reason and text.

use mecha_proto::error_model::StatusExt;
use tonic::{Code, Status};

/// Holds a gRPC status to a code, the reason of its `ErrorInfo` (none where Dapr sends none) and a part of its message.
#[track_caller]
pub fn assert_grpc(status: &Status, code: Code, reason: Option<&str>, message: &str) {
    assert_eq!(status.code(), code, "{status:?}");
    let said = status.message();
    assert!(said.contains(message), "{message:?} is not in {said:?}");
    if let Some(reason) = reason {
        let info = status.get_details_error_info().unwrap_or_else(|| panic!("no ErrorInfo in {status:?}"));
        assert_eq!((info.reason.as_str(), info.domain.as_str()), (reason, "dapr.io"));
    }
}
