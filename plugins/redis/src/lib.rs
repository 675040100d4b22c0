//! Redis as a Mecha plugin: state, publish/subscribe, a binding, configuration and locks, laid out in Redis as Dapr lays
//! them out.
//!
//! A call goes through the capability's file (what a request means), `client.rs` (one command or one pipeline, its span,
//! its retries, its server) and `client/link.rs` (a multiplexed connection that comes back by itself).

mod binding;
mod client;
mod configuration;
mod error;
mod lock;
mod metadata;
mod pubsub;
mod state;
#[cfg(test)]
mod tests;

use mecha_plugin_api::Plugin;

use crate::binding::{RedisBinding, RedisInput};
use crate::configuration::RedisConfiguration;
use crate::lock::RedisLock;
use crate::pubsub::RedisPubSub;
use crate::state::RedisState;

mecha_plugin_api::export!(plugin);

fn plugin() -> Plugin {
    Plugin::new("redis", env!("CARGO_PKG_VERSION"))
        .state_store("state.redis", RedisState::open)
        .pubsub("pubsub.redis", RedisPubSub::open)
        .output_binding("bindings.redis", RedisBinding::open)
        .input_binding("bindings.redis", RedisInput::open)
        .configuration_store("configuration.redis", RedisConfiguration::open)
        .lock_store("lock.redis", RedisLock::open)
}
