//! What the runtime is and serves.

pub(crate) mod grpc;
pub(crate) mod http;
mod service;
