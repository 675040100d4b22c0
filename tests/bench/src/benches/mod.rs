//! The benchmarks, one a file, and what those of the state API share.

mod client;
mod deliveries;
mod grpc_state;
mod http_state;
mod invocation;
mod loaded;
mod noise;
mod plugin_call;
#[cfg(feature = "clients")]
mod plugin_memory;
mod publish;
mod redis_state;
mod setup;
mod start;
mod subscribed;
mod swap;
mod under_load;

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING};
use mecha_testkit::Mecha;

use crate::args::Benchmark;
use crate::load::http::{Expected, get, post};
use crate::plan::Plan;
use crate::report::Table;

/// The product in tables.
const PRODUCT: &str = "mecha";
/// The state store in every benchmark.
const STORE: &str = "store";
/// The broker in every benchmark.
const PUBSUB: &str = "pubsub";
const APP_ID: &str = "bench";
/// Connections under load.
pub(crate) const CONNECTIONS: usize = 64;
/// Length of a value, and of the data of an event.
pub(crate) const KIBIBYTE: usize = 1024;

const GOT: Expected = Expected { status: 200, body: KIBIBYTE };
const SAVED: Expected = Expected { status: 204, body: 0 };

/// Runs one benchmark.
pub(crate) async fn run(benchmark: Benchmark, plan: &Plan) -> Result<Vec<Table>> {
    match benchmark {
        Benchmark::Noise => noise::run(plan).await,
        Benchmark::HttpState => http_state::run(plan).await,
        Benchmark::GrpcState => grpc_state::run(plan).await,
        Benchmark::RedisState => redis_state::run(plan).await,
        Benchmark::PluginCall => plugin_call::run(plan).await,
        Benchmark::RedisClient
        | Benchmark::KafkaClient
        | Benchmark::SqsClient
        | Benchmark::S3Client
        | Benchmark::PluginMemory => client::run(benchmark, plan).await,
        Benchmark::Swap => swap::run(plan).await,
        Benchmark::Publish => publish::run(plan).await,
        Benchmark::Deliveries => deliveries::run(plan).await,
        Benchmark::Subscriptions => subscribed::run(plan).await,
        Benchmark::Invocation => invocation::run(plan).await,
        Benchmark::Start => start::run(plan).await,
    }
}

/// The key of a connection: each has its own.
pub(crate) fn key(connection: usize) -> String {
    format!("key-{connection:02}")
}

/// 1 KiB that is a JSON text, so that it is the same bytes over HTTP and gRPC.
pub(crate) fn json_value() -> String {
    format!("\"{}\"", "x".repeat(KIBIBYTE - 2))
}

/// Name of a topic.
fn topic(number: usize) -> String {
    format!("topic-{number}")
}

/// Where the events of a topic go.
pub(crate) fn event_path(topic: usize) -> String {
    format!("/events/{topic}")
}

/// The application's answer to `/dapr/subscribe`. As many events are with it at a time as the bare client has connections.
pub(crate) fn subscriptions(topics: usize) -> String {
    let subscription = |number| {
        let (topic, path) = (topic(number), event_path(number));
        format!(
            r#"{{"pubsubname":"{PUBSUB}","topic":"{topic}","route":"{path}","metadata":{{"maxConcurrentMessages":"{CONNECTIONS}"}}}}"#
        )
    };
    format!("[{}]", (0..topics).map(subscription).collect::<Vec<_>>().join(","))
}

/// A GET of each connection's key.
fn get_requests() -> Vec<Bytes> {
    (0..CONNECTIONS).map(|connection| get(&path(&key(connection)))).collect()
}

/// A POST that saves each connection's key.
fn save_requests() -> Vec<Bytes> {
    (0..CONNECTIONS).map(|connection| post(&path(""), &save_body(&key(connection)))).collect()
}

/// Path of a key, or of the store.
fn path(key: &str) -> String {
    format!("/v1.0/state/{STORE}/{key}").trim_end_matches('/').to_owned()
}

fn save_body(key: &str) -> String {
    format!("[{{\"key\":\"{key}\",\"value\":{}}}]", json_value())
}

/// The headers of the product's answers, which the bare servers repeat.
#[derive(Debug)]
struct AnswerHeaders {
    get: HeaderMap,
    post: HeaderMap,
}

impl AnswerHeaders {
    /// As a bare server takes them.
    fn arguments(&self) -> Result<Vec<String>> {
        let mut arguments = Vec::new();
        for (flag, headers) in [("--get-header", &self.get), ("--post-header", &self.post)] {
            // hyper sets these itself, in either server.
            let own = headers
                .iter()
                .filter(|(name, _)| ![CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING].contains(name));
            for (name, value) in own {
                arguments.extend([flag.to_owned(), format!("{name}:{}", value.to_str()?)]);
            }
        }
        Ok(arguments)
    }
}

/// Saves every connection's key through the product and looks at one answer of either kind.
async fn fill(mecha: &Mecha) -> Result<AnswerHeaders> {
    let mut headers = AnswerHeaders { get: HeaderMap::new(), post: HeaderMap::new() };
    for connection in 0..CONNECTIONS {
        let body = save_body(&key(connection));
        let saved = mecha.http().post(&mecha.http_url(&path("")), body).await?;
        ensure!(saved.status == 204, "saving answered {}: {}", saved.status, saved.text());
        headers.post = saved.headers;
    }
    let got = mecha.http().get(&mecha.http_url(&path(&key(0)))).await?;
    ensure!(
        got.status == 200 && got.body.len() == KIBIBYTE,
        "getting answered {}: {}",
        got.status,
        got.text()
    );
    headers.get = got.headers;
    Ok(headers)
}

/// Where the product's HTTP API listens.
fn http_addr(mecha: &Mecha) -> Result<SocketAddr> {
    mecha.http_addr().parse().context("an address of the form 127.0.0.1:port")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_is_a_kibibyte() {
        assert_eq!(json_value().len(), KIBIBYTE);
    }

    #[test]
    fn a_store_has_no_trailing_slash_and_a_key_stands_last() {
        assert_eq!(path(""), "/v1.0/state/store");
        assert_eq!(path(&key(7)), "/v1.0/state/store/key-07");
    }

    #[test]
    fn bare_servers_repeat_what_hyper_does_not_set() {
        let mut get = HeaderMap::new();
        get.insert("content-length", "5".parse().unwrap());
        get.insert("etag", "\"1\"".parse().unwrap());
        let headers = AnswerHeaders { get, post: HeaderMap::new() };
        assert_eq!(headers.arguments().unwrap(), ["--get-header", "etag:\"1\""]);
    }
}
