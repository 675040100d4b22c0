//! Distributed locks.

pub(crate) mod grpc;
pub(crate) mod http;
mod service;
