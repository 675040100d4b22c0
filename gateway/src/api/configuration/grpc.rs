//! Configuration over gRPC; changes come down the stream of the watch.

use std::collections::HashMap;

use mecha_plugin_api::configuration::ConfigurationItem;
use mecha_proto::common::v1 as common;
use mecha_proto::runtime::v1 as pb;
use mecha_runtime::{Call, ConfigurationWatch, ConfigurationWatches, Runtime};
use tokio::sync::{mpsc, oneshot};
use tonic::Status;

use super::service;
use crate::error::ApiError;

pub(crate) async fn get(
    runtime: &Runtime,
    call: &Call,
    request: pb::GetConfigurationRequest,
) -> Result<pb::GetConfigurationResponse, ApiError> {
    let store = service::find(runtime, &request.store_name)?;
    let items = service::get(&store, call, request.keys, request.metadata.into_iter().collect()).await?;
    Ok(pb::GetConfigurationResponse { items: items.into_iter().map(described).collect() })
}

type Change = Result<pb::SubscribeConfigurationResponse, Status>;

/// Sets a watch up and gives its changes; the first message is the watch's id alone.
pub(crate) async fn subscribe(
    runtime: &std::sync::Arc<Runtime>,
    call: &Call,
    request: pb::SubscribeConfigurationRequest,
) -> Result<mpsc::Receiver<Change>, ApiError> {
    let store = service::find(runtime, &request.store_name)?;
    let metadata = request.metadata.into_iter().collect();
    let watch = service::subscribe(&store, call, request.keys, metadata).await?;
    let (id, ended) = runtime.configuration_watches().add();
    let (changes, stream) = mpsc::channel(8);
    let runtime = runtime.clone();
    tokio::spawn(async move {
        forward(&id, watch, ended, &changes).await;
        runtime.configuration_watches().end(&id);
    });
    Ok(stream)
}

/// Sends changes until the store, the client or the request to end it ends the watch.
async fn forward(
    id: &str,
    mut watch: ConfigurationWatch,
    mut ended: oneshot::Receiver<()>,
    changes: &mpsc::Sender<Change>,
) {
    let message = |items| Ok(pb::SubscribeConfigurationResponse { id: id.to_owned(), items });
    if changes.send(message(HashMap::new())).await.is_err() {
        return;
    }
    loop {
        let item = tokio::select! {
            _ = &mut ended => return,
            () = changes.closed() => return,
            item = watch.changed() => item,
        };
        let Some(item) = item else { return };
        if changes.send(message([described(item)].into())).await.is_err() {
            return;
        }
    }
}

pub(crate) fn unsubscribe(
    watches: &ConfigurationWatches,
    request: &pb::UnsubscribeConfigurationRequest,
) -> pb::UnsubscribeConfigurationResponse {
    match watches.end(&request.id) {
        true => pb::UnsubscribeConfigurationResponse { ok: true, message: String::new() },
        false => pb::UnsubscribeConfigurationResponse {
            ok: false,
            message: service::not_unsubscribed(&request.id, "subscription does not exist"),
        },
    }
}

fn described(item: ConfigurationItem) -> (String, common::ConfigurationItem) {
    let metadata = item.metadata.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let described =
        common::ConfigurationItem { value: item.value.into(), version: item.version.into(), metadata };
    (item.key.into(), described)
}
