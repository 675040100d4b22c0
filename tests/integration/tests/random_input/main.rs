//! Random requests at every route of one running process: each gets a well-formed answer that Dapr could give.

mod answer;
#[path = "../support/grpc_raw.rs"]
mod grpc_raw;
#[path = "../support/process.rs"]
mod process;
#[path = "../support/raw_http.rs"]
mod raw_http;
mod strategy;

use std::future::Future;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mecha_backends::free_port;
use mecha_testkit::{Mecha, MechaBuilder};
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use tokio::runtime::Runtime;

const HTTP_CASES: u32 = 1500;
const GRPC_CASES: u32 = 500;
/// A case that fails is made smaller for at most this long.
const SHRINKING: Duration = Duration::from_secs(30);
const LIMIT: usize = 16 * 1024;

fn runtime() -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?)
}

fn builder() -> MechaBuilder {
    let folder = std::env::temp_dir();
    let nobody = format!("http://127.0.0.1:{}", free_port().unwrap());
    Mecha::builder()
        .plugin("memory")
        .plugin("sqlite")
        .plugin("local-secrets")
        .plugin("http-binding")
        .component("store", "state.in-memory")
        .component_with("database", "state.sqlite", &[("connectionString", ":memory:")])
        .component_with("web", "bindings.http", &[("url", &nobody)])
        .component_with("env", "secretstores.local.env", &[("prefix", folder.to_str().unwrap_or_default())])
        .flag("--max-body-size", LIMIT.to_string())
}

/// Runs `case` on random inputs and, when one fails, on smaller ones.
fn for_random<S: Strategy, F: Future<Output = Result<()>>>(
    runtime: &Runtime,
    cases: u32,
    strategy: &S,
    case: impl Fn(S::Value) -> F,
) {
    let config = Config {
        cases,
        max_shrink_time: u32::try_from(SHRINKING.as_millis()).unwrap(),
        // A failure is printed with its smallest input; nothing is written beside the sources.
        failure_persistence: None,
        ..Config::default()
    };
    let outcome = TestRunner::new(config).run(strategy, |input| {
        runtime.block_on(case(input)).map_err(|error| TestCaseError::fail(format!("{error:#}")))
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

/// What holds after every case.
fn is_unharmed(mecha: &Mecha) -> Result<()> {
    let panics = mecha.logs().matching("panicked");
    ensure!(panics.is_empty(), "{panics:#?}");
    Ok(())
}

#[test]
fn every_http_request_gets_an_answer_that_dapr_could_give() {
    let runtime = runtime().unwrap();
    let mecha = runtime.block_on(builder().start()).unwrap();
    let files = process::open_files(&mecha);
    let addr = mecha.http_addr();
    for_random(&runtime, HTTP_CASES, &strategy::http_request(), |request| {
        let (addr, mecha) = (&addr, &mecha);
        async move {
            let reply = raw_http::exchange(addr, &request.bytes(), request.method).await?;
            let reply = reply.context("the connection was closed without an answer")?;
            answer::check(request.method, &reply)
                .with_context(|| format!("{} {}", reply.status, reply.text()))?;
            is_unharmed(mecha)
        }
    });
    runtime.block_on(serves_as_before(&mecha, files)).unwrap();
}

#[test]
fn every_grpc_body_gets_a_status() {
    let runtime = runtime().unwrap();
    let mecha = runtime.block_on(builder().start()).unwrap();
    let files = process::open_files(&mecha);
    {
        let client = runtime.block_on(async { grpc_raw::RawGrpc::new(mecha.grpc_endpoint()) });
        for_random(&runtime, GRPC_CASES, &strategy::grpc_request(), |(method, body)| {
            let (client, mecha) = (&client, &mecha);
            async move {
                let status = client.post(&method, &[("baggage", "a=1")], body).await?;
                ensure!(status.http == 200, "{status:?}");
                let code = status.code.context("no grpc-status")?;
                ensure!((0..=16).contains(&code), "{status:?}");
                is_unharmed(mecha)
            }
        });
    }
    runtime.block_on(serves_as_before(&mecha, files)).unwrap();
}

async fn serves_as_before(mecha: &Mecha, files: usize) -> Result<()> {
    let health = mecha.http().get(&mecha.http_url("/v1.0/healthz")).await?;
    ensure!(health.status == 204, "{}", health.text());
    // A request that breaks off ends its connection and nothing else.
    let mut connection = raw_http::Connection::open(&mecha.http_addr()).await?;
    connection.send(b"GET /v1.0/healthz").await?;
    connection.finish().await?;
    connection.read_to_end().await?;
    // One more than at the start: this client's own connection, when it had to connect again.
    process::has_closed_down_to(mecha, files + 1).await?;
    process::assert_no_panic(mecha);
    Ok(())
}
