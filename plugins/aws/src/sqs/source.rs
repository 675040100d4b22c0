//! A subscription as the host pulls from it, and what becomes of a message when it is settled.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName;
use mecha_plugin_api::source::{Delivery, Outcome, Settlement, Source};
use mecha_plugin_api::{CallContext, RString, Result};
use tokio::task::JoinSet;
use tracing::Instrument as _;

use super::feed::Feed;
use super::inbox::Released;
use crate::span;

/// A busy queue answers the last receives at once; those of an idle one are cut off after this, when the source closes.
const LAST_RECEIVE: Duration = Duration::from_secs(5);
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// An open subscription to one queue.
pub(crate) struct SqsSource {
    feed: Arc<Feed>,
    reading: Mutex<JoinSet<()>>,
    /// Ends with this value.
    _heartbeat: JoinSet<()>,
}

/// What is asked of SQS to settle messages.
#[derive(Default)]
struct Plan {
    deleted: Vec<String>,
    hidden: Vec<(String, Duration)>,
    rejected: Vec<Released>,
}

impl SqsSource {
    /// Starts reading ahead.
    pub(crate) fn start(feed: Feed) -> Self {
        let feed = Arc::new(feed);
        let (mut reading, mut heartbeat) = (JoinSet::new(), JoinSet::new());
        let task = feed.clone();
        reading.spawn(async move { task.read().await });
        let task = feed.clone();
        heartbeat.spawn(async move { task.beat().await });
        Self { feed, reading: Mutex::new(reading), _heartbeat: heartbeat }
    }

    fn take(&self, max: u32) -> Vec<Delivery> {
        let taken = self.feed.inbox().take(usize::try_from(max).unwrap_or(usize::MAX));
        if !taken.is_empty() {
            self.feed.room.notify_one();
        }
        taken
    }

    /// From here on nothing of the settled messages is held, so the heartbeat leaves them alone.
    fn plan(&self, settlements: Vec<Settlement>) -> Plan {
        let mut plan = Plan::default();
        let mut again: Vec<RString> = Vec::new();
        let mut inbox = self.feed.inbox();
        for settlement in settlements {
            let Some(released) = inbox.release(settlement.id) else { continue };
            match settlement.outcome {
                Outcome::ACK => plan.deleted.push(released.receipt),
                Outcome::REJECT => plan.rejected.push(released),
                _ => {
                    plan.hidden
                        .push((released.receipt, self.pause(settlement.delay_ns, released.redelivered)));
                    if !released.group.is_empty() && !again.contains(&released.group) {
                        again.push(released.group);
                    }
                }
            }
        }
        for group in again {
            let ahead = inbox.release_group(&group).into_iter();
            plan.hidden.extend(ahead.map(|released| (released.receipt, Duration::ZERO)));
        }
        plan
    }

    /// How long a message rests before it comes again: as told, or longer each time.
    fn pause(&self, delay_ns: u64, redelivered: u32) -> Duration {
        match delay_ns {
            0 => {
                (FIRST_RETRY * 2_u32.saturating_pow(redelivered.min(16))).min(self.feed.receiving.visibility)
            }
            nanos => Duration::from_nanos(nanos),
        }
    }

    /// With a dead-letter policy a rejected message is left to it: it shows again at once, and counts as received. Without
    /// one it is deleted.
    async fn settle_rejected(&self, plan: &mut Plan) {
        if plan.rejected.is_empty() {
            return;
        }
        let policy = self.feed.queue.attribute(QueueAttributeName::RedrivePolicy).await;
        let has_policy = match policy {
            Ok(policy) => policy.is_some_and(|policy| !policy.is_empty()),
            Err(failure) => {
                tracing::warn!(queue = %self.feed.queue.name, "cannot ask for the dead-letter policy: {failure}");
                true
            }
        };
        for released in std::mem::take(&mut plan.rejected) {
            if has_policy {
                self.feed.reject(released.message_id);
                plan.hidden.push((released.receipt, Duration::ZERO));
            } else {
                plan.deleted.push(released.receipt);
            }
        }
    }

    async fn give_back(&self) {
        let held = self.feed.inbox().clear();
        self.hide(held.into_iter().map(|released| (released.receipt, Duration::ZERO)).collect()).await;
    }

    async fn hide(&self, hidden: Vec<(String, Duration)>) {
        if hidden.is_empty() {
            return;
        }
        let _hiding = self.feed.hiding.lock().await;
        if let Some((_, failure)) = self.feed.queue.hide(hidden).await.first() {
            // They come again all the same, when the time they were last hidden for is over.
            tracing::warn!(queue = %self.feed.queue.name, "cannot set when messages come again: {failure}");
        }
    }
}

impl Source for SqsSource {
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

    async fn settle(&self, context: &CallContext, settlements: Vec<Settlement>) -> Result<()> {
        let mut plan = self.plan(settlements);
        // A group that is done with may have more waiting here.
        self.feed.ready.notify_one();
        self.feed.room.notify_one();
        self.settle_rejected(&mut plan).await;
        let Plan { deleted, hidden, .. } = plan;
        let span = span::settle(context, &self.feed.queue.name, deleted.len());
        let deleting =
            async { if deleted.is_empty() { Ok(()) } else { self.feed.queue.delete(deleted).await } };
        let (deleted, ()) = tokio::join!(deleting.instrument(span.clone()), self.hide(hidden));
        span::record(&span, deleted.as_ref().err());
        deleted.map_err(|failure| failure.into_error(&format!("cannot delete from {}", self.feed.queue.name)))
    }

    async fn close(&self, _context: &CallContext) -> Result<()> {
        let mut reading = std::mem::take(&mut *self.reading.lock().unwrap_or_else(PoisonError::into_inner));
        self.feed.stop();
        // What is given back may come to our own last receives, so those are waited for, and give back in turn. What one
        // that is cut off still takes comes again when its hidden time is over.
        self.give_back().await;
        let _ = tokio::time::timeout(LAST_RECEIVE, reading.join_next()).await;
        reading.shutdown().await;
        self.give_back().await;
        Ok(())
    }
}
