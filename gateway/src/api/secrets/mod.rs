//! Secrets: scopes of the Configuration first, then the store.

pub(crate) mod grpc;
pub(crate) mod http;
mod service;
