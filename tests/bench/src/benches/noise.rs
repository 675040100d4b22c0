//! Each bare server against another process of the same: how far from 1.00 a ratio lies by chance on this machine now.

use anyhow::Result;
use bytes::Bytes;

use super::under_load::{Side, rates};
use super::{GOT, SAVED, STORE, get_requests, json_value, save_requests};
use crate::child::BareServer;
use crate::load::grpc::{GrpcTarget, Operation};
use crate::load::http::HttpTarget;
use crate::plan::Plan;
use crate::report::Table;
use crate::rounds::{Row, table};

pub(super) async fn run(plan: &Plan) -> Result<Vec<Table>> {
    let mut rows = http(plan).await?;
    rows.extend(grpc(plan).await?);
    let mut table = table("Noise: equal servers", &rows);
    table.note("a difference between two results that is not larger than these is none");
    Ok(vec![table])
}

async fn http(plan: &Plan) -> Result<Vec<Row>> {
    let servers = twins("bare-hyper")?;
    let sides = |requests: Vec<Bytes>, expected| {
        servers.each_ref().map(|server| Side {
            name: "bare hyper",
            server: server.pid(),
            target: HttpTarget::new(server.addr(), requests.clone(), expected),
        })
    };
    let mut rows = rates(plan, "HTTP get, 64 connections", "1.00", &sides(get_requests(), GOT)).await?;
    rows.extend(rates(plan, "HTTP save, 64 connections", "1.00", &sides(save_requests(), SAVED)).await?);
    Ok(rows)
}

async fn grpc(plan: &Plan) -> Result<Vec<Row>> {
    let servers = twins("bare-tonic")?;
    let mut sides = Vec::new();
    for server in &servers {
        let target = GrpcTarget::new(server.addr(), Operation::Get, STORE, json_value().into()).await?;
        sides.push(Side { name: "bare tonic", server: server.pid(), target });
    }
    rates(plan, "GetState, 64 connections", "1.00", &sides).await
}

fn twins(kind: &str) -> Result<[BareServer; 2]> {
    Ok([BareServer::start(kind, &[])?, BareServer::start(kind, &[])?])
}
