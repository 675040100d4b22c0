//! Watches keys: listens for their keyspace events on every server, and reads everything again after a connection was lost.
//!
//! Events are only hints about which key to read: they are not kept for a listener that is away, and say no value.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use mecha_plugin_api::{CallContext, Error, ErrorKind, Result};
use redis::aio::{PubSub, PubSubStream};
use redis::{RedisError, Value, cmd};
use tokio::task::{AbortHandle, JoinSet};

use super::changes::Changes;
use super::read;
use crate::client::{Client, Target};
use crate::error::Failure;
use crate::metadata::Address;

/// How often the servers of a cluster are looked over for new ones.
const LOOK: Duration = Duration::from_secs(2);
/// How often the keys are read again while events come: an event can be lost only together with a connection, but a key
/// may move to another server of a cluster.
const CALM: Duration = Duration::from_secs(60);
/// How often they are read when nobody could be asked for events.
const POLL: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// The events that Dapr asks for: keyspace channels; generic commands, strings, expiries and evictions.
const KEYSPACE: char = 'K';
const CLASSES: [char; 4] = ['g', '$', 'x', 'e'];
const ALL_CLASSES: char = 'A';

/// A subscription's background work.
pub(crate) struct Watch {
    shared: Arc<Shared>,
    /// Connections that listen already.
    listening: HashMap<Target, Listener>,
}

struct Shared {
    client: Client,
    context: CallContext,
    /// None = every key.
    keys: Vec<String>,
    changes: Arc<Changes>,
    /// Whether every server was seen to send the events.
    has_events: AtomicBool,
}

/// A connection that listens, and where it leads.
struct Listener {
    messages: Pin<Box<PubSubStream>>,
    server: Address,
    // The connection ends with its sending half.
    _commands: redis::aio::PubSubSink,
}

impl Watch {
    /// Listens on every server, then reads the state that changes are told against.
    pub(crate) async fn open(
        client: Client,
        context: CallContext,
        keys: Vec<String>,
        changes: Arc<Changes>,
    ) -> Result<Self> {
        let has_events = AtomicBool::new(true);
        let shared = Arc::new(Shared { client, context, keys, changes, has_events });
        let mut listening = HashMap::new();
        for target in shared.client.targets() {
            let listener = shared.listen(&target).await?;
            listening.insert(target, listener);
        }
        shared.read_again(false).await.map_err(|failure| failure.into_error(""))?;
        Ok(Self { shared, listening })
    }

    /// Runs until it is dropped.
    pub(crate) async fn run(mut self) {
        let mut tasks = JoinSet::new();
        let mut watched: HashMap<Target, AbortHandle> = HashMap::new();
        loop {
            let targets = self.shared.client.targets();
            watched.retain(|target, task| {
                let stays = targets.contains(target);
                if !stays {
                    task.abort();
                }
                stays
            });
            for target in targets {
                let (shared, listener) = (self.shared.clone(), self.listening.remove(&target));
                watched
                    .entry(target.clone())
                    .or_insert_with(|| tasks.spawn(async move { shared.watch(target, listener).await }));
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl Shared {
    /// Follows one server through lost connections.
    async fn watch(&self, target: Target, mut listener: Option<Listener>) {
        let mut pause = FIRST_PAUSE;
        loop {
            let current = match listener.take() {
                Some(listener) => Ok(listener),
                None => self.listen_and_read(&target).await,
            };
            match current {
                Ok(mut listener) => {
                    pause = FIRST_PAUSE;
                    let failure = self.follow(&target, &mut listener).await;
                    tracing::warn!(reason = failure.text(), "the configuration's connection is lost");
                }
                Err(error) => tracing::debug!(error = %error, "the configuration is not watched now"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn listen_and_read(&self, target: &Target) -> Result<Listener> {
        let listener = self.listen(target).await;
        // Also when this server is gone: a cluster then learns which one took over.
        self.read_again(true).await.map_err(|failure| failure.into_error(""))?;
        listener
    }

    /// Reads what events name until the connection is lost.
    async fn follow(&self, target: &Target, listener: &mut Listener) -> Failure {
        let Listener { messages, server, .. } = listener;
        let moved = self.client.moved_from(target, server);
        tokio::pin!(moved);
        loop {
            let period = if self.has_events.load(Ordering::Relaxed) { CALM } else { POLL };
            let read = tokio::select! {
                message = messages.next() => match message {
                    Some(message) => self.named(message.get_channel_name()).await,
                    None => return Failure::Unexpected("the server closed it"),
                },
                () = &mut moved => return Failure::Unexpected("another server is the master now"),
                () = tokio::time::sleep(period) => self.read_again(true).await,
            };
            if let Err(failure) = read {
                return failure;
            }
        }
    }

    /// Reads the key that an event's channel names.
    async fn named(&self, channel: &str) -> Result<(), Failure> {
        let Some(key) = channel.strip_prefix(&self.channel("")) else { return Ok(()) };
        for (key, text) in read(&self.client, &self.context, vec![key.to_owned()]).await? {
            self.changes.observe(key, text.as_deref(), true);
        }
        Ok(())
    }

    async fn read_again(&self, tells: bool) -> Result<(), Failure> {
        let texts = read(&self.client, &self.context, self.keys.clone()).await?;
        if self.keys.is_empty() {
            let found: std::collections::HashSet<&str> = texts.iter().map(|(key, _)| key.as_str()).collect();
            for key in self.changes.known() {
                if !found.contains(key.as_str()) {
                    self.changes.observe(key, None, tells);
                }
            }
        }
        for (key, text) in texts {
            self.changes.observe(key, text.as_deref(), tells);
        }
        Ok(())
    }

    async fn listen(&self, target: &Target) -> Result<Listener> {
        let has_events = self.ask_for_events(target).await;
        if !has_events && self.has_events.swap(false, Ordering::Relaxed) {
            tracing::warn!(
                "redis may not send keyspace events: the configuration is read at intervals as well"
            );
        }
        let (mut connection, server) = self.client.subscriber(target).await?;
        let limit = self.client.settings().dial_timeout;
        match tokio::time::timeout(limit, self.subscribe(&mut connection)).await {
            Ok(Ok(())) => {
                let (commands, messages) = connection.split();
                Ok(Listener { messages: Box::pin(messages), server, _commands: commands })
            }
            Ok(Err(error)) => Err(refused(&error)),
            Err(_) => Err(Error::unavailable(format!("redis at {server} does not answer"))),
        }
    }

    async fn subscribe(&self, connection: &mut PubSub) -> Result<(), RedisError> {
        if self.keys.is_empty() {
            return connection.psubscribe(self.channel("*")).await;
        }
        let channels: Vec<_> = self.keys.iter().map(|key| self.channel(key)).collect();
        connection.subscribe(channels).await
    }

    fn channel(&self, key: &str) -> String {
        format!("__keyspace@{}__:{key}", self.client.settings().database)
    }

    /// Turns on the events that are missing and leaves the others as they are; says whether all are on then.
    async fn ask_for_events(&self, target: &Target) -> bool {
        const NAME: &str = "notify-keyspace-events";
        let mut get = cmd("CONFIG");
        get.arg("GET").arg(NAME);
        let Ok(Value::Array(answer)) =
            self.client.command_at(&self.context, target, "CONFIG GET", &get).await
        else {
            return false;
        };
        let Some(Value::BulkString(flags)) = answer.into_iter().nth(1) else { return false };
        let flags = String::from_utf8_lossy(&flags).into_owned();
        let missing = missing(&flags);
        if missing.is_empty() {
            return true;
        }
        let mut set = cmd("CONFIG");
        set.arg("SET").arg(NAME).arg(flags + &missing);
        self.client.command_at(&self.context, target, "CONFIG SET", &set).await.is_ok()
    }
}

/// The flags that are not among those that are set.
fn missing(flags: &str) -> String {
    let classes = CLASSES.iter().filter(|class| !flags.contains(ALL_CLASSES) && !flags.contains(**class));
    let keyspace = (!flags.contains(KEYSPACE)).then_some(KEYSPACE);
    keyspace.into_iter().chain(classes.copied()).collect()
}

fn refused(error: &RedisError) -> Error {
    let kind = match error.code() {
        Some("NOPERM" | "NOAUTH") => ErrorKind::DENIED,
        _ => ErrorKind::UNAVAILABLE,
    };
    Error::new(kind, format!("cannot subscribe to keyspace events: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missing_is_added() {
        assert_eq!(missing(""), "Kg$xe");
        assert_eq!(missing("AK"), "");
        assert_eq!(missing("AE"), "K");
        assert_eq!(missing("Kgl"), "$xe");
    }
}
