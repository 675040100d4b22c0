//! Tests against real servers: what lies in them after a call, what comes out, and what a call says when it fails.

mod boundary;
mod credentials;
mod fifo;
mod s3;
mod s3_errors;
mod sqs;
mod sqs_errors;
mod sqs_settling;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use mecha_plugin_api::source::{Delivery, Outcome, Settlement, Source};
use mecha_plugin_api::{CallContext, ComponentSpec, Metadata};

use crate::client::Shared;

/// The address of an SQS server for tests.
const SQS_VARIABLE: &str = "MECHA_TEST_SQS";
/// The address of an S3 server for tests, and who may do everything there.
const S3_VARIABLE: &str = "MECHA_TEST_S3";
const S3_KEY_VARIABLE: &str = "MECHA_TEST_S3_ACCESS_KEY";
const S3_SECRET_VARIABLE: &str = "MECHA_TEST_S3_SECRET_KEY";

/// The server's address, or a clear line and `None` where there is no server; CI must have one.
fn server(variable: &str) -> Option<String> {
    let address = std::env::var(variable).ok().filter(|address| !address.is_empty());
    if address.is_none() {
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "{variable} is not set, and CI must not skip tests"
        );
        eprintln!("skipped: {variable} names no server");
    }
    address
}

fn shared() -> Shared {
    Shared::default()
}

fn context() -> CallContext {
    CallContext::background("app")
}

fn sampled() -> CallContext {
    CallContext { trace_id: [7; 16], span_id: [3; 8], trace_flags: 1, ..context() }
}

/// A name that no other test and no earlier run has used.
fn unique(stem: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    format!("{stem}-{:x}-{}", since.as_micros(), COUNT.fetch_add(1, Ordering::Relaxed))
}

fn spec(type_name: &str, pairs: &[(&str, &str)]) -> ComponentSpec {
    ComponentSpec::new("component", type_name, Metadata::from_iter(pairs.iter().copied()))
}

fn sqs_spec(type_name: &str, address: &str, more: &[(&str, &str)]) -> ComponentSpec {
    let mut spec = spec(type_name, more);
    for (name, value) in
        [("endpoint", address), ("region", "elasticmq"), ("accessKey", "x"), ("secretKey", "x")]
    {
        if spec.text(name).is_none() {
            spec.metadata.insert(name, value);
        }
    }
    spec
}

fn settle(id: u64, outcome: Outcome) -> Settlement {
    Settlement { id, outcome, delay_ns: 0 }
}

fn text(delivery: &Delivery) -> &str {
    std::str::from_utf8(&delivery.data).unwrap()
}

/// Pulls until `count` messages are there; fails after 20 seconds.
async fn pull(source: &impl Source, count: usize) -> Vec<Delivery> {
    let (mut all, deadline) = (Vec::new(), Instant::now() + Duration::from_secs(20));
    while all.len() < count {
        assert!(Instant::now() < deadline, "{} of {count} messages came in 20 s", all.len());
        let max = u32::try_from(count - all.len()).unwrap();
        all.extend(source.next(&context(), max, Duration::from_secs(1)).await.unwrap());
    }
    all
}

/// Pulls and acknowledges until `count` messages were there.
async fn drain(source: &impl Source, count: usize) -> Vec<Delivery> {
    let mut all = Vec::new();
    while all.len() < count {
        let batch = pull(source, 1).await;
        let done = batch.iter().map(|delivery| settle(delivery.id, Outcome::ACK)).collect();
        source.settle(&context(), done).await.unwrap();
        all.extend(batch);
    }
    all
}

/// Asserts that nothing comes for a while.
async fn assert_quiet(source: &impl Source, wait: Duration) {
    let came = source.next(&context(), 10, wait).await.unwrap();
    assert!(came.is_empty(), "{} came", text(&came[0]));
}
