//! The connections of one use: to the one server, or to each node of the cluster that was needed so far.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::{Cmd, Pipeline, Value};
use tracing::Span;

use super::connect::{Connector, Target};
use super::link::Link;
use crate::error::Failure;
use crate::metadata::Address;

/// What goes out in one write.
#[derive(Clone, Copy)]
pub(crate) enum Message<'a> {
    /// One command.
    One(&'a Cmd),
    /// Several, whose answers come in one array.
    Many(&'a Pipeline),
}

impl Message<'_> {
    pub(crate) fn batch_size(self) -> Option<usize> {
        match self {
            Self::One(_) => None,
            Self::Many(pipeline) => Some(pipeline.len()),
        }
    }
}

/// How many connections lead to each server, and how long an answer on them may take.
pub(crate) struct Lane {
    connector: Arc<Connector>,
    size: usize,
    /// Instead of the read timeout, for commands that wait in the server.
    limit: Option<Duration>,
    only: Option<Arc<Links>>,
    nodes: Mutex<HashMap<Address, Arc<Links>>>,
}

impl Lane {
    /// Connections to the one server; needs the plugin's runtime entered.
    pub(crate) fn to_one(connector: &Arc<Connector>, size: usize, limit: Option<Duration>) -> Self {
        let only = Links::start(connector, &connector.target(), size);
        Self { only: Some(Arc::new(only)), ..Self::to_many(connector, size, limit) }
    }

    /// Connections to nodes, each opened when it is first needed.
    pub(crate) fn to_many(connector: &Arc<Connector>, size: usize, limit: Option<Duration>) -> Self {
        Self { connector: connector.clone(), size, limit, only: None, nodes: Mutex::default() }
    }

    /// The links to the one server, if there is only one.
    pub(crate) fn only(&self) -> Option<&Arc<Links>> {
        self.only.as_ref()
    }

    /// The links to a node. Links to nodes outside `members` end: they left the cluster.
    pub(crate) fn node(&self, address: &Address, members: &[Address]) -> Arc<Links> {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(links) = nodes.get(address) {
            return links.clone();
        }
        nodes.retain(|node, _| members.contains(node));
        let links = Links::start(&self.connector, &Target::Server(address.clone()), self.size);
        nodes.entry(address.clone()).or_insert(Arc::new(links)).clone()
    }

    /// Sends and waits for the answer.
    pub(crate) async fn exchange(
        &self,
        links: &Links,
        message: Message<'_>,
        span: &Span,
    ) -> Result<Value, Failure> {
        let link = links.pick();
        let mut live = link.connection().await.map_err(Failure::Unreachable)?;
        span.record("server.address", live.server.host.as_str());
        span.record("server.port", live.server.port);
        if let Some(limit) = self.limit {
            live.connection.set_response_timeout(limit);
        }
        let answer = match message {
            Message::One(command) => live.connection.send_packed_command(command).await,
            Message::Many(pipeline) => {
                let answers = live.connection.send_packed_commands(pipeline, 0, pipeline.len()).await;
                answers.map(Value::Array)
            }
        };
        if answer.as_ref().is_ok_and(is_read_only) {
            // The server became a replica; its name, or the sentinels, may lead to the new master.
            link.renew(live.generation);
        }
        match answer {
            Ok(Value::ServerError(error)) => Err(Failure::Refused(error)),
            Ok(value) => Ok(value),
            Err(error) => Err(Failure::Interrupted(error)),
        }
    }
}

fn is_read_only(answer: &Value) -> bool {
    match answer {
        Value::ServerError(error) => error.code() == "READONLY",
        Value::Array(answers) => answers
            .iter()
            .any(|answer| matches!(answer, Value::ServerError(error) if error.code() == "READONLY")),
        _ => false,
    }
}

/// Connections to one server, used in turn.
pub(crate) struct Links {
    links: Vec<Link>,
    next: AtomicUsize,
}

impl Links {
    fn start(connector: &Arc<Connector>, target: &Target, size: usize) -> Self {
        let links = (0..size.max(1)).map(|_| Link::start(connector.clone(), target.clone())).collect();
        Self { links, next: AtomicUsize::new(0) }
    }

    /// The connection whose turn it is.
    pub(crate) fn pick(&self) -> &Link {
        match self.links.as_slice() {
            [only] => only,
            links => &links[self.next.fetch_add(1, Ordering::Relaxed) % links.len()],
        }
    }
}
