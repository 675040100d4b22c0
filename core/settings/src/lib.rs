//! What the process is asked to do: layered settings and the command line, resolved once, before a port is bound.
//!
//! Layers, later wins: built-in defaults ([`Settings::default`]) → `<config-dir>/mecha.yaml` →
//! `<config-dir>/<profile>.yaml` → environment → flags. [`model`] holds the settings, [`Origins`] says which layer set
//! each, [`Invocation::parse`] is the entry. Nothing here reads the process's environment, its arguments or its
//! working directory: all of them are passed in, and only files that a flag leads to are opened.
//!
//! # Adding a setting
//! 1. A field with its doc comment in [`model`], its default beside it.
//! 2. Its lines in `configs/mecha.yaml` (a test compares the two).
//! 3. If daprd has a flag for it, one line in `cli/flags.rs`.

mod cli;
mod environment;
mod error;
mod keys;
mod layer;
pub mod model;
mod quantity;
mod rules;
mod show;
mod sources;
mod text;

pub use cli::{Invocation, NewCertificates, Resolved};
pub use environment::{Environment, Token};
pub use error::Error;
pub use layer::{Origin, Origins};
pub use model::Settings;
pub use show::render;
pub use sources::{Loaded, SettingsSources};
