//! What runs for the application, kept equal to what is declared: subscriptions and input bindings come, change and go while
//! the rest goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use mecha_app_channel::{AppChannel, HttpApp};
use mecha_events::SubscriptionSpec;
use mecha_events::subscription::effective;
use tokio::time::timeout;

use super::Application;
use super::binding::BindingFeed;
use super::target::Target;
use super::topic::TopicFeed;
use crate::inbound::{FlowEnd, FlowWatch, Pump, Tried};
use crate::registry::Registry;
use crate::{InputBinding, PubSub};

/// Everything that was started.
#[derive(Default)]
pub(super) struct Running {
    subscriptions: Vec<RunningSubscription>,
    /// Topics that cannot be subscribed to, which was said once.
    refused: BTreeSet<(String, String)>,
    bindings: Vec<KnownBinding>,
    /// What was taken out of service and finishes what it has.
    ending: Vec<Pump>,
}

struct RunningSubscription {
    spec: Arc<SubscriptionSpec>,
    broker: Arc<PubSub>,
    feed: RunningFeed,
}

/// A binding that the application was asked about.
struct KnownBinding {
    binding: Arc<InputBinding>,
    /// `None` when the application does not want it.
    feed: Option<RunningFeed>,
}

struct RunningFeed {
    end: FlowEnd,
    pump: Pump,
}

impl Running {
    /// The subscriptions, in the order of their declaration.
    pub(super) fn subscriptions(&self) -> Vec<Arc<SubscriptionSpec>> {
        self.subscriptions.iter().map(|running| running.spec.clone()).collect()
    }

    /// Gives everything up, to be waited for.
    pub(super) fn take(&mut self) -> Vec<Pump> {
        let Self { subscriptions, bindings, ending, .. } = std::mem::take(self);
        let feeds = subscriptions.into_iter().map(|running| running.feed);
        let feeds = feeds.chain(bindings.into_iter().filter_map(|known| known.feed));
        feeds.map(|feed| feed.pump).chain(ending).collect()
    }

    /// Ends the bindings that are not among the declared ones; gives those among them that are new.
    fn keep_bindings(&mut self, mut declared: Vec<Arc<InputBinding>>) -> Vec<Arc<InputBinding>> {
        for known in std::mem::take(&mut self.bindings) {
            match declared.iter().position(|binding| Arc::ptr_eq(binding, &known.binding)) {
                Some(place) => {
                    declared.remove(place);
                    self.bindings.push(known);
                }
                None => known.feed.into_iter().for_each(|feed| self.end(feed)),
            }
        }
        declared
    }

    fn end(&mut self, feed: RunningFeed) {
        drop(feed.end);
        self.ending.retain(|pump| !pump.has_ended());
        self.ending.push(feed.pump);
    }
}

impl Application {
    /// Waits until each subscription was opened, or cannot be now: what is published from then on reaches the application.
    pub(super) async fn subscribed(&self) {
        let tried: Vec<_> =
            self.running().subscriptions.iter().map(|running| running.feed.pump.tried()).collect();
        join_all(tried.into_iter().map(Tried::wait)).await;
    }

    pub(super) fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the subscriptions that hold and do not run, then ends those that run and no longer hold.
    pub(super) fn refresh_subscriptions(
        self: &Arc<Self>,
        asked: &[SubscriptionSpec],
        channel: &Arc<AppChannel>,
    ) {
        let declared = self.declared.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let registry = self.shared.registry.load();
        let mut running = self.running();
        let mut before = std::mem::take(&mut running.subscriptions);
        let refused_before = std::mem::take(&mut running.refused);
        let mut started: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for spec in effective(declared, asked.iter().cloned()) {
            let broker = match broker_of(&spec, &registry) {
                Ok(broker) => broker,
                Err(reason) => {
                    let topic = (spec.pubsub, spec.topic);
                    if !refused_before.contains(&topic) {
                        tracing::error!(component = %topic.0, "{reason}");
                    }
                    running.refused.insert(topic);
                    continue;
                }
            };
            let holds = |old: &RunningSubscription| *old.spec == spec && Arc::ptr_eq(&old.broker, &broker);
            if let Some(place) = before.iter().position(holds) {
                running.subscriptions.push(before.remove(place));
                continue;
            }
            started.entry(spec.pubsub.clone()).or_default().push(spec.topic.clone());
            running.subscriptions.push(self.start_subscription(Arc::new(spec), broker, channel));
        }
        for old in before {
            tracing::info!("unsubscribed from topic '{}' of pubsub '{}'", old.spec.topic, old.spec.pubsub);
            running.end(old.feed);
        }
        drop(running);
        for (pubsub, topics) in started {
            // Go's form of a list within brackets, as daprd has it.
            let topics = topics.join(" ");
            tracing::info!("app is subscribed to the following topics: [[{topics}]] through pubsub={pubsub}");
        }
    }

    fn start_subscription(
        self: &Arc<Self>,
        spec: Arc<SubscriptionSpec>,
        broker: Arc<PubSub>,
        channel: &Arc<AppChannel>,
    ) -> RunningSubscription {
        let (end, flow) = FlowWatch::ending(self.flow.subscribe());
        let pump = self.feed(spec.clone(), broker.clone(), Target::App(channel.clone()), flow);
        RunningSubscription { spec, broker, feed: RunningFeed { end, pump } }
    }

    /// Starts one subscription's feed.
    pub(super) fn feed(
        self: &Arc<Self>,
        spec: Arc<SubscriptionSpec>,
        broker: Arc<PubSub>,
        target: Target,
        flow: FlowWatch,
    ) -> Pump {
        let name = format!("{}/{}", spec.pubsub, spec.topic);
        let raw_payload = spec.raw_payload();
        let feed = TopicFeed {
            shared: self.shared.clone(),
            spec,
            broker: broker.clone(),
            target,
            raw_payload,
            flow: flow.clone(),
            name,
        };
        let (app, is_stream) = (self.shared.app.clone(), matches!(feed.target, Target::Stream(_)));
        match is_stream {
            // What resources and the application declare is started anew on a new broker; a stream is opened only once.
            true => Pump::start_following(app, broker, Arc::new(feed), flow),
            false => Pump::start(app, broker, Arc::new(feed), flow),
        }
    }

    /// Asks about the input bindings that are new, starts those that are wanted and ends those that are no longer declared.
    pub(super) async fn refresh_bindings(self: &Arc<Self>, channel: &Arc<AppChannel>, patience: Duration) {
        let declared: Vec<_> = self.shared.registry.load().input_bindings.values().cloned().collect();
        let unknown = self.running().keep_bindings(declared);
        if unknown.is_empty() {
            return;
        }
        let wanted = listed(channel, patience).await;
        for binding in unknown {
            let settings = binding.settings();
            let route = settings.route.clone().unwrap_or_else(|| binding.name().to_owned());
            let wants = match (settings.is_input, &**channel) {
                (Some(is_input), _) => is_input,
                (None, AppChannel::Grpc(_)) => wanted.iter().any(|name| name == binding.name()),
                (None, AppChannel::Http(app)) => wants(app, &route, patience).await,
            };
            if !wants && settings.is_input.is_none() {
                tracing::info!("app has not subscribed to binding {}.", binding.name());
            }
            let feed = wants.then(|| self.start_binding(binding.clone(), route, channel));
            self.running().bindings.push(KnownBinding { binding, feed });
        }
    }

    fn start_binding(
        self: &Arc<Self>,
        binding: Arc<InputBinding>,
        route: String,
        channel: &Arc<AppChannel>,
    ) -> RunningFeed {
        tracing::info!(component = %binding.name(), "reading from input binding");
        let (end, flow) = FlowWatch::ending(self.flow.subscribe());
        let feed = BindingFeed {
            shared: self.shared.clone(),
            channel: channel.clone(),
            binding: binding.clone(),
            route,
            flow: flow.clone(),
        };
        RunningFeed { end, pump: Pump::start(self.shared.app.clone(), binding, Arc::new(feed), flow) }
    }
}

/// The broker of a subscription, or why there is none.
fn broker_of(spec: &SubscriptionSpec, registry: &Registry) -> Result<Arc<PubSub>, String> {
    let (pubsub, topic) = (spec.pubsub.as_str(), spec.topic.as_str());
    let broker = registry.declared_pubsubs.get(pubsub);
    let broker =
        broker.ok_or_else(|| format!("pubsub {pubsub} is not found; topic {topic} is not subscribed"))?;
    match broker.may_subscribe(topic) {
        true => Ok(broker.clone()),
        false => Err(format!(
            "Failed to start subscription for pubsub {pubsub}, topic {topic}: subscription to topic '{topic}' on pubsub '{pubsub}' is not allowed"
        )),
    }
}

/// The input bindings that a gRPC application names.
async fn listed(channel: &AppChannel, patience: Duration) -> Vec<String> {
    let AppChannel::Grpc(app) = channel else { return Vec::new() };
    match timeout(patience, app.input_bindings()).await {
        Ok(Ok(wanted)) => return wanted,
        Ok(Err(error)) => tracing::error!("error getting list of bindings from app: {error}"),
        Err(_) => tracing::error!(
            "the application did not answer ListInputBindings within {patience:?}; --app-binding-options-timeout sets the limit"
        ),
    }
    Vec::new()
}

/// Whether an application that speaks HTTP wants a binding's events; one that cannot be asked does not.
async fn wants(app: &HttpApp, route: &str, patience: Duration) -> bool {
    let reason = match timeout(patience, app.wants_binding(route)).await {
        Ok(Ok(wants)) => return wants,
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {patience:?}; --app-binding-options-timeout sets the limit"),
    };
    tracing::error!(
        "could not invoke OPTIONS method on input binding subscription endpoint \"{route}\": {reason}"
    );
    false
}
