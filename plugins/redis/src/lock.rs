//! The lock store `lock.redis`: a lock is a key that holds its owner's name and expires, as in Dapr.

use std::time::Duration;

use mecha_plugin_api::lock::{LockLease, LockRequest, LockStore, UnlockOutcome};
use mecha_plugin_api::{CallContext, ComponentSpec, Error, ROption, Result};
use redis::{Cmd, Value, cmd};

use crate::client::{Client, Purpose};
use crate::error::Failure;
use crate::metadata::{Settings, Topology};

/// Holds the last fencing token of all locks.
const TOKENS: &str = "mecha||fencing-token";

/// Tokens follow the clock, so that they grow also when the server lost its data or a replica without the last ones took
/// over; the counter makes them grow when the clock stands still or goes back.
const LOCK: &str = r#"
if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
  return false
end
local now = redis.call('TIME')
local token = now[1] * 1000000 + now[2]
local last = redis.pcall('GET', KEYS[2])
if type(last) == 'table' then
  return ''
end
last = tonumber(last or '0')
if last and last >= token then
  token = last + 1
end
token = string.format('%.0f', token)
redis.call('SET', KEYS[2], token)
return token
"#;

const UNLOCK: &str = r#"
local owner = redis.call('GET', KEYS[1])
if not owner then
  return -1
end
if owner ~= ARGV[1] then
  return -2
end
return redis.call('DEL', KEYS[1])
"#;

const RENEW: &str = r#"
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"#;

/// An open `lock.redis` component.
pub(crate) struct RedisLock {
    client: Client,
}

impl RedisLock {
    /// Opens the component: the server must be reachable, take the credentials and be one that keeps a lock.
    pub(crate) async fn open(spec: ComponentSpec) -> Result<Self> {
        let settings = Settings::read(&spec)?;
        let topology = settings.topology.clone();
        if topology == Topology::Cluster {
            let message = "this component does not support connecting to Redis Cluster";
            return Err(Error::invalid(message).with_field("redisType"));
        }
        let client = Client::open(settings).await?;
        // Without sentinels a replica can only be one that somebody promotes by hand, without its last locks.
        if topology == Topology::Single && client.replicas() > 0 {
            let message = "replication is not supported without failover";
            return Err(Error::invalid(message).with_field("failover"));
        }
        Ok(Self { client })
    }

    async fn script(
        &self,
        context: &CallContext,
        purpose: Purpose,
        script: &str,
        keys: &[&str],
        arguments: &[&str],
    ) -> Result<Value, Failure> {
        let mut command = cmd("EVAL");
        command.arg(script).arg(keys.len()).arg(keys).arg(arguments);
        self.client.command(context, purpose, "EVAL", &command).await
    }
}

impl LockStore for RedisLock {
    async fn try_lock(&self, context: &CallContext, request: LockRequest) -> Result<Option<LockLease>> {
        let (resource, owner) = (request.resource.as_str(), request.owner.as_str());
        let expiry = millis(request.expiry())?;
        let keys = [resource, TOKENS];
        match self.script(context, Purpose::Write, LOCK, &keys, &[owner, &expiry]).await {
            // A user whose rights end at the locks' own keys: a lock without a token is still a lock.
            Err(failure) if failure.code() == Some("NOPERM") => {
                let command = plain_lock(resource, owner, &expiry);
                let answer = self.client.command(context, Purpose::Write, "SET", &command).await;
                answer.map(|answer| (answer != Value::Nil).then(LockLease::default))
            }
            other => other.and_then(lease),
        }
        .map_err(|failure| failure.into_error(""))
    }

    async fn unlock(&self, context: &CallContext, resource: &str, owner: &str) -> Result<UnlockOutcome> {
        // Sent once: after an unlock that was done but not answered, a second one would tell of somebody else's lock.
        match self.script(context, Purpose::Write, UNLOCK, &[resource], &[owner]).await {
            Ok(Value::Int(-1)) => Ok(UnlockOutcome::NOT_LOCKED),
            Ok(Value::Int(-2)) => Ok(UnlockOutcome::BELONGS_TO_OTHERS),
            Ok(Value::Int(_)) => Ok(UnlockOutcome::UNLOCKED),
            Ok(_) => Err(unexpected().into_error("")),
            Err(failure) => Err(failure.into_error("")),
        }
    }

    async fn renew(&self, context: &CallContext, request: LockRequest) -> Result<bool> {
        let expiry = millis(request.expiry())?;
        let arguments = [request.owner.as_str(), &expiry];
        match self.script(context, Purpose::Read, RENEW, &[&request.resource], &arguments).await {
            Ok(Value::Int(renewed)) => Ok(renewed == 1),
            Ok(_) => Err(unexpected().into_error("")),
            Err(failure) => Err(failure.into_error("")),
        }
    }

    async fn ping(&self, context: &CallContext) -> Result<()> {
        self.client.ping(context).await
    }
}

fn plain_lock(resource: &str, owner: &str, expiry: &str) -> Cmd {
    let mut command = cmd("SET");
    command.arg(resource).arg(owner).arg("NX").arg("PX").arg(expiry);
    command
}

fn millis(expiry: Duration) -> Result<String> {
    match expiry.as_millis() {
        0 => Err(Error::invalid("must be longer than zero").with_field("expiryInSeconds")),
        millis => Ok(millis.to_string()),
    }
}

/// The script's answer: nothing when somebody holds the lock, else the token, empty when there is none.
fn lease(answer: Value) -> Result<Option<LockLease>, Failure> {
    match answer {
        Value::Nil => Ok(None),
        Value::BulkString(token) => {
            let token = String::from_utf8_lossy(&token).parse().ok();
            Ok(Some(LockLease { fencing_token: ROption::from(token) }))
        }
        _ => Err(unexpected()),
    }
}

fn unexpected() -> Failure {
    Failure::Unexpected("redis answered something unexpected about a lock")
}
