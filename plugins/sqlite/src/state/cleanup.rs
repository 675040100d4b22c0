//! Deletes expired rows every now and then, when the component asks for it. Processes that share the file agree through
//! Dapr's `last-cleanup` row, so that one of them does it.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

use super::Rows;
use crate::client::Client;

/// How much earlier than the interval the last cleanup may lie, for timers are not exact; Dapr's number.
const TOLERANCE: Duration = Duration::from_millis(100);

/// Runs for as long as the client exists.
pub(crate) async fn run(client: Weak<Client>, rows: Arc<Rows>, interval: Duration) {
    let mut ticks = tokio::time::interval_at(Instant::now() + interval, interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let since_last = i64::try_from(interval.saturating_sub(TOLERANCE).as_millis()).unwrap_or(i64::MAX);
    loop {
        ticks.tick().await;
        let Some(client) = client.upgrade() else { return };
        let rows = rows.clone();
        match client.run(move |connection| rows.clean_up(connection, since_last)).await {
            Ok(Some(deleted)) => tracing::info!(deleted, "expired rows were deleted"),
            Ok(None) => tracing::debug!("another process has deleted expired rows lately"),
            Err(error) => tracing::error!(error = %error, "expired rows could not be deleted"),
        }
    }
}
