//! Files of this machine as a Mecha plugin: the output binding `bindings.localstorage`, as Dapr defines it.
//!
//! A call goes through `binding.rs` (the operations) to `client.rs` (the files below one folder, which no name leads out of).
//! `payload.rs` reads what is to be written.

mod binding;
mod client;
mod metadata;
mod payload;
#[cfg(test)]
mod tests;

use mecha_plugin_api::Plugin;

use crate::binding::LocalStorage;

mecha_plugin_api::export!(plugin);

fn plugin() -> Plugin {
    Plugin::new("localstorage", env!("CARGO_PKG_VERSION"))
        .output_binding("bindings.localstorage", LocalStorage::open)
}
