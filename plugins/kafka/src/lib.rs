//! Apache Kafka as a Mecha plugin: a broker and a binding over librdkafka.
//!
//! A call goes through the capability's file (`pubsub.rs`, `binding.rs`: what a request means) to `producer.rs`, which
//! publishes, or to `consumer.rs`, whose subscriptions the host pulls from. `client.rs` has what all clients share,
//! `message.rs` turns headers into metadata and back.

mod binding;
mod client;
mod consumer;
mod error;
mod message;
mod metadata;
mod producer;
mod pubsub;
#[cfg(test)]
mod tests;

use mecha_plugin_api::Plugin;

use crate::binding::{KafkaInput, KafkaOutput};
use crate::pubsub::KafkaPubSub;

mecha_plugin_api::export!(plugin);

fn plugin() -> Plugin {
    Plugin::new("kafka", env!("CARGO_PKG_VERSION"))
        .pubsub("pubsub.kafka", KafkaPubSub::open)
        .output_binding("bindings.kafka", KafkaOutput::open)
        .input_binding("bindings.kafka", KafkaInput::open)
}
