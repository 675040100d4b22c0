//! Redis as a Mecha plugin: the state store `state.redis`, laid out in Redis as Dapr lays it out.
//!
//! A call goes through `state.rs` (what a request means), `state/script.rs` (the conditional writes), `client.rs` (one
//! command or one pipeline, its span, its retries) and `client/link.rs` (a multiplexed connection that comes back by itself).

mod client;
mod error;
mod metadata;
mod state;
#[cfg(test)]
mod tests;

use mecha_plugin_api::Plugin;

use crate::state::RedisState;

mecha_plugin_api::export!(plugin);

fn plugin() -> Plugin {
    Plugin::new("redis", env!("CARGO_PKG_VERSION")).state_store("state.redis", RedisState::open)
}
