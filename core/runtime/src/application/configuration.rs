//! Changes of configuration brought to an application that speaks HTTP.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use mecha_app_channel::HttpApp;
use mecha_observability::Propagated;
use mecha_plugin_api::configuration::ConfigurationItem;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::Application;
use super::insist::{FromApp, insist};
use crate::configuration_store::ConfigurationWatch;
use crate::inbound::FlowWatch;

impl Application {
    /// Brings each change of a watch to the application until one of them ends it.
    pub(crate) async fn bring_changes(
        self: Arc<Self>,
        store: String,
        id: String,
        mut watch: ConfigurationWatch,
        mut ended: oneshot::Receiver<()>,
    ) {
        let Some(app) = self.channel().and_then(|channel| channel.http()) else { return };
        loop {
            let item = tokio::select! {
                _ = &mut ended => return,
                item = watch.changed() => item,
            };
            let Some(item) = item else { return };
            tokio::select! {
                // Who does not want to know any more is not told again and again.
                _ = &mut ended => return,
                () = self.bring(app, &store, &id, &item) => {}
            }
        }
    }

    async fn bring(&self, app: &HttpApp, store: &str, id: &str, item: &ConfigurationItem) {
        let body = Bytes::from(json!({"id": id, "items": {item.key.as_str(): told(item)}}).to_string());
        let component = self.shared.registry.load().configuration_store(store).ok().cloned();
        let policy = component.and_then(|component| component.policies().inbound.get());
        let attempt = async || {
            let sent =
                app.configuration_changed(store, &item.key, body.clone(), &Propagated::default()).await;
            sent.map_err(FromApp)
        };
        let flow = FlowWatch::of(self.flow.subscribe());
        let Err(error) = insist(policy.as_deref(), &flow, attempt).await else { return };
        tracing::error!(component = store, key = %item.key, "error sending configuration item to application: {error}");
    }
}

/// As Go writes an item: what is empty is absent, so that an item that was deleted is an empty object.
fn told(item: &ConfigurationItem) -> Value {
    let metadata: BTreeMap<_, _> = item.metadata.iter().collect();
    let mut told =
        json!({"value": item.value.as_str(), "version": item.version.as_str(), "metadata": metadata});
    if let Some(fields) = told.as_object_mut() {
        fields.retain(|_, value| *value != json!("") && *value != json!({}));
    }
    told
}
