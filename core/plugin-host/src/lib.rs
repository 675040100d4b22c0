//! Plugin libraries in a running process: found, copied, checked, loaded, replaced and retired. The only dlopen.
//!
//! A file's way: [`PluginHost::scan`] sees it settle → [`image`] checks that it is a whole ELF library with our symbol and
//! copies it to a private, content-addressed name → [`library`] maps it and compares layouts in both directions →
//! [`Generation`] starts an instance. What becomes of components is decided above, in the runtime: this crate reports
//! [`Change`]s and never takes a component away.

pub mod capability;
mod error;
mod generation;
mod host;
pub mod image;
mod inspect;
mod layout;
mod library;
mod private;
mod services;
mod watch;

pub use capability::CapabilityObject;
pub use error::Refusal;
pub use generation::{Generation, GenerationState};
pub use host::{Change, GenerationNumbers, HostConfig, PluginHost};
pub use inspect::{OpenReport, PluginReport, inspect};
pub use services::{PluginIdentity, PluginSink};
pub use watch::watch;
