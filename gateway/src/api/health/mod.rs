//! Whether the runtime can be used. Over gRPC the standard health service tells it.

pub(crate) mod http;
