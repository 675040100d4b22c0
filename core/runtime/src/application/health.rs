//! The application's health: while it is not well, nothing is brought to it.

use std::sync::Arc;

use mecha_app_channel::AppChannel;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::HealthProbe;
use crate::inbound::Flow;

/// Probes until the flow ends. The application counts as unhealthy until it has answered once.
pub(crate) async fn watch_health(channel: Arc<AppChannel>, probe: HealthProbe, flow: watch::Sender<Flow>) {
    tracing::info!("App health probes starting");
    let mut ticks = interval(probe.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ends = flow.subscribe();
    let mut failures: u32 = 0;
    loop {
        tokio::select! {
            _ = ends.wait_for(|flow| *flow == Flow::Off) => break,
            _ = ticks.tick() => {}
        }
        let answered = tokio::select! {
            _ = ends.wait_for(|flow| *flow == Flow::Off) => break,
            answered = timeout(probe.timeout, channel.probe(&probe.path)) => answered,
        };
        match answered {
            Ok(Ok(())) => {
                failures = 0;
                if turn(&flow, Flow::On) {
                    tracing::info!("App entered healthy status");
                }
            }
            failed => {
                failures = failures.saturating_add(1);
                let reason = failed.map_or_else(
                    |_| "no answer in time".to_owned(),
                    |answer| answer.err().map(|error| error.to_string()).unwrap_or_default(),
                );
                tracing::debug!(failures, "application health probe failed: {reason}");
                if failures >= probe.threshold && turn(&flow, Flow::Paused) {
                    tracing::warn!("App entered un-healthy status: {reason}");
                }
            }
        }
    }
    tracing::info!("App health probes stopping");
}

/// Turns the flow; `false` when it was so already. What has ended does not begin again.
fn turn(flow: &watch::Sender<Flow>, to: Flow) -> bool {
    flow.send_if_modified(|flow| {
        let turns = *flow != to && *flow != Flow::Off;
        if turns {
            *flow = to;
        }
        turns
    })
}
