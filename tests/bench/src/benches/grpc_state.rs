//! State over gRPC with the memory plugin, against bare tonic servers with a constant answer.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use mecha_proto::runtime::v1::GetStateRequest;
use mecha_testkit::Mecha;

use super::under_load::{Side, latencies, rates};
use super::{APP_ID, PRODUCT, STORE, fill, json_value, key};
use crate::child::BareServer;
use crate::load::grpc::{GrpcTarget, Operation};
use crate::plan::Plan;
use crate::report::Table;
use crate::rounds::table;

pub(super) async fn run(plan: &Plan) -> Result<Vec<Table>> {
    let builder = Mecha::builder().app_id(APP_ID).plugin("memory").component(STORE, "state.in-memory");
    let mecha = builder.start().await?;
    fill(&mecha).await?;
    let arguments = ["--etag".to_owned(), etag(&mecha).await?];
    let tonic = BareServer::start("bare-tonic", &arguments)?;
    let on_hyper = BareServer::start("bare-tonic-on-hyper", &arguments)?;
    let servers = [
        (PRODUCT, mecha.pid(), grpc_addr(&mecha)?),
        ("bare tonic", tonic.pid(), tonic.addr()),
        ("tonic on hyper", on_hyper.pid(), on_hyper.addr()),
    ];
    let (gets, saves) = (sides(&servers, Operation::Get).await?, sides(&servers, Operation::Save).await?);
    let mut rows = rates(plan, "GetState, 64 connections", "≥ 0.60", &gets).await?;
    rows.extend(rates(plan, "SaveState, 64 connections", "", &saves).await?);
    rows.extend(latencies(plan, "GetState, 1 connection, median latency", &gets).await?);
    let mut table = table("State over gRPC, 1 KiB, memory plugin", &rows);
    table.note(
        "bare tonic is tonic's own server; tonic on hyper is the same service on hyper's HTTP/2 server",
    );
    table.note("64 HTTP/2 connections with one call in flight each; the generated client checks each server once, prebuilt frames make the load");
    Ok(vec![table])
}

async fn sides(
    servers: &[(&'static str, u32, SocketAddr)],
    operation: Operation,
) -> Result<Vec<Side<GrpcTarget>>> {
    let mut sides = Vec::new();
    for &(name, server, addr) in servers {
        let target = GrpcTarget::new(addr, operation, STORE, json_value().into()).await;
        sides.push(Side { name, server, target: target.context(name)? });
    }
    Ok(sides)
}

async fn etag(mecha: &Mecha) -> Result<String> {
    let request = GetStateRequest { store_name: STORE.to_owned(), key: key(0), ..Default::default() };
    Ok(mecha.grpc().await?.get_state(request).await?.into_inner().etag)
}

pub(super) fn grpc_addr(mecha: &Mecha) -> Result<SocketAddr> {
    let endpoint = mecha.grpc_endpoint();
    let addr = endpoint.strip_prefix("http://").context("a URL of plain HTTP")?;
    Ok(addr.parse()?)
}
