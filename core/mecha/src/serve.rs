//! The running process: built in order, drained in the reverse order.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use mecha_gateway::{ServeConfig, Serving, serve as open_ports};
use mecha_observability::metrics::HttpCardinality;
use mecha_observability::{Logger, Metrics, MetricsSettings, Telemetry, install_subscriber};
use mecha_plugin_host::HostConfig;
use mecha_resources::Configuration;
use mecha_resources::configuration::load_configuration;
use mecha_runtime::{
    App, AppConnection, HealthProbe, MissingType, Runtime, RuntimeConfig, ShutdownRequest, StartSettings,
};
use mecha_settings::{Resolved, model};
use tokio::signal::unix::{SignalKind, signal};

use crate::{certificates, components, reload, telemetry, unserved};

/// Serves until a signal or the API asks for the end.
pub(crate) async fn serve(resolved: Resolved) -> Result<ExitCode> {
    let started = Instant::now();
    let logger = telemetry::logger(&resolved)?;
    let configurations = &resolved.settings.resources.configurations;
    let configuration = load_configuration(configurations, &resolved.environment.lookup());
    let configuration = configuration.context("cannot load the Configuration")?;
    let metrics = Arc::new(Metrics::new(&metrics_settings(&resolved, &configuration))?);
    let telemetry = Telemetry::build(
        &telemetry::traces(&resolved, &configuration)?,
        &telemetry::service(&resolved),
        &tokio::runtime::Handle::current(),
        &logger,
        &metrics.spans,
    )?;
    install_subscriber(&logger, &telemetry)?;
    match run(&resolved, configuration, &telemetry, metrics, &logger, started).await {
        Ok(code) => Ok(code),
        Err(error) => {
            tracing::error!("Fatal error from runtime: {error:#}");
            // What was traced until here still goes out; the process ends with the first error either way.
            let _ = telemetry.shutdown(Duration::from_secs(1)).await;
            Ok(ExitCode::FAILURE)
        }
    }
}

async fn run(
    resolved: &Resolved,
    configuration: Configuration,
    telemetry: &Telemetry,
    metrics: Arc<Metrics>,
    logger: &Logger,
    started: Instant,
) -> Result<ExitCode> {
    for warning in resolved.warnings.iter().chain(&unserved::warnings(resolved)) {
        tracing::warn!("{warning}");
    }
    tracing::info!(
        "starting mecha {} -- Dapr API {}",
        env!("CARGO_PKG_VERSION"),
        mecha_gateway::DAPR_VERSION
    );
    // Registered before anything is open, so that an early signal is not lost.
    let mut ends = Ends::new()?;
    let mut serving_config = serve_config(resolved, &configuration);
    let declared = components::declared(resolved);
    let reloads = configuration.enabled_features().contains(&"HotReload");
    let mtls = certificates::open(resolved, &metrics.mtls)?;
    serving_config.mtls = mtls.clone();
    let mut config = runtime_config(resolved, configuration, &declared);
    config.mtls = mtls.clone();
    let runtime = Runtime::build(config, telemetry.clone(), metrics.clone(), logger.clone()).await?;
    let serving = open_ports(runtime.clone(), serving_config).await?;
    runtime.invocation().resolver().announce(serving.internal(), resolved.settings.http.port);
    // The API is open before the application is: applications call it while they start.
    let end = tokio::select! {
        end = ends.wait(&runtime) => end,
        ended = run_on(resolved, &runtime, started, reloads.then_some(declared)) => match ended {},
        ended = certificates::keep_current(mtls, &metrics.mtls) => match ended {},
    };
    if end == End::Graceful {
        block_end(resolved, &runtime, &mut ends).await;
    }
    drain(resolved, &runtime, serving, telemetry, end).await
}

/// Starts the application's side, then keeps up with the resource files. Only the end of the process ends it.
async fn run_on(
    resolved: &Resolved,
    runtime: &Runtime,
    started: Instant,
    declared: Option<components::Declared>,
) -> std::convert::Infallible {
    runtime.start_application().await;
    runtime.set_ready(true);
    tracing::info!("dapr initialized. Status: Running. Init Elapsed {}ms", started.elapsed().as_millis());
    if let Some(declared) = declared {
        let Err(error) = reload::keep_current(resolved, runtime, declared).await;
        tracing::error!("changes of resource files are not taken in: {error:#}");
    }
    std::future::pending().await
}

/// The end is put off while the application still works, at most for the time that is set.
async fn block_end(resolved: &Resolved, runtime: &Runtime, ends: &mut Ends) {
    let Some(duration) = resolved.settings.shutdown.block_duration else { return };
    tracing::info!(
        "Blocking graceful shutdown for {} or until app reports unhealthy...",
        mecha_resources::duration::format(duration)
    );
    tokio::select! {
        () = tokio::time::sleep(duration) => tracing::info!("Block shutdown period expired, entering shutdown..."),
        () = runtime.app_unhealthy() => tracing::info!("App reported unhealthy, entering shutdown..."),
        // Whoever asks a second time means it.
        _ = ends.wait(runtime) => {}
    }
}

/// Intake off first, then the calls in flight, then the plugins, then the telemetry that tells of it all.
async fn drain(
    resolved: &Resolved,
    runtime: &Runtime,
    serving: Serving,
    telemetry: &Telemetry,
    end: End,
) -> Result<ExitCode> {
    if end == End::Forced {
        tracing::info!("Force shutdown requested, exiting immediately without graceful shutdown");
        return Ok(ExitCode::FAILURE);
    }
    runtime.set_ready(false);
    runtime.invocation().resolver().withdraw().await;
    let grace = resolved.settings.shutdown.graceful();
    let deadline = Instant::now() + grace;
    // The API stays open meanwhile: what the application is still working on may need it.
    let taken_in = tokio::time::timeout(grace, runtime.stop_application()).await;
    let grace = deadline.saturating_duration_since(Instant::now()).max(MIN_CLOSE);
    let drained = serving.drain(grace).await;
    let closed =
        tokio::time::timeout_at(deadline.max(Instant::now() + MIN_CLOSE).into(), runtime.shut_down()).await;
    if let Err(error) = telemetry.shutdown(Duration::from_secs(2)).await {
        tracing::warn!("some spans were not delivered: {error}");
    }
    if !drained || closed.is_err() || taken_in.is_err() {
        tracing::error!("Graceful shutdown timeout exceeded, forcing shutdown");
        return Ok(ExitCode::FAILURE);
    }
    tracing::info!("Daprd shutdown gracefully");
    Ok(ExitCode::SUCCESS)
}

/// Plugins may close their connections even when the calls used the whole grace period up.
const MIN_CLOSE: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Graceful,
    Forced,
}

/// Everything that asks for the end of the process.
struct Ends {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Ends {
    fn new() -> Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn wait(&mut self, runtime: &Runtime) -> End {
        let mut requests = runtime.shutdown_requests();
        tokio::select! {
            _ = self.terminate.recv() => tracing::info!("Received signal 'terminated'; beginning shutdown"),
            _ = self.interrupt.recv() => tracing::info!("Received signal 'interrupt'; beginning shutdown"),
            request = requests.wait_for(|request| *request != ShutdownRequest::None) => {
                if request.is_ok_and(|request| *request == ShutdownRequest::Forced) {
                    return End::Forced;
                }
                tracing::info!("Shutdown requested via API; beginning shutdown");
            }
        }
        End::Graceful
    }
}

fn runtime_config(
    resolved: &Resolved,
    configuration: Configuration,
    declared: &components::Declared,
) -> RuntimeConfig {
    let settings = &resolved.settings;
    for problem in &declared.problems {
        tracing::warn!("A non-YAML Component file was detected, or one that cannot be used: {problem}");
    }
    RuntimeConfig {
        app: Arc::new(app(resolved)),
        sockets: settings.components.sockets_folder.clone(),
        plugins: HostConfig { directories: settings.plugins.dirs.clone(), settle: settings.plugins.settle },
        drain_deadline: settings.plugins.drain_deadline,
        slow_poll: settings.plugins.slow_poll,
        missing_type: match settings.components.missing {
            model::MissingType::Wait => MissingType::Wait,
            model::MissingType::Fail => MissingType::Fail,
        },
        components: declared.components.clone(),
        subscriptions: declared.subscriptions.iter().map(|(subscription, _)| subscription.clone()).collect(),
        resiliencies: declared.policies(),
        http_endpoints: declared.http_endpoints(),
        configuration,
        env: resolved.environment.vars().clone(),
        connection: connection(resolved),
        mtls: None,
    }
}

fn connection(resolved: &Resolved) -> AppConnection {
    let app = &resolved.settings.app;
    let asks = |endpoint: &str| !app.disabled_init_endpoints.iter().any(|disabled| disabled == endpoint);
    AppConnection {
        port: app.port,
        protocol: app.protocol.as_str().to_owned(),
        channel_address: app.channel_address.clone(),
        max_concurrency: app.max_concurrency,
        token: resolved.environment.app_api_token.as_ref().map(|token| token.reveal().to_owned()),
        max_body_size: usize::try_from(resolved.settings.http.max_body_size).unwrap_or(usize::MAX),
        health: app.health.enabled.then(|| HealthProbe {
            path: app.health.path.clone(),
            interval: app.health.interval,
            timeout: app.health.timeout,
            threshold: app.health.threshold,
        }),
        start: StartSettings {
            ask_configuration: asks("config"),
            ask_subscriptions: asks("subscribe"),
            binding_timeout: app.binding_options_timeout,
        },
    }
}

fn app(resolved: &Resolved) -> App {
    let environment = &resolved.environment;
    let id = resolved.settings.app.id.clone().unwrap_or_default();
    let mut app = App::new(id, environment.namespace.clone().unwrap_or_default());
    app.pod_name = environment.pod_name.clone().map(Into::into);
    app.api_token = environment.dapr_api_token.as_ref().map(|token| token.reveal().into());
    app
}

fn metrics_settings(resolved: &Resolved, configuration: &Configuration) -> MetricsSettings {
    let metrics = &configuration.metrics;
    let http = metrics.http.clone().unwrap_or_default();
    MetricsSettings {
        app_id: resolved.settings.app.id.clone().unwrap_or_default(),
        namespace: resolved.environment.namespace.clone().unwrap_or_default(),
        latency_buckets: metrics.latency_buckets().iter().map(|bucket| *bucket as f64).collect(),
        http: HttpCardinality {
            increased: metrics.has_increased_cardinality(),
            path_matching: http.path_matching,
            exclude_verbs: http.exclude_verbs,
        },
        record_error_codes: metrics.records_error_codes(),
    }
}

fn serve_config(resolved: &Resolved, configuration: &Configuration) -> ServeConfig {
    let settings = &resolved.settings;
    let metrics = settings.metrics.enabled && configuration.metrics.is_enabled();
    ServeConfig {
        addresses: settings.http.listen_addresses.clone(),
        http_port: settings.http.port,
        grpc_port: settings.grpc.port,
        internal: (settings.grpc.internal_listen_address.clone(), settings.grpc.internal_port),
        mtls: None,
        sockets: settings.http.unix_domain_socket.clone(),
        public: settings.http.public_port.map(|port| (settings.http.public_listen_address.clone(), port)),
        allowed_origins: settings.http.allowed_origins.clone(),
        metrics: metrics.then(|| (settings.metrics.listen_address.clone(), settings.metrics.port)),
        max_body_size: usize::try_from(settings.http.max_body_size).unwrap_or(usize::MAX),
        read_buffer_size: usize::try_from(settings.http.read_buffer_size).unwrap_or(usize::MAX),
        h2c: settings.http.h2c,
        log_calls: settings.log.api_calls.unwrap_or(configuration.api_logging.enabled),
    }
}
