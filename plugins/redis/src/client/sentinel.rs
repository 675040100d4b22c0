//! Redis Sentinel: which server is the master now, and word of it when that changes.

use std::sync::Arc;
use std::time::Duration;

use mecha_plugin_api::{Error, Result};
use redis::{Cmd, FromRedisValue, Value, cmd};
use tokio::task::JoinHandle;

use super::connect::{Connected, Connector, Target};
use super::link::Link;
use crate::error::connect_error;
use crate::metadata::{Address, SentinelSettings, Topology};

/// How often the sentinels are asked while everything works. A master that hangs keeps its connections, so their end
/// alone would not tell.
const PERIOD: Duration = Duration::from_secs(1);

/// The task that notices a failover; ends with this value.
pub(crate) struct SentinelWatch(JoinHandle<()>);

impl SentinelWatch {
    /// Starts to watch; needs the plugin's runtime entered.
    pub(crate) fn start(connector: Arc<Connector>) -> Self {
        Self(tokio::spawn(watch(connector)))
    }
}

impl Drop for SentinelWatch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Announces what one sentinel says whenever it says something new: its first word may be older than ours.
async fn watch(connector: Arc<Connector>) {
    let Some(question) = settings(&connector).map(question) else { return };
    let link = Link::start(connector.clone(), Target::Sentinel);
    let mut known = None;
    loop {
        tokio::time::sleep(PERIOD).await;
        let Ok(mut live) = link.connection().await else { continue };
        let Ok(answer) = live.connection.send_packed_command(&question).await else { continue };
        let Some(master) = address(&answer) else { continue };
        if known.as_ref().is_some_and(|known| *known != master) {
            tracing::warn!(master = %master, "the sentinels announce another master");
            connector.announce_master(master.clone());
        }
        known = Some(master);
    }
}

/// A connection to the first sentinel that answers.
pub(crate) async fn any(connector: &Connector) -> Result<Connected> {
    let mut last = Error::unavailable("no sentinel is configured");
    let each =
        connector.settings().dial_timeout / u32::try_from(connector.settings().hosts.len()).unwrap_or(1);
    for host in &connector.settings().hosts {
        // One that hangs must leave time for the others.
        match tokio::time::timeout(each, connector.dial_sentinel(host)).await {
            Ok(Ok(connected)) => return Ok(connected),
            Ok(Err(error)) => last = error,
            Err(_) => last = Error::unavailable(format!("the sentinel at {host} does not answer")),
        }
    }
    Err(last)
}

/// The master's address as the first sentinel that knows it gives it.
pub(crate) async fn master(connector: &Connector) -> Result<Address> {
    let Some(sentinel) = settings(connector) else {
        return Err(Error::internal("there is no sentinel to ask"));
    };
    let mut last = Error::unavailable("no sentinel is configured");
    let each =
        connector.settings().dial_timeout / u32::try_from(connector.settings().hosts.len()).unwrap_or(1);
    for host in &connector.settings().hosts {
        match tokio::time::timeout(each, ask(connector, sentinel, host)).await {
            Ok(Ok(master)) => return Ok(master),
            Ok(Err(error)) => last = error,
            Err(_) => last = Error::unavailable(format!("the sentinel at {host} does not answer")),
        }
    }
    Err(last)
}

async fn ask(connector: &Connector, sentinel: &SentinelSettings, host: &Address) -> Result<Address> {
    let mut connected = connector.dial_sentinel(host).await?;
    let answer = connected.ask(&question(sentinel)).await;
    let answer = answer.and_then(Value::extract_error);
    let answer = answer.map_err(|error| connect_error(host, &error, "sentinelPassword"))?;
    address(&answer).ok_or_else(|| {
        Error::invalid(format!("the sentinel at {host} knows no master of this name"))
            .with_field("sentinelMasterName")
    })
}

/// Right after a failover a sentinel may still name a server that is a replica by now.
pub(crate) async fn check_role(connected: &mut Connected) -> Result<()> {
    match connected.ask(&cmd("ROLE")).await {
        Ok(Value::Array(role)) if role.first() == Some(&Value::BulkString(b"slave".to_vec())) => {
            let server = &connected.server;
            Err(Error::unavailable(format!(
                "redis at {server} is a replica, not yet or no longer the master"
            )))
        }
        // A user who may not ask: the sentinel's word must do.
        Ok(_) => Ok(()),
        Err(error) => Err(connect_error(&connected.server, &error, "redisPassword")),
    }
}

fn settings(connector: &Connector) -> Option<&SentinelSettings> {
    match &connector.settings().topology {
        Topology::Sentinel(sentinel) => Some(sentinel),
        Topology::Single | Topology::Cluster => None,
    }
}

fn question(sentinel: &SentinelSettings) -> Cmd {
    let mut command = cmd("SENTINEL");
    command.arg("get-master-addr-by-name").arg(&sentinel.master);
    command
}

fn address(answer: &Value) -> Option<Address> {
    let (host, port) = <(String, u16)>::from_redis_value_ref(answer).ok()?;
    Some(Address { host, port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_an_address_or_nothing() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let answer = Value::Array(vec![text("10.0.0.1"), text("6380")]);
        assert_eq!(address(&answer), Some(Address { host: "10.0.0.1".into(), port: 6380 }));
        assert_eq!(address(&Value::Nil), None);
    }
}
