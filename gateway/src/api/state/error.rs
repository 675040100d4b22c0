//! Dapr's errors of the state API: code, HTTP status and gRPC code side by side.

use http::StatusCode;
use mecha_runtime::{CallError, Missing, OutboxError};
use tonic::Code;

use crate::error::{ApiError, FullDetails};

const CATEGORY: &str = "state";

pub(super) fn missing(missing: Missing, store: &str, app_id: &str) -> ApiError {
    let (code, reason, http, grpc, what) = match missing {
        Missing::NotConfigured => (
            "ERR_STATE_STORE_NOT_CONFIGURED",
            "DAPR_STATE_NOT_CONFIGURED",
            StatusCode::INTERNAL_SERVER_ERROR,
            Code::FailedPrecondition,
            "configured",
        ),
        Missing::NotFound => (
            "ERR_STATE_STORE_NOT_FOUND",
            "DAPR_STATE_NOT_FOUND",
            StatusCode::BAD_REQUEST,
            Code::InvalidArgument,
            "found",
        ),
    };
    let message = format!("state store {store} is not {what}");
    let metadata = vec![("appID".to_owned(), app_id.to_owned())];
    ApiError::new(code, CATEGORY, http, grpc, message).with(FullDetails {
        reason,
        metadata,
        ..FullDetails::default()
    })
}

pub(super) fn illegal_key(store: &str, key: &str, message: String) -> ApiError {
    let error = ApiError::new(
        "ERR_MALFORMED_REQUEST",
        CATEGORY,
        StatusCode::BAD_REQUEST,
        Code::InvalidArgument,
        message.clone(),
    );
    error.with(FullDetails {
        reason: "DAPR_STATE_ILLEGAL_KEY",
        resource: Some(("state", store.to_owned(), String::new())),
        violation: Some((key.to_owned(), message)),
        ..FullDetails::default()
    })
}

pub(super) fn no_transactions(store: &str) -> ApiError {
    let error = ApiError::new(
        "ERR_STATE_STORE_NOT_SUPPORTED",
        CATEGORY,
        StatusCode::INTERNAL_SERVER_ERROR,
        Code::Unimplemented,
        format!("state store {store} doesn't support transactions"),
    );
    error.with(FullDetails {
        reason: "DAPR_STATE_TRANSACTIONS_NOT_SUPPORTED",
        resource: Some(("state", store.to_owned(), String::new())),
        help: Some((
            "Check the list of state stores and the features they support",
            "https://docs.dapr.io/reference/components-reference/supported-state-stores/",
        )),
        ..FullDetails::default()
    })
}

pub(super) fn no_query(store: &str) -> ApiError {
    let (http, grpc) = (StatusCode::INTERNAL_SERVER_ERROR, Code::Internal);
    let message = "state store does not support querying";
    ApiError::new("ERR_STATE_STORE_NOT_SUPPORTED", CATEGORY, http, grpc, message).with(FullDetails {
        reason: "DAPR_STATE_QUERYING_NOT_SUPPORTED",
        resource: Some(("state", store.to_owned(), String::new())),
        ..FullDetails::default()
    })
}

pub(super) fn too_many(store: &str, count: usize, most: u32) -> ApiError {
    let message = format!(
        "the transaction contains {count} operations, which is more than what the state store supports: {most}"
    );
    let error = ApiError::new(
        "ERR_STATE_STORE_TOO_MANY_TRANSACTIONS",
        CATEGORY,
        StatusCode::BAD_REQUEST,
        Code::InvalidArgument,
        message,
    );
    error.with(FullDetails {
        reason: "DAPR_STATE_TOO_MANY_TRANSACTIONS",
        metadata: vec![
            ("currentOpsTransaction".to_owned(), count.to_string()),
            ("maxOpsPerTransaction".to_owned(), most.to_string()),
        ],
        resource: Some(("state", store.to_owned(), String::new())),
        ..FullDetails::default()
    })
}

pub(super) fn unknown_operation(operation: &str) -> ApiError {
    ApiError::basic(
        "ERR_NOT_SUPPORTED_STATE_OPERATION",
        CATEGORY,
        StatusCode::BAD_REQUEST,
        Code::Unimplemented,
        format!("operation type {operation} not supported"),
    )
}

pub(super) fn get(key: &str, store: &str, error: &CallError) -> ApiError {
    ApiError::of_call(
        "ERR_STATE_GET",
        CATEGORY,
        error,
        format!("fail to get {key} from state store {store}: {error}"),
    )
}

pub(super) fn unreadable(key: &str, store: &str, reason: &str) -> ApiError {
    internal("ERR_STATE_GET", format!("fail to get {key} from state store {store}: {reason}"))
}

pub(super) fn save(store: &str, error: &CallError) -> ApiError {
    ApiError::of_call(
        "ERR_STATE_SAVE",
        CATEGORY,
        error,
        format!("failed saving state in state store {store}: {error}"),
    )
}

/// Items that never reached the store.
pub(super) fn save_refused(store: &str, reason: &str) -> ApiError {
    internal("ERR_STATE_SAVE", format!("failed saving state in state store {store}: {reason}"))
}

pub(super) fn no_key() -> ApiError {
    let (http, grpc) = (StatusCode::BAD_REQUEST, Code::InvalidArgument);
    ApiError::basic("ERR_STATE_SAVE", CATEGORY, http, grpc, "state key cannot be empty")
}

pub(super) fn delete(key: &str, error: &CallError) -> ApiError {
    ApiError::of_call(
        "ERR_STATE_DELETE",
        CATEGORY,
        error,
        format!("failed deleting state with key {key}: {error}"),
    )
}

/// A deletion that never reached the store.
pub(super) fn delete_refused(key: &str, reason: &str) -> ApiError {
    internal("ERR_STATE_DELETE", format!("failed deleting state with key {key}: {reason}"))
}

pub(super) fn bulk_get(error: &CallError) -> ApiError {
    ApiError::of_call("ERR_STATE_BULK_GET", CATEGORY, error, error.to_string())
}

pub(super) fn bulk_delete(store: &str, error: &CallError) -> ApiError {
    let message = format!("failed deleting state in state store {store}: {error}");
    ApiError::of_call("ERR_STATE_BULK_DELETE", CATEGORY, error, message)
}

pub(super) fn transaction(error: &CallError) -> ApiError {
    transaction_refused(&error.to_string())
}

/// Whatever went wrong, etags included: Dapr answers every failed transaction with 500.
pub(super) fn transaction_refused(reason: &str) -> ApiError {
    internal("ERR_STATE_TRANSACTION", format!("error while executing state transaction: {reason}"))
}

/// The outbox could not keep what a transaction publishes; to Dapr that is a failure of pub/sub.
pub(super) fn outbox(app_id: &str, error: &OutboxError) -> ApiError {
    let (http, grpc) = (StatusCode::INTERNAL_SERVER_ERROR, Code::Internal);
    let message = format!("error while publishing outbox message: {error}");
    ApiError::new("ERR_PUBLISH_OUTBOX", "pubsub", http, grpc, message).with(FullDetails {
        reason: "DAPR_PUBSUB_OUTBOX",
        metadata: vec![("appID".to_owned(), app_id.to_owned()), ("error".to_owned(), error.to_string())],
        ..FullDetails::default()
    })
}

fn internal(code: &'static str, message: String) -> ApiError {
    ApiError::basic(code, CATEGORY, StatusCode::INTERNAL_SERVER_ERROR, Code::Internal, message)
}
