//! The application's side: what it subscribes to, and everything that is brought to it.
//!
//! `start.rs` holds the order of the start. A subscription becomes a [`topic::TopicFeed`], an input binding a
//! [`binding::BindingFeed`]; `inbound/` keeps them running. Whether they run at all is one signal, [`Flow`], which the
//! application's health and the end of the process turn.

mod binding;
mod bulk;
mod configuration;
mod health;
mod received;
mod start;
mod stream;
mod target;
mod topic;
mod watches;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use mecha_app_channel::AppChannel;
use mecha_events::SubscriptionSpec;
use mecha_observability::Telemetry;
use mecha_resources::Subscription;
use tokio::sync::watch;

use crate::App;
use crate::inbound::{Flow, Pump};
use crate::registry::Registry;
use stream::Streams;

pub use start::StartSettings;
pub use stream::{StreamError, StreamSubscription};
pub use target::StreamEvent;
pub use watches::ConfigurationWatches;

/// What every delivery needs.
pub(crate) struct Shared {
    pub(crate) app: Arc<App>,
    pub(crate) telemetry: Telemetry,
    pub(crate) registry: Arc<ArcSwap<Registry>>,
}

/// How the application's health is probed.
#[derive(Debug, Clone)]
pub struct HealthProbe {
    /// Path of the probe over HTTP.
    pub path: String,
    /// From one probe to the next.
    pub interval: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Failures in a row after which the application counts as unhealthy.
    pub threshold: u32,
}

/// The application as the runtime calls it.
pub(crate) struct Application {
    shared: Arc<Shared>,
    channel: Option<Arc<AppChannel>>,
    flow: watch::Sender<Flow>,
    pumps: Mutex<Vec<Pump>>,
    /// Subscriptions of resources.
    declared: Vec<Subscription>,
    subscribed: Mutex<Vec<Arc<SubscriptionSpec>>>,
    streams: Streams,
}

impl Application {
    pub(crate) fn new(shared: Shared, channel: Option<AppChannel>, declared: Vec<Subscription>) -> Self {
        Self {
            shared: Arc::new(shared),
            channel: channel.map(Arc::new),
            flow: watch::Sender::new(Flow::On),
            pumps: Mutex::default(),
            declared,
            subscribed: Mutex::default(),
            streams: Streams::default(),
        }
    }

    /// The channel; `None` when the application is never called.
    pub(crate) fn channel(&self) -> Option<&Arc<AppChannel>> {
        self.channel.as_ref()
    }

    /// The subscriptions that run, those of streams last.
    pub(crate) fn subscriptions(&self) -> Vec<Arc<SubscriptionSpec>> {
        let mut running = self.subscribed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        running.extend(self.streams.subscriptions());
        running
    }

    fn subscribed(&self, spec: Arc<SubscriptionSpec>) {
        self.subscribed.lock().unwrap_or_else(PoisonError::into_inner).push(spec);
    }

    fn keep(&self, pump: Pump) {
        self.pumps.lock().unwrap_or_else(PoisonError::into_inner).push(pump);
    }

    /// Ends when the application is not well; never, where nobody asks it.
    pub(crate) async fn unhealthy(&self) {
        let mut flow = self.flow.subscribe();
        // An error would mean that the sender is gone, and it is ours.
        let _ = flow.wait_for(|flow| *flow == Flow::Paused).await;
    }

    /// Takes nothing more in, and waits for what is with the application.
    pub(crate) async fn stop(&self) {
        self.flow.send_replace(Flow::Off);
        let pumps = std::mem::take(&mut *self.pumps.lock().unwrap_or_else(PoisonError::into_inner));
        for pump in pumps.into_iter().chain(self.streams.close()) {
            pump.ended().await;
        }
    }
}
