//! S3's refusals: what the status alone says, conditions and ranges above all.

use std::error::Error as StdError;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use mecha_plugin_api::object::Conditions;
use mecha_plugin_api::{Error, ErrorKind, Metadata};
use tracing::Dispatch;
use tracing::instrument::WithSubscriber as _;

use crate::error::Failure;

/// Bytes of a key.
const LONGEST_KEY: usize = 1024;

/// A request that S3 refused, or that never came there.
#[derive(Debug)]
pub(super) struct Refusal {
    /// The status of the answer; 0 without one.
    status: u16,
    failure: Failure,
}

/// Sends a request, without the dozen spans that the SDK makes of each: a sampled call has one of ours.
pub(super) async fn send<T, E>(
    sending: impl Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send,
) -> Result<T, Refusal>
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    sending.with_subscriber(Dispatch::none()).await.map_err(|error| {
        let status = error.raw_response().map_or(0, |response| response.status().as_u16());
        Refusal { status, failure: error.into() }
    })
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self { status: 0, failure }
    }
}

impl Refusal {
    pub(super) fn failure(&self) -> &Failure {
        &self.failure
    }

    /// None of the range lies in the object.
    pub(super) fn is_about_range(&self) -> bool {
        self.status == 416
    }

    /// The upload is over: completed, or aborted by whoever looks after the bucket.
    pub(super) fn is_no_upload(&self) -> bool {
        self.failure.code() == Some("NoSuchUpload")
    }

    /// The error for the caller of an operation that depended on `conditions`.
    pub(super) fn into_error(self, doing: &str, conditions: &Conditions) -> Error {
        match (self.failure.code(), self.status) {
            (Some("NoSuchBucket"), _) => {
                let message = format!("s3: cannot {doing}: the bucket does not exist");
                Error::new(ErrorKind::NOT_FOUND, message).with_field("bucket")
            }
            (Some("PreconditionFailed" | "ConditionalRequestConflict"), _) | (_, 412) => {
                mismatch(conditions, "ifMatch")
            }
            (_, 304) => mismatch(conditions, "ifNoneMatch"),
            _ if self.failure.kind() == ErrorKind::NOT_FOUND => {
                Error::new(ErrorKind::NOT_FOUND, "object not found")
            }
            _ => self.failure.into_error(&format!("s3: cannot {doing}")),
        }
    }
}

/// A refusal without a reason of a key that S3, or a server like it, does not take for one: it is the key that is refused.
pub(super) fn about_key(error: Error, key: &str) -> Error {
    let is_odd = key.is_empty()
        || key.len() > LONGEST_KEY
        || key.split('/').any(|part| matches!(part, "" | "." | ".."));
    if is_odd && error.kind() == ErrorKind::INVALID && error.field().is_none() {
        error.with_field("key")
    } else {
        error
    }
}

/// A condition that S3 found not to hold. Of two it does not say which; `field` is the one that it looks at first.
fn mismatch(conditions: &Conditions, field: &str) -> Error {
    let only = match (conditions.if_match.is_empty(), conditions.if_none_match.is_empty()) {
        (false, true) => "ifMatch",
        (true, false) => "ifNoneMatch",
        _ => field,
    };
    // To say that nothing changed, S3 must have found the very etag that was asked about.
    let etag = conditions.if_none_match.first().filter(|etag| *etag != "*" && only == "ifNoneMatch");
    let details: Metadata = etag.map(|etag| ("etag", etag.as_str())).into_iter().collect();
    let text = "the object is not as the condition asks";
    Error::new(ErrorKind::ETAG_MISMATCH, text).with_field(only).with_details(details)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_blamed_only_when_it_is_an_odd_one() {
        let long = "a".repeat(LONGEST_KEY + 1);
        for key in ["", "a/..", "./a", "/a", "a//b", &long] {
            assert_eq!(about_key(Error::invalid("no"), key).field(), Some("key"), "{key}");
        }
        assert_eq!(about_key(Error::invalid("no"), "a..b/c.").field(), None);
        assert_eq!(about_key(Error::unavailable("no"), "a/..").field(), None);
        assert_eq!(about_key(Error::invalid("no").with_field("range"), "a/..").field(), Some("range"));
    }
}
