//! Subscriptions over a stream that the application opens.

pub(crate) mod grpc;
