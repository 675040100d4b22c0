//! AWS as a Mecha plugin: queues of SQS and objects of S3.

use mecha_plugin_api::Plugin;

mecha_plugin_api::export!(plugin);

fn plugin() -> Plugin {
    Plugin::new("aws", env!("CARGO_PKG_VERSION"))
}
