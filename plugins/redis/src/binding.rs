//! The binding `bindings.redis`: Dapr's operations on plain string keys, and the entries of a stream as events.

mod input;

use std::time::Duration;

use mecha_plugin_api::binding::{InvokeRequest, InvokeResponse, OutputBinding};
use mecha_plugin_api::{CallContext, ComponentSpec, Error, Metadata, Result, parse_duration};
use redis::{Cmd, Value, cmd};

use crate::client::{Client, Purpose};
use crate::error::Failure;
use crate::metadata::Settings;

pub(crate) use self::input::RedisInput;

const CREATE: &str = "create";
const GET: &str = "get";
const DELETE: &str = "delete";
const INCREMENT: &str = "increment";

/// An open `bindings.redis` component.
pub(crate) struct RedisBinding {
    client: Client,
}

impl RedisBinding {
    /// Opens the component: the server must be reachable and take the credentials.
    pub(crate) async fn open(spec: ComponentSpec) -> Result<Self> {
        Ok(Self { client: Client::open(Settings::read(&spec)?).await? })
    }

    async fn create(&self, context: &CallContext, key: &str, request: &InvokeRequest) -> Result<()> {
        let mut command = cmd("SET");
        command.arg(key).arg(&request.data[..]);
        if let Some(ttl) = ttl(&request.metadata)? {
            command.arg("PX").arg(millis(ttl));
        }
        self.send(context, Purpose::Write, "SET", &command).await.map(drop)
    }

    async fn get(&self, context: &CallContext, key: &str, metadata: &Metadata) -> Result<InvokeResponse> {
        let takes_away = metadata.get("delete") == Some("true");
        let (name, purpose) = if takes_away { ("GETDEL", Purpose::Write) } else { ("GET", Purpose::Read) };
        match self.send(context, purpose, name, cmd(name).arg(key)).await? {
            Value::Nil => Ok(InvokeResponse::default()),
            Value::BulkString(data) => Ok(InvokeResponse { data: data.into(), ..InvokeResponse::default() }),
            _ => Err(Failure::Unexpected("redis answered no value to a read").into_error("")),
        }
    }

    async fn increment(&self, context: &CallContext, key: &str, metadata: &Metadata) -> Result<()> {
        let ttl = ttl(metadata)?;
        self.send(context, Purpose::Write, "INCR", cmd("INCR").arg(key)).await?;
        if let Some(ttl) = ttl {
            let mut expire = cmd("PEXPIRE");
            expire.arg(key).arg(millis(ttl));
            self.send(context, Purpose::Read, "PEXPIRE", &expire).await?;
        }
        Ok(())
    }

    async fn send(
        &self,
        context: &CallContext,
        purpose: Purpose,
        operation: &'static str,
        command: &Cmd,
    ) -> Result<Value> {
        let answer = self.client.command(context, purpose, operation, command).await;
        answer.map_err(|failure| failure.into_error(""))
    }
}

impl OutputBinding for RedisBinding {
    fn operations(&self) -> Vec<&'static str> {
        vec![CREATE, DELETE, GET, INCREMENT]
    }

    async fn invoke(&self, context: &CallContext, request: InvokeRequest) -> Result<InvokeResponse> {
        let Some(key) = request.metadata.get("key").filter(|key| !key.is_empty()) else {
            return Err(Error::invalid("redis binding: missing key in request metadata"));
        };
        match request.operation.as_str() {
            CREATE => self.create(context, key, &request).await?,
            GET => return self.get(context, key, &request.metadata).await,
            DELETE => drop(self.send(context, Purpose::Read, "DEL", cmd("DEL").arg(key)).await?),
            INCREMENT => self.increment(context, key, &request.metadata).await?,
            other => return Err(Error::unsupported(format!("invalid operation type: {other}"))),
        }
        Ok(InvokeResponse::default())
    }

    async fn ping(&self, context: &CallContext) -> Result<()> {
        self.client.ping(context).await
    }
}

/// `ttl` or `ttlInSeconds` of a request: a duration, or whole seconds.
fn ttl(metadata: &Metadata) -> Result<Option<Duration>> {
    let text = ["ttl", "ttlInSeconds"].into_iter().find_map(|name| metadata.get(name));
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    let ttl = match text.parse::<i64>() {
        Ok(seconds) => u64::try_from(seconds).ok().map(Duration::from_secs),
        Err(_) => Some(parse_duration(text).ok_or_else(|| {
            Error::invalid(format!("ttl value must be a valid integer: actual is '{text}'"))
        })?),
    };
    match ttl {
        Some(ttl) if ttl >= Duration::from_millis(1) => Ok(Some(ttl)),
        _ => Err(Error::invalid(format!("ttl value must be higher than zero: actual is '{text}'"))),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, value: &str) -> Result<Option<Duration>> {
        ttl(&Metadata::from_iter([(name, value)]))
    }

    #[test]
    fn a_time_to_live_is_a_duration_or_seconds() {
        assert_eq!(read("ttlInSeconds", "60").unwrap(), Some(Duration::from_secs(60)));
        assert_eq!(read("ttl", "250ms").unwrap(), Some(Duration::from_millis(250)));
        assert_eq!(read("ttl", "").unwrap(), None);
        for wrong in ["0", "-1", "soon", "0s"] {
            assert!(read("ttl", wrong).is_err(), "{wrong}");
        }
    }
}
