//! What a Mecha plugin links, and nothing else of Mecha.
//!
//! # Writing a plugin
//!
//! A plugin is a `cdylib` crate that depends on this crate, implements one trait per capability and exports a declaration:
//!
//! ```
//! use mecha_plugin_api::secret::{Secret, SecretStore};
//! use mecha_plugin_api::{CallContext, ComponentSpec, Error, ErrorKind, Metadata, Plugin, Result};
//!
//! struct OneSecret {
//!     value: String,
//! }
//!
//! impl OneSecret {
//!     async fn open(spec: ComponentSpec) -> Result<Self> {
//!         Ok(Self { value: spec.required("value")?.to_owned() })
//!     }
//! }
//!
//! impl SecretStore for OneSecret {
//!     async fn get(&self, _context: &CallContext, name: &str, _metadata: Metadata) -> Result<Metadata> {
//!         match name {
//!             "one" => Ok(Metadata::from_iter([(name, self.value.as_str())])),
//!             _ => Err(Error::new(ErrorKind::NOT_FOUND, format!("secret {name} not found"))),
//!         }
//!     }
//!
//!     async fn bulk_get(&self, context: &CallContext, _metadata: Metadata) -> Result<Vec<Secret>> {
//!         let data = self.get(context, "one", Metadata::new()).await?;
//!         Ok(vec![Secret { name: "one".into(), data }])
//!     }
//! }
//!
//! fn plugin() -> Plugin {
//!     Plugin::new("one-secret", env!("CARGO_PKG_VERSION")).secret_store("secretstores.one", OneSecret::open)
//! }
//!
//! mecha_plugin_api::export!(plugin);
//! ```
//!
//! The traits: [`state::StateStore`], [`secret::SecretStore`], [`binding::OutputBinding`], [`binding::InputBinding`],
//! [`pubsub::PubSub`], [`configuration::ConfigurationStore`], [`lock::LockStore`], [`crypto::Crypto`],
//! [`conversation::Conversation`], [`object::ObjectStore`], [`name_resolution::NameResolution`],
//! [`middleware::Middleware`]. Messages leave a plugin through a [`source::Source`].
//!
//! # What the boundary does for you
//!
//! - **Futures** are polled by the host's threads, with your library's own tokio runtime entered on each poll and on drop:
//!   sockets, timers and `tokio::spawn` work. Your runtime is one thread; opening a component runs there.
//! - **A panic** in a call becomes an [`Error`] of kind [`ErrorKind::PANIC`] for that call alone. Build with unwinding
//!   panics: a library built with `panic = "abort"` is refused.
//! - **Cancellation**: when the caller goes away or its deadline passes, your future is dropped.
//! - **`tracing`** spans and events reach the host: spans become children of the call's span when it is sampled (fields
//!   `otel.name`, `otel.kind`, `otel.status_code` mean what they mean in tracing-opentelemetry), events become log lines.
//! - **Payloads** are [`Buf`]s: they cross without a copy, and become `bytes::Bytes` with [`Buf::into_bytes`].
//!
//! # What you owe the boundary
//!
//! - **Never block** inside a call: it stalls one of the host's workers, which measures the time and names your plugin. Use
//!   `tokio::task::spawn_blocking`.
//! - **No process-wide state**: two versions of your library live side by side while one replaces the other.
//! - **No secret** in an error message, a span or a log line.
//!
//! # Compatibility
//!
//! This crate is at 1.x and append-only: a field or method is only ever added at the end of a vtable, values that cross the
//! boundary never change. A plugin built with 1.0 runs on every later 1.x host, and a newer plugin on an older host as long as
//! it does not need what that host lacks.

// `sabi_trait` and `StableAbi` put their impls into constants; the lint is about code written by hand.
#![allow(non_local_definitions)]

pub mod binding;
mod buf;
mod component;
pub mod configuration;
mod context;
pub mod conversation;
pub mod crypto;
mod duration;
mod error;
mod fields;
pub mod host;
mod instance;
pub mod lock;
mod metadata;
pub mod middleware;
pub mod module;
pub mod name_resolution;
pub mod object;
mod plugin;
pub mod pubsub;
pub mod secret;
pub mod source;
pub mod state;
mod telemetry;

pub use abi_stable::std_types::{RArc, ROption, RResult, RString, RVec};
pub use buf::Buf;
pub use component::{Capability, ComponentSpec, ComponentType, PluginDescription};
pub use context::CallContext;
pub use duration::parse as parse_duration;
pub use error::{Error, ErrorKind, Result};
pub use instance::{AbiFuture, AbiResult};
pub use metadata::{Metadata, Pair};
pub use plugin::Plugin;

/// The version of this crate: of the boundary.
pub const API_VERSION: &str = env!("CARGO_PKG_VERSION");

#[doc(hidden)]
pub mod __private {
    pub use abi_stable::library::{LibHeader, RootModuleResult};

    pub use crate::component::PluginDescription;
    pub use crate::host::HostObject;
    pub use crate::instance::AbiResult;
    pub use crate::module::{PluginModuleRef, PluginObject, describe, header, load, module, start};
}
