//! Objects of S3, behind `bindings.aws.s3`.
//!
//! `binding.rs` takes an operation apart, `object.rs` has the requests for one object, `bulk.rs` those for several, `list.rs` the
//! listing; `payload.rs` holds the JSON that goes in and out, `ahead.rs` reads bodies. `objects.rs` is `objects.aws.s3`, which
//! shares nothing else with the binding.

mod ahead;
mod binding;
mod bulk;
mod list;
mod object;
mod objects;
mod payload;
mod settings;

use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_sdk_s3::config::Builder;

pub(crate) use self::binding::S3Binding;
pub(crate) use self::objects::S3Objects;

/// What Dapr leads its errors with.
const ERROR: &str = "s3 binding error";
/// How long a request may take with all its attempts: a wire that is silent must not hold a caller.
const REQUEST_LIMIT: Duration = Duration::from_secs(20);

/// The limit of every request, added to those that each attempt has.
fn limits() -> TimeoutConfig {
    TimeoutConfig::builder().operation_timeout(REQUEST_LIMIT).build()
}

/// For what S3 begins to answer at once and finishes when it is done: a copy, or the completion of an upload. Each attempt
/// still has to begin with its answer in time.
fn without_limit() -> Builder {
    Builder::new().timeout_config(TimeoutConfig::builder().disable_operation_timeout().build())
}
