//! SQLite as a Mecha plugin: the state store `state.sqlite`, on disk exactly as Dapr lays it out, and the broker
//! `pubsub.sqlite`.
//!
//! A call goes through `state.rs` (what a request means) and `state/rows.rs` (the SQL) on a thread of `client.rs`: writes on
//! one, several at a time in one transaction (`client/writer.rs`), reads on a few others (`client/reader.rs`).
//! Messages take the same ways, through `pubsub.rs` and `pubsub/topics.rs` (the SQL); `pubsub/source.rs` lends them out and
//! `pubsub/hub.rs` wakes whoever waits for them.

mod client;
mod error;
mod metadata;
mod pubsub;
mod state;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use mecha_plugin_api::Plugin;

use crate::client::OpenFiles;
use crate::pubsub::{Hub, SqlitePubSub};
use crate::state::SqliteState;

mecha_plugin_api::export!(plugin);

fn plugin() -> Plugin {
    let files = Arc::new(OpenFiles::default());
    let (state_files, hub) = (files.clone(), Arc::new(Hub::default()));
    Plugin::new("sqlite", env!("CARGO_PKG_VERSION"))
        .state_store("state.sqlite", move |spec| SqliteState::open(spec, state_files.clone()))
        .pubsub("pubsub.sqlite", move |spec| SqlitePubSub::open(spec, files.clone(), hub.clone()))
}
