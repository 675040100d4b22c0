//! Publishing over HTTP/1.1 with the memory plugin, against a bare hyper server that reads the same requests.

use anyhow::{Result, ensure};
use http::HeaderMap;
use mecha_testkit::Mecha;

use super::under_load::{Side, latencies, rates};
use super::{APP_ID, AnswerHeaders, PRODUCT, PUBSUB, SAVED, http_addr, json_value, topic};
use crate::child::BareServer;
use crate::load::http::{HttpTarget, post};
use crate::plan::Plan;
use crate::report::Table;
use crate::rounds::table;

pub(super) async fn run(plan: &Plan) -> Result<Vec<Table>> {
    let builder = Mecha::builder().app_id(APP_ID).plugin("memory").component(PUBSUB, "pubsub.in-memory");
    let mecha = builder.start().await?;
    let path = format!("/v1.0/publish/{PUBSUB}/{}", topic(0));
    let published = mecha.http().post(&mecha.http_url(&path), json_value()).await?;
    ensure!(published.status == 204, "publishing answered {}: {}", published.status, published.text());
    let headers = AnswerHeaders { get: HeaderMap::new(), post: published.headers };
    let bare = BareServer::start("bare-hyper", &headers.arguments()?)?;
    let side = |name, server, addr| Side {
        name,
        server,
        target: HttpTarget::new(addr, vec![post(&path, &json_value())], SAVED),
    };
    let sides = [side(PRODUCT, mecha.pid(), http_addr(&mecha)?), side("bare hyper", bare.pid(), bare.addr())];
    let mut rows = rates(plan, "publish, 64 connections", "≥ 0.60", &sides).await?;
    rows.extend(latencies(plan, "publish, 1 connection, median latency", &sides).await?);
    let mut table = table("Publishing over HTTP/1.1, 1 KiB, memory plugin", &rows);
    table.note("nobody reads the topic; each event gets its envelope and goes through the plugin");
    table.note("bare hyper reads every POST whole and answers 204 with the product's headers");
    Ok(vec![table])
}
