//! The commands of one consumer group on one stream.

use std::time::Duration;

use mecha_plugin_api::{CallContext, Result};
use redis::{Cmd, Pipeline, Value, cmd};

use super::entry::{self, Entry};
use crate::client::{Client, Purpose};
use crate::error::Failure;

/// A consumer group. The consumer in it has the group's name, as in Dapr: all replicas of an application are one consumer.
#[derive(Clone)]
pub(crate) struct Group {
    pub(crate) client: Client,
    pub(crate) topic: String,
    pub(crate) name: String,
    /// Spans of background work would have no parent.
    pub(crate) context: CallContext,
}

/// A message that was delivered and not settled.
#[derive(Debug, PartialEq)]
pub(crate) struct Pending {
    pub(crate) id: String,
    pub(crate) idle: Duration,
    pub(crate) delivered: u32,
}

impl Group {
    /// Makes the group, and the stream if there is none; it begins at the stream's first entry.
    pub(crate) async fn create(&self) -> Result<(), Failure> {
        let mut command = cmd("XGROUP");
        command.arg("CREATE").arg(&self.topic).arg(&self.name).arg("0").arg("MKSTREAM");
        match self.send("XGROUP CREATE", &command).await {
            Err(failure) if failure.code() == Some("BUSYGROUP") => Ok(()),
            other => other.map(drop),
        }
    }

    /// Makes the group again when the failure says that it is gone; otherwise the failure stays.
    pub(crate) async fn heal(&self, failure: Failure) -> Result<(), Failure> {
        match failure.code() {
            Some("NOGROUP") => {
                tracing::warn!(
                    topic = self.topic,
                    group = self.name,
                    "the consumer group is gone: made again"
                );
                self.create().await
            }
            // The stream was deleted while a read waited on it.
            Some("UNBLOCKED") => self.create().await,
            _ => Err(failure),
        }
    }

    /// Up to `count` new messages, over a connection of its own; waits in the server for the first.
    pub(crate) async fn read(
        &self,
        blocking: &Client,
        count: usize,
        wait: Duration,
    ) -> Result<Vec<Entry>, Failure> {
        let mut command = cmd("XREADGROUP");
        command.arg("GROUP").arg(&self.name).arg(&self.name).arg("COUNT").arg(count);
        command.arg("BLOCK").arg(millis(wait)).arg("STREAMS").arg(&self.topic).arg(">");
        // Not repeated by the client: what a broken read took shows up as pending.
        entry::from_read(blocking.command(&self.context, Purpose::Write, "XREADGROUP", &command).await?)
    }

    /// The messages after `start` that were delivered and not settled, oldest first.
    pub(crate) async fn pending(&self, start: &str, count: usize) -> Result<Vec<Pending>, Failure> {
        let mut command = cmd("XPENDING");
        command.arg(&self.topic).arg(&self.name).arg(start).arg("+").arg(count);
        let Value::Array(list) = self.send("XPENDING", &command).await? else { return Err(unexpected()) };
        list.into_iter().map(|value| pending(value).ok_or_else(unexpected)).collect()
    }

    /// Takes over those of the messages that are still idle; the others are missing from the answer, deleted ones are
    /// `None`.
    pub(crate) async fn claim(&self, ids: &[String], idle: Duration) -> Result<Vec<Option<Entry>>, Failure> {
        let command = self.claim_command(ids, idle);
        let answer = self.client.command(&self.context, Purpose::Write, "XCLAIM", &command).await?;
        entry::from_list(answer)
    }

    /// Says that these messages are still being worked on.
    pub(crate) async fn touch(&self, ids: &[String]) -> Result<(), Failure> {
        if ids.is_empty() {
            return Ok(());
        }
        let mut command = self.claim_command(ids, Duration::ZERO);
        command.arg("JUSTID");
        self.send("XCLAIM", &command).await.map(drop)
    }

    /// Makes these messages look idle for `idle`, so that whoever looks next takes them.
    pub(crate) async fn give_back(&self, ids: &[String], idle: Duration) -> Result<(), Failure> {
        if ids.is_empty() {
            return Ok(());
        }
        let mut command = self.claim_command(ids, Duration::ZERO);
        command.arg("IDLE").arg(millis(idle)).arg("JUSTID");
        self.send("XCLAIM", &command).await.map(drop)
    }

    /// Settles messages for good.
    pub(crate) async fn acknowledge(&self, context: &CallContext, ids: &[String]) -> Result<(), Failure> {
        if ids.is_empty() {
            return Ok(());
        }
        let mut command = cmd("XACK");
        command.arg(&self.topic).arg(&self.name).arg(ids);
        self.client.command(context, Purpose::Read, "XACK", &command).await.map(drop)
    }

    /// The number by which the server knows the connection that reads, to wake it up.
    pub(crate) async fn reader(&self, blocking: &Client) -> Result<i64, Failure> {
        let mut identity = cmd("CLIENT");
        identity.arg("ID");
        match self.beside_the_stream(blocking, identity).await? {
            Value::Int(id) => Ok(id),
            _ => Err(unexpected()),
        }
    }

    /// Ends a read that waits.
    pub(crate) async fn wake(&self, reader: i64) -> Result<(), Failure> {
        let mut unblock = cmd("CLIENT");
        unblock.arg("UNBLOCK").arg(reader);
        self.beside_the_stream(&self.client, unblock).await.map(drop)
    }

    /// How many messages the group has not settled, where the server tells (Redis 7).
    pub(crate) async fn backlog(&self) -> Result<Option<u64>, Failure> {
        let mut command = cmd("XINFO");
        command.arg("GROUPS").arg(&self.topic);
        match self.send("XINFO GROUPS", &command).await {
            Ok(Value::Array(groups)) => Ok(groups.iter().find_map(|group| backlog(group, &self.name))),
            Ok(_) => Err(unexpected()),
            // There is no stream.
            Err(failure) if failure.code() == Some("ERR") => Ok(Some(0)),
            Err(failure) => Err(failure),
        }
    }

    /// Sends a command without a key to the node that holds the stream: behind one with its key.
    async fn beside_the_stream(&self, client: &Client, command: Cmd) -> Result<Value, Failure> {
        let mut pipeline = Pipeline::with_capacity(2);
        pipeline.cmd("EXISTS").arg(&self.topic);
        pipeline.add_command(command);
        let answers = client.pipeline(&self.context, Purpose::Read, "PIPELINE CLIENT", &pipeline).await?;
        match answers.into_iter().nth(1) {
            Some(Value::ServerError(error)) => Err(Failure::Refused(error)),
            Some(answer) => Ok(answer),
            None => Err(unexpected()),
        }
    }

    fn claim_command(&self, ids: &[String], idle: Duration) -> Cmd {
        let mut command = cmd("XCLAIM");
        command.arg(&self.topic).arg(&self.name).arg(&self.name).arg(millis(idle)).arg(ids);
        command
    }

    async fn send(&self, operation: &'static str, command: &Cmd) -> Result<Value, Failure> {
        self.client.command(&self.context, Purpose::Read, operation, command).await
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn pending(value: Value) -> Option<Pending> {
    let Value::Array(parts) = value else { return None };
    match <[Value; 4]>::try_from(parts) {
        Ok([Value::BulkString(id), _, Value::Int(idle), Value::Int(delivered)]) => Some(Pending {
            id: String::from_utf8(id).ok()?,
            idle: Duration::from_millis(u64::try_from(idle).unwrap_or(0)),
            delivered: u32::try_from(delivered).unwrap_or(u32::MAX),
        }),
        _ => None,
    }
}

/// Of one group's names and values: what was not delivered plus what was not settled.
fn backlog(group: &Value, name: &str) -> Option<u64> {
    let Value::Array(parts) = group else { return None };
    let field = |wanted: &str| {
        let mut pairs = parts.chunks_exact(2);
        pairs.find(|pair| pair[0] == Value::BulkString(wanted.as_bytes().to_vec())).map(|pair| &pair[1])
    };
    if field("name") != Some(&Value::BulkString(name.as_bytes().to_vec())) {
        return None;
    }
    match (field("lag"), field("pending")) {
        (Some(Value::Int(lag)), Some(Value::Int(pending))) => u64::try_from(lag + pending).ok(),
        _ => None,
    }
}

fn unexpected() -> Failure {
    Failure::Unexpected("redis answered something unexpected about a consumer group")
}
