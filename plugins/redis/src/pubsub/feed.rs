//! The background work of a subscription: reads ahead, claims what others left, says that held messages are alive.
//!
//! Reading happens here and not in the host's calls, because a read that is cancelled may already have taken messages.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mecha_plugin_api::Error;
use tokio::sync::Notify;

use super::entry::Entry;
use super::group::{Group, Pending};
use super::inbox::Inbox;
use super::metadata::{Redelivery, StreamSettings};
use crate::client::Client;
use crate::error::Failure;

/// How long a read waits in the server before it asks again.
pub(crate) const BLOCK: Duration = Duration::from_secs(2);
/// Pending messages that are looked at in one go, as in Dapr.
const PAGE: usize = 100;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// While the application is slow, claiming waits.
const FULL_PAUSE: Duration = Duration::from_millis(50);
const NO_READER: i64 = -1;

/// What the subscription's tasks and its source share.
pub(crate) struct Feed {
    pub(crate) group: Group,
    pub(crate) settings: StreamSettings,
    blocking: Client,
    inbox: Mutex<Inbox>,
    /// Why reading does not work now.
    trouble: Mutex<Option<Error>>,
    /// Something can be handed out, or there is trouble.
    pub(crate) ready: Notify,
    /// Something was handed out.
    pub(crate) room: Notify,
    /// Something was delayed.
    pub(crate) delayed: Notify,
    stopping: AtomicBool,
    reader: AtomicI64,
}

impl Feed {
    pub(crate) fn new(group: Group, settings: StreamSettings) -> Self {
        Self {
            blocking: group.client.blocking(BLOCK),
            group,
            settings,
            inbox: Mutex::default(),
            trouble: Mutex::default(),
            ready: Notify::new(),
            room: Notify::new(),
            delayed: Notify::new(),
            stopping: AtomicBool::new(false),
            reader: AtomicI64::new(NO_READER),
        }
    }

    pub(crate) fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why reading does not work now.
    pub(crate) fn trouble(&self) -> Option<Error> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_trouble(&self, trouble: Option<Error>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// Asks [`Feed::read`] to end soon, even while it waits in the server.
    pub(crate) async fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.room.notify_one();
        let reader = self.reader.load(Ordering::Acquire);
        if reader != NO_READER
            && let Err(failure) = self.group.wake(reader).await
        {
            tracing::debug!(error = failure.text(), "the read could not be woken: it ends by itself");
        }
    }

    /// Reads new messages until it is stopped.
    pub(crate) async fn read(&self) {
        let mut pause = FIRST_PAUSE;
        while !self.stopping.load(Ordering::Acquire) {
            let depth = self.settings.queue_depth;
            let ready = self.inbox().ready();
            // Read in halves of the depth: one message at a time would cost a round trip each.
            if ready > depth / 2 {
                self.room.notified().await;
                continue;
            }
            match self.read_once(depth - ready).await {
                Ok(()) => pause = FIRST_PAUSE,
                Err(failure) => {
                    let error = failure.into_error(&format!("cannot read {}", self.group.topic));
                    self.set_trouble(Some(error));
                    self.ready.notify_one();
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    async fn read_once(&self, count: usize) -> Result<(), Failure> {
        if self.reader.load(Ordering::Acquire) == NO_READER {
            match self.group.reader(&self.blocking).await {
                Ok(id) => self.reader.store(id, Ordering::Release),
                // A user who may not ask: only the end takes a little longer then.
                Err(Failure::Refused(_)) => {}
                Err(failure) => return Err(failure),
            }
        }
        match self.group.read(&self.blocking, count, BLOCK).await {
            Ok(entries) => self.arrived(entries),
            Err(failure) => {
                self.reader.store(NO_READER, Ordering::Release);
                self.group.heal(failure).await?;
            }
        }
        self.set_trouble(None);
        Ok(())
    }

    fn arrived(&self, entries: Vec<Entry>) {
        if !entries.is_empty() {
            self.inbox().add(entries);
            self.ready.notify_one();
        }
    }

    /// Hands delayed messages out again when their time comes.
    pub(crate) async fn wake_delayed(&self) {
        loop {
            let (ready, next) = {
                let mut inbox = self.inbox();
                let next = inbox.wake_due(Instant::now());
                (inbox.ready(), next)
            };
            if ready > 0 {
                self.ready.notify_one();
            }
            match next {
                None => self.delayed.notified().await,
                Some(due) => tokio::select! {
                    () = tokio::time::sleep_until(due.into()) => {}
                    () = self.delayed.notified() => {}
                },
            }
        }
    }

    /// Keeps held messages from looking abandoned, however long the application takes.
    pub(crate) async fn touch_held(&self, redelivery: Redelivery) {
        loop {
            tokio::time::sleep(redelivery.processing_timeout / 3).await;
            let held = self.inbox().held();
            for page in held.chunks(PAGE) {
                if let Err(failure) = self.group.touch(page).await {
                    tracing::debug!(error = failure.text(), "held messages could not be marked as alive");
                }
            }
        }
    }

    /// Takes over what nobody settled for the processing timeout: at once, and then at each interval.
    pub(crate) async fn claim_abandoned(&self, redelivery: Redelivery) {
        loop {
            if let Err(failure) = self.claim_once(redelivery.processing_timeout).await
                && let Err(failure) = self.group.heal(failure).await
            {
                tracing::debug!(error = failure.text(), "abandoned messages could not be looked for");
            }
            tokio::time::sleep(redelivery.interval).await;
        }
    }

    async fn claim_once(&self, idle: Duration) -> Result<(), Failure> {
        let mut start = "-".to_owned();
        loop {
            while self.inbox().ready() >= self.settings.queue_depth {
                tokio::time::sleep(FULL_PAUSE).await;
            }
            let page = self.group.pending(&start, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            start = following(&last.id);
            let is_last = page.len() < PAGE;
            let held = self.inbox().held();
            let mut abandoned = page;
            abandoned.retain(|pending| pending.idle >= idle && !held.contains(&pending.id));
            self.claim(&abandoned, idle).await?;
            if is_last {
                return Ok(());
            }
        }
    }

    async fn claim(&self, abandoned: &[Pending], idle: Duration) -> Result<(), Failure> {
        if abandoned.is_empty() {
            return Ok(());
        }
        let ids: Vec<String> = abandoned.iter().map(|pending| pending.id.clone()).collect();
        let answer = self.group.claim(&ids, idle).await?;
        let has_deleted = answer.iter().any(Option::is_none);
        let mut entries: Vec<Entry> = answer.into_iter().flatten().collect();
        for entry in &mut entries {
            let pending = abandoned.iter().find(|pending| pending.id == entry.id);
            entry.redelivered = pending.map_or(1, |pending| pending.delivered);
        }
        let missing = ids.iter().filter(|id| entries.iter().all(|entry| entry.id != **id));
        let missing: Vec<String> = missing.cloned().collect();
        self.arrived(entries);
        if has_deleted {
            self.forget_deleted(&missing).await?;
        }
        Ok(())
    }

    /// Before Redis 7 a deleted message stays pending for ever. One that is merely missing from an answer may have been
    /// claimed by somebody else, so each is looked at alone.
    async fn forget_deleted(&self, missing: &[String]) -> Result<(), Failure> {
        for id in missing {
            let one = std::slice::from_ref(id);
            let claimed = self.group.claim(one, Duration::ZERO).await?;
            match claimed.into_iter().next() {
                Some(None) => self.group.acknowledge(&self.group.context, one).await?,
                Some(Some(entry)) => self.arrived(vec![entry]),
                None => {}
            }
        }
        Ok(())
    }
}

/// The smallest entry id after this one.
fn following(id: &str) -> String {
    let (millis, number) = id.split_once('-').unwrap_or((id, "0"));
    match number.parse::<u64>().ok().and_then(|number| number.checked_add(1)) {
        Some(number) => format!("{millis}-{number}"),
        None => format!("{}-0", millis.parse::<u64>().unwrap_or(0).saturating_add(1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_begins_after_the_last_id() {
        assert_eq!(following("1700-4"), "1700-5");
        assert_eq!(following(&format!("1700-{}", u64::MAX)), "1701-0");
    }
}
