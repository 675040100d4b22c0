//! Objects of S3, behind `bindings.aws.s3`.
//!
//! `binding.rs` takes an operation apart, `object.rs` has the requests for one object, `bulk.rs` those for several, `list.rs` the
//! listing; `payload.rs` holds the JSON that goes in and out. `objects.rs` is `objects.aws.s3`, which shares nothing with the binding.

mod binding;
mod bulk;
mod list;
mod object;
mod objects;
mod payload;
mod settings;

pub(crate) use self::binding::S3Binding;
pub(crate) use self::objects::S3Objects;

/// What Dapr leads its errors with.
const ERROR: &str = "s3 binding error";
