//! How a call into the application can fail.

use http::StatusCode;

/// Why a call into the application gave no usable answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppError {
    /// Host and port are no address.
    #[error("{0} is no address of an application; check --app-channel-address and --app-port")]
    Address(String),
    /// No connection, or it broke.
    #[error("error from app channel while sending the request: {0}")]
    Unreachable(String),
    /// An HTTP status that is no success.
    #[error("the application answered with status code {}: {body}", status.as_u16())]
    Status {
        /// The status.
        status: StatusCode,
        /// The beginning of the body.
        body: String,
    },
    /// A gRPC status that is no success.
    #[error("the application answered with {:?}: {}", .0.code(), .0.message())]
    Grpc(Box<tonic::Status>),
    /// The answer is larger than allowed.
    #[error("the application's answer is larger than {0} bytes; --max-body-size sets the limit")]
    TooLarge(usize),
}

impl AppError {
    /// The HTTP status, when the application answered with one.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Status { status, .. } => Some(*status),
            Self::Address(_) | Self::Unreachable(_) | Self::Grpc(_) | Self::TooLarge(_) => None,
        }
    }

    /// The gRPC code, when the application answered with one.
    pub fn code(&self) -> Option<tonic::Code> {
        match self {
            Self::Grpc(status) => Some(status.code()),
            Self::Address(_) | Self::Unreachable(_) | Self::Status { .. } | Self::TooLarge(_) => None,
        }
    }

    /// Whether the application was not reached at all.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable(_)) || self.code() == Some(tonic::Code::Unavailable)
    }

    /// Whether the answer was larger than allowed.
    pub fn is_too_large(&self) -> bool {
        matches!(self, Self::TooLarge(_))
    }

    /// Whether the application does not have the method at all.
    pub fn is_unimplemented(&self) -> bool {
        self.code() == Some(tonic::Code::Unimplemented)
    }
}

impl From<tonic::Status> for AppError {
    fn from(status: tonic::Status) -> Self {
        Self::Grpc(Box::new(status))
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
