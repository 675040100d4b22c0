//! What integration tests build on: the runtime as a child process, an HTTP client, an OTLP receiver, and waiting for
//! conditions.
//!
//! A test declares its processes first and then runs:
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use mecha_testkit::Mecha;
//!
//! let mecha = Mecha::builder().app_id("orders").plugin("memory").component("store", "state.in-memory").start().await?;
//! let answer = mecha.http().get(&mecha.http_url("/v1.0/state/store/key")).await?;
//! assert_eq!(answer.status, 204);
//! # Ok(())
//! # }
//! ```

mod app;
mod artifacts;
mod client;
mod logs;
mod mecha;
mod otlp;
mod plugins;
mod wait;

pub use app::{Answer, Asked, Scripted, ScriptedApp, Seen, TestApp, Transport, Wish};
pub use artifacts::{fixture, mecha_binary, plugin_library, profile_dir};
pub use client::{HttpClient, Reply};
pub use logs::Logs;
pub use mecha::{Mecha, MechaBuilder};
pub use otlp::{OtlpCollector, ReceivedSpan};
pub use plugins::PluginDir;
pub use rustix::process::Signal;
pub use wait::eventually;
