//! The broker itself goes away under a flood of messages: killed and started again, cut off. The component's health says so
//! while it lasts, calls fail rather than hang, and no acknowledged message is lost.

#[path = "support/broker.rs"]
mod broker;
#[path = "support/flood.rs"]
mod flood;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mecha_backends::{Redis, Toxiproxy, optional};
use mecha_testkit::{Mecha, MechaBuilder, eventually};

use broker::topic;
use flood::Flood;

const SOON: Duration = Duration::from_secs(60);
/// Longer than any call may take whose broker is away.
const FAST: Duration = Duration::from_secs(30);

/// Waits until the broker's health says this.
async fn healthy(mecha: &Mecha, expected: bool) -> Result<()> {
    eventually(SOON, || async {
        let metadata = mecha.http().get(&mecha.http_url("/v1.0/metadata")).await?.json()?;
        let all = metadata["componentHealth"].as_array().cloned().unwrap_or_default();
        let health = all.into_iter().find(|health| health["name"] == "ps").context("nobody asked it yet")?;
        ensure!(health["healthy"] == expected, "{health}");
        Ok(())
    })
    .await
}

/// What an application sees while the broker is away.
async fn while_away(name: &str, mecha: &Mecha) -> Result<()> {
    healthy(mecha, false).await.context("it is away")?;
    let asked = Instant::now();
    let url = mecha.http_url("/v1.0/publish/ps/while-away");
    let reply = tokio::time::timeout(FAST, mecha.http().post(&url, "1")).await.context("a call hangs")??;
    println!("{name} is away: a publish is answered {} after {:.1?}", reply.status, asked.elapsed());
    ensure!(reply.status.is_server_error(), "{}: {}", reply.status, reply.text());
    Ok(())
}

fn runtime() -> MechaBuilder {
    Mecha::builder().app_id("faults")
}

async fn over_redis(mut redis: Redis, toxiproxy: &Toxiproxy) -> Result<()> {
    let proxy = toxiproxy.proxy(redis.addr())?;
    let addr = proxy.addr().to_string();
    let metadata =
        [("redisHost", addr.as_str()), ("redeliverInterval", "200ms"), ("processingTimeout", "500ms")];
    let builder = runtime().plugin("redis").component_with("ps", "pubsub.redis", &metadata);
    let mut flood = Flood::start("Redis".to_owned(), builder, topic("faults")).await?;
    flood.reach(20).await?;
    proxy.cut()?;
    while_away("Redis, cut off,", flood.mecha()?).await?;
    proxy.heal()?;
    healthy(flood.mecha()?, true).await?;
    flood.reach(50).await?;
    redis.stop()?;
    while_away("Redis, killed,", flood.mecha()?).await?;
    redis.start_again()?;
    healthy(flood.mecha()?, true).await?;
    flood.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_is_cut_off_and_killed() {
    let Some(toxiproxy) = optional(Toxiproxy::start()).unwrap() else { return };
    over_redis(Redis::start_durable().unwrap(), &toxiproxy).await.unwrap();
}
