//! Ways of finding other runtimes, as a Mecha plugin: `nameresolution.sqlite`, `nameresolution.nameformat`,
//! `nameresolution.kubernetes` and `nameresolution.consul`, as Dapr defines them.
//!
//! `sqlite.rs` keeps a table of runtimes in a file that they share, `consul.rs` asks an agent of Consul; `nameformat.rs` and
//! `kubernetes.rs` make a DNS name out of the application's id.

mod consul;
mod kubernetes;
mod nameformat;
mod sqlite;

use std::sync::Arc;

use mecha_plugin_api::Plugin;

use crate::consul::Consul;
use crate::kubernetes::Kubernetes;
use crate::nameformat::NameFormat;
use crate::sqlite::{Files, Sqlite};

mecha_plugin_api::export!(plugin);

fn plugin() -> Plugin {
    let files = Arc::new(Files::default());
    Plugin::new("name-resolution", env!("CARGO_PKG_VERSION"))
        .name_resolution("nameresolution.sqlite", move |spec| Sqlite::open(spec, files.clone()))
        .name_resolution("nameresolution.nameformat", NameFormat::open)
        .name_resolution("nameresolution.kubernetes", Kubernetes::open)
        .name_resolution("nameresolution.consul", Consul::open)
        .name_resolution("nameresolution.hashicorp.consul", Consul::open)
}
