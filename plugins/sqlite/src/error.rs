//! SQLite's failures as the boundary's kinds.

use mecha_plugin_api::{Error, ErrorKind};
use rusqlite::ErrorCode;

/// A failed statement or transaction.
pub(crate) fn failed(error: &rusqlite::Error) -> Error {
    let Some(code) = error.sqlite_error_code() else {
        return Error::internal(format!("the database refused a statement: {error}"));
    };
    match code {
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
            Error::unavailable(format!("another connection holds the database for too long: {error}"))
        }
        ErrorCode::DiskFull => {
            Error::unavailable("the disk that holds the database is full").with_retriable(false)
        }
        ErrorCode::CannotOpen | ErrorCode::SystemIoFailure | ErrorCode::FileLockingProtocolFailed => {
            Error::unavailable(format!("the database file cannot be used: {error}"))
        }
        ErrorCode::ReadOnly | ErrorCode::PermissionDenied => {
            Error::new(ErrorKind::DENIED, format!("the database may not be changed: {error}"))
        }
        ErrorCode::TooBig => Error::invalid(format!("the value is longer than the database takes: {error}")),
        ErrorCode::OperationInterrupted => Error::new(ErrorKind::TIMEOUT, error.to_string()),
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => {
            Error::internal(format!("the database file is damaged: {error}"))
        }
        _ => Error::internal(format!("the database refused a statement: {error}")),
    }
}

/// A database that could not be opened: mostly the fault of the path.
pub(crate) fn not_opened(error: &rusqlite::Error) -> Error {
    match error.sqlite_error_code() {
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::NotADatabase) => {
            Error::invalid(format!("cannot open the database: {error}")).with_field("connectionString")
        }
        _ => failed(error),
    }
}

/// Dapr's text of a failed etag condition; its SQLite store gives no reason after it.
pub(crate) fn etag_mismatch() -> Error {
    Error::new(ErrorKind::ETAG_MISMATCH, "possible etag mismatch. error from state store")
}

/// The answer when the thread that should give it has ended.
pub(crate) fn closed() -> Error {
    Error::unavailable("the database connection is closed")
}
