//! Bad input: Dapr's status and code for each, no panic, nothing left open, and the process serves on.

mod grpc;
#[path = "../support/grpc_error.rs"]
mod grpc_error;
#[path = "../support/grpc_raw.rs"]
mod grpc_raw;
#[path = "../support/http_error.rs"]
mod http_error;
mod http_table;
#[path = "../support/process.rs"]
mod process;
#[path = "../support/raw_http.rs"]
mod raw_http;
mod wire;

use mecha_backends::free_port;
use mecha_testkit::{HttpClient, Mecha, fixture};

/// Bodies beyond this are refused by the process under test.
const MAX_BODY: usize = 64 * 1024;

/// A process with one component of each kind, and what it looked like before it was mistreated.
struct Target {
    mecha: Mecha,
    files: usize,
}

impl Target {
    async fn start() -> Self {
        let nobody = format!("http://127.0.0.1:{}", free_port().unwrap());
        let mecha = Mecha::builder()
            .plugin("memory")
            .plugin("local-secrets")
            .plugin("http-binding")
            .library("libmecha_plugin_probe.so", fixture("probe-a").unwrap())
            .component("store", "state.in-memory")
            .component("probe", "state.probe")
            .component("env", "secretstores.local.env")
            .component_with("web", "bindings.http", &[("url", &nobody)])
            .flag("--max-body-size", MAX_BODY.to_string())
            .start()
            .await
            .unwrap();
        // What the first calls open for good is open before the count: the connection of this client, for one.
        serves(&mecha, mecha.http()).await;
        let files = process::open_files(&mecha);
        Self { mecha, files }
    }

    /// It never panicked, gave back what it had opened, and serves.
    async fn is_unharmed(&self) {
        serves(&self.mecha, &HttpClient::new()).await;
        process::has_closed_down_to(&self.mecha, self.files).await.unwrap();
        process::assert_no_panic(&self.mecha);
    }
}

async fn serves(mecha: &Mecha, http: &HttpClient) {
    let url = mecha.http_url("/v1.0/state/store");
    assert_eq!(http.post(&url, r#"[{"key":"alive","value":true}]"#).await.unwrap().status, 204);
    assert_eq!(http.get(&format!("{url}/alive")).await.unwrap().text(), "true");
}

#[tokio::test]
async fn http_requests_that_mean_nothing() {
    let target = Target::start().await;
    http_table::check(&target.mecha).await;
    target.is_unharmed().await;
}

#[tokio::test]
async fn errors_carry_dapr_s_details() {
    let target = Target::start().await;
    http_table::check_details(&target.mecha).await;
    target.is_unharmed().await;
}

#[tokio::test]
async fn without_any_store_the_error_is_another() {
    let mecha = Mecha::builder().start().await.unwrap();
    http_table::check_not_configured(&mecha).await;
    grpc::check_not_configured(&mecha).await;
    process::assert_no_panic(&mecha);
}

#[tokio::test]
async fn a_query_of_a_store_that_has_none() {
    let target = Target::start().await;
    http_table::check_query(&target.mecha).await;
    target.is_unharmed().await;
}

#[tokio::test]
async fn grpc_requests_that_mean_nothing() {
    let target = Target::start().await;
    grpc::check(&target.mecha).await;
    target.is_unharmed().await;
}

#[tokio::test]
async fn grpc_frames_that_are_none() {
    let target = Target::start().await;
    grpc::check_frames(&target.mecha, MAX_BODY).await;
    target.is_unharmed().await;
}

#[tokio::test]
async fn bytes_that_are_hardly_http() {
    let target = Target::start().await;
    wire::check_paths(&target.mecha).await;
    wire::check_headers(&target.mecha).await;
    wire::check_bodies(&target.mecha, MAX_BODY).await;
    target.is_unharmed().await;
}

#[tokio::test]
async fn connections_that_break_off() {
    let target = Target::start().await;
    wire::check_broken_connections(&target.mecha).await;
    target.is_unharmed().await;
}
