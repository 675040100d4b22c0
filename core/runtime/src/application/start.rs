//! The order of the start: the application's port, its health, its subscriptions, its input bindings.

use std::sync::Arc;
use std::time::Duration;

use mecha_app_channel::{AppChannel, AppError};
use mecha_events::subscription::read_programmatic;
use mecha_events::{RuleCompiler, SubscriptionError, SubscriptionSpec};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::Application;
use super::health::watch_health;
use crate::inbound::Flow;
use crate::runtime::AppConnection;

/// Between two looks at the application's port.
const LOOK: Duration = Duration::from_millis(50);
/// Between two lines that say what is waited for.
const SAY: Duration = Duration::from_secs(60);
/// Between two lines that say which question is not answered.
const SAY_ASKED: Duration = Duration::from_secs(5);
/// Before the second question and so on.
const ASK_PAUSES: [Duration; 3] =
    [Duration::from_millis(500), Duration::from_millis(750), Duration::from_secs(1)];

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
        if connection.max_concurrency > 0 {
            tracing::info!("app max concurrency set to {}", connection.max_concurrency);
        }
        let Some(probe) = &connection.health else {
            return self.ask(&channel, &connection.start).await;
        };
        self.flow.send_if_modified(|flow| {
            let begins = *flow == Flow::On;
            if begins {
                *flow = Flow::Paused;
            }
            begins
        });
        tokio::spawn(watch_health(channel.clone(), probe.clone(), self.flow.clone()));
        // As in daprd an application that is not well yet is asked later; the runtime is ready meanwhile.
        let (application, settings) = (self.clone(), connection.start.clone());
        tokio::spawn(async move {
            let mut flow = application.flow.subscribe();
            // The sender is the application's own and lives as long as this task.
            if flow.wait_for(|flow| *flow != Flow::Paused).await.is_ok_and(|flow| *flow == Flow::On) {
                application.ask(&channel, &settings).await;
            }
        });
    }

    /// Asks the application what it wants and begins to bring it.
    async fn ask(self: &Arc<Self>, channel: &Arc<AppChannel>, settings: &StartSettings) {
        if settings.ask_configuration {
            self.ask_configuration(channel).await;
        } else {
            tracing::info!("Skipping programmatic dapr configuration loading");
        }
        let asked = if settings.ask_subscriptions {
            self.asked(channel, &RuleCompiler::new()).await
        } else {
            tracing::warn!("Skipping programmatic subscription loading");
            Vec::new()
        };
        // Seen from here on: what changes while everything is started is taken in right after.
        let changes = self.shared.changed.subscribe();
        self.refresh_subscriptions(&asked, channel);
        self.subscribed().await;
        self.refresh_bindings(channel, settings.binding_timeout).await;
        tokio::spawn(self.clone().follow(channel.clone(), asked, settings.binding_timeout, changes));
    }

    /// Keeps what runs equal to what is declared, until the end.
    async fn follow(
        self: Arc<Self>,
        channel: Arc<AppChannel>,
        asked: Vec<SubscriptionSpec>,
        patience: Duration,
        mut changes: watch::Receiver<()>,
    ) {
        let mut flow = self.flow.subscribe();
        loop {
            tokio::select! {
                // An error of either means that its sender is gone, which is the end as well.
                _ = flow.wait_for(|flow| *flow == Flow::Off) => return,
                changed = changes.changed() => if changed.is_err() { return },
            }
            self.refresh_subscriptions(&asked, &channel);
            self.refresh_bindings(&channel, patience).await;
        }
    }

    /// Applications answer it with what they host of actors; a failure is theirs to see.
    async fn ask_configuration(&self, channel: &AppChannel) {
        let Some(app) = channel.http() else { return };
        if let Err(error) = patiently("GET /dapr/config", app.ask("/dapr/config", &self.shared.app.id)).await
        {
            tracing::debug!("the application has no configuration for us: {error}");
        }
    }

    /// The subscriptions that the application answers with.
    async fn asked(&self, channel: &AppChannel, compiler: &RuleCompiler) -> Vec<SubscriptionSpec> {
        let answer = match channel {
            AppChannel::Http(app) => {
                let ask = || app.ask("/dapr/subscribe", &self.shared.app.id);
                let answer = insistently("GET /dapr/subscribe", ask).await;
                answer.map(|answer| answer.map_or_else(Vec::new, |answer| listed(&answer, compiler)))
            }
            AppChannel::Grpc(app) => {
                let answer = insistently("ListTopicSubscriptions", || app.topic_subscriptions()).await;
                answer.map(|wishes| {
                    let specs = wishes.into_iter().map(|wish| SubscriptionSpec::from_grpc(wish, compiler));
                    specs.filter_map(usable).collect()
                })
            }
        };
        answer.unwrap_or_else(|error| {
            match error.status() {
                Some(status) => {
                    tracing::error!(
                        "app returned http status code {} from subscription endpoint",
                        status.as_u16()
                    )
                }
                None => tracing::error!("error getting topic list from app: {error}"),
            }
            Vec::new()
        })
    }
}

/// Waits for an answer as long as it takes, and says so now and then.
async fn patiently<T>(question: &str, answer: impl Future<Output = T>) -> T {
    let mut answer = std::pin::pin!(answer);
    let asked = tokio::time::Instant::now();
    loop {
        match timeout(SAY_ASKED, answer.as_mut()).await {
            Ok(answer) => return answer,
            Err(_) => tracing::warn!(
                "the application has not answered {question} for {} s; nothing is brought to it before",
                asked.elapsed().as_secs()
            ),
        }
    }
}

/// Asks again a few times while the connection breaks, as daprd does.
async fn insistently<T, F: Future<Output = Result<T, AppError>>>(
    question: &str,
    mut ask: impl FnMut() -> F,
) -> Result<T, AppError> {
    let mut pauses = ASK_PAUSES.iter();
    loop {
        match (patiently(question, ask()).await, pauses.next()) {
            (Err(error), Some(pause)) if error.status().is_none() && !error.is_too_large() => {
                tracing::debug!("{question} failed and is asked again: {error}");
                sleep(*pause).await;
            }
            (answer, _) => return answer,
        }
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
