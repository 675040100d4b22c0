//! The order of the start: the application's port, its health, its subscriptions, its input bindings.

use std::sync::Arc;
use std::time::Duration;

use mecha_app_channel::AppChannel;
use mecha_events::subscription::{effective, in_scope, read_programmatic};
use mecha_events::{RuleCompiler, SubscriptionError, SubscriptionSpec};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::Application;
use super::binding::BindingFeed;
use super::health::watch_health;
use super::target::Target;
use super::topic::TopicFeed;
use crate::inbound::{Flow, Pump};
use crate::runtime::AppConnection;
use crate::{InputBinding, PubSub};

/// Between two looks at the application's port.
const LOOK: Duration = Duration::from_millis(50);
/// Between two lines that say what is waited for.
const SAY: Duration = Duration::from_secs(60);

/// What the application is asked at the start.
#[derive(Debug, Clone)]
pub struct StartSettings {
    /// `GET /dapr/config`.
    pub ask_configuration: bool,
    /// `GET /dapr/subscribe`, `ListTopicSubscriptions`.
    pub ask_subscriptions: bool,
    /// How long it may take to say whether it wants an input binding's events.
    pub binding_timeout: Duration,
}

impl Default for StartSettings {
    fn default() -> Self {
        Self { ask_configuration: true, ask_subscriptions: true, binding_timeout: Duration::from_secs(3) }
    }
}

impl Application {
    /// Starts everything that is brought to the application.
    pub(crate) async fn start(self: &Arc<Self>, connection: &AppConnection) {
        let Some(channel) = self.channel().cloned() else { return };
        wait_for_port(connection).await;
        if let Some(probe) = &connection.health {
            self.flow.send_replace(Flow::Paused);
            tokio::spawn(watch_health(channel.clone(), probe.clone(), self.flow.clone()));
        }
        if connection.start.ask_configuration {
            self.ask_configuration(&channel).await;
        } else {
            tracing::info!("Skipping programmatic dapr configuration loading");
        }
        self.start_subscriptions(&channel, connection.start.ask_subscriptions).await;
        self.start_bindings(&channel, connection.start.binding_timeout).await;
    }

    /// Applications answer it with what they host of actors; a failure is theirs to see.
    async fn ask_configuration(&self, channel: &AppChannel) {
        let Some(app) = channel.http() else { return };
        if let Err(error) = app.ask("/dapr/config", &self.shared.app.id).await {
            tracing::debug!("the application has no configuration for us: {error}");
        }
    }

    async fn start_subscriptions(self: &Arc<Self>, channel: &Arc<AppChannel>, ask: bool) {
        let compiler = RuleCompiler::new();
        let asked = if ask {
            self.asked(channel, &compiler).await
        } else {
            tracing::info!("Skipping programmatic subscription loading");
            Vec::new()
        };
        for spec in effective(self.declared(&compiler), asked) {
            self.start_subscription(spec, channel);
        }
    }

    fn start_subscription(self: &Arc<Self>, spec: SubscriptionSpec, channel: &Arc<AppChannel>) {
        let (pubsub, topic) = (spec.pubsub.clone(), spec.topic.clone());
        let Some(broker) = self.shared.registry.load().declared_pubsubs.get(pubsub.as_str()).cloned() else {
            tracing::error!(component = %pubsub, "pubsub {pubsub} is not found; topic {topic} is not subscribed");
            return;
        };
        if !broker.may_subscribe(&topic) {
            tracing::warn!(component = %pubsub, "subscription to topic '{topic}' on pubsub '{pubsub}' is not allowed");
            return;
        }
        let spec = Arc::new(spec);
        self.subscribed(spec.clone());
        tracing::info!("app is subscribed to the following topics: [{topic}] through pubsub={pubsub}");
        self.keep(self.feed(spec, broker, Target::App(channel.clone()), self.flow.subscribe()));
    }

    /// Starts one subscription's feed.
    pub(super) fn feed(
        self: &Arc<Self>,
        spec: Arc<SubscriptionSpec>,
        broker: Arc<PubSub>,
        target: Target,
        flow: watch::Receiver<Flow>,
    ) -> Pump {
        let name = format!("{}/{}", spec.pubsub, spec.topic);
        // What is no boolean is as good as none; the envelope's absence shows with the first message.
        let raw_payload = spec.raw_payload().unwrap_or_default();
        let feed = TopicFeed {
            shared: self.shared.clone(),
            spec,
            broker: broker.clone(),
            target,
            raw_payload,
            name,
        };
        Pump::start(self.shared.app.clone(), broker, Arc::new(feed), flow)
    }

    /// The subscriptions of resources that are for this application.
    fn declared(&self, compiler: &RuleCompiler) -> Vec<SubscriptionSpec> {
        let mut specs = Vec::new();
        for resource in in_scope(self.declared.iter().cloned(), &self.shared.app.id) {
            match SubscriptionSpec::declarative(&resource, compiler) {
                Ok(spec) => specs.push(spec),
                Err(error) => tracing::error!("subscription {} cannot be used: {error}", resource.name),
            }
        }
        specs
    }

    /// The subscriptions that the application answers with.
    async fn asked(&self, channel: &AppChannel, compiler: &RuleCompiler) -> Vec<SubscriptionSpec> {
        let answer = match channel {
            AppChannel::Http(app) => app
                .ask("/dapr/subscribe", &self.shared.app.id)
                .await
                .map(|answer| answer.map_or_else(Vec::new, |answer| listed(&answer, compiler))),
            AppChannel::Grpc(app) => app.topic_subscriptions().await.map(|wishes| {
                let specs = wishes.into_iter().map(|wish| SubscriptionSpec::from_grpc(wish, compiler));
                specs.filter_map(usable).collect()
            }),
        };
        answer.unwrap_or_else(|error| {
            tracing::error!("error getting topic list from app: {error}");
            Vec::new()
        })
    }

    async fn start_bindings(self: &Arc<Self>, channel: &Arc<AppChannel>, patience: Duration) {
        let bindings: Vec<_> = self.shared.registry.load().input_bindings.values().cloned().collect();
        if bindings.is_empty() {
            return;
        }
        let wanted = match &**channel {
            AppChannel::Grpc(app) => app.input_bindings().await.unwrap_or_else(|error| {
                tracing::error!("error getting list of bindings from app: {error}");
                Vec::new()
            }),
            AppChannel::Http(_) => Vec::new(),
        };
        for binding in bindings {
            let settings = binding.settings();
            let route = settings.route.clone().unwrap_or_else(|| binding.name().to_owned());
            let wants = match (settings.is_input, &**channel) {
                (Some(true), _) => true,
                (Some(false), _) => continue,
                (None, AppChannel::Grpc(_)) => wanted.iter().any(|name| name == binding.name()),
                (None, AppChannel::Http(app)) => {
                    let asked = timeout(patience, app.wants_binding(&route)).await;
                    asked.is_ok_and(|answer| answer.unwrap_or_default())
                }
            };
            if !wants {
                tracing::info!("app has not subscribed to binding {}.", binding.name());
                continue;
            }
            self.start_binding(binding, route, channel);
        }
    }

    fn start_binding(self: &Arc<Self>, binding: Arc<InputBinding>, route: String, channel: &Arc<AppChannel>) {
        tracing::info!(component = %binding.name(), "reading from input binding");
        let feed = BindingFeed {
            shared: self.shared.clone(),
            channel: channel.clone(),
            binding: binding.clone(),
            route,
        };
        self.keep(Pump::start(self.shared.app.clone(), binding, Arc::new(feed), self.flow.subscribe()));
    }
}

fn listed(answer: &[u8], compiler: &RuleCompiler) -> Vec<SubscriptionSpec> {
    match read_programmatic(answer, compiler) {
        Ok(read) => {
            for refused in read.refused {
                tracing::warn!(topic = %refused.topic, entry = refused.index, "a subscription of the application is left out: {}", refused.reason);
            }
            read.subscriptions
        }
        Err(error) => {
            tracing::error!("{error}");
            Vec::new()
        }
    }
}

fn usable(entry: Result<SubscriptionSpec, SubscriptionError>) -> Option<SubscriptionSpec> {
    entry.inspect_err(|error| tracing::warn!("a subscription of the application is left out: {error}")).ok()
}

/// Until something listens; nothing can be asked before.
async fn wait_for_port(connection: &AppConnection) {
    let Some(port) = connection.port else { return };
    let address = (connection.channel_address.as_str(), port);
    let mut said: Option<tokio::time::Instant> = None;
    while TcpStream::connect(address).await.is_err() {
        if said.is_none_or(|said| said.elapsed() > SAY) {
            tracing::info!(
                "application protocol: {}. waiting on port {port}.  This will block until the app is listening on that port.",
                connection.protocol
            );
            said = Some(tokio::time::Instant::now());
        }
        sleep(LOOK).await;
    }
    tracing::info!("application discovered on port {port}");
}
