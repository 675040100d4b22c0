//! Conversations without a model as a Mecha plugin: `conversation.echo`, as Dapr defines it.
//!
//! It answers with what it is asked (`echo.rs`), so that applications can be tried without a provider.

mod echo;
#[cfg(test)]
mod tests;

use mecha_plugin_api::Plugin;

use crate::echo::Echo;

mecha_plugin_api::export!(plugin);

fn plugin() -> Plugin {
    Plugin::new("conversation", env!("CARGO_PKG_VERSION")).conversation("conversation.echo", Echo::open)
}
