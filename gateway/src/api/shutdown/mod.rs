//! The end of the process, asked for through the API.

pub(crate) mod grpc;
pub(crate) mod http;
