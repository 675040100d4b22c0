//! Calls of an application through two runtimes, against the same calls made directly: HTTP, and gRPC passed on as it is.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use http::HeaderMap;
use mecha_testkit::Mecha;

use super::grpc_state::grpc_addr;
use super::under_load::{Side, latencies, rates};
use super::{AnswerHeaders, GOT, KIBIBYTE, http_addr, json_value};
use crate::child::BareServer;
use crate::load::grpc::{GrpcTarget, Operation};
use crate::load::http::{HttpTarget, get};
use crate::plan::Plan;
use crate::report::Table;
use crate::rounds::table;

const CALLER: &str = "bench-caller";
const HTTP_CALLEE: &str = "bench-http-callee";
const GRPC_CALLEE: &str = "bench-grpc-callee";
const THROUGH: &str = "mecha to mecha";
const DIRECT: &str = "direct";
const METHOD: &str = "method";
const WANTED: &str = "≥ 0.20";

pub(super) async fn run(plan: &Plan) -> Result<Vec<Table>> {
    Ok(vec![over_http(plan).await?, over_grpc(plan).await?])
}

/// A runtime that only calls, and one before an application.
async fn pair(id: &str, protocol: &str, app: SocketAddr) -> Result<(Mecha, Mecha)> {
    let on_loopback =
        |id: &str| Mecha::builder().app_id(id).flag("--dapr-internal-grpc-listen-address", "127.0.0.1");
    let callee = on_loopback(id).flag("--app-port", app.port().to_string()).flag("--app-protocol", protocol);
    Ok((on_loopback(CALLER).start().await?, callee.start().await?))
}

async fn over_http(plan: &Plan) -> Result<Table> {
    let headers = AnswerHeaders { get: HeaderMap::new(), post: HeaderMap::new() };
    let app = BareServer::start("bare-hyper", &headers.arguments()?)?;
    let (caller, _callee) = pair(HTTP_CALLEE, "http", app.addr()).await?;
    let path = format!("/v1.0/invoke/{HTTP_CALLEE}/method/{METHOD}");
    let answer = caller.http().get(&caller.http_url(&path)).await?;
    ensure!(
        answer.status == 200 && answer.body.len() == KIBIBYTE,
        "the call answered {}: {}",
        answer.status,
        answer.text()
    );
    let side = |name, server, addr, path: &str| Side {
        name,
        server,
        target: HttpTarget::new(addr, vec![get(path)], GOT),
    };
    let sides = [
        side(THROUGH, caller.pid(), http_addr(&caller)?, &path),
        side(DIRECT, app.pid(), app.addr(), &format!("/{METHOD}")),
    ];
    let mut rows = rates(plan, "get, 64 connections", WANTED, &sides).await?;
    rows.extend(latencies(plan, "get, 1 connection, median latency", &sides).await?);
    let mut table = table("Invocation over HTTP/1.1, 1 KiB", &rows);
    notes(&mut table, "a bare hyper server");
    Ok(table)
}

async fn over_grpc(plan: &Plan) -> Result<Table> {
    let app = BareServer::start("bare-tonic-on-hyper", &["--etag".to_owned(), "1".to_owned()])?;
    let (caller, _callee) = pair(GRPC_CALLEE, "grpc", app.addr()).await?;
    let mut sides = Vec::new();
    for (name, server, addr, app_id) in
        [(THROUGH, caller.pid(), grpc_addr(&caller)?, GRPC_CALLEE), (DIRECT, app.pid(), app.addr(), "")]
    {
        let target = GrpcTarget::new(addr, Operation::Proxied { app_id }, "", json_value().into()).await?;
        sides.push(Side { name, server, target });
    }
    let mut rows = rates(plan, "unary, 64 connections", WANTED, &sides).await?;
    rows.extend(latencies(plan, "unary, 1 connection, median latency", &sides).await?);
    let mut table = table("Invocation over gRPC, passed on as it is, 1 KiB", &rows);
    notes(&mut table, "tonic's service on hyper's HTTP/2 server");
    Ok(table)
}

fn notes(table: &mut Table, app: &str) {
    table.note(format!("the application is {app}; client, both runtimes and application share the cores"));
    table.note("wanted with one connection: at most 250 µs more than direct");
    table.note("server CPU: of the calling runtime, over the application's");
}
