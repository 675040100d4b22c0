//! Why an invocation gave no answer, in the words that callers of Dapr know.

use mecha_app_channel::AppError;
use mecha_resiliency::Rejection;
use tonic::{Code, Status};

use crate::resolve::ResolveError;

/// Why an invocation gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum InvokeError {
    /// The id is none.
    #[error("invalid app id {0}")]
    AppId(String),
    /// Nobody knows the application.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// The runtime's own application takes no calls.
    #[error("cannot invoke local endpoint: app channel not initialized")]
    NoApplication,
    /// The runtime's own application gave no answer.
    #[error(transparent)]
    App(#[from] AppError),
    /// The request's body broke off, or is too large to be one message.
    #[error("{0}")]
    Body(String),
    /// The other runtime answered with an error, or did not.
    #[error("{}", rpc_text(.0))]
    Rpc(Box<Status>),
    /// The other runtime stayed away however often it was called.
    #[error("failed to invoke target {target} after {retries} retries. Error: {}", rpc_text(.status))]
    Retried {
        /// The application.
        target: String,
        /// Calls after the first.
        retries: u32,
        /// The last status.
        status: Box<Status>,
    },
    /// The other runtime knows no streams, and the body can be sent only once.
    #[error(
        "target app '{0}' is running a version of Dapr that does not support streaming-based service invocation"
    )]
    NoStreams(String),
    /// An HTTP endpoint or URL gave no answer.
    #[error("{0}")]
    Endpoint(String),
    /// A policy ended the call.
    #[error(transparent)]
    Policy(#[from] PolicyEnd),
}

/// How a policy ends a call. The texts are Dapr's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PolicyEnd {
    /// The last attempt took longer than it may.
    #[error("context deadline exceeded")]
    TimedOut,
    /// A circuit breaker turned it away.
    #[error(transparent)]
    Rejected(#[from] Rejection),
}

impl PolicyEnd {
    /// What a caller by gRPC is told.
    pub fn status(self) -> Status {
        let code = match self {
            Self::TimedOut => Code::DeadlineExceeded,
            Self::Rejected(_) => Code::Unknown,
        };
        Status::new(code, self.to_string())
    }
}

impl InvokeError {
    /// The gRPC code that it stands for.
    pub fn code(&self) -> Code {
        match self {
            Self::Rpc(status) | Self::Retried { status, .. } => status.code(),
            Self::Policy(end) => end.status().code(),
            Self::AppId(_)
            | Self::Resolve(_)
            | Self::NoApplication
            | Self::App(_)
            | Self::Body(_)
            | Self::NoStreams(_)
            | Self::Endpoint(_) => Code::Unknown,
        }
    }
}

impl From<Status> for InvokeError {
    fn from(status: Status) -> Self {
        Self::Rpc(Box::new(status))
    }
}

/// A status as Go prints it.
pub(crate) fn rpc_text(status: &Status) -> String {
    format!("rpc error: code = {} desc = {}", code_name(status.code()), status.message())
}

/// Go spells one of the codes its own way.
fn code_name(code: Code) -> String {
    match code {
        Code::Cancelled => "Canceled".to_owned(),
        Code::Ok => "OK".to_owned(),
        other => format!("{other:?}"),
    }
}

/// An error with its causes, which hyper keeps apart.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
