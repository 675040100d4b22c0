//! What needs no server, kept in memory, as the plugin `memory`: the state store `state.in-memory`, the broker
//! `pubsub.in-memory`, the lock store `lock.in-memory` and the configuration store `configuration.in-memory`.
//!
//! A call goes through `state.rs` (what a request means) to `client.rs` (the sharded map that stands where other plugins
//! have a connection) and `client/shard.rs` (one shard: its entries, their etags and their expiry). A message goes through `pubsub.rs` to `pubsub/bus.rs` (which groups
//! get it) and `pubsub/queue.rs` (what one group still has to get), and comes out of `pubsub/source.rs`.

mod client;
mod configuration;
mod lock;
mod metadata;
mod pubsub;
mod state;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use mecha_plugin_api::Plugin;

use crate::configuration::{MemoryConfiguration, Stores};
use crate::lock::MemoryLock;
use crate::pubsub::{Buses, MemoryPubSub};
use crate::state::MemoryState;

mecha_plugin_api::export!(plugin);

fn plugin() -> Plugin {
    let (buses, stores) = (Arc::new(Buses::default()), Arc::new(Stores::default()));
    Plugin::new("memory", env!("CARGO_PKG_VERSION"))
        .state_store("state.in-memory", MemoryState::open)
        .pubsub("pubsub.in-memory", move |spec| MemoryPubSub::open(spec, buses.clone()))
        .lock_store("lock.in-memory", MemoryLock::open)
        .configuration_store("configuration.in-memory", move |spec| {
            MemoryConfiguration::open(spec, stores.clone())
        })
}
