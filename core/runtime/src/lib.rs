//! Components, their registry, and the one path of every capability call.
//!
//! A call comes in from the gateway as a [`Call`], looks its component up in a [`Registry`] snapshot and goes through
//! `component.rs`, the one place where a span, a measurement and a deadline meet the plugin. `lifecycle.rs` moves components
//! between the generations of their plugins while calls go on.

mod app;
mod call;
mod component;
mod definition;
mod drain;
mod factory;
mod lifecycle;
mod managed;
mod observe;
mod output_binding;
mod poll;
mod registry;
mod runtime;
mod secret;
pub mod state;

pub use app::App;
pub use call::{Call, CallError};
pub use component::Component;
pub use definition::{Definition, ResolveError};
pub use lifecycle::OpenError;
pub use output_binding::OutputBinding;
pub use registry::{ComponentSummary, Missing, Registry};
pub use runtime::{
    AppConnection, BuildError, Health, InitFailure, MissingType, Runtime, RuntimeConfig, ShutdownRequest,
    split,
};
pub use secret::SecretStore;
pub use state::StateStore;
