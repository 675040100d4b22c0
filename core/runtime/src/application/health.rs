//! The application's health: while it is not well, nothing is brought to it.

use std::sync::Arc;

use mecha_app_channel::AppChannel;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::HealthProbe;
use crate::inbound::Flow;

/// Probes until the flow ends. The application counts as unhealthy until it has answered once.
pub(crate) async fn watch_health(channel: Arc<AppChannel>, probe: HealthProbe, flow: watch::Sender<Flow>) {
    let mut ticks = interval(probe.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ends = flow.subscribe();
    let mut failures = 0;
    loop {
        tokio::select! {
            _ = ends.wait_for(|flow| *flow == Flow::Off) => return,
            _ = ticks.tick() => {}
        }
        match timeout(probe.timeout, channel.probe(&probe.path)).await {
            Ok(Ok(())) => {
                failures = 0;
                turn(&flow, Flow::On, "application is healthy: events are brought to it");
            }
            answered => {
                failures += 1;
                let reason = answered.map_or_else(
                    |_| "no answer in time".to_owned(),
                    |answer| answer.err().map(|error| error.to_string()).unwrap_or_default(),
                );
                tracing::debug!(failures, "application health probe failed: {reason}");
                if failures >= probe.threshold {
                    turn(
                        &flow,
                        Flow::Paused,
                        "application is unhealthy: subscriptions and input bindings pause",
                    );
                }
            }
        }
    }
}

fn turn(flow: &watch::Sender<Flow>, to: Flow, message: &str) {
    flow.send_if_modified(|flow| {
        // What has ended does not begin again.
        let turns = *flow != to && *flow != Flow::Off;
        if turns {
            tracing::info!("{message}");
            *flow = to;
        }
        turns
    });
}
