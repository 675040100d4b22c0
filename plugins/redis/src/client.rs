//! Sends commands and pipelines over the component's connections: which connection, which span, whether to try again.
//!
//! `lane.rs` holds connections of one use, `link.rs` keeps one up, `connect.rs` makes one; `sentinel.rs` and `cluster.rs`
//! know which server it leads to.

mod cluster;
mod connect;
mod key;
mod lane;
mod link;
mod sentinel;
mod slots;
mod tls;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use mecha_plugin_api::{CallContext, Error, Result};
use redis::aio::PubSub;
use redis::{Cmd, Pipeline, Value, cmd};
use tracing::field::Empty;
use tracing::{Instrument, Span};

use self::cluster::Cluster;
use self::connect::Connector;
pub(crate) use self::connect::Target;
use self::lane::{Lane, Message};
use self::sentinel::SentinelWatch;
use crate::error::Failure;
use crate::metadata::{Address, Settings, Topology};

/// How long a strongly consistent save waits for replicas, as in Dapr.
pub(crate) const REPLICATION_TIMEOUT: Duration = Duration::from_secs(1);
/// A replica that lags holds a connection for the whole wait; so many saves can wait at the same time.
const REPLICATED_CONNECTIONS: usize = 16;
/// How long an answer may take on a connection whose commands wait in the server, when there is no read timeout.
const GRACE: Duration = Duration::from_secs(3);

/// What a command is for, which settles its connection and whether it may be sent twice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Purpose {
    /// Changes nothing or the same thing twice, so it is sent again when its connection breaks.
    Read,
    /// May have taken effect when its connection breaks, so it is sent once.
    Write,
    /// A write that ends in WAIT. It has connections of its own: WAIT blocks every command behind it.
    ReplicatedWrite,
}

/// A component's connections.
#[derive(Clone)]
pub(crate) struct Client {
    shared: Arc<Shared>,
    calls: Arc<Lane>,
    /// Opened by the first write that waits for replicas.
    replicated: Arc<OnceLock<Lane>>,
}

/// What all connections of a component have in common.
struct Shared {
    connector: Arc<Connector>,
    cluster: Option<Arc<Cluster>>,
    database: String,
    _sentinel: Option<SentinelWatch>,
}

impl Client {
    /// Opens the connections and returns once the server has answered on one.
    pub(crate) async fn open(settings: Settings) -> Result<Self> {
        let connector = Arc::new(Connector::new(settings)?);
        let settings = connector.settings();
        let (mut cluster, mut sentinel) = (None, None);
        match settings.topology {
            Topology::Single => {}
            Topology::Sentinel(_) => sentinel = Some(SentinelWatch::start(connector.clone())),
            Topology::Cluster => cluster = Some(Arc::new(Cluster::open(&connector).await?)),
        }
        let (database, size) = (settings.database.to_string(), settings.connections);
        let shared = Arc::new(Shared { cluster, database, _sentinel: sentinel, connector });
        let calls = Arc::new(shared.lane(size, None));
        if let Some(links) = calls.only() {
            links.pick().connection().await?;
        }
        Ok(Self { shared, calls, replicated: Arc::default() })
    }

    /// The same servers over a connection of its own, for commands that wait in the server for up to `wait`.
    pub(crate) fn blocking(&self, wait: Duration) -> Self {
        let limit = wait + self.settings().read_timeout.unwrap_or(GRACE);
        let calls = Arc::new(self.shared.lane(1, Some(limit)));
        Self { shared: self.shared.clone(), calls, replicated: Arc::default() }
    }

    pub(crate) fn settings(&self) -> &Settings {
        self.shared.connector.settings()
    }

    /// How many replicas the server had when it was last connected to.
    pub(crate) fn replicas(&self) -> u32 {
        self.shared.connector.replicas()
    }

    /// Every server that holds keys of its own.
    pub(crate) fn targets(&self) -> Vec<Target> {
        match &self.shared.cluster {
            None => vec![self.shared.connector.target()],
            Some(cluster) => cluster.nodes().into_iter().map(Target::Server).collect(),
        }
    }

    /// A connection for subscriptions to channels of one of [`Client::targets`].
    pub(crate) async fn subscriber(&self, target: &Target) -> Result<(PubSub, Address)> {
        self.shared.connector.subscriber(target).await
    }

    /// Resolves once the sentinels have announced another master than `server`.
    pub(crate) async fn moved_from(&self, target: &Target, server: &Address) {
        self.shared.connector.moved_from(target, server).await;
    }

    /// Whether the server answers.
    pub(crate) async fn ping(&self, context: &CallContext) -> Result<()> {
        let answer = self.command(context, Purpose::Read, "PING", &cmd("PING")).await;
        answer.map(drop).map_err(|failure| failure.into_error(""))
    }

    /// Sends one command.
    pub(crate) async fn command(
        &self,
        context: &CallContext,
        purpose: Purpose,
        operation: &'static str,
        command: &Cmd,
    ) -> Result<Value, Failure> {
        self.send(context, purpose, operation, Message::One(command)).await
    }

    /// Sends several commands, those for one server in one write. Each answer stands in its command's place, a server's
    /// error among them.
    pub(crate) async fn pipeline(
        &self,
        context: &CallContext,
        purpose: Purpose,
        operation: &'static str,
        pipeline: &Pipeline,
    ) -> Result<Vec<Value>, Failure> {
        match self.send(context, purpose, operation, Message::Many(pipeline)).await? {
            Value::Array(values) if values.len() == pipeline.len() => Ok(values),
            _ => Err(Failure::Unexpected("redis answered another number of commands than it was sent")),
        }
    }

    /// Sends one command that has no key to one of [`Client::targets`].
    pub(crate) async fn command_at(
        &self,
        context: &CallContext,
        target: &Target,
        operation: &'static str,
        command: &Cmd,
    ) -> Result<Value, Failure> {
        let span = self.span(context, operation, None);
        let links = match (self.calls.only(), target, &self.shared.cluster) {
            (Some(only), _, _) => only.clone(),
            (None, Target::Server(address), Some(cluster)) => self.calls.node(address, &cluster.nodes()),
            _ => return Err(Failure::Unreachable(Error::internal("there is no such server"))),
        };
        let sending = self.calls.exchange(&links, Message::One(command), &span);
        let result = sending.instrument(span.clone()).await;
        result.inspect_err(|failure| record(&span, failure))
    }

    async fn send(
        &self,
        context: &CallContext,
        purpose: Purpose,
        operation: &'static str,
        message: Message<'_>,
    ) -> Result<Value, Failure> {
        let mut tries_left = self.settings().retry.max;
        loop {
            let span = self.span(context, operation, message.batch_size());
            let result = self.attempt(purpose, message, &span).instrument(span.clone()).await;
            let Err(failure) = &result else { return result };
            record(&span, failure);
            if tries_left == 0 || !may_repeat(purpose, failure) {
                return result;
            }
            tries_left -= 1;
        }
    }

    async fn attempt(&self, purpose: Purpose, message: Message<'_>, span: &Span) -> Result<Value, Failure> {
        let lane = match purpose {
            Purpose::Read | Purpose::Write => &*self.calls,
            Purpose::ReplicatedWrite => self.replicated.get_or_init(|| {
                let limit = self.settings().read_timeout.map(|limit| limit + REPLICATION_TIMEOUT);
                self.shared.lane(REPLICATED_CONNECTIONS, limit)
            }),
        };
        match (lane.only(), &self.shared.cluster, message) {
            (Some(only), ..) => lane.exchange(only, message, span).await,
            (None, Some(cluster), Message::One(command)) => cluster.one(lane, command, span).await,
            (None, Some(cluster), Message::Many(pipeline)) => cluster.many(lane, pipeline, span).await,
            (None, None, _) => Err(Failure::Unreachable(Error::internal("there is no server to send to"))),
        }
    }

    /// Keys stay out of spans: they may name people.
    fn span(&self, context: &CallContext, operation: &'static str, batch: Option<usize>) -> Span {
        // An unsampled call must not even pay for collecting the fields.
        if !context.is_sampled() {
            return Span::none();
        }
        tracing::info_span!(
            "redis command",
            otel.name = operation,
            otel.kind = "client",
            otel.status_code = Empty,
            db.system.name = "redis",
            db.namespace = self.shared.database.as_str(),
            db.operation.name = operation,
            db.operation.batch.size = batch,
            db.response.status_code = Empty,
            error.type = Empty,
            server.address = Empty,
            server.port = Empty,
        )
    }
}

impl Shared {
    fn lane(&self, size: usize, limit: Option<Duration>) -> Lane {
        match self.cluster {
            None => Lane::to_one(&self.connector, size, limit),
            Some(_) => Lane::to_many(&self.connector, size, limit),
        }
    }
}

/// A replica refuses a write without having done any of it; a broken connection leaves that open.
fn may_repeat(purpose: Purpose, failure: &Failure) -> bool {
    match failure {
        Failure::Interrupted(error) => purpose == Purpose::Read && !error.is_timeout(),
        Failure::Refused(error) => error.code() == "READONLY",
        Failure::Unreachable(_) | Failure::Unexpected(_) => false,
    }
}

fn record(span: &Span, failure: &Failure) {
    span.record("otel.status_code", "error");
    span.record("error.type", failure.type_name());
    if let Some(code) = failure.code() {
        span.record("db.response.status_code", code);
    }
}
