//! `mecha --wait`: returns when the runtime on this machine can be called.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// As long as daprd waits.
const LIMIT: Duration = Duration::from_secs(60);
const BETWEEN: Duration = Duration::from_millis(100);

/// Asks `/v1.0/healthz/outbound` until it says yes.
pub(crate) async fn for_outbound(http_port: u16) -> Result<ExitCode> {
    let client: Client<HttpConnector, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let url = format!("http://127.0.0.1:{http_port}/v1.0/healthz/outbound");
    let begun = Instant::now();
    loop {
        let answer = client.get(url.parse().context("the port makes no URL")?).await;
        if answer.is_ok_and(|answer| answer.status().is_success()) {
            return Ok(ExitCode::SUCCESS);
        }
        if begun.elapsed() > LIMIT {
            bail!(
                "no runtime became ready on port {http_port} within {LIMIT:?}; start it with --dapr-http-port {http_port}"
            );
        }
        tokio::time::sleep(BETWEEN).await;
    }
}
