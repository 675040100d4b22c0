//! A subscription as the host pulls from it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mecha_plugin_api::source::{Delivery, Outcome, Settlement, Source};
use mecha_plugin_api::{CallContext, Error, Result};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::feed::Feed;
use super::ledger::Verdict;
use super::{member, watchdog};

/// How long a subscription waits for its place in the group before it goes on without: the next rebalance may take longer.
const JOIN_LIMIT: Duration = Duration::from_secs(10);
/// How long leaving the group may take.
const LEAVE_LIMIT: Duration = Duration::from_secs(10);

/// An open subscription.
pub(crate) struct GroupSource {
    feed: Arc<Feed>,
    ended: Mutex<Option<oneshot::Receiver<()>>>,
    /// Ends with this value.
    _watchdog: JoinSet<()>,
}

/// Starts a thread for the subscription; any earlier one ends. The receiver hears of its end.
pub(super) fn start(feed: &Arc<Feed>) -> Option<oneshot::Receiver<()>> {
    let generation = feed.next_generation();
    let (ending, ended) = oneshot::channel();
    let running = feed.clone();
    let thread = std::thread::Builder::new().name("kafka-member".to_owned()).spawn(move || {
        member::run(&running, generation);
        drop(running);
        // Nobody waits when the subscription was dropped.
        let _ = ending.send(());
    });
    match thread {
        Ok(_) => Some(ended),
        Err(error) => {
            feed.fail(Error::internal(format!("cannot start a thread: {error}")).with_retriable(true));
            None
        }
    }
}

impl GroupSource {
    /// Joins the group; the subscription has its partitions when this returns, unless others are slow to give them up.
    pub(crate) async fn open(feed: Arc<Feed>) -> Result<Self> {
        let ended = start(&feed);
        let mut background = JoinSet::new();
        background.spawn(watchdog::watch(Arc::downgrade(&feed)));
        // Made before it has joined, so that the thread ends if the call is given up.
        let source = Self { feed, ended: Mutex::new(ended), _watchdog: background };
        let give_up = tokio::time::Instant::now() + JOIN_LIMIT;
        while !source.feed.is_joined() {
            if let Some(trouble) = source.feed.trouble() {
                return Err(trouble);
            }
            if tokio::time::timeout_at(give_up, source.feed.opened.notified()).await.is_err() {
                break;
            }
        }
        Ok(source)
    }

    fn take(&self, max: u32) -> Vec<Delivery> {
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        self.feed.ledger().take(max, self.feed.limit, Instant::now())
    }

    fn verdict(&self, settlement: &Settlement) -> Verdict {
        match settlement.outcome {
            // Kafka has no dead letters of its own: what is rejected is done.
            Outcome::ACK | Outcome::REJECT => Verdict::Done,
            _ => Verdict::Again(self.feed.cluster.settings.retry.map(|interval| match settlement.delay_ns {
                0 => interval,
                nanos => Duration::from_nanos(nanos),
            })),
        }
    }
}

impl Source for GroupSource {
    async fn next(&self, _context: &CallContext, max: u32, wait: Duration) -> Result<Vec<Delivery>> {
        let now = Instant::now();
        let end = now.checked_add(wait).unwrap_or(now + Duration::from_secs(3600));
        loop {
            // Registered before looking: what comes in between must wake it.
            let ready = self.feed.ready.notified();
            let deliveries = self.take(max);
            if !deliveries.is_empty() {
                return Ok(deliveries);
            }
            if Instant::now() >= end {
                // Only a quiet subscription tells of trouble: while messages come there is none.
                return self.feed.trouble().map_or(Ok(deliveries), Err);
            }
            let due = self.feed.ledger().next_due();
            let until = due.map_or(end, |due| due.min(end));
            // Late or not, the next look tells.
            let _ = tokio::time::timeout_at(until.into(), ready).await;
        }
    }

    async fn settle(&self, _context: &CallContext, settlements: Vec<Settlement>) -> Result<()> {
        let verdicts: Vec<(u64, Verdict)> =
            settlements.iter().map(|settlement| (settlement.id, self.verdict(settlement))).collect();
        let settled = self.feed.ledger().settle(&verdicts, Instant::now());
        for (partition, offset) in &settled.given_up {
            let (topic, number) = (partition.topic.as_str(), partition.number);
            tracing::warn!(topic, partition = number, offset, "a message failed and is not tried again");
        }
        self.feed.settled();
        self.feed.ready.notify_one();
        Ok(())
    }

    async fn close(&self, _context: &CallContext) -> Result<()> {
        self.feed.stop();
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(ended) = ended else { return Ok(()) };
        match tokio::time::timeout(LEAVE_LIMIT, ended).await {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::unavailable("leaving the consumer group takes long and goes on by itself")),
        }
    }
}

impl Drop for GroupSource {
    fn drop(&mut self) {
        self.feed.stop();
    }
}
