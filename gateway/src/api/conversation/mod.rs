//! Conversations with models, in both versions of the API.

pub(crate) mod grpc;
pub(crate) mod http;
mod json;
mod scrub;
mod service;
