//! State: `service` looks the store up, applies prefix and encryption and calls it; `http` decodes JSON, `grpc` messages.

mod error;
pub(crate) mod grpc;
pub(crate) mod http;
mod service;
