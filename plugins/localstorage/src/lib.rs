//! Files of this machine as a Mecha plugin: the output binding `bindings.localstorage`, as Dapr defines it, and the object
//! store `objects.local`.
//!
//! A call of the binding goes through `binding.rs` (the operations) to `client.rs` (the files below one folder, which no name leads
//! out of). `payload.rs` reads what is to be written. The object store is in `objects.rs`.

mod binding;
mod client;
mod metadata;
mod objects;
mod payload;
#[cfg(test)]
mod tests;
mod work;

use mecha_plugin_api::Plugin;

use crate::binding::LocalStorage;
use crate::objects::LocalObjects;

mecha_plugin_api::export!(plugin);

fn plugin() -> Plugin {
    Plugin::new("localstorage", env!("CARGO_PKG_VERSION"))
        .output_binding("bindings.localstorage", LocalStorage::open)
        .object_store("objects.local", LocalObjects::open)
}
