//! Tests against a real server: what lies in it after a call, and what a call says when it fails.

mod binding;
mod boundary;
mod bulk;
mod cluster;
mod concurrency;
mod configuration;
mod expiry;
mod faults;
mod layout;
mod lock;
mod pubsub;
mod pubsub_load;
mod sentinel;
mod servers;
mod tls;
mod transaction;

use mecha_backends::Redis;
use mecha_plugin_api::state::{
    Concurrency, Consistency, DeleteRequest, GetRequest, SetRequest, StateItem, StateStore, ValueKind,
};
use mecha_plugin_api::{Buf, CallContext, ComponentSpec, Error, Metadata, ROption, RString, Result};

use crate::state::RedisState;

pub(crate) fn context() -> CallContext {
    CallContext::background("app")
}

pub(crate) fn spec(redis: &Redis, more: &[(&str, &str)]) -> ComponentSpec {
    let mut metadata = Metadata::from_iter(more.iter().copied());
    metadata.insert("redisHost", redis.addr().to_string());
    ComponentSpec::new("store", "state.redis", metadata)
}

/// A server of our own and a store on it.
pub(crate) async fn started(more: &[(&str, &str)]) -> (Redis, RedisState) {
    let redis = Redis::start().unwrap();
    let store = RedisState::open(spec(&redis, more)).await.unwrap();
    (redis, store)
}

/// A connection beside the plugin, to look at and change what lies in the server.
pub(crate) fn raw(redis: &Redis) -> redis::Connection {
    redis::Client::open(format!("redis://{}", redis.addr())).unwrap().get_connection().unwrap()
}

/// Runs one command, its words split at spaces.
pub(crate) fn run<T: redis::FromRedisValue>(connection: &mut redis::Connection, command: &str) -> T {
    let mut words = command.split(' ');
    let mut built = redis::cmd(words.next().unwrap());
    for word in words {
        built.arg(word);
    }
    built.query(connection).unwrap()
}

pub(crate) fn etag(text: &str) -> ROption<RString> {
    ROption::RSome(text.into())
}

pub(crate) fn get(key: &str) -> GetRequest {
    GetRequest { key: key.into(), consistency: Consistency::UNSPECIFIED, metadata: Metadata::new() }
}

pub(crate) fn set(key: &str, value: &str) -> SetRequest {
    SetRequest {
        key: key.into(),
        value: Buf::from(value.to_owned()),
        kind: ValueKind::JSON,
        etag: ROption::RNone,
        concurrency: Concurrency::UNSPECIFIED,
        consistency: Consistency::UNSPECIFIED,
        metadata: Metadata::new(),
    }
}

pub(crate) fn delete(key: &str) -> DeleteRequest {
    DeleteRequest {
        key: key.into(),
        etag: ROption::RNone,
        concurrency: Concurrency::UNSPECIFIED,
        consistency: Consistency::UNSPECIFIED,
        metadata: Metadata::new(),
    }
}

pub(crate) fn set_with_etag(key: &str, value: &str, version: &str) -> SetRequest {
    SetRequest { etag: etag(version), ..set(key, value) }
}

pub(crate) fn first_write(request: SetRequest) -> SetRequest {
    SetRequest { concurrency: Concurrency::FIRST_WRITE, ..request }
}

pub(crate) fn with_ttl(request: SetRequest, seconds: &str) -> SetRequest {
    SetRequest { metadata: Metadata::from_iter([("ttlInSeconds", seconds)]), ..request }
}

/// The value and the etag of an item.
pub(crate) fn parts(item: Option<StateItem>) -> Option<(String, Option<String>)> {
    item.map(|item| {
        let etag = item.etag.map(String::from).into_option();
        (String::from_utf8(item.value.to_vec()).unwrap(), etag)
    })
}

pub(crate) async fn read(store: &RedisState, key: &str) -> Option<(String, Option<String>)> {
    parts(store.get(&context(), get(key)).await.unwrap())
}

pub(crate) fn value(text: &str, version: &str) -> Option<(String, Option<String>)> {
    Some((text.to_owned(), Some(version.to_owned())))
}

pub(crate) async fn save(store: &RedisState, request: SetRequest) -> Result<(), Error> {
    store.set(&context(), request).await
}

/// Looks again and again until `done`; a test that never gets there fails after ten seconds.
pub(crate) async fn wait_until(mut done: impl FnMut() -> bool) {
    let waiting = async {
        while !done() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), waiting).await.expect("condition in 10 s");
}

/// Sends a signal to a server's process, as `kill -s` does.
pub(crate) fn signal(redis: &Redis, name: &str) {
    let pid = redis.pid().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
}
