//! `state.redis` against the Redis client: the same commands over one multiplexed connection.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use mecha_backends::Redis;
use mecha_plugin_api::CallContext;
use mecha_plugin_api::state::StateStoreObject;
use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands as _, Script};

use super::super::plugin_call::{get_request, set_request};
use super::super::{APP_ID, KIBIBYTE, key};
use super::{Load, TASKS, Work};
use crate::benches::loaded::LoadedPlugin;
use crate::plan::Plan;
use crate::report::Table;
use crate::rounds::table;
use crate::serve::connect_to_redis;

const LIBRARY: &str = "redis crate";
const WANTED: &str = "≥ 0.85";
/// What a save is at the least: the value and its version in one step.
const SAVE: &str =
    "redis.call('HSET', KEYS[1], 'data', ARGV[1]); return redis.call('HINCRBY', KEYS[1], 'version', 1)";

pub(super) async fn run(plan: &Plan) -> Result<Vec<Table>> {
    println!("    starting redis-server");
    let server = Redis::start()?;
    let addr: SocketAddr = server.addr();
    let plugin = LoadedPlugin::load("redis")?;
    let store = plugin.open_with("state.redis", &[("redisHost", &addr.to_string())]).await?;
    let boundary = Arc::new(Boundary { store, context: CallContext::background(APP_ID) });
    let connection = connect_to_redis(addr).await?;
    let direct = Arc::new(Direct { connection, save: Script::new(SAVE) });
    let value = Bytes::from(vec![b'x'; KIBIBYTE]);
    for task in 0..TASKS {
        boundary.set(task, value.clone()).await?;
    }
    let gets = (Arc::new(Get(boundary.clone())), Arc::new(Get(direct.clone())));
    let load = |what| Load { what, wanted: WANTED, tasks: TASKS };
    let mut rows = load("get, 64 tasks").compare(plan, gets.0, (LIBRARY, gets.1)).await?;
    let sets = (Arc::new(Set(boundary.clone(), value.clone())), Arc::new(Set(direct.clone(), value)));
    rows.extend(load("set, 64 tasks").compare(plan, sets.0, (LIBRARY, sets.1)).await?);
    drop((boundary, direct));
    plugin.retire().await;
    let mut table = table("state.redis at the plugin boundary, 1 KiB", &rows);
    table.note("get is one HMGET and set one EVALSHA on either side, over one multiplexed connection");
    Ok(vec![table])
}

/// A store of state, whichever way it is reached.
trait Store: Send + Sync + 'static {
    fn get(&self, task: usize) -> impl Future<Output = Result<usize>> + Send;
    fn set(&self, task: usize, value: Bytes) -> impl Future<Output = Result<()>> + Send;
}

struct Boundary {
    store: StateStoreObject,
    context: CallContext,
}

impl Store for Boundary {
    async fn get(&self, task: usize) -> Result<usize> {
        let item = self.store.get(self.context.clone(), get_request(&key(task))).await.into_result()?;
        Ok(item.into_option().context("the key is not there")?.value.len())
    }

    async fn set(&self, task: usize, value: Bytes) -> Result<()> {
        Ok(self.store.set(self.context.clone(), set_request(&key(task), value)).await.into_result()?)
    }
}

struct Direct {
    connection: MultiplexedConnection,
    save: Script,
}

impl Store for Direct {
    async fn get(&self, task: usize) -> Result<usize> {
        let mut connection = self.connection.clone();
        let (data, _version): (Vec<u8>, Vec<u8>) = connection.hmget(key(task), &["data", "version"]).await?;
        Ok(data.len())
    }

    async fn set(&self, task: usize, value: Bytes) -> Result<()> {
        let mut connection = self.connection.clone();
        let mut save = self.save.prepare_invoke();
        let _version: u64 = save.key(key(task)).arg(&value[..]).invoke_async(&mut connection).await?;
        Ok(())
    }
}

struct Get<S>(Arc<S>);

impl<S: Store> Work for Get<S> {
    async fn once(&self, task: usize) -> Result<u64> {
        let length = self.0.get(task).await?;
        ensure!(length == KIBIBYTE, "expected {KIBIBYTE} bytes, got {length}");
        Ok(1)
    }
}

struct Set<S>(Arc<S>, Bytes);

impl<S: Store> Work for Set<S> {
    async fn once(&self, task: usize) -> Result<u64> {
        self.0.set(task, self.1.clone()).await?;
        Ok(1)
    }
}
