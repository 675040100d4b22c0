//! The runtime of one application: built once, watched while running, drained at the end.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use mecha_app_channel::{AppChannel, AppChannelConfig, AppError, AppProtocol};
use mecha_events::SubscriptionSpec;
use mecha_invocation::Invocation;
use mecha_observability::{Logger, Metrics, Telemetry};
use mecha_pluggable::Sockets;
use mecha_plugin_host::{Change, HostConfig, PluginHost, watch};
use mecha_resources::{Configuration, Loaded, Resource, select_for};
use tokio::sync::{mpsc, oneshot, watch as signal};
use tokio::task::JoinHandle;
use tokio_util::task::AbortOnDropHandle;

use crate::App;
use crate::application::{
    Application, ConfigurationWatches, HealthProbe, Shared, StartSettings, StreamError, StreamSubscription,
};
use crate::component_health::{self, ComponentHealth, Healths};
use crate::configuration_store::ConfigurationWatch;
use crate::definition::Definition;
use crate::factory::Factory;
use crate::invocation::{self as services, InvocationError, Parts, invocation};
use crate::lifecycle::{Failure, Lifecycle, OpenError};
use crate::middleware::{AroundApp, Pipeline, Pipelines};
use crate::name_resolution;
use crate::observe::ObserverSource;
use crate::outbox::Outbox;
use crate::policies::Policies;
use crate::registry::Registry;

/// What happens at start to a component whose type no plugin offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissingType {
    /// It waits for a plugin.
    Wait,
    /// The start fails, as daprd's does.
    Fail,
}

/// What a runtime is built from.
pub struct RuntimeConfig {
    /// Who it serves.
    pub app: Arc<App>,
    /// Where plugins lie, and when a file counts as written.
    pub plugins: HostConfig,
    /// Folder of the sockets of Dapr's pluggable components.
    pub sockets: PathBuf,
    /// How long a replaced generation may take to finish its calls.
    pub drain_deadline: Duration,
    /// A poll of a plugin that keeps a worker longer than this is reported.
    pub slow_poll: Duration,
    /// What happens to a component whose type no plugin offers.
    pub missing_type: MissingType,
    /// The declared components, each with where it was declared.
    pub components: Vec<(mecha_resources::Component, String)>,
    /// The merged Dapr Configuration.
    pub configuration: Configuration,
    /// The environment that `envRef`s read.
    pub env: HashMap<String, String>,
    /// The declared subscriptions.
    pub subscriptions: Vec<mecha_resources::Subscription>,
    /// The declared policies.
    pub resiliencies: Vec<mecha_resources::Resiliency>,
    /// The declared services outside.
    pub http_endpoints: Vec<mecha_resources::HttpEndpoint>,
    /// How the application is reached.
    pub connection: AppConnection,
    /// How runtimes prove to each other who they are; `None` is not at all.
    pub mtls: Option<Arc<mecha_identity::Mtls>>,
}

/// How the application is reached.
#[derive(Debug, Clone, Default)]
pub struct AppConnection {
    /// Its port; `None` when it only calls and is never called.
    pub port: Option<u16>,
    /// `http`, `https`, `h2c`, `grpc` or `grpcs`.
    pub protocol: String,
    /// Its host.
    pub channel_address: String,
    /// Calls at once; -1 = no limit.
    pub max_concurrency: i32,
    /// Sent with every call (`APP_API_TOKEN`).
    pub token: Option<String>,
    /// Largest answer, in bytes.
    pub max_body_size: usize,
    /// Probes of its health; `None` when it is not probed.
    pub health: Option<HealthProbe>,
    /// What it is asked at the start.
    pub start: StartSettings,
}

impl AppConnection {
    fn channel(&self) -> Result<Option<AppChannel>, BuildError> {
        let Some(port) = self.port else { return Ok(None) };
        let protocol = AppProtocol::parse(&self.protocol);
        let protocol = protocol.ok_or_else(|| BuildError::AppProtocol(self.protocol.clone()))?;
        let config = AppChannelConfig {
            host: self.channel_address.clone(),
            port,
            protocol,
            max_concurrency: usize::try_from(self.max_concurrency).ok().filter(|most| *most > 0),
            token: self.token.clone(),
            max_body_size: self.max_body_size,
        };
        Ok(Some(AppChannel::new(&config)?))
    }
}

/// Why a runtime could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// No private folder for copies of plugins.
    #[error("cannot make a private folder for plugin copies in the temporary directory: {0}")]
    PrivateFolder(std::io::Error),
    /// Two components of one name.
    #[error("failed to load components: {0}")]
    Duplicates(#[from] mecha_resources::Duplicates),
    /// A component failed to open, and its `ignoreErrors` is not set.
    #[error("process component {component} error: {source}")]
    Component {
        /// Its name.
        component: String,
        /// Why, in Dapr's words.
        source: Box<InitFailure>,
    },
    /// No plugin offers a type and `components.missing` is `fail`.
    #[error(
        "no plugin offers the type of {0}; put its plugin into the plugins directory or set components.missing to wait"
    )]
    MissingType(String),
    /// The application speaks nothing that we know.
    #[error("{0} is no protocol of an application; --app-protocol takes http, https, h2c, grpc or grpcs")]
    AppProtocol(String),
    /// The application's address is none.
    #[error(transparent)]
    AppChannel(#[from] AppError),
    /// Service invocation cannot be put together.
    #[error(transparent)]
    Invocation(#[from] InvocationError),
    /// Reading the plugins directory ended abnormally.
    #[error("looking at the plugin directories failed: {0}")]
    Scan(String),
}

/// A component's failure to open, in Dapr's words.
#[derive(Debug, thiserror::Error)]
#[error("[INIT_COMPONENT_FAILURE]: initialization error occurred for {component}: {source}")]
pub struct InitFailure {
    component: String,
    source: OpenError,
}

/// Whether the runtime can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    /// Everything, the application's side included.
    pub ready: bool,
    /// The API that the application calls.
    pub outbound_ready: bool,
}

/// How the end of the process was asked for through the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ShutdownRequest {
    /// Not at all.
    #[default]
    None,
    /// After finishing what is in flight.
    Graceful,
    /// At once.
    Forced,
}

/// The runtime of one application.
pub struct Runtime {
    app: Arc<App>,
    env: Arc<HashMap<String, String>>,
    telemetry: Telemetry,
    metrics: Arc<Metrics>,
    registry: Arc<ArcSwap<Registry>>,
    policies: Arc<Policies>,
    configuration: ArcSwap<Configuration>,
    pipelines: Arc<Pipelines>,
    /// The resolver that was chosen at the start; another takes a restart.
    name_resolution: Option<Arc<Definition>>,
    connection: AppConnection,
    application: Arc<Application>,
    outbox: Arc<Outbox>,
    invocation: Invocation,
    configuration_watches: ConfigurationWatches,
    healths: Arc<Healths>,
    /// Looks at the health of components until the end.
    looking: Mutex<Option<AbortOnDropHandle<()>>>,
    extended_metadata: Mutex<BTreeMap<String, String>>,
    ready: AtomicBool,
    shutdown: signal::Sender<ShutdownRequest>,
    /// Each with whom to tell when it holds.
    redeclare: mpsc::Sender<(Redeclared, oneshot::Sender<()>)>,
    watching: Mutex<Option<JoinHandle<Lifecycle>>>,
    /// Dropped to end the watching.
    stop_watching: Mutex<Option<signal::Sender<()>>>,
}

impl Runtime {
    /// Loads the plugins that are there, opens the declared components and starts watching.
    ///
    /// # Errors
    /// [`BuildError`], as daprd ends its start: a component that fails to open without `ignoreErrors`, duplicates.
    pub async fn build(
        config: RuntimeConfig,
        telemetry: Telemetry,
        metrics: Arc<Metrics>,
        logger: Logger,
    ) -> Result<Arc<Self>, BuildError> {
        let observers = ObserverSource::new(telemetry.clone(), metrics.clone(), logger, config.slow_poll);
        let policies = Arc::new(Policies::new(metrics.clone()));
        policies.apply(&config.app.id, &config.resiliencies);
        let factory = Factory { observers, policies: policies.clone() };
        let mut definitions = definitions(&config.app, &config.configuration, &config.components)?;
        let name_resolution = name_resolution::definition(config.configuration.name_resolution.as_ref());
        definitions.extend(name_resolution.clone());
        let registry = Arc::new(ArcSwap::from_pointee(Registry::default()));
        let changed = signal::Sender::new(());
        let env = Arc::new(config.env);
        let mut lifecycle = Lifecycle::new(
            config.app.clone(),
            env.clone(),
            factory.observers.plugins(),
            config.drain_deadline,
            registry.clone(),
            changed.clone(),
        );
        for definition in &definitions {
            let components = factory.components(definition);
            if components.is_empty() {
                factory.observers.plugins().unserved(definition);
            }
            lifecycle.declare(components);
        }
        let host =
            PluginHost::new(config.plugins, factory.observers.sink()).map_err(BuildError::PrivateFolder)?;
        let mut sockets = Sockets::new(config.sockets, host.numbers().clone(), factory.observers.sink());
        let (host, mut changes) = first_scan(host).await?;
        changes.extend(sockets.look().await);
        let failures = lifecycle.apply(changes).await;
        let failures = name_resolution::report(failures, name_resolution.as_ref(), &registry.load());
        check_failures(&failures)?;
        check_missing(config.missing_type, &lifecycle)?;
        check_secret_scopes(&config.configuration, &registry.load());

        let resolvers = name_resolution::Source {
            registry: registry.clone(),
            changed: changed.subscribe(),
            app_port: config.connection.port.unwrap_or_default(),
        };
        let shared = Shared {
            app: config.app.clone(),
            telemetry: telemetry.clone(),
            registry: registry.clone(),
            changed,
        };
        let outbox = Arc::new(Outbox::new(&shared));
        let pipelines = Arc::new(Pipelines::new(&config.configuration));
        let around = AroundApp {
            app: config.app.clone(),
            registry: registry.clone(),
            pipelines: pipelines.clone(),
            max_body_size: config.connection.max_body_size,
        };
        let channel = config.connection.channel()?.map(|channel| channel.surrounded_by(Arc::new(around)));
        let application = Application::new(shared, channel, config.subscriptions);
        let open = registry.load_full();
        let invocation = invocation(Parts {
            app: &config.app,
            channel: application.channel().cloned(),
            registry: &open,
            env: &env,
            endpoints: config.http_endpoints,
            name_resolution: config.configuration.name_resolution.as_ref(),
            resolvers,
            max_body_size: config.connection.max_body_size,
            policies: policies.clone(),
            access: config.configuration.access_control.as_ref(),
            mtls: config.mtls,
            metrics: metrics.clone(),
        });
        let invocation = invocation.await?;
        let (stop_watching, stopped) = signal::channel(());
        let (redeclare, redeclared) = mpsc::channel(1);
        let healths = Arc::new(Healths::default());
        let looking =
            component_health::watch(config.app.clone(), registry.clone(), healths.clone(), metrics.clone());
        let looking = AbortOnDropHandle::new(tokio::spawn(looking));
        let watching =
            tokio::spawn(keep_watching(Watched { host, sockets }, lifecycle, factory, redeclared, stopped));
        Ok(Arc::new(Self {
            app: config.app,
            env,
            telemetry,
            metrics,
            registry,
            policies,
            configuration: ArcSwap::from_pointee(config.configuration),
            pipelines,
            name_resolution,
            connection: config.connection,
            application: Arc::new(application),
            outbox,
            invocation,
            configuration_watches: ConfigurationWatches::default(),
            healths,
            looking: Mutex::new(Some(looking)),
            extended_metadata: Mutex::default(),
            ready: AtomicBool::new(false),
            shutdown: signal::Sender::new(ShutdownRequest::None),
            redeclare,
            watching: Mutex::new(Some(watching)),
            stop_watching: Mutex::new(Some(stop_watching)),
        }))
    }

    /// The application served.
    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// Where spans go.
    pub fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    /// Where measurements go.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// The components that can be called now.
    pub fn registry(&self) -> arc_swap::Guard<Arc<Registry>> {
        self.registry.load()
    }

    /// The same for whoever looks several times while it waits.
    pub fn registry_now(&self) -> Arc<Registry> {
        self.registry.load_full()
    }

    /// The merged Dapr Configuration.
    pub fn configuration(&self) -> Arc<Configuration> {
        self.configuration.load_full()
    }

    /// The middleware around the HTTP API; `None` without any.
    pub fn http_pipeline(&self) -> Option<Arc<Pipeline>> {
        // A look at nothing costs less than a count of references.
        self.pipelines.api.load().clone()
    }

    /// How the application is reached.
    pub fn connection(&self) -> &AppConnection {
        &self.connection
    }

    /// Whether the runtime can be used.
    pub fn health(&self) -> Health {
        // Components are open before anything listens, so the outbound side is ready as soon as it can be asked.
        Health { ready: self.ready.load(Ordering::Acquire), outbound_ready: true }
    }

    /// Says that everything listens.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Release);
    }

    /// Whether the back ends of the open components answer, by the components' names.
    pub fn component_health(&self) -> Vec<ComponentHealth> {
        self.healths.all()
    }

    /// What applications stored with `PUT /v1.0/metadata/{key}`.
    pub fn extended_metadata(&self) -> BTreeMap<String, String> {
        self.extended_metadata.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Stores one value for `GET /v1.0/metadata`.
    pub fn set_extended_metadata(&self, key: String, value: String) {
        self.extended_metadata.lock().unwrap_or_else(PoisonError::into_inner).insert(key, value);
    }

    /// Asks for the end of the process.
    pub fn request_shutdown(&self, force: bool) {
        let request = if force { ShutdownRequest::Forced } else { ShutdownRequest::Graceful };
        self.shutdown.send_replace(request);
    }

    /// Told when the end of the process is asked for.
    pub fn shutdown_requests(&self) -> signal::Receiver<ShutdownRequest> {
        self.shutdown.subscribe()
    }

    /// Waits for the application, asks what it wants and begins to bring it. Ends when everything runs.
    pub async fn start_application(&self) {
        self.application.start(&self.connection).await;
        self.outbox.start();
    }

    /// Messages that go out with transactions.
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// The subscriptions that run, for `/v1.0/metadata`.
    pub fn subscriptions(&self) -> Vec<Arc<SubscriptionSpec>> {
        self.application.subscriptions()
    }

    /// Subscribes to a topic for a stream of the application.
    ///
    /// # Errors
    /// [`StreamError`].
    pub fn subscribe_stream(
        &self,
        pubsub: &str,
        topic: &str,
        metadata: HashMap<String, String>,
        dead_letter_topic: Option<String>,
    ) -> Result<StreamSubscription, StreamError> {
        self.application.subscribe_stream(pubsub, topic, metadata, dead_letter_topic)
    }

    /// Calls of other applications, and theirs of this one.
    pub fn invocation(&self) -> &Invocation {
        &self.invocation
    }

    /// Whether there is an application that takes calls over HTTP.
    pub fn calls_http_app(&self) -> bool {
        self.application.channel().is_some_and(|channel| channel.http().is_some())
    }

    /// The running watches over configuration.
    pub fn configuration_watches(&self) -> &ConfigurationWatches {
        &self.configuration_watches
    }

    /// Brings the changes of a watch to the application's port; gives the id that ends it.
    pub fn bring_configuration(&self, store: &str, watch: ConfigurationWatch) -> String {
        let (id, ended) = self.configuration_watches.add();
        let application = self.application.clone();
        tokio::spawn(application.bring_changes(store.to_owned(), id.clone(), watch, ended));
        id
    }

    /// Ends when the application's health is probed and it is not well.
    pub async fn app_unhealthy(&self) {
        self.application.unhealthy().await;
    }

    /// Takes nothing more in for the application; what is with it is finished.
    pub async fn stop_application(&self) {
        self.configuration_watches.close();
        tokio::join!(self.outbox.stop(), self.application.stop());
    }

    /// Makes the policies that are declared now hold, in place of what was. Circuit breakers whose policy stays the same keep
    /// their state; a resource that cannot be used leaves what held under its name.
    pub fn redeclare_policies(&self, resiliencies: &[mecha_resources::Resiliency]) {
        self.policies.apply(&self.app.id, resiliencies);
    }

    /// Takes in the subscriptions that are declared now, in place of what was: new ones start before old ones end.
    pub fn redeclare_subscriptions(&self, subscriptions: Vec<mecha_resources::Subscription>) {
        self.application.redeclare(subscriptions);
    }

    /// Takes in what is declared now, in place of what was: each component that changed opens anew before the old one goes.
    /// Returns when it holds.
    ///
    /// # Errors
    /// [`BuildError::Duplicates`]; then everything stays as it was.
    pub async fn redeclare(
        &self,
        components: Vec<(mecha_resources::Component, String)>,
    ) -> Result<(), BuildError> {
        let mut definitions = definitions(&self.app, &self.configuration.load(), &components)?;
        definitions.extend(self.name_resolution.clone());
        self.tell_lifecycle(Redeclared::Definitions(definitions)).await;
        Ok(())
    }

    /// Takes in the services outside that are declared now, in place of what was.
    ///
    /// # Errors
    /// [`InvocationError`]; then everything stays as it was.
    pub async fn redeclare_endpoints(
        &self,
        endpoints: Vec<mecha_resources::HttpEndpoint>,
    ) -> Result<(), InvocationError> {
        let registry = self.registry.load_full();
        let ready = services::ready(endpoints, &self.app, &registry, &self.env).await?;
        Ok(self.invocation.replace_endpoints(ready)?)
    }

    /// Takes in a Configuration in place of what was: pipelines, access lists and secret scopes hold from the next call, lists of
    /// denied components from the next [`Runtime::redeclare`]. Whatever was read from it at the start stays.
    pub fn reconfigure(&self, configuration: Configuration) {
        self.pipelines.configure(&configuration);
        let channel = self.application.channel().map(|channel| &**channel);
        match services::access_list(configuration.access_control.as_ref(), channel) {
            Ok(access) => self.invocation.replace_access(access),
            Err(error) => tracing::error!("who may call stays as it was: {error}"),
        }
        self.configuration.store(Arc::new(configuration));
    }

    /// Reads every secret again that a component refers to; components whose secrets changed open anew before the old ones
    /// go. Returns when that holds.
    pub async fn refresh_secrets(&self) {
        self.tell_lifecycle(Redeclared::Secrets).await;
    }

    async fn tell_lifecycle(&self, redeclared: Redeclared) {
        let (done, applied) = oneshot::channel();
        if self.redeclare.send((redeclared, done)).await.is_ok() {
            // An error means that the runtime ended meanwhile.
            let _ = applied.await;
        }
    }

    /// Stops watching, closes every component after its last call and retires every plugin.
    pub async fn shut_down(&self) {
        drop(self.looking.lock().unwrap_or_else(PoisonError::into_inner).take());
        drop(self.stop_watching.lock().unwrap_or_else(PoisonError::into_inner).take());
        let watching = self.watching.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(watching) = watching {
            match watching.await {
                Ok(lifecycle) => lifecycle.shut_down().await,
                Err(error) => {
                    tracing::error!(%error, "the plugin loop ended abnormally; plugins are not closed")
                }
            }
        }
    }
}

fn definitions(
    app: &App,
    configuration: &Configuration,
    components: &[(mecha_resources::Component, String)],
) -> Result<Vec<Arc<Definition>>, BuildError> {
    let namespace = (!app.namespace.is_empty()).then_some(&*app.namespace);
    let resources = components.iter().map(|(resource, _)| resource.clone()).collect();
    let mut selected = select_for(resources, &app.id, namespace)?;
    selected.retain(|resource| {
        let denied = configuration.denies_component(&resource.component_type, resource.version_or_default());
        if denied {
            tracing::warn!(component = %resource.name, "component type is denied by the configuration; it is ignored");
        }
        !denied
    });
    let origin = |resource: &mecha_resources::Component| {
        components.iter().find(|(known, _)| known == resource).map(|(_, origin)| origin.clone())
    };
    let definitions = selected.into_iter().map(|resource| {
        let origin = origin(&resource).unwrap_or_default();
        Arc::new(Definition { resource, origin })
    });
    Ok(definitions.collect())
}

/// How long the start waits for files that were written a moment ago; what settles later is picked up by the watching.
const START_SETTLE: Duration = Duration::from_secs(1);

async fn first_scan(mut host: PluginHost) -> Result<(PluginHost, Vec<Change>), BuildError> {
    let (mut found, deadline) = (Vec::new(), Instant::now() + START_SETTLE);
    loop {
        let scanned = tokio::task::spawn_blocking(move || {
            let result = host.scan();
            (host, result)
        });
        let (changes, look_again);
        (host, (changes, look_again)) = scanned.await.map_err(|error| BuildError::Scan(error.to_string()))?;
        found.extend(changes);
        match look_again {
            Some(wait) if Instant::now() + wait < deadline => tokio::time::sleep(wait).await,
            _ => return Ok((host, found)),
        }
    }
}

/// As daprd: a failure ends the start unless the component says `ignoreErrors`.
fn check_failures(failures: &[Failure]) -> Result<(), BuildError> {
    for Failure { component, error } in failures {
        let definition = component.definition();
        let failure = InitFailure { component: definition.log_name(), source: error.clone() };
        let component = definition.resource.name.clone();
        let error = BuildError::Component { component, source: Box::new(failure) };
        if definition.resource.ignore_errors {
            tracing::error!("Ignoring error processing component: {error}");
            continue;
        }
        tracing::warn!("Error processing component, daprd will exit gracefully: {error}");
        return Err(error);
    }
    Ok(())
}

fn check_missing(missing_type: MissingType, lifecycle: &Lifecycle) -> Result<(), BuildError> {
    match lifecycle.waiting().into_iter().next() {
        Some(component) if missing_type == MissingType::Fail => Err(BuildError::MissingType(component)),
        _ => Ok(()),
    }
}

/// Scopes of a store that is not there protect nothing; the text is Dapr's.
fn check_secret_scopes(configuration: &Configuration, registry: &Registry) {
    for scope in &configuration.secret_scopes {
        if registry.secret_store(&scope.store_name).is_err() {
            tracing::warn!(
                "Secrets configuration added for '{}', but no matching secret store was found",
                scope.store_name
            );
        }
    }
}

/// What the lifecycle takes in.
enum Redeclared {
    /// What is declared now.
    Definitions(Vec<Arc<Definition>>),
    /// Secrets may have changed.
    Secrets,
}

/// Where plugins come from.
struct Watched {
    host: PluginHost,
    sockets: Sockets,
}

async fn keep_watching(
    Watched { host, sockets }: Watched,
    mut lifecycle: Lifecycle,
    factory: Factory,
    mut redeclared: mpsc::Receiver<(Redeclared, oneshot::Sender<()>)>,
    mut stopped: signal::Receiver<()>,
) -> Lifecycle {
    let (found, mut changes) = mpsc::channel(1);
    let watching_sockets = tokio::spawn(mecha_pluggable::watch(sockets, found.clone()));
    let watching = tokio::spawn(watch(host, found));
    loop {
        tokio::select! {
            // Only the sender's end is ever signalled.
            _ = stopped.changed() => break,
            // The sender lives as long as the runtime, whose end is signalled first.
            Some((what, done)) = redeclared.recv() => {
                match what {
                    Redeclared::Definitions(definitions) => lifecycle.redeclare(definitions, &factory).await,
                    Redeclared::Secrets => lifecycle.refresh_secrets(&factory).await,
                }
                // Who asked may have gone meanwhile.
                let _ = done.send(());
            }
            change = changes.recv() => match change {
                Some(change) => drop(lifecycle.apply(change).await),
                None => break,
            },
        }
    }
    drop(changes);
    if let Err(error) = watching.await {
        tracing::error!(%error, "watching the plugin directories ended abnormally");
    }
    if let Err(error) = watching_sockets.await {
        tracing::error!(%error, "watching the folder of sockets ended abnormally");
    }
    lifecycle
}

/// The components and configurations of a resource folder, told apart.
pub fn split(resources: Vec<Loaded<Resource>>) -> (Vec<(mecha_resources::Component, String)>, Vec<PathBuf>) {
    let (mut components, mut configurations) = (Vec::new(), Vec::new());
    for Loaded { value, file, .. } in resources {
        match value {
            Resource::Component(component) => components.push((component, file.display().to_string())),
            Resource::Configuration(_) => configurations.push(file),
            Resource::Subscription(_) | Resource::HttpEndpoint(_) | Resource::Resiliency(_) => {}
        }
    }
    (components, configurations)
}
