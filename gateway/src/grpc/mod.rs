//! The gRPC edge: the Dapr service, reflection and health on one port.

mod service;

pub(crate) use service::DaprService;
