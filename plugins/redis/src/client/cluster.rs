//! Redis Cluster: which node holds a key, learnt from the nodes and corrected by their redirections.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::join_all;
use mecha_plugin_api::{Error, Result};
use redis::{Cmd, Pipeline, ServerError, Value, cmd};
use tracing::Span;

use super::connect::{Connector, Target};
use super::key::key_of;
use super::lane::{Lane, Message};
use super::slots::SlotMap;
use crate::error::Failure;
use crate::metadata::Address;

/// How often one command is sent after the cluster along its redirections.
const REDIRECTIONS: u32 = 5;
/// A node that does not answer must leave time to ask another.
const ASK_LIMIT: Duration = Duration::from_secs(1);
/// A pause before a command that the cluster could not take just now is sent again.
const PAUSE: Duration = Duration::from_millis(50);

/// The cluster as last seen.
pub(crate) struct Cluster {
    connector: Arc<Connector>,
    map: RwLock<Arc<SlotMap>>,
    version: AtomicU64,
    asking: tokio::sync::Mutex<()>,
}

/// Where an answer sends the command next.
enum Redirection {
    /// Nowhere: it is the answer.
    None,
    /// The slot has another master now.
    Moved(usize, Address),
    /// The slot is on its way to another master, which has this key already.
    Ask(Address),
    /// The cluster cannot take it now, or the node is gone.
    Later,
}

impl Cluster {
    /// Asks the configured hosts for the cluster's nodes.
    pub(crate) async fn open(connector: &Arc<Connector>) -> Result<Self> {
        let map = ask(connector, &connector.settings().hosts).await?;
        Ok(Self {
            connector: connector.clone(),
            map: RwLock::new(Arc::new(map)),
            version: AtomicU64::new(0),
            asking: tokio::sync::Mutex::new(()),
        })
    }

    /// The masters.
    pub(crate) fn nodes(&self) -> Vec<Address> {
        self.map().nodes.clone()
    }

    /// Learns the nodes anew, unless somebody did since `seen`.
    async fn refresh(&self, seen: u64) {
        let _turn = self.asking.lock().await;
        if self.version.load(Ordering::Acquire) != seen {
            return;
        }
        let mut hosts = self.nodes();
        hosts.extend(self.connector.settings().hosts.iter().cloned());
        match ask(&self.connector, &hosts).await {
            Ok(map) => self.replace(map),
            Err(error) => tracing::debug!(error = %error, "no node tells about the cluster"),
        }
    }

    fn refresh_soon(self: &Arc<Self>, seen: u64) {
        let cluster = self.clone();
        tokio::spawn(async move { cluster.refresh(seen).await });
    }

    fn replace(&self, map: SlotMap) {
        *self.map.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(map);
        self.version.fetch_add(1, Ordering::AcqRel);
    }

    fn map(&self) -> Arc<SlotMap> {
        self.map.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn moved(&self, slot: usize, to: &Address) {
        let mut map = SlotMap::clone(&self.map());
        map.assign(slot..slot + 1, to);
        self.replace(map);
    }

    /// Sends one command to the node that holds its key.
    pub(crate) async fn one(
        self: &Arc<Self>,
        lane: &Lane,
        command: &Cmd,
        span: &Span,
    ) -> Result<Value, Failure> {
        let key = key_of(command);
        let (mut node, mut asking) = (self.map().node_of(key), false);
        let mut left = REDIRECTIONS;
        loop {
            let seen = self.version.load(Ordering::Acquire);
            let result = match &node {
                None => Err(Failure::Unexpected("no node of the cluster serves this key")),
                Some(node) => self.at(lane, node, command, asking, span).await,
            };
            let redirection = match &node {
                None => Redirection::Later,
                Some(node) => redirection(&result, node),
            };
            if let Err(Failure::Interrupted(_)) = &result {
                self.refresh_soon(seen);
            }
            if left == 0 {
                return result;
            }
            left -= 1;
            match redirection {
                Redirection::None => return result,
                Redirection::Moved(slot, to) => {
                    self.moved(slot, &to);
                    self.refresh_soon(self.version.load(Ordering::Acquire));
                    (node, asking) = (Some(to), false);
                }
                Redirection::Ask(to) => (node, asking) = (Some(to), true),
                Redirection::Later => {
                    tokio::time::sleep(PAUSE).await;
                    self.refresh(seen).await;
                    (node, asking) = (self.map().node_of(key), false);
                }
            }
        }
    }

    async fn at(
        &self,
        lane: &Lane,
        node: &Address,
        command: &Cmd,
        asking: bool,
        span: &Span,
    ) -> Result<Value, Failure> {
        let links = lane.node(node, &self.map().nodes);
        if !asking {
            return lane.exchange(&links, Message::One(command), span).await;
        }
        let mut pipeline = Pipeline::with_capacity(2);
        pipeline.add_command(cmd("ASKING")).add_command(command.clone());
        match lane.exchange(&links, Message::Many(&pipeline), span).await? {
            Value::Array(answers) => match answers.into_iter().nth(1) {
                Some(Value::ServerError(error)) => Err(Failure::Refused(error)),
                Some(answer) => Ok(answer),
                None => {
                    Err(Failure::Unexpected("redis answered another number of commands than it was sent"))
                }
            },
            _ => Err(Failure::Unexpected("redis answered a pipeline with one value")),
        }
    }

    /// Sends each command of a pipeline to its node, all nodes at once. A command without a key goes where the one before
    /// it went.
    pub(crate) async fn many(
        self: &Arc<Self>,
        lane: &Lane,
        pipeline: &Pipeline,
        span: &Span,
    ) -> Result<Value, Failure> {
        let map = self.map();
        let mut parts: Vec<Part<'_>> = Vec::new();
        let mut previous = map.node_of(None);
        for (at, command) in pipeline.cmd_iter().enumerate() {
            let node = key_of(command).map_or_else(|| previous.clone(), |key| map.node_of(Some(key)));
            previous.clone_from(&node);
            match parts.iter_mut().find(|part| part.node == node) {
                Some(part) => part.commands.push((at, command)),
                None => parts.push(Part { node, commands: vec![(at, command)] }),
            }
        }
        let sent = join_all(parts.iter().map(|part| self.part(lane, part, span))).await;
        let mut answers = vec![Value::Nil; pipeline.len()];
        for part in sent {
            for (at, answer) in part? {
                answers[at] = answer;
            }
        }
        Ok(Value::Array(answers))
    }

    async fn part(
        self: &Arc<Self>,
        lane: &Lane,
        part: &Part<'_>,
        span: &Span,
    ) -> Result<Vec<(usize, Value)>, Failure> {
        let mut together = Pipeline::with_capacity(part.commands.len());
        for (_, command) in &part.commands {
            together.add_command((*command).clone());
        }
        let sent = match &part.node {
            None => Err(Failure::Unreachable(Error::unavailable("no node of the cluster serves this key"))),
            Some(node) => {
                let links = lane.node(node, &self.map().nodes);
                lane.exchange(&links, Message::Many(&together), span).await
            }
        };
        let answers = match sent {
            Ok(Value::Array(answers)) if answers.len() == part.commands.len() => {
                answers.into_iter().map(Some).collect()
            }
            Ok(_) => {
                return Err(Failure::Unexpected(
                    "redis answered another number of commands than it was sent",
                ));
            }
            // Nothing was sent: each command may find its node by itself.
            Err(Failure::Unreachable(_)) => vec![None; part.commands.len()],
            Err(failure) => {
                self.refresh_soon(self.version.load(Ordering::Acquire));
                return Err(failure);
            }
        };
        let mut done = Vec::with_capacity(part.commands.len());
        for ((at, command), answer) in part.commands.iter().zip(answers) {
            done.push((*at, self.followed(lane, command, answer, span).await?));
        }
        Ok(done)
    }

    /// An answer as it is, or the command sent again by itself when the answer is a redirection.
    async fn followed(
        self: &Arc<Self>,
        lane: &Lane,
        command: &Cmd,
        answer: Option<Value>,
        span: &Span,
    ) -> Result<Value, Failure> {
        match answer {
            Some(Value::ServerError(error)) if !is_redirection(error.code()) => Ok(Value::ServerError(error)),
            None | Some(Value::ServerError(_)) => match self.one(lane, command, span).await {
                Err(Failure::Refused(error)) => Ok(Value::ServerError(error)),
                other => other,
            },
            Some(answer) => Ok(answer),
        }
    }
}

/// The commands of a pipeline that go to one node, each with its place in the pipeline.
struct Part<'a> {
    node: Option<Address>,
    commands: Vec<(usize, &'a Cmd)>,
}

async fn ask(connector: &Connector, hosts: &[Address]) -> Result<SlotMap> {
    let mut last = Error::unavailable("no node of the cluster is known");
    for host in hosts {
        match tokio::time::timeout(ASK_LIMIT, ask_one(connector, host)).await {
            Ok(Ok(map)) => return Ok(map),
            Ok(Err(error)) => last = error,
            Err(_) => last = Error::unavailable(format!("redis at {host} does not answer")),
        }
    }
    Err(last)
}

async fn ask_one(connector: &Connector, host: &Address) -> Result<SlotMap> {
    let mut connected = connector.connect(&Target::Server(host.clone())).await?;
    let answer = connected.ask(cmd("CLUSTER").arg("SLOTS")).await;
    match answer.map_err(Failure::Interrupted).map_err(|failure| failure.into_error(""))? {
        Value::ServerError(error) if error.code() == "ERR" => {
            let message = format!("redis at {host} is no node of a cluster");
            Err(Error::invalid(message).with_field("redisType"))
        }
        Value::ServerError(error) => Err(Failure::Refused(error).into_error("CLUSTER SLOTS")),
        answer => SlotMap::read(&answer, host)
            .ok_or_else(|| Error::unavailable(format!("redis at {host} knows no node that serves keys"))),
    }
}

fn is_redirection(code: &str) -> bool {
    matches!(code, "MOVED" | "ASK" | "TRYAGAIN" | "CLUSTERDOWN" | "MASTERDOWN" | "READONLY")
}

fn redirection(result: &Result<Value, Failure>, asked: &Address) -> Redirection {
    match result {
        Err(Failure::Refused(error)) => match (error.code(), place(error, asked)) {
            ("MOVED", Some((slot, to))) => Redirection::Moved(slot, to),
            ("ASK", Some((_, to))) => Redirection::Ask(to),
            (code, _) if is_redirection(code) => Redirection::Later,
            _ => Redirection::None,
        },
        Err(Failure::Unreachable(error)) if error.is_retriable() => Redirection::Later,
        _ => Redirection::None,
    }
}

/// Reads `3999 127.0.0.1:6381`; a host that is not named is the one that was asked.
fn place(error: &ServerError, asked: &Address) -> Option<(usize, Address)> {
    let (slot, address) = error.details()?.split_once(' ')?;
    let (host, port) = address.rsplit_once(':')?;
    let host = host.trim_matches(['[', ']']);
    let host = if host.is_empty() { &asked.host } else { host };
    Some((slot.parse().ok()?, Address { host: host.to_owned(), port: port.parse().ok()? }))
}
