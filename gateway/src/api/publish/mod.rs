//! Publishing events, one or many.

mod error;
pub(crate) mod grpc;
pub(crate) mod http;
mod service;
