//! Every broker that is shipped passes the checks, loaded from its library as the product loads it.
//!
//! A broker is one row: the plugin, the component type, its metadata, and what the broker does not do. `broker.rs` opens it,
//! `checks.rs` holds what every broker must do.

mod broker;
mod checks;

use mecha_backends::Redis;
use tempfile::TempDir;

use crate::broker::{Broker, Row};

async fn passes(row: Row) {
    let broker = Broker::load(row).unwrap();
    checks::all(&broker).await;
    broker.retire().await;
}

/// What was published before a swap, during it and to the new version all arrives.
async fn is_replaced_without_loss(row: Row) {
    let mut broker = Broker::load(row).unwrap();
    checks::replacing_it_loses_nothing(&mut broker).await;
    broker.retire().await;
}

fn memory() -> Row {
    Row::new("memory", "pubsub.in-memory", &[])
}

fn sqlite(folder: &TempDir) -> Row {
    let file = folder.path().join("pubsub.db");
    Row::new("sqlite", "pubsub.sqlite", &[("connectionString", file.to_str().unwrap())])
}

/// Streams keep a message's data and its trace; what else a publisher says of it is not kept, as in Dapr's format.
fn redis(server: &Redis) -> Row {
    let metadata = [
        ("redisHost", server.addr().to_string()),
        ("redeliverInterval", "200ms".to_owned()),
        ("processingTimeout", "1s".to_owned()),
        // The checks hold more than Dapr's ten messages at once.
        ("concurrency", "100".to_owned()),
    ];
    let metadata: Vec<_> = metadata.iter().map(|(key, value)| (*key, value.as_str())).collect();
    let row = Row::new("redis", "pubsub.redis", &metadata);
    Row { topic_prefix: server.key_prefix().to_owned(), keeps_content_type: false, ..row }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_memory() {
    passes(memory()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_memory_is_replaced() {
    is_replaced_without_loss(memory()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    passes(sqlite(&folder)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_sqlite_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    is_replaced_without_loss(sqlite(&folder)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_redis() {
    let server = Redis::shared().unwrap();
    passes(redis(&server)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_redis_is_replaced() {
    let server = Redis::shared().unwrap();
    is_replaced_without_loss(redis(&server)).await;
}
