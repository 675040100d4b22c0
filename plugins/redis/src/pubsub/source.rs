//! A subscription as the host pulls from it: hands out what the feed has read, and settles it in the stream's group.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mecha_plugin_api::source::{Delivery, Outcome, Settlement, Source};
use mecha_plugin_api::{CallContext, RString, Result};
use tokio::task::JoinSet;

use super::entry::Entry;
use super::feed::{BLOCK, Feed};

/// A read that could not be woken ends by itself after [`BLOCK`]; one on a broken connection may take longer.
const STOP_LIMIT: Duration = BLOCK.saturating_add(Duration::from_secs(1));

/// An open subscription.
pub(crate) struct StreamSource {
    feed: Arc<Feed>,
    limit: usize,
    reading: Mutex<JoinSet<()>>,
    /// Ends with this value.
    _background: JoinSet<()>,
}

impl StreamSource {
    /// Starts reading ahead; at most `limit` messages are with the application at once.
    pub(crate) fn start(feed: Feed, limit: usize) -> Self {
        let feed = Arc::new(feed);
        let (mut reading, mut background) = (JoinSet::new(), JoinSet::new());
        let task = feed.clone();
        reading.spawn(async move { task.read().await });
        let task = feed.clone();
        background.spawn(async move { task.wake_delayed().await });
        if let Some(redelivery) = feed.settings.redelivery {
            let task = feed.clone();
            background.spawn(async move { task.claim_abandoned(redelivery).await });
            let task = feed.clone();
            background.spawn(async move { task.touch_held(redelivery).await });
        }
        Self { feed, limit, reading: Mutex::new(reading), _background: background }
    }

    fn take(&self, max: u32) -> Vec<Delivery> {
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        let taken = self.feed.inbox().take(max, self.limit);
        if !taken.is_empty() {
            self.feed.room.notify_one();
        }
        taken.into_iter().map(|(id, entry)| self.delivery(id, entry)).collect()
    }

    fn delivery(&self, id: u64, entry: Entry) -> Delivery {
        Delivery {
            id,
            redelivered: entry.redelivered,
            ordering_key: RString::new(),
            topic: self.feed.group.topic.as_str().into(),
            data: entry.data.into(),
            content_type: RString::new(),
            metadata: entry.metadata,
        }
    }

    /// A message that failed is tried again after the delay, or at the pace of redelivery; until then it stays pending in
    /// the server, so that it outlives this process.
    fn retry(&self, settlement: Settlement) {
        let pace = self.feed.settings.redelivery.map(|redelivery| redelivery.interval);
        let delay = match settlement.delay_ns {
            0 => pace,
            nanos => Some(Duration::from_nanos(nanos)),
        };
        match delay.and_then(|delay| Instant::now().checked_add(delay)) {
            Some(due) => {
                self.feed.inbox().delay(settlement.id, due);
                self.feed.delayed.notify_one();
            }
            None => self.feed.inbox().release(settlement.id),
        }
    }
}

impl Source for StreamSource {
    async fn next(&self, _context: &CallContext, max: u32, wait: Duration) -> Result<Vec<Delivery>> {
        let deadline = tokio::time::Instant::now().checked_add(wait);
        loop {
            let deliveries = self.take(max);
            if !deliveries.is_empty() {
                return Ok(deliveries);
            }
            if let Some(trouble) = self.feed.trouble() {
                return Err(trouble);
            }
            let ready = self.feed.ready.notified();
            match deadline {
                None => ready.await,
                Some(deadline) => {
                    if tokio::time::timeout_at(deadline, ready).await.is_err() {
                        return Ok(self.take(max));
                    }
                }
            }
        }
    }

    /// A rejected message is settled like an acknowledged one: Redis has no dead letters.
    async fn settle(&self, context: &CallContext, settlements: Vec<Settlement>) -> Result<()> {
        let (mut done, mut ids) = (Vec::new(), Vec::new());
        for settlement in settlements {
            match settlement.outcome {
                Outcome::ACK | Outcome::REJECT => {
                    let inbox = self.feed.inbox();
                    if let Some(entry) = inbox.entry(settlement.id) {
                        ids.push(entry.id.clone());
                        done.push(settlement.id);
                    }
                }
                _ => self.retry(settlement),
            }
        }
        let acknowledged = self.feed.group.acknowledge(context, &ids).await;
        // Also after a failure: it stays pending in the server then, and is found there like an abandoned one.
        let mut inbox = self.feed.inbox();
        for id in done {
            inbox.release(id);
        }
        drop(inbox);
        self.feed.ready.notify_one();
        acknowledged.map_err(|failure| failure.into_error("cannot acknowledge messages"))
    }

    async fn close(&self, _context: &CallContext) -> Result<()> {
        let mut reading = std::mem::take(&mut *self.reading.lock().unwrap_or_else(PoisonError::into_inner));
        self.feed.stop().await;
        // Past the limit the read is cut off; what it may have taken is found as pending later.
        let _ = tokio::time::timeout(STOP_LIMIT, reading.join_next()).await;
        reading.shutdown().await;
        let held = self.feed.inbox().clear();
        let Some(redelivery) = self.feed.settings.redelivery else { return Ok(()) };
        let given_back = self.feed.group.give_back(&held, redelivery.processing_timeout).await;
        given_back.map_err(|failure| failure.into_error("cannot give back messages"))
    }
}
