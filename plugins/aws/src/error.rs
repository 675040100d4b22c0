//! What can go wrong with a request to AWS, and the kind of error that each becomes at the boundary.

use std::error::Error as StdError;

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::{ConnectorError, SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use mecha_plugin_api::{Error, ErrorKind};

use crate::client::causes;

/// Why a request gave no answer that can be used.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[error("{text}")]
pub(crate) struct Failure {
    kind: ErrorKind,
    /// The service's error code, e.g. `NoSuchKey`.
    code: Option<String>,
    field: Option<&'static str>,
    text: String,
}

impl Failure {
    /// A failure that the service had no part in.
    pub(crate) fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        Self { kind, code: None, field: None, text: text.into() }
    }

    /// A refused entry of a batch.
    pub(crate) fn of_entry(code: &str, text: Option<&str>, sender_fault: bool) -> Self {
        let fallback = if sender_fault { ErrorKind::INVALID } else { ErrorKind::UNAVAILABLE };
        Self {
            kind: known_kind(code).unwrap_or(fallback),
            code: Some(code.to_owned()),
            field: field_of(code),
            text: format!("{code}: {}", text.unwrap_or("no message")),
        }
    }

    /// The service's error code.
    pub(crate) fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    /// How the caller must treat it.
    pub(crate) fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether it is about the component's metadata: unknown credentials or the wrong region, rather than one lacking right.
    pub(crate) fn is_about_component(&self) -> bool {
        self.field.is_some()
    }

    /// What `error.type` of a span says.
    pub(crate) fn type_name(&self) -> &str {
        self.code().unwrap_or_else(|| self.kind.name())
    }

    /// The error for the caller, its message led by `context` unless that is empty.
    pub(crate) fn into_error(self, context: &str) -> Error {
        let message = if context.is_empty() { self.text } else { format!("{context}: {}", self.text) };
        let error = Error::new(self.kind, message);
        match self.field {
            Some(field) => error.with_field(field),
            None => error,
        }
    }
}

impl<E> From<SdkError<E, HttpResponse>> for Failure
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    fn from(error: SdkError<E, HttpResponse>) -> Self {
        if let Some(failure) = missing_credentials(&error) {
            return failure;
        }
        match &error {
            SdkError::ServiceError(context) => refusal(context.err(), context.raw().status().as_u16()),
            SdkError::TimeoutError(_) => Self::new(ErrorKind::TIMEOUT, chain(&error)),
            SdkError::DispatchFailure(failure) if failure.is_timeout() => {
                Self::new(ErrorKind::TIMEOUT, chain(&error))
            }
            SdkError::DispatchFailure(failure) if failure.is_io() => {
                Self::new(ErrorKind::UNAVAILABLE, chain(&error))
            }
            SdkError::ConstructionFailure(_) => Self::new(ErrorKind::INVALID, chain(&error)),
            SdkError::ResponseError(context) if context.raw().status().is_server_error() => {
                Self::new(ErrorKind::UNAVAILABLE, chain(&error))
            }
            // A torn answer: what was asked may have been done.
            SdkError::ResponseError(_) => Self::new(ErrorKind::UNAVAILABLE, chain(&error)),
            _ => Self::new(ErrorKind::INTERNAL, chain(&error)),
        }
    }
}

fn refusal(error: &impl ProvideErrorMetadata, status: u16) -> Failure {
    let code = error.code().map(str::to_owned);
    let by_status = match status {
        400 | 413 => ErrorKind::INVALID,
        401 | 403 => ErrorKind::DENIED,
        404 => ErrorKind::NOT_FOUND,
        408 => ErrorKind::TIMEOUT,
        429 => ErrorKind::THROTTLED,
        500..=599 => ErrorKind::UNAVAILABLE,
        _ => ErrorKind::INTERNAL,
    };
    let kind = code.as_deref().and_then(known_kind).unwrap_or(by_status);
    let field = code.as_deref().and_then(field_of);
    let text = match (&code, error.message()) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => format!("{code} (status {status})"),
        (None, Some(message)) => message.to_owned(),
        (None, None) => format!("the service answered status {status}"),
    };
    Failure { kind, code, field, text }
}

/// Codes whose kind does not follow from the HTTP status, or that come without one in batches. Older services lead them
/// with `AWS.SimpleQueueService.` or a namespace and `#`.
fn known_kind(code: &str) -> Option<ErrorKind> {
    let kind = match short(code) {
        "QueueDoesNotExist" | "NonExistentQueue" | "NoSuchBucket" | "NoSuchKey" | "NoSuchVersion"
        | "NotFound" => ErrorKind::NOT_FOUND,
        "AccessDenied"
        | "AccessDeniedException"
        | "InvalidSecurity"
        | "OptInRequired"
        | "KmsAccessDenied" => ErrorKind::DENIED,
        "RequestThrottled"
        | "Throttling"
        | "ThrottlingException"
        | "SlowDown"
        | "OverLimit"
        | "KmsThrottled"
        | "TooManyRequestsException"
        | "RequestLimitExceeded" => ErrorKind::THROTTLED,
        "ServiceUnavailable" | "InternalError" | "InternalFailure" | "ServiceFailure" => {
            ErrorKind::UNAVAILABLE
        }
        "RequestTimeout" | "RequestTimeoutException" => ErrorKind::TIMEOUT,
        "InvalidMessageContents"
        | "InvalidParameterValue"
        | "InvalidParameterValueException"
        | "MissingParameter"
        | "BatchRequestTooLong"
        | "EntityTooLarge"
        | "InvalidAttributeName"
        | "InvalidAttributeValue"
        | "UnsupportedOperation"
        | "ReceiptHandleIsInvalid"
        | "MessageNotInflight" => ErrorKind::INVALID,
        "PermanentRedirect" | "AuthorizationHeaderMalformed" | "TemporaryRedirect" => ErrorKind::INVALID,
        other => return field_of(other).map(|_| ErrorKind::DENIED),
    };
    Some(kind)
}

/// The field that the service found fault with, for codes that are about who calls and where.
fn field_of(code: &str) -> Option<&'static str> {
    match short(code) {
        "InvalidAccessKeyId"
        | "InvalidClientTokenId"
        | "UnrecognizedClientException"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "NotSignedUp"
        // versitygw's own.
        | "XAdminUserNotFound" => Some("accessKey"),
        "SignatureDoesNotMatch" | "InvalidSignatureException" | "IncompleteSignature" => Some("secretKey"),
        "PermanentRedirect" | "AuthorizationHeaderMalformed" => Some("region"),
        "ExpiredToken" | "ExpiredTokenException" | "InvalidToken" | "TokenRefreshRequired" => {
            Some("sessionToken")
        }
        _ => None,
    }
}

fn short(code: &str) -> &str {
    code.rsplit(['.', '#']).next().unwrap_or(code)
}

/// A request that was not sent because there was nobody to sign it for.
fn missing_credentials(error: &(dyn StdError + 'static)) -> Option<Failure> {
    let cause = causes(error).find_map(|cause| cause.downcast_ref::<CredentialsError>())?;
    let text = format!("no credentials: {}", chain(cause));
    let is_away = |cause: &(dyn StdError + 'static)| {
        cause.downcast_ref::<ConnectorError>().is_some_and(ConnectorError::is_io)
    };
    Some(match cause {
        CredentialsError::CredentialsNotLoaded(_) => {
            Failure { field: Some("accessKey"), ..Failure::new(ErrorKind::DENIED, text) }
        }
        CredentialsError::ProviderTimedOut(_) => Failure::new(ErrorKind::TIMEOUT, text),
        _ if causes(cause).any(is_away) => Failure::new(ErrorKind::UNAVAILABLE, text),
        // A role that may not be assumed, a profile that cannot be read.
        _ => Failure::new(ErrorKind::DENIED, text),
    })
}

/// An error and its causes in one line. The SDK's errors hold no keys and no payload.
pub(crate) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = String::new();
    for cause in causes(error) {
        let cause = cause.to_string();
        if text.ends_with(&cause) {
            continue;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&cause);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_follow_the_services_code() {
        for (code, kind) in [
            ("QueueDoesNotExist", ErrorKind::NOT_FOUND),
            ("AWS.SimpleQueueService.NonExistentQueue", ErrorKind::NOT_FOUND),
            ("com.amazonaws.sqs#QueueDoesNotExist", ErrorKind::NOT_FOUND),
            ("SlowDown", ErrorKind::THROTTLED),
            ("InvalidAccessKeyId", ErrorKind::DENIED),
            ("AccessDenied", ErrorKind::DENIED),
        ] {
            assert_eq!(known_kind(code), Some(kind), "{code}");
        }
        assert_eq!(known_kind("Other"), None);
    }

    #[test]
    fn wrong_credentials_name_their_field() {
        let of =
            |code| Failure::of_entry(code, Some("no"), true).into_error("send").field().map(str::to_owned);
        assert_eq!(of("InvalidClientTokenId").as_deref(), Some("accessKey"));
        assert_eq!(of("SignatureDoesNotMatch").as_deref(), Some("secretKey"));
        assert_eq!(of("ExpiredToken").as_deref(), Some("sessionToken"));
        assert_eq!(of("AccessDenied"), None);
    }

    #[test]
    fn an_entry_of_a_batch_is_retriable_unless_its_sender_is_at_fault() {
        assert!(Failure::of_entry("InternalError", None, false).into_error("").is_retriable());
        assert!(!Failure::of_entry("Weird", None, true).into_error("").is_retriable());
    }
}
