//! Dapr's pluggable components: processes of their own that serve a building block over gRPC on a Unix socket.
//!
//! [`Sockets`] looks at the folder of sockets → [`peer`] asks each by gRPC reflection what it serves → [`offer`] makes a
//! [`mecha_plugin_host::Generation`] of it, whose components are `state.rs`, `pubsub.rs`, `bindings.rs` and `secrets.rs`:
//! to the runtime it is a plugin like any other. A socket that is made anew is a new version of it.
//!
//! The protocol is in `dapr/proto/components/v1` of `mecha-proto`.

mod bindings;
mod offer;
mod peer;
mod pubsub;
mod pull;
mod secrets;
mod sockets;
mod state;
mod status;

pub use sockets::{Sockets, watch};
