//! Which internal topics are read: those of the stores that are open now.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use mecha_observability::Telemetry;
use tokio::sync::watch;

use super::OutboxSettings;
use super::feed::OutboxFeed;
use crate::application::Shared;
use crate::inbound::{Flow, FlowEnd, FlowWatch, Pump};
use crate::registry::Registry;
use crate::{App, PubSub};

/// The outboxes of all state stores.
pub struct Outbox {
    app: Arc<App>,
    telemetry: Telemetry,
    pub(super) registry: Arc<ArcSwap<Registry>>,
    changed: watch::Sender<()>,
    flow: watch::Sender<Flow>,
    running: Mutex<Running>,
}

#[derive(Default)]
struct Running {
    by_store: BTreeMap<String, Reading>,
    /// Stores whose internal topic has no broker, which was said once.
    refused: BTreeSet<String>,
    /// What was taken out of service and finishes what it has.
    ending: Vec<Pump>,
}

struct Reading {
    settings: OutboxSettings,
    broker: Arc<PubSub>,
    end: FlowEnd,
    pump: Pump,
}

impl Outbox {
    pub(crate) fn new(shared: &Shared) -> Self {
        Self {
            app: shared.app.clone(),
            telemetry: shared.telemetry.clone(),
            registry: shared.registry.clone(),
            changed: shared.changed.clone(),
            flow: watch::Sender::new(Flow::On),
            running: Mutex::default(),
        }
    }

    /// Begins to read, and follows every change of what is declared.
    pub(crate) fn start(self: &Arc<Self>) {
        let mut changes = self.changed.subscribe();
        self.refresh();
        let (outbox, mut flow) = (self.clone(), self.flow.subscribe());
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    // Neither sender goes while the outbox is held here.
                    _ = flow.wait_for(|flow| *flow == Flow::Off) => return,
                    changed = changes.changed() => if changed.is_err() { return },
                }
                outbox.refresh();
            }
        });
    }

    /// Reads nothing more; what was read is finished or goes back to its broker.
    pub(crate) async fn stop(&self) {
        self.flow.send_replace(Flow::Off);
        let Running { by_store, ending, .. } = std::mem::take(&mut *self.running());
        let pumps = by_store.into_values().map(|reading| reading.pump).chain(ending);
        for pump in pumps.collect::<Vec<_>>() {
            pump.ended().await;
        }
    }

    /// Starts what is declared and does not run, then ends what runs and is no longer declared.
    fn refresh(&self) {
        let registry = self.registry.load();
        let mut running = self.running();
        if *self.flow.borrow() == Flow::Off {
            return;
        }
        let mut before = std::mem::take(&mut running.by_store);
        let refused = std::mem::take(&mut running.refused);
        for (store, settings) in wanted(&registry) {
            let Some(broker) = registry.declared_pubsubs.get(settings.internal_pubsub.as_str()) else {
                if !refused.contains(&store) {
                    tracing::warn!(
                        "could not subscribe to internal outbox topic: outbox pubsub {} not loaded",
                        settings.internal_pubsub
                    );
                }
                running.refused.insert(store);
                continue;
            };
            let reading = match before.remove(&store) {
                Some(old) if old.settings == settings && Arc::ptr_eq(&old.broker, broker) => old,
                old => {
                    running.end(old);
                    self.read(&store, settings, broker.clone())
                }
            };
            running.by_store.insert(store, reading);
        }
        before.into_values().for_each(|old| running.end(Some(old)));
    }

    fn read(&self, store: &str, settings: OutboxSettings, broker: Arc<PubSub>) -> Reading {
        let (end, flow) = FlowWatch::ending(self.flow.subscribe());
        let feed = OutboxFeed {
            app: self.app.clone(),
            telemetry: self.telemetry.clone(),
            registry: self.registry.clone(),
            store: store.to_owned(),
            topic: settings.internal_topic(&self.app),
            settings: settings.clone(),
            flow: flow.clone(),
        };
        tracing::debug!(component = %store, topic = %feed.topic, "reading the outbox's own topic");
        let pump = Pump::start(self.app.clone(), broker.clone(), Arc::new(feed), flow);
        Reading { settings, broker, end, pump }
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    fn end(&mut self, reading: Option<Reading>) {
        self.ending.retain(|pump| !pump.has_ended());
        if let Some(Reading { end, pump, .. }) = reading {
            drop(end);
            self.ending.push(pump);
        }
    }
}

/// The stores that are open and have an outbox.
fn wanted(registry: &Registry) -> BTreeMap<String, OutboxSettings> {
    let stores = registry.state_stores.values();
    stores.filter_map(|store| Some((store.name().to_owned(), store.outbox()?.clone()))).collect()
}
