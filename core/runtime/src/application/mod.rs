//! The application's side: what it subscribes to, and everything that is brought to it.
//!
//! `start.rs` holds the order of the start. A subscription becomes a [`topic::TopicFeed`], an input binding a
//! [`binding::BindingFeed`]; `running.rs` keeps what runs equal to what is declared, `inbound/` keeps each running. Whether they run at all is one signal, [`Flow`], which the
//! application's health and the end of the process turn.

mod binding;
mod bulk;
mod configuration;
mod health;
mod insist;
mod received;
mod running;
mod start;
mod stream;
mod target;
mod topic;
mod watches;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use mecha_app_channel::AppChannel;
use mecha_events::subscription::in_scope;
use mecha_events::{RuleCompiler, SubscriptionSpec};
use mecha_observability::Telemetry;
use mecha_resources::Subscription;
use tokio::sync::watch;

use crate::App;
use crate::inbound::Flow;
use crate::registry::Registry;
use running::Running;
use stream::Streams;

pub(crate) use received::{Carried, received};
pub use start::StartSettings;
pub use stream::{StreamError, StreamSubscription};
pub use target::StreamEvent;
pub use watches::ConfigurationWatches;

/// What every delivery needs.
pub(crate) struct Shared {
    pub(crate) app: Arc<App>,
    pub(crate) telemetry: Telemetry,
    pub(crate) registry: Arc<ArcSwap<Registry>>,
    /// Told of every change of what is declared.
    pub(crate) changed: watch::Sender<()>,
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
    running: Mutex<Running>,
    /// Subscriptions of resources that are for this application.
    declared: Mutex<Vec<SubscriptionSpec>>,
    streams: Streams,
}

impl Application {
    pub(crate) fn new(shared: Shared, channel: Option<AppChannel>, declared: Vec<Subscription>) -> Self {
        let declared = usable(declared, &shared.app.id);
        Self {
            shared: Arc::new(shared),
            channel: channel.map(Arc::new),
            flow: watch::Sender::new(Flow::On),
            running: Mutex::default(),
            declared: Mutex::new(declared),
            streams: Streams::default(),
        }
    }

    /// Takes in the subscriptions that resources declare now.
    pub(crate) fn redeclare(&self, declared: Vec<Subscription>) {
        *self.declared.lock().unwrap_or_else(PoisonError::into_inner) = usable(declared, &self.shared.app.id);
        self.shared.changed.send_replace(());
    }

    /// The channel; `None` when the application is never called.
    pub(crate) fn channel(&self) -> Option<&Arc<AppChannel>> {
        self.channel.as_ref()
    }

    /// The subscriptions that run, those of streams last.
    pub(crate) fn subscriptions(&self) -> Vec<Arc<SubscriptionSpec>> {
        let mut running = self.running().subscriptions();
        running.extend(self.streams.subscriptions());
        running
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
        let pumps = self.running().take();
        for pump in pumps.into_iter().chain(self.streams.close()) {
            pump.ended().await;
        }
    }
}

/// The subscriptions of resources that are for an application. One that cannot be used is left out.
fn usable(declared: Vec<Subscription>, app_id: &str) -> Vec<SubscriptionSpec> {
    let compiler = RuleCompiler::new();
    let spec = |resource: Subscription| match SubscriptionSpec::declarative(&resource, &compiler) {
        Ok(spec) => Some(spec),
        Err(error) => {
            tracing::error!("subscription {} cannot be used: {error}", resource.name);
            None
        }
    };
    in_scope(declared, app_id).into_iter().filter_map(spec).collect()
}
