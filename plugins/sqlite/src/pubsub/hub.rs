//! Wakes sources: at once for what happens in this process, by a look at the file now and then for what other processes do.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mecha_plugin_api::Result;
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior};

use super::topics::{Topics, UnixMillis, data_version};
use crate::client::Client;

/// How often expired messages are deleted.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(60);
/// How often old ones are.
const RETENTION_INTERVAL: Duration = Duration::from_secs(3600);

/// The sources that wait, by topic. Shared by all components of the plugin: waking one in vain costs it one look.
#[derive(Default)]
pub(crate) struct Hub(Mutex<HashMap<String, Weak<Notify>>>);

impl Hub {
    /// What is told when there may be something for a topic.
    pub(crate) fn listen(&self, topic: &str) -> Arc<Notify> {
        let mut topics = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = topics.get(topic).and_then(Weak::upgrade) {
            return known;
        }
        topics.retain(|_, notify| notify.strong_count() > 0);
        let notify = Arc::new(Notify::new());
        topics.insert(topic.to_owned(), Arc::downgrade(&notify));
        notify
    }

    /// There may be something for a topic.
    pub(crate) fn wake(&self, topic: &str) {
        let topics = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(notify) = topics.get(topic).and_then(Weak::upgrade) {
            notify.notify_waiters();
        }
    }

    fn has_listeners(&self) -> bool {
        let topics = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        topics.values().any(|notify| notify.strong_count() > 0)
    }
}

/// Wakes sources for what other processes publish. Runs for as long as the client exists.
pub(crate) async fn watch_file(client: Weak<Client>, topics: Arc<Topics>, hub: Arc<Hub>, interval: Duration) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut known = None;
    loop {
        ticks.tick().await;
        if !hub.has_listeners() {
            continue;
        }
        let Some(client) = client.upgrade() else { return };
        match look(&client, &topics, &mut known).await {
            Ok(changed) => changed.iter().for_each(|topic| hub.wake(topic)),
            Err(error) => tracing::debug!(%error, "cannot look for messages of other processes"),
        }
    }
}

/// The topics that have messages, if another connection has changed the file.
async fn look(client: &Client, topics: &Arc<Topics>, known: &mut Option<i64>) -> Result<Vec<String>> {
    // On the connection that writes here: its own changes do not count.
    let version = client.run(|connection| data_version(connection)).await?;
    if known.replace(version) == Some(version) {
        return Ok(Vec::new());
    }
    let topics = topics.clone();
    client.read(move |connection| topics.topics_with_messages(connection)).await
}

/// Deletes what nobody will read. Runs for as long as the client exists.
pub(crate) async fn clean_up(client: Weak<Client>, topics: Arc<Topics>, retention: Duration) {
    let mut ticks = tokio::time::interval_at(Instant::now() + EXPIRY_INTERVAL, EXPIRY_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut old_at = Instant::now();
    loop {
        ticks.tick().await;
        let Some(client) = client.upgrade() else { return };
        let is_old_due = Instant::now() >= old_at;
        if is_old_due {
            old_at = Instant::now() + RETENTION_INTERVAL;
        }
        let topics = topics.clone();
        let cleaned = client.write(false, move |connection| {
            topics.delete_expired(connection, now())?;
            if is_old_due { topics.delete_old(connection, now() - millis(retention)) } else { Ok(()) }
        });
        if let Err(error) = cleaned.await {
            tracing::warn!(%error, "old messages could not be deleted");
        }
    }
}

/// The time as it stands in the file.
pub(crate) fn now() -> UnixMillis {
    millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

pub(crate) fn millis(duration: Duration) -> UnixMillis {
    UnixMillis::try_from(duration.as_millis()).unwrap_or(UnixMillis::MAX >> 2).min(UnixMillis::MAX >> 2)
}
