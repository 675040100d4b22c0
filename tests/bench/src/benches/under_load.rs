//! Servers of one kind taking turns under the load generator.

use std::sync::Arc;

use anyhow::Result;

use super::CONNECTIONS;
use crate::load::{Load, Target};
use crate::plan::Plan;
use crate::rounds::{Comparison, Contender, Row, Unit};

/// A server with what is called on it.
pub(super) struct Side<T> {
    pub(super) name: &'static str,
    /// Process id of the server.
    pub(super) server: u32,
    pub(super) target: Arc<T>,
}

/// Calls a second over 64 connections; the first side is the product.
pub(super) async fn rates<T: Target>(
    plan: &Plan,
    what: &str,
    wanted: &str,
    sides: &[Side<T>],
) -> Result<Vec<Row>> {
    let contenders = sides.iter().map(|side| {
        let load = Load { connections: CONNECTIONS, server: side.server };
        Contender::new(side.name, async move || Ok(load.run(plan, &side.target)?.rate()))
    });
    Comparison { what, unit: Unit::Rate, wanted }.run(plan, contenders.collect()).await
}

/// Median latencies over one connection; the first side is the product.
pub(super) async fn latencies<T: Target>(plan: &Plan, what: &str, sides: &[Side<T>]) -> Result<Vec<Row>> {
    let contenders = sides.iter().map(|side| {
        let load = Load { connections: 1, server: side.server };
        Contender::new(side.name, async move || load.run(plan, &side.target)?.median_latency())
    });
    Comparison { what, unit: Unit::Microseconds, wanted: "" }.run(plan, contenders.collect()).await
}
