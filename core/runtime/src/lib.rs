//! Components, their registry, and the one path of every capability call.
//!
//! A call comes in from the gateway as a [`Call`], looks its component up in a [`Registry`] snapshot and goes through
//! `component.rs`, the one place where a span, a measurement and a deadline meet the plugin. `lifecycle.rs` moves components
//! between the generations of their plugins while calls go on.

mod app;
mod application;
mod call;
mod component;
mod component_health;
mod configuration_store;
mod conversation;
mod crypto_store;
mod definition;
mod drain;
mod factory;
mod inbound;
mod input_binding;
mod invocation;
mod lifecycle;
mod lock_store;
mod managed;
mod middleware;
mod name_resolution;
mod object_store;
mod observe;
mod outbox;
mod output_binding;
mod policies;
mod poll;
mod pubsub;
mod registry;
mod runtime;
mod secret;
pub mod state;

pub use app::App;
pub use application::{
    ConfigurationWatches, HealthProbe, StartSettings, StreamError, StreamEvent, StreamSubscription,
};
pub use call::{Call, CallError};
pub use component::Component;
pub use component_health::ComponentHealth;
pub use configuration_store::{ConfigurationStore, ConfigurationWatch};
pub use conversation::Conversation;
pub use crypto_store::CryptoStore;
pub use definition::{Definition, ResolveError};
pub use input_binding::InputBinding;
pub use invocation::InvocationError;
pub use lifecycle::OpenError;
pub use lock_store::LockStore;
/// What an application says of an event; a stream's events are answered with it.
pub use mecha_app_channel::EventStatus;
pub use middleware::{Carried, Pipeline, Unread, Way};
pub use object_store::{Download, ObjectSource, ObjectStore, PutError};
pub use outbox::{Outbox, OutboxChange, OutboxError};
pub use output_binding::OutputBinding;
pub use policies::PolicyFailure;
pub use pubsub::PubSub;
pub use registry::{ComponentSummary, Missing, Registry};
pub use runtime::{
    AppConnection, BuildError, Health, InitFailure, MissingType, Runtime, RuntimeConfig, ShutdownRequest,
    split,
};
pub use secret::SecretStore;
pub use state::StateStore;
