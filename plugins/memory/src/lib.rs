//! State and messages kept in memory, as the plugin `memory`: the state store `state.in-memory` and the broker
//! `pubsub.in-memory`.
//!
//! A call goes through `state.rs` (what a request means) to `client.rs` (the sharded map that stands where other plugins
//! have a connection) and `client/shard.rs` (one shard: its entries, their etags and their expiry). A message goes through `pubsub.rs` to `pubsub/bus.rs` (which groups
//! get it) and `pubsub/queue.rs` (what one group still has to get), and comes out of `pubsub/source.rs`.

mod client;
mod metadata;
mod pubsub;
mod state;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use mecha_plugin_api::Plugin;

use crate::pubsub::{Buses, MemoryPubSub};
use crate::state::MemoryState;

mecha_plugin_api::export!(plugin);

fn plugin() -> Plugin {
    let buses = Arc::new(Buses::default());
    Plugin::new("memory", env!("CARGO_PKG_VERSION"))
        .state_store("state.in-memory", MemoryState::open)
        .pubsub("pubsub.in-memory", move |spec| MemoryPubSub::open(spec, buses.clone()))
}
