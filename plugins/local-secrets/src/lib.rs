//! Secrets of the machine that Mecha runs on: `secretstores.local.file` and `secretstores.local.env`.
//!
//! `secret.rs` holds the two stores; `client.rs` reads the file and lays its JSON out flat, as Dapr does.

mod client;
mod metadata;
mod secret;

use mecha_plugin_api::Plugin;

use crate::secret::{EnvSecrets, FileSecrets};

mecha_plugin_api::export!(plugin);

fn plugin() -> Plugin {
    Plugin::new("local-secrets", env!("CARGO_PKG_VERSION"))
        .secret_store("secretstores.local.file", FileSecrets::open)
        .secret_store("secretstores.local.env", EnvSecrets::open)
}
