//! Service invocation: calls of other applications' methods.

pub(crate) mod grpc;
pub(crate) mod http;
mod service;
