//! AWS as a Mecha plugin: queues of SQS and objects of S3, over one SDK and one HTTP stack.
//!
//! `metadata.rs` reads what all components have in common, `client.rs` turns it into the SDK's configuration over the plugin's
//! shared connections. A call then goes through `sqs/` or `s3/`, and what fails on the way through `error.rs`.

mod client;
mod error;
mod metadata;
mod s3;
mod span;
mod sqs;
#[cfg(test)]
mod tests;

use mecha_plugin_api::Plugin;

use crate::client::Shared;
use crate::s3::{S3Binding, S3Objects};
use crate::sqs::{SqsBinding, SqsPubSub};

mecha_plugin_api::export!(plugin);

fn plugin() -> Plugin {
    let shared = Shared::default();
    let (output, input, pubsub, objects, streams) =
        (shared.clone(), shared.clone(), shared.clone(), shared.clone(), shared);
    Plugin::new("aws", env!("CARGO_PKG_VERSION"))
        .output_binding("bindings.aws.sqs", move |spec| SqsBinding::open(spec, output.clone()))
        .input_binding("bindings.aws.sqs", move |spec| SqsBinding::open(spec, input.clone()))
        .pubsub("pubsub.aws.sqs", move |spec| SqsPubSub::open(spec, pubsub.clone()))
        .output_binding("bindings.aws.s3", move |spec| S3Binding::open(spec, objects.clone()))
        .object_store("objects.aws.s3", move |spec| S3Objects::open(spec, streams.clone()))
}
