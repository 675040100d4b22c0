//! State kept in memory, as the plugin `memory`: the state store `state.in-memory`.
//!
//! A call goes through `state.rs` (what a request means) to `client.rs` (the sharded map that stands where other plugins
//! have a connection) and `client/shard.rs` (one shard: its entries, their etags and their expiry).

mod client;
mod metadata;
mod state;
#[cfg(test)]
mod tests;

use mecha_plugin_api::Plugin;

use crate::state::MemoryState;

mecha_plugin_api::export!(plugin);

fn plugin() -> Plugin {
    Plugin::new("memory", env!("CARGO_PKG_VERSION")).state_store("state.in-memory", MemoryState::open)
}
