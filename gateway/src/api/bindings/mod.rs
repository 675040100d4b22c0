//! Output bindings: one operation on a back end.

pub(crate) mod grpc;
pub(crate) mod http;
mod service;
