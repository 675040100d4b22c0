//! Sends commands and pipelines over the component's connections: which connection, which span, whether to try again.

mod connect;
mod link;
mod tls;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use mecha_plugin_api::{CallContext, Result};
use redis::{Cmd, Pipeline, Value};
use tracing::Instrument;
use tracing::field::Empty;

use self::connect::Connector;
use self::link::Link;
use crate::error::Failure;
use crate::metadata::Settings;

/// How long a strongly consistent save waits for replicas, as in Dapr.
pub(crate) const REPLICATION_TIMEOUT: Duration = Duration::from_secs(1);
/// A replica that lags holds a connection for the whole wait; so many saves can wait at the same time.
const REPLICATED_CONNECTIONS: usize = 16;

/// What a command is for, which settles its connection and whether it may be sent twice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Purpose {
    /// Changes nothing, so it is sent again when its connection breaks.
    Read,
    /// May have taken effect when its connection breaks, so it is sent once.
    Write,
    /// A write that ends in WAIT. It has connections of its own: WAIT blocks every command behind it.
    ReplicatedWrite,
}

/// What goes out in one write.
#[derive(Clone, Copy)]
enum Message<'a> {
    One(&'a Cmd),
    Many(&'a Pipeline),
}

impl Message<'_> {
    fn batch_size(self) -> Option<usize> {
        match self {
            Self::One(_) => None,
            Self::Many(pipeline) => Some(pipeline.len()),
        }
    }
}

/// A component's connections to one server.
pub(crate) struct Client {
    connector: Arc<Connector>,
    links: Vec<Link>,
    next: AtomicUsize,
    /// Opened by the first write that waits for replicas.
    replicated: OnceLock<Vec<Link>>,
    database: String,
}

impl Client {
    /// Opens the connections and returns once the server has answered on one.
    pub(crate) async fn open(settings: Settings) -> Result<Self> {
        let connector = Arc::new(Connector::new(settings)?);
        let settings = connector.settings();
        let database = settings.database.to_string();
        let links = start_links(settings.connections, &connector);
        let client =
            Self { links, next: AtomicUsize::new(0), replicated: OnceLock::new(), database, connector };
        client.link(Purpose::Read).connection().await?;
        Ok(client)
    }

    /// How many replicas the server had when it was last connected to.
    pub(crate) fn replicas(&self) -> u32 {
        self.connector.replicas()
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

    /// Sends several commands in one write. Each answer stands in its command's place, a server's error among them.
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

    async fn send(
        &self,
        context: &CallContext,
        purpose: Purpose,
        operation: &'static str,
        message: Message<'_>,
    ) -> Result<Value, Failure> {
        let mut tries_left = self.connector.settings().retry.max;
        loop {
            let span = self.span(context, operation, message.batch_size());
            let result = self.attempt(purpose, message).instrument(span.clone()).await;
            let Err(failure) = &result else { return result };
            record(&span, failure);
            let lost = matches!(failure, Failure::Interrupted(error) if !error.is_timeout());
            if !lost || purpose != Purpose::Read || tries_left == 0 {
                return result;
            }
            tries_left -= 1;
        }
    }

    async fn attempt(&self, purpose: Purpose, message: Message<'_>) -> Result<Value, Failure> {
        let mut connection = self.link(purpose).connection().await.map_err(Failure::Unreachable)?;
        if purpose == Purpose::ReplicatedWrite
            && let Some(limit) = self.connector.settings().read_timeout
        {
            connection.set_response_timeout(limit + REPLICATION_TIMEOUT);
        }
        let answer = match message {
            Message::One(command) => connection.send_packed_command(command).await,
            Message::Many(pipeline) => {
                connection.send_packed_commands(pipeline, 0, pipeline.len()).await.map(Value::Array)
            }
        };
        match answer {
            Ok(Value::ServerError(error)) => Err(Failure::Refused(error)),
            Ok(value) => Ok(value),
            Err(error) => Err(Failure::Interrupted(error)),
        }
    }

    fn link(&self, purpose: Purpose) -> &Link {
        let links = match purpose {
            Purpose::Read | Purpose::Write => &self.links,
            Purpose::ReplicatedWrite => {
                self.replicated.get_or_init(|| start_links(REPLICATED_CONNECTIONS, &self.connector))
            }
        };
        match links.as_slice() {
            [only] => only,
            links => &links[self.next.fetch_add(1, Ordering::Relaxed) % links.len()],
        }
    }

    /// Keys stay out of spans: they may name people.
    fn span(&self, context: &CallContext, operation: &'static str, batch: Option<usize>) -> tracing::Span {
        // An unsampled call must not even pay for collecting the fields.
        if !context.is_sampled() {
            return tracing::Span::none();
        }
        let settings = self.connector.settings();
        tracing::info_span!(
            "redis command",
            otel.name = operation,
            otel.kind = "client",
            otel.status_code = Empty,
            db.system.name = "redis",
            db.namespace = self.database.as_str(),
            db.operation.name = operation,
            db.operation.batch.size = batch,
            db.response.status_code = Empty,
            error.type = Empty,
            server.address = settings.host.as_str(),
            server.port = settings.port,
        )
    }
}

fn start_links(count: usize, connector: &Arc<Connector>) -> Vec<Link> {
    (0..count).map(|_| Link::start(connector.clone())).collect()
}

fn record(span: &tracing::Span, failure: &Failure) {
    span.record("otel.status_code", "error");
    span.record("error.type", failure.type_name());
    if let Some(code) = failure.code() {
        span.record("db.response.status_code", code);
    }
}
