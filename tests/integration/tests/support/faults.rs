//! What an application sees of a component whose server is away, frozen, cut off or silent.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mecha_testkit::{Mecha, Reply, eventually};
use serde_json::Value;

/// How long the component's health may take to tell what is the matter, and that it is over.
const SOON: Duration = Duration::from_secs(60);

/// What the runtime says of a component's health.
pub async fn health(mecha: &Mecha, name: &str) -> Result<Value> {
    let metadata = mecha.http().get(&mecha.http_url("/v1.0/metadata")).await?.json()?;
    let all = metadata["componentHealth"].as_array().cloned().unwrap_or_default();
    all.into_iter().find(|health| health["name"] == name).context("nobody asked it yet")
}

/// Waits until the component's health says this.
pub async fn wait_healthy(mecha: &Mecha, name: &str, expected: bool) -> Result<()> {
    eventually(SOON, || async {
        let health = health(mecha, name).await?;
        ensure!(health["healthy"] == expected, "{health}");
        let tells_why = health["error"].as_str().is_some_and(|error| !error.is_empty());
        ensure!(tells_why != expected, "{health}");
        Ok(())
    })
    .await
}

/// Asserts that a call fails with a code that begins like this, and within this time.
pub async fn fails(
    what: &str,
    code: &str,
    limit: Duration,
    call: impl Future<Output = Result<Reply>>,
) -> Result<()> {
    let asked = Instant::now();
    let reply =
        tokio::time::timeout(limit, call).await.with_context(|| format!("{what}: a call hangs"))??;
    println!("{what}: a call is answered {} after {:.1?}: {}", reply.status, asked.elapsed(), reply.text());
    ensure!(reply.status.is_server_error(), "{what}: {} {}", reply.status, reply.text());
    let answer = reply.json()?;
    ensure!(answer["errorCode"].as_str().is_some_and(|told| told.starts_with(code)), "{what}: {answer}");
    Ok(())
}
