//! Keys in files of this machine as a Mecha plugin: `crypto.dapr.localstorage`, as Dapr defines it.
//!
//! A call goes through `crypto.rs` (which key, and whether it may) to `folder.rs` (the key's file) and `wrap.rs` (the
//! algorithms). `key.rs` tells what a file holds, `jwk.rs` reads keys in JSON, and `der.rs` brings RSA keys into one form.

mod crypto;
mod der;
mod folder;
mod jwk;
mod key;
#[cfg(test)]
mod tests;
mod work;
mod wrap;

use mecha_plugin_api::Plugin;

use crate::crypto::LocalStorage;

mecha_plugin_api::export!(plugin);

fn plugin() -> Plugin {
    Plugin::new("crypto", env!("CARGO_PKG_VERSION")).crypto("crypto.dapr.localstorage", LocalStorage::open)
}
