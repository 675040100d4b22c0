//! Reads ahead from one queue: long polls, as many at once as the queue can fill, and the heartbeat that keeps hidden what is
//! held.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use mecha_plugin_api::{Error, ErrorKind};
use tokio::sync::Notify;

use super::inbox::Inbox;
use super::incoming::{self, Incoming};
use super::queue::Queue;
use super::settings::Receiving;
use crate::error::Failure;

/// Most receives at the same time: more answers than one are fetched only while every answer is full.
const MOST_POLLS: usize = 4;
/// Messages that wait behind their groups do not hold up others, up to this many.
const MOST_HELD_BACK: usize = 200;
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(20);
const MOST_REJECTED: usize = 1000;
/// Between the receives that take a rejected message to its dead-letter queue.
const REJECTED_PAUSE: Duration = Duration::from_secs(1);

/// What is shared by the tasks of one subscription.
pub(crate) struct Feed {
    pub(crate) queue: Arc<Queue>,
    pub(crate) topic: String,
    pub(crate) receiving: Receiving,
    inbox: Mutex<Inbox>,
    rejected: Mutex<Rejected>,
    trouble: Mutex<Option<Error>>,
    /// There may be something to hand out, or trouble to tell.
    pub(crate) ready: Notify,
    /// There may be room to fetch more.
    pub(crate) room: Notify,
    stopping: AtomicBool,
    /// Held while hidden times are changed: a late heartbeat must not undo the delay of a retry.
    pub(crate) hiding: tokio::sync::Mutex<()>,
}

impl Feed {
    pub(crate) fn new(queue: Arc<Queue>, topic: String, receiving: Receiving) -> Self {
        Self {
            queue,
            topic,
            receiving,
            inbox: Mutex::default(),
            rejected: Mutex::default(),
            trouble: Mutex::default(),
            ready: Notify::new(),
            room: Notify::new(),
            stopping: AtomicBool::new(false),
            hiding: tokio::sync::Mutex::default(),
        }
    }

    pub(crate) fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What went wrong since this was last asked.
    pub(crate) fn trouble(&self) -> Option<Error> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Ends reading after the receives that are under way.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.room.notify_one();
    }

    /// Notes a message that the application never wants to see again.
    pub(crate) fn reject(&self, message_id: String) {
        self.rejected.lock().unwrap_or_else(PoisonError::into_inner).add(message_id);
    }

    /// Receives until stopped, or until the queue is gone.
    pub(crate) async fn read(&self) {
        let mut polls = FuturesUnordered::new();
        let (mut wanted, mut pause) = (1, FIRST_PAUSE);
        loop {
            let is_stopping = self.stopping.load(Ordering::Acquire);
            while !is_stopping && polls.len() < wanted && self.has_room(polls.len(), wanted) {
                polls.push(self.queue.receive(self.receiving));
            }
            if is_stopping && polls.is_empty() {
                return;
            }
            let received = tokio::select! {
                () = self.room.notified() => continue,
                Some(received) = polls.next() => received,
            };
            match received {
                Ok(messages) => {
                    pause = FIRST_PAUSE;
                    let is_full = messages.len() >= self.receiving.max;
                    wanted = if is_full { (wanted + 1).min(MOST_POLLS) } else { 1 };
                    self.take_in(messages).await;
                }
                Err(failure) => {
                    let is_gone = failure.kind() == ErrorKind::NOT_FOUND;
                    self.tell(failure);
                    if is_gone || is_stopping {
                        return;
                    }
                    wanted = 1;
                    self.rest(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// Keeps hidden what is held, for as long as it is.
    pub(crate) async fn beat(&self) {
        let visibility = self.receiving.visibility;
        let mut ticks = tokio::time::interval(visibility / 4);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let _hiding = self.hiding.lock().await;
            let now = Instant::now();
            let receipts = self.inbox().expiring(now, visibility * 3 / 5);
            if receipts.is_empty() {
                continue;
            }
            let longer = receipts.iter().map(|receipt| (receipt.clone(), visibility)).collect();
            let refused = self.queue.hide(longer).await;
            let missed: HashSet<&String> = refused.iter().map(|(receipt, _)| receipt).collect();
            let extended: Vec<_> = receipts.into_iter().filter(|receipt| !missed.contains(receipt)).collect();
            self.inbox().extend(&extended, now + visibility);
            self.note_missed(&refused);
        }
    }

    /// A message that was settled in the meantime is refused as well, so this is no more than a hint.
    fn note_missed(&self, refused: &[(String, Failure)]) {
        if let Some((_, failure)) = refused.first() {
            let count = refused.len();
            tracing::debug!(queue = %self.queue.name, count, "messages could not be kept hidden: {failure}");
        }
        let lost = self.inbox().drop_expired(Instant::now());
        if lost > 0 {
            tracing::warn!(queue = %self.queue.name, lost, "messages could not be kept hidden and will come again");
        }
    }

    fn has_room(&self, polling: usize, wanted: usize) -> bool {
        let inbox = self.inbox();
        let coming = inbox.ready() + polling * self.receiving.max;
        let room = (wanted - 1) * self.receiving.max + self.receiving.max / 2;
        coming <= room && inbox.held_back() < MOST_HELD_BACK
    }

    async fn take_in(&self, messages: Vec<aws_sdk_sqs::types::Message>) {
        if messages.is_empty() {
            return;
        }
        let hidden_until = Instant::now() + self.receiving.visibility;
        let is_fifo = self.queue.is_fifo();
        let messages =
            messages.into_iter().filter_map(|message| incoming::read(message, &self.topic, is_fifo));
        let (unwanted, messages): (Vec<Incoming>, Vec<Incoming>) =
            messages.partition(|message| self.is_rejected(message));
        self.inbox().add(messages, hidden_until);
        self.ready.notify_one();
        if !unwanted.is_empty() {
            // Received once more, which is what the queue's dead-letter policy counts.
            let shown = unwanted.into_iter().map(|message| (message.receipt, REJECTED_PAUSE)).collect();
            self.queue.hide(shown).await;
        }
    }

    fn is_rejected(&self, message: &Incoming) -> bool {
        self.rejected.lock().unwrap_or_else(PoisonError::into_inner).ids.contains(&message.message_id)
    }

    fn tell(&self, failure: Failure) {
        // A queue that is gone is looked up, or created, by the next subscription; everything else passes by.
        let is_gone = failure.kind() == ErrorKind::NOT_FOUND;
        let error =
            failure.into_error(&format!("cannot receive from {}", self.queue.name)).with_retriable(!is_gone);
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        self.ready.notify_one();
    }

    async fn rest(&self, pause: Duration) {
        // The jitter keeps many processes from coming back at the same moment.
        let pause = pause.mul_f64(0.5 + f64::from(uuid::Uuid::new_v4().as_bytes()[0]) / 512.0);
        let deadline = tokio::time::Instant::now() + pause;
        while !self.stopping.load(Ordering::Acquire) {
            if tokio::time::timeout_at(deadline, self.room.notified()).await.is_err() {
                return;
            }
        }
    }
}

/// The last messages that were rejected, while their queue's dead-letter policy has not yet taken them away.
#[derive(Default)]
struct Rejected {
    ids: HashSet<String>,
    order: VecDeque<String>,
}

impl Rejected {
    fn add(&mut self, id: String) {
        if self.ids.insert(id.clone()) {
            self.order.push_back(id);
        }
        if self.order.len() > MOST_REJECTED
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }
}
