//! A component's health: told while its back end is away, with its age, and calls fail at once meanwhile.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use mecha_backends::Redis;
use mecha_testkit::{Mecha, eventually};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(30);

async fn health(mecha: &Mecha) -> Result<Value> {
    let metadata = mecha.http().get(&mecha.http_url("/v1.0/metadata")).await?.json()?;
    let all = metadata["componentHealth"].as_array().cloned().unwrap_or_default();
    let found = all.into_iter().find(|health| health["name"] == "store");
    found.ok_or_else(|| anyhow::anyhow!("the store was not asked yet"))
}

async fn wait(mecha: &Mecha, healthy: bool) -> Value {
    eventually(SOON, || async {
        let health = health(mecha).await?;
        ensure!(health["healthy"] == healthy, "{health}");
        Ok(health)
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn a_back_end_that_goes_and_comes_is_told() {
    let mut redis = Redis::start().unwrap();
    let addr = redis.addr().to_string();
    let builder =
        Mecha::builder().plugin("redis").component_with("store", "state.redis", &[("redisHost", &addr)]);
    let mecha = builder.start().await.unwrap();
    let before = wait(&mecha, true).await;
    assert!(
        before["error"].is_null() && before["since"].as_str().is_some_and(|since| since.ends_with('Z')),
        "{before}"
    );

    redis.stop().unwrap();
    let away = wait(&mecha, false).await;
    assert!(away["error"].as_str().is_some_and(|error| !error.is_empty()), "{away}");
    mecha.logs().wait_for("component store is unhealthy", SOON).await.unwrap();
    let line = |metrics: &str| {
        let mut lines = metrics.lines();
        lines
            .find(|line| line.starts_with("mecha_component_healthy{") && line.contains("store"))
            .map(str::to_owned)
    };
    let shown = line(&mecha.metrics().await.unwrap());
    assert!(shown.as_deref().is_some_and(|line| line.ends_with("} 0")), "{shown:?}");

    // A call fails rather than waiting for the back end to come back.
    let asked = Instant::now();
    let reply = mecha.http().get(&mecha.http_url("/v1.0/state/store/k")).await.unwrap();
    println!("a call while the back end is away: {} after {:.0?}", reply.status, asked.elapsed());
    assert!(reply.status.is_server_error(), "{}", reply.status);
    assert_eq!(reply.json().unwrap()["errorCode"], "ERR_STATE_GET");

    redis.start_again().unwrap();
    let back = wait(&mecha, true).await;
    assert!(back["error"].is_null(), "{back}");
    mecha.logs().wait_for("component store is healthy again after", SOON).await.unwrap();
}
