//! Configuration stores as the runtime calls them, and watches over their items.

use std::sync::Arc;

use mecha_observability::metrics::Operation as Measure;
use mecha_plugin_api::configuration::{ConfigurationItem, ConfigurationStoreObject, VERSION};
use mecha_plugin_api::source::{Delivery, Settlement, SourceObject};
use mecha_plugin_api::{AbiFuture, CallContext, Metadata, RString, RVec};
use tokio::sync::{mpsc, watch};

use crate::call::{Call, CallError};
use crate::component::Component;
use crate::drain::Open;
use crate::inbound::{Feed, Flow, FlowWatch, Pending, Pump};
use crate::observe::Operation;
use crate::policies;

/// A configuration store.
pub type ConfigurationStore = Component<ConfigurationStoreObject>;

const GET: Operation<'static> = Operation::new("get", Measure::Get);
const SUBSCRIBE: Operation<'static> = Operation::new("subscribe", Measure::Subscribe);
/// Changes that may wait for a slow receiver before the store is read no further.
const WAITING: usize = 64;

/// A running watch; it ends when this is dropped.
pub struct ConfigurationWatch {
    changes: mpsc::Receiver<ConfigurationItem>,
    /// Its end is the feed's end.
    _flow: watch::Sender<Flow>,
}

impl ConfigurationWatch {
    /// The next change; `None` when the watch is over.
    pub async fn changed(&mut self) -> Option<ConfigurationItem> {
        self.changes.recv().await
    }
}

impl ConfigurationStore {
    /// The items under `keys`, or all.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn get(
        &self,
        call: &Call,
        keys: Vec<String>,
        metadata: Metadata,
    ) -> Result<Vec<ConfigurationItem>, CallError> {
        let keys: RVec<RString> = keys.into_iter().map(RString::from).collect();
        let get =
            |store: &ConfigurationStoreObject, context, (keys, metadata)| store.get(context, keys, metadata);
        let items = self.call(call, GET, (keys, metadata), get).await?;
        Ok(items.into())
    }

    /// Watches `keys`, or all.
    ///
    /// # Errors
    /// [`CallError`] when the watch cannot be set up.
    pub async fn subscribe(
        self: &Arc<Self>,
        call: &Call,
        keys: Vec<String>,
        metadata: Metadata,
    ) -> Result<ConfigurationWatch, CallError> {
        let (sender, changes) = mpsc::channel(WAITING);
        let name = format!("configuration of {}", self.name());
        let feed = Arc::new(Changes { name, keys, metadata, changes: sender });
        let opened = match self.policies().outbound.get() {
            None => self.open_source(call, &feed, 1).await?,
            Some(policy) => {
                let attempt = |number| self.open_source(call, &feed, number);
                Box::pin(policies::run(&policy, self.name(), call.deadline, attempt)).await?
            }
        };
        let (flow, flowing) = watch::channel(Flow::On);
        Pump::start_on(call.app.clone(), self.clone(), feed, FlowWatch::of(flowing), opened);
        Ok(ConfigurationWatch { changes, _flow: flow })
    }

    async fn open_source(
        &self,
        call: &Call,
        feed: &Changes,
        attempt: u32,
    ) -> Result<(Arc<Open<ConfigurationStoreObject>>, SourceObject), CallError> {
        let open = self.hold().ok_or_else(|| self.gone())?;
        let opening = |store: &ConfigurationStoreObject, context| feed.open(store, context);
        let source = self.call_on(&open, call, SUBSCRIBE.attempt(attempt), opening).await?;
        Ok((open, source))
    }
}

struct Changes {
    name: String,
    keys: Vec<String>,
    metadata: Metadata,
    changes: mpsc::Sender<ConfigurationItem>,
}

impl Feed<ConfigurationStoreObject> for Changes {
    fn name(&self) -> &str {
        &self.name
    }

    fn open(&self, store: &ConfigurationStoreObject, context: CallContext) -> AbiFuture<SourceObject> {
        let keys: RVec<RString> = self.keys.iter().map(|key| key.as_str().into()).collect();
        store.subscribe(context, keys, self.metadata.clone())
    }

    fn max_in_flight(&self) -> usize {
        // One after the other: of two changes of a key the later one must be told last.
        1
    }

    fn is_told_once(&self) -> bool {
        true
    }

    fn handle(&self, deliveries: Vec<Delivery>) -> Pending<'_, Vec<Settlement>> {
        Box::pin(async move {
            for delivery in deliveries {
                // A receiver that is gone has ended the watch.
                let _ = self.changes.send(item(delivery)).await;
            }
            // Changes are not settled.
            Vec::new()
        })
    }
}

fn item(delivery: Delivery) -> ConfigurationItem {
    let version = delivery.metadata.get(VERSION).unwrap_or_default().into();
    let metadata = delivery.metadata.iter().filter(|(key, _)| *key != VERSION).collect();
    let value = String::from_utf8_lossy(&delivery.data).into_owned().into();
    ConfigurationItem { key: delivery.topic, value, version, metadata }
}
