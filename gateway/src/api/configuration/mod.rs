//! Configuration items: reading and watching.

pub(crate) mod grpc;
pub(crate) mod http;
mod service;
