//! One or two runtimes over the same components, with applications behind them.

use std::path::Path;
use std::process;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use mecha_backends::free_port;
use mecha_testkit::Mecha;
use tempfile::TempDir;

use crate::child::{Program, Running};
use crate::components::BackEnds;

/// What each runtime asks of its callers, and the programs know.
const API_TOKEN: &str = "the token of the runtime";
/// What each runtime shows to its application.
const APP_TOKEN: &str = "the token of the application";
const READY_WITHIN: Duration = Duration::from_secs(60);
const PLAYED_WITHIN: Duration = Duration::from_secs(180);

/// Where programs play: components, and the runtimes over them.
#[derive(Debug)]
pub struct Stage {
    back_ends: BackEnds,
    folder: TempDir,
    /// Sets the keys, topics and applications of this stage apart from those of others on the same servers.
    run: String,
}

/// How an application serves its runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppProtocol {
    /// HTTP.
    Http,
    /// gRPC.
    Grpc,
}

/// A runtime, and the application behind it if it has one.
#[derive(Debug)]
pub struct Seat {
    id: String,
    mecha: Mecha,
    app: Option<Running>,
}

impl AppProtocol {
    fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Grpc => "grpc",
        }
    }
}

impl Stage {
    /// A stage over these back ends.
    pub fn over(back_ends: BackEnds) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        Ok(Self { back_ends, folder, run: fresh_name()? })
    }

    /// Its own folder, for files that the programs need.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A runtime without an application.
    pub async fn runtime(&self) -> Result<Seat> {
        self.seat("client", None).await
    }

    /// A runtime with `app` behind it, ready for calls and messages. The application is told where to listen in `APP_PORT`.
    pub async fn app(&self, name: &str, protocol: AppProtocol, app: Program) -> Result<Seat> {
        self.seat(name, Some((protocol, app))).await
    }

    async fn seat(&self, name: &str, app: Option<(AppProtocol, Program)>) -> Result<Seat> {
        let id = format!("{name}-{}", self.run);
        let mut builder = Mecha::builder()
            .app_id(&id)
            .env("DAPR_API_TOKEN", API_TOKEN)
            .env("APP_API_TOKEN", APP_TOKEN)
            .flag("--dapr-internal-grpc-listen-address", "127.0.0.1");
        builder = self.back_ends.add_to(builder, self.folder())?;
        let port = free_port()?.to_string();
        if let Some((protocol, _)) = &app {
            builder = builder.flag("--app-port", &port).flag("--app-protocol", protocol.name());
            // Only who has an application gets ticks, and what is declared for it.
            builder = builder.component_with("tick", "bindings.cron", &[("schedule", "@every 1s")]);
            builder = builder.resources(&self.declared_subscription(name));
        }
        let mecha = builder.spawn().await?;
        let mut seat = Seat { id, mecha, app: None };
        if let Some((_, program)) = app {
            seat.app = Some(self.dressed(program, &seat).env("APP_PORT", port).spawn()?);
        }
        seat.wait_ready().await?;
        Ok(seat)
    }

    /// A subscription that no program asks for: the application named `name` gets the topic at `/declared` all the same.
    fn declared_subscription(&self, name: &str) -> String {
        let topic = format!("{name}-declared-{}", self.run);
        format!(
            "{{apiVersion: dapr.io/v2alpha1, kind: Subscription, metadata: {{name: declared}}, spec: {{pubsubname: pubsub, \
             topic: {topic}, routes: {{default: /declared}}}}}}"
        )
    }

    /// Lets a client play at a runtime, to its successful end.
    pub async fn play(&self, seat: &mut Seat, client: Program) -> Result<()> {
        let client = self.dressed(client, seat).spawn()?;
        let played = client.succeed(PLAYED_WITHIN).await;
        played.and_then(|()| seat.app_still_runs()).with_context(|| seat.report())
    }

    /// Lets a client play at a runtime and call the application at another one.
    pub async fn play_with(&self, seat: &mut Seat, target: &Seat, client: Program) -> Result<()> {
        let client = client.env("TARGET_APP_ID", &target.id);
        self.play(seat, client).await.with_context(|| target.report())
    }

    /// The variables by which the SDKs find the runtime, and those by which our programs find the rest.
    fn dressed(&self, program: Program, seat: &Seat) -> Program {
        program
            .env("DAPR_HTTP_PORT", port_of(&seat.mecha.http_addr()))
            .env("DAPR_GRPC_PORT", port_of(&seat.mecha.grpc_endpoint()))
            .env("DAPR_API_TOKEN", API_TOKEN)
            .env("APP_API_TOKEN", APP_TOKEN)
            .env("APP_ID", &seat.id)
            .env("RUN", &self.run)
            .env("CONFIGURATION_WRITER", self.back_ends.configuration_writer())
    }
}

impl Seat {
    async fn wait_ready(&mut self) -> Result<()> {
        let ready = self.mecha.wait_ready(READY_WITHIN).await;
        ready.and_then(|()| self.app_still_runs()).with_context(|| self.report())
    }

    fn app_still_runs(&mut self) -> Result<()> {
        self.app.as_mut().map_or(Ok(()), Running::still_runs)
    }

    /// What the application and the runtime printed last.
    fn report(&self) -> String {
        let app = self.app.as_ref().map(ToString::to_string).unwrap_or_default();
        format!("at {}\n{app}\nmecha:\n{}", self.id, self.mecha.logs().tail())
    }
}

fn port_of(address: &str) -> &str {
    address.rsplit(':').next().unwrap_or_default()
}

/// Tests run beside each other, on one network and on the same servers, which may be older than this run.
fn fresh_name() -> Result<String> {
    let began = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(format!("{}-{:x}", process::id(), began.as_nanos()))
}
