//! HTTP endpoints as a Mecha plugin: the output binding `bindings.http`, as Dapr defines it.
//!
//! A call goes through `binding.rs` (operations, request metadata, response metadata), `client.rs` (one exchange after
//! another while the server redirects) and `client/connect.rs` (sockets and TLS).

mod binding;
mod client;
mod metadata;
#[cfg(test)]
mod tests;

use mecha_plugin_api::Plugin;

use crate::binding::HttpBinding;

mecha_plugin_api::export!(plugin);

fn plugin() -> Plugin {
    Plugin::new("http-binding", env!("CARGO_PKG_VERSION")).output_binding("bindings.http", HttpBinding::open)
}
