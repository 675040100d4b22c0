//! Publishing over gRPC.

use mecha_plugin_api::Metadata;
use mecha_proto::runtime::v1 as pb;
use mecha_runtime::{Call, Runtime};

use super::service::{Entry, Event, Target};
use crate::error::ApiError;

pub(crate) async fn publish(
    runtime: &Runtime,
    call: &Call,
    request: pb::PublishEventRequest,
) -> Result<(), ApiError> {
    let metadata: Metadata = request.metadata.into_iter().collect();
    let target = find(runtime, call, &request.pubsub_name, &request.topic, &metadata)?;
    let event = Event { data: request.data, content_type: request.data_content_type, metadata };
    target.publish(event).await
}

pub(crate) async fn bulk_publish(
    runtime: &Runtime,
    call: &Call,
    request: pb::BulkPublishRequest,
) -> Result<pb::BulkPublishResponse, ApiError> {
    let metadata: Metadata = request.metadata.into_iter().collect();
    let target = find(runtime, call, &request.pubsub_name, &request.topic, &metadata)?;
    let entry = |entry: pb::BulkPublishRequestEntry| {
        let own: Metadata = entry.metadata.into_iter().collect();
        // As in Dapr the request's metadata reaches only entries that have metadata of their own.
        let metadata = if own.is_empty() { own } else { merged(&metadata, &own) };
        let event = Event { data: entry.event, content_type: entry.content_type, metadata };
        Entry { entry_id: entry.entry_id, event }
    };
    let entries = request.entries.into_iter().map(entry).collect();
    match target.bulk_publish(entries, metadata.clone(), runtime).await {
        Ok(()) => Ok(pb::BulkPublishResponse::default()),
        Err(failure) => Err(*failure.error),
    }
}

/// As in Dapr a broker that is not there is told without the request's metadata.
fn find<'a>(
    runtime: &Runtime,
    call: &'a Call,
    pubsub: &'a str,
    topic: &'a str,
    metadata: &Metadata,
) -> Result<Target<'a>, ApiError> {
    let is_there = pubsub.is_empty() || runtime.registry().pubsub(pubsub).is_ok();
    let none = Metadata::new();
    Target::find(runtime, call, pubsub, topic, if is_there { metadata } else { &none })
}

fn merged(request: &Metadata, entry: &Metadata) -> Metadata {
    request.iter().chain(entry.iter()).collect()
}
