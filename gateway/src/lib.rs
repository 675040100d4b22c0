//! The protocol edge: decode → call → encode.
//!
//! `http` and `grpc` accept connections and translate; the semantics of each building block stand once, in
//! `api/<block>/service.rs`, and both protocols share them.

mod api;
mod call;
mod error;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod grpc;
mod http;
mod middleware;
mod serve;

pub use error::ApiError;
pub use serve::{Error, ServeConfig, Serving, serve};

/// The level of Dapr's API that is spoken, as SDKs read it in `/v1.0/metadata`.
pub const DAPR_VERSION: &str = "1.18.3";
