//! The configuration store `configuration.in-memory`: the items stand in the component's own metadata, and change with it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use mecha_plugin_api::configuration::{ConfigurationItem, ConfigurationStore, VERSION};
use mecha_plugin_api::source::{Delivery, Settlement, Source, Subscription};
use mecha_plugin_api::{Buf, CallContext, ComponentSpec, Metadata, RString, Result};
use tokio::sync::watch;

/// Between a value and its version, as in Dapr's Redis store.
const SEPARATOR: &str = "||";

type Items = BTreeMap<String, Item>;
type ComponentKey = (String, String);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Item {
    value: String,
    version: String,
}

impl Item {
    fn read(text: &str) -> Self {
        let (value, version) = text.split_once(SEPARATOR).unwrap_or((text, ""));
        Self { value: value.to_owned(), version: version.to_owned() }
    }
}

/// The items of every open component, by application and component name: a watch goes on when an instance of a component with
/// other items takes the place of the one that it began on.
#[derive(Default)]
pub(crate) struct Stores(Mutex<HashMap<ComponentKey, Weak<watch::Sender<Arc<Items>>>>>);

impl Stores {
    /// Puts the items in place of those that the component had.
    fn put(&self, spec: &ComponentSpec, items: Items) -> Arc<watch::Sender<Arc<Items>>> {
        let mut stores = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        stores.retain(|_, store| store.strong_count() > 0);
        let key = (spec.app_id.to_string(), spec.name.to_string());
        if let Some(store) = stores.get(&key).and_then(Weak::upgrade) {
            store.send_replace(Arc::new(items));
            return store;
        }
        let store = Arc::new(watch::Sender::new(Arc::new(items)));
        stores.insert(key, Arc::downgrade(&store));
        store
    }
}

/// An open component.
pub(crate) struct MemoryConfiguration {
    items: Arc<watch::Sender<Arc<Items>>>,
}

impl MemoryConfiguration {
    pub(crate) async fn open(spec: ComponentSpec, stores: Arc<Stores>) -> Result<Self> {
        let items = spec.metadata.iter().map(|(key, text)| (key.to_owned(), Item::read(text))).collect();
        Ok(Self { items: stores.put(&spec, items) })
    }
}

fn is_wanted(keys: &[String], key: &str) -> bool {
    keys.is_empty() || keys.iter().any(|wanted| wanted == key)
}

impl ConfigurationStore for MemoryConfiguration {
    async fn get(
        &self,
        _context: &CallContext,
        keys: Vec<String>,
        _metadata: Metadata,
    ) -> Result<Vec<ConfigurationItem>> {
        let items = self.items.borrow().clone();
        let wanted = items.iter().filter(|(key, _)| is_wanted(&keys, key));
        Ok(wanted
            .map(|(key, item)| ConfigurationItem {
                key: key.as_str().into(),
                value: item.value.as_str().into(),
                version: item.version.as_str().into(),
                metadata: Metadata::new(),
            })
            .collect())
    }

    async fn subscribe(
        &self,
        _context: &CallContext,
        keys: Vec<String>,
        _metadata: Metadata,
    ) -> Result<Subscription> {
        let changes = self.items.subscribe();
        let seen = changes.borrow().clone();
        Ok(Subscription::new(Changes {
            keys,
            state: tokio::sync::Mutex::new(State { changes, seen, next: 0 }),
        }))
    }
}

struct Changes {
    keys: Vec<String>,
    state: tokio::sync::Mutex<State>,
}

struct State {
    changes: watch::Receiver<Arc<Items>>,
    seen: Arc<Items>,
    next: u64,
}

impl State {
    /// What differs from what was seen, as deliveries.
    fn differences(&mut self, keys: &[String]) -> Vec<Delivery> {
        let now = self.changes.borrow_and_update().clone();
        let before = std::mem::replace(&mut self.seen, now.clone());
        let changed = now.iter().filter(|(key, item)| before.get(*key) != Some(item));
        let changed = changed.map(|(key, item)| (key, Some(item)));
        let gone = before.keys().filter(|key| !now.contains_key(*key)).map(|key| (key, None));
        let wanted: Vec<_> = changed.chain(gone).filter(|(key, _)| is_wanted(keys, key)).collect();
        wanted.into_iter().map(|(key, item)| self.delivery(key, item)).collect()
    }

    fn delivery(&mut self, key: &str, item: Option<&Item>) -> Delivery {
        self.next += 1;
        let version = item.map(|item| item.version.as_str()).filter(|version| !version.is_empty());
        Delivery {
            id: self.next,
            redelivered: 0,
            ordering_key: RString::new(),
            topic: key.into(),
            data: Buf::from(item.map(|item| item.value.clone()).unwrap_or_default()),
            content_type: RString::new(),
            metadata: version.map(|version| (VERSION, version)).into_iter().collect(),
        }
    }
}

impl Source for Changes {
    /// A change is told whole: there are never more items than the component's metadata has.
    async fn next(&self, _context: &CallContext, _max: u32, wait: Duration) -> Result<Vec<Delivery>> {
        let mut state = self.state.lock().await;
        if !state.changes.has_changed().unwrap_or_default() {
            // Time that passes, and a store that is gone, are no changes.
            let _ = tokio::time::timeout(wait, state.changes.changed()).await;
        }
        Ok(state.differences(&self.keys))
    }

    async fn settle(&self, _context: &CallContext, _settlements: Vec<Settlement>) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn open(stores: &Arc<Stores>, items: &[(&str, &str)]) -> MemoryConfiguration {
        let spec = ComponentSpec::new("c", "configuration.in-memory", items.iter().copied().collect());
        MemoryConfiguration::open(spec, stores.clone()).await.unwrap()
    }

    #[tokio::test]
    async fn items_are_read_and_their_changes_told() {
        let (stores, context) = (Arc::new(Stores::default()), CallContext::background("app"));
        let first = open(&stores, &[("color", "red||1"), ("size", "5"), ("gone", "x")]).await;
        let items =
            first.get(&context, vec!["color".to_owned(), "none".to_owned()], Metadata::new()).await.unwrap();
        assert_eq!(items.len(), 1);
        assert_eq!((&*items[0].key, &*items[0].value, &*items[0].version), ("color", "red", "1"));
        assert_eq!(first.get(&context, Vec::new(), Metadata::new()).await.unwrap().len(), 3);

        let changes = first.items.subscribe();
        let seen = changes.borrow().clone();
        let watch = Changes {
            keys: vec!["color".to_owned(), "gone".to_owned()],
            state: tokio::sync::Mutex::new(State { changes, seen, next: 0 }),
        };
        assert!(watch.next(&context, 10, Duration::ZERO).await.unwrap().is_empty());
        let _second = open(&stores, &[("color", "blue||2"), ("size", "6")]).await;
        let told = watch.next(&context, 10, Duration::from_secs(5)).await.unwrap();
        let told: Vec<_> = told
            .iter()
            .map(|change| {
                (&*change.topic, String::from_utf8_lossy(&change.data), change.metadata.get(VERSION))
            })
            .collect();
        assert_eq!(told, [("color", "blue".into(), Some("2")), ("gone", "".into(), None)]);
    }
}
