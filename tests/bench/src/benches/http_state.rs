//! State over HTTP/1.1 with the memory plugin, against a bare hyper server that gives the same answers.

use anyhow::Result;
use mecha_testkit::Mecha;

use super::under_load::{Side, latencies, rates};
use super::{APP_ID, GOT, PRODUCT, SAVED, STORE, fill, get_requests, http_addr, save_requests};
use crate::child::BareServer;
use crate::load::http::HttpTarget;
use crate::plan::Plan;
use crate::report::Table;
use crate::rounds::table;

pub(super) async fn run(plan: &Plan) -> Result<Vec<Table>> {
    let builder = Mecha::builder().app_id(APP_ID).plugin("memory").component(STORE, "state.in-memory");
    let mecha = builder.start().await?;
    let bare = BareServer::start("bare-hyper", &fill(&mecha).await?.arguments()?)?;
    let product = http_addr(&mecha)?;
    let sides = |requests: Vec<_>, expected| {
        let side = |name, server, addr| Side {
            name,
            server,
            target: HttpTarget::new(addr, requests.clone(), expected),
        };
        [side(PRODUCT, mecha.pid(), product), side("bare hyper", bare.pid(), bare.addr())]
    };
    let (gets, saves) = (sides(get_requests(), GOT), sides(save_requests(), SAVED));
    let mut rows = rates(plan, "get, 64 connections", "≥ 0.60", &gets).await?;
    rows.extend(rates(plan, "save, 64 connections", "", &saves).await?);
    rows.extend(latencies(plan, "get, 1 connection, median latency", &gets).await?);
    rows.extend(latencies(plan, "save, 1 connection, median latency", &saves).await?);
    let mut table = table("State over HTTP/1.1, 1 KiB, memory plugin", &rows);
    table.note("bare hyper answers every GET with the product's headers and 1 KiB, and every POST, read whole, with 204");
    Ok(vec![table])
}
