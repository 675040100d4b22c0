//! State over HTTP/1.1 with the Redis plugin, against a bare hyper server that sends the same command with the same client.

use anyhow::Result;
use mecha_backends::Redis;
use mecha_testkit::Mecha;

use super::under_load::{Side, latencies, rates};
use super::{APP_ID, GOT, PRODUCT, STORE, fill, get_requests, http_addr};
use crate::child::BareServer;
use crate::load::http::HttpTarget;
use crate::plan::Plan;
use crate::report::Table;
use crate::rounds::table;

pub(super) async fn run(plan: &Plan) -> Result<Vec<Table>> {
    println!("    starting redis-server");
    let redis = Redis::start()?;
    let host = redis.addr().to_string();
    let builder = Mecha::builder().app_id(APP_ID).plugin("redis");
    let mecha = builder.component_with(STORE, "state.redis", &[("redisHost", &host)]).start().await?;
    let mut arguments = fill(&mecha).await?.arguments()?;
    arguments.extend(["--redis".to_owned(), host, "--key-prefix".to_owned(), format!("{APP_ID}||")]);
    let bare = BareServer::start("bare-redis", &arguments)?;
    let side = |name, server, addr| Side { name, server, target: HttpTarget::new(addr, get_requests(), GOT) };
    let sides =
        [side(PRODUCT, mecha.pid(), http_addr(&mecha)?), side("hyper + redis", bare.pid(), bare.addr())];
    let mut rows = rates(plan, "get, 64 connections", "≥ 0.70", &sides).await?;
    rows.extend(latencies(plan, "get, 1 connection, median latency", &sides).await?);
    let mut table = table("State over HTTP/1.1, 1 KiB, Redis plugin", &rows);
    table.note("the bare server reads the same keys with the same HMGET through the same Redis client over one multiplexed connection");
    Ok(vec![table])
}
