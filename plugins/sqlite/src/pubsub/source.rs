//! One subscription, as the host pulls from it: messages are lent to it, and it says from time to time that it still has them.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mecha_plugin_api::source::{Delivery, Outcome, Settlement, Source};
use mecha_plugin_api::{CallContext, Error, RString, Result};
use rusqlite::Connection;
use tokio::sync::{Notify, oneshot};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::hub::{Hub, millis, now};
use super::settings::Settings;
use super::topics::{Claim, Claimed, Found, GroupId, Lease, MessageId, Topics, UnixMillis};
use crate::client::Client;

/// The pause before a message comes again, when the host leaves it to the broker; doubled with each delivery.
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LONGEST_RETRY: Duration = Duration::from_secs(10);

/// What the source has of the group's messages.
#[derive(Default)]
struct Held {
    /// Lent, but the pull that asked for them has gone: for the next one.
    buffer: VecDeque<Claimed>,
    /// Handed out, each with how often it was delivered before.
    out: HashMap<MessageId, u32>,
    next_at: Option<UnixMillis>,
    is_closed: bool,
}

/// What the source and its heartbeat share.
struct Loan {
    client: Arc<Client>,
    topics: Arc<Topics>,
    group: GroupId,
    lease: Lease,
    visibility_timeout: Duration,
    max_deliveries: Option<u32>,
    is_strict: bool,
    held: Mutex<Held>,
}

/// A source over one group.
pub(crate) struct SqliteSource {
    loan: Arc<Loan>,
    topic: RString,
    hub: Arc<Hub>,
    wake: Arc<Notify>,
    heartbeat: AbortHandle,
}

impl SqliteSource {
    pub(crate) fn new(
        client: Arc<Client>,
        topics: Arc<Topics>,
        hub: Arc<Hub>,
        settings: &Settings,
        (topic, group, is_strict): (RString, GroupId, bool),
    ) -> Self {
        let (lease, _) = uuid::Uuid::new_v4().as_u64_pair();
        let loan = Arc::new(Loan {
            client,
            topics,
            group,
            lease: lease.cast_signed(),
            visibility_timeout: settings.visibility_timeout,
            max_deliveries: settings.max_deliveries,
            is_strict,
            held: Mutex::default(),
        });
        let wake = hub.listen(&topic);
        let heartbeat = tokio::spawn(keep_alive(loan.clone())).abort_handle();
        Self { loan, topic, hub, wake, heartbeat }
    }

    /// What was lent before, or what a look into the file brings; and when to look again.
    async fn take(&self, max: u32) -> Result<(Vec<Delivery>, Option<UnixMillis>)> {
        if self.loan.held().is_closed {
            return Err(Error::unavailable("the subscription is closed").with_retriable(false));
        }
        if self.loan.held().buffer.is_empty() {
            self.loan.clone().borrow(max).await?;
        }
        let mut held = self.loan.held();
        let count = held.buffer.len().min(max as usize);
        let taken: Vec<Claimed> = held.buffer.drain(..count).collect();
        held.out.extend(taken.iter().map(|message| (message.id, message.redelivered)));
        let next_at = held.next_at;
        drop(held);
        Ok((taken.into_iter().map(|message| self.delivery(message)).collect(), next_at))
    }

    fn delivery(&self, message: Claimed) -> Delivery {
        Delivery {
            id: message.id.cast_unsigned(),
            redelivered: message.redelivered,
            ordering_key: if self.loan.is_strict { self.topic.clone() } else { RString::new() },
            topic: self.topic.clone(),
            data: message.data.into(),
            content_type: message.content_type.into(),
            metadata: message.metadata,
        }
    }

    /// Gives back what is not settled; queued at once, told when it is done.
    fn leave(&self) -> Option<oneshot::Receiver<Result<()>>> {
        self.heartbeat.abort();
        if std::mem::replace(&mut self.loan.held().is_closed, true) {
            return None;
        }
        let (told, done) = oneshot::channel();
        let (loan, hub, topic) = (self.loan.clone(), self.hub.clone(), self.topic.clone());
        self.loan.client.write_then(
            // What was queued before has been lent by now, so that this gives back everything.
            move |connection| loan.give_back(connection),
            move |result| {
                hub.wake(&topic);
                // Nobody listens when the source was dropped without being closed.
                let _ = told.send(result);
            },
        );
        Some(done)
    }
}

impl Drop for SqliteSource {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Source for SqliteSource {
    async fn next(&self, _context: &CallContext, max: u32, wait: Duration) -> Result<Vec<Delivery>> {
        let deadline = Instant::now() + wait;
        loop {
            let mut woken = std::pin::pin!(self.wake.notified());
            woken.as_mut().enable();
            let (taken, next_at) = self.take(max).await?;
            if !taken.is_empty() {
                return Ok(taken);
            }
            let until = next_at.map_or(deadline, |at| (Instant::now() + until(at)).min(deadline));
            tokio::select! {
                () = woken => {}
                () = tokio::time::sleep_until(until) => {
                    if until == deadline {
                        return Ok(Vec::new());
                    }
                }
            }
        }
    }

    async fn settle(&self, _context: &CallContext, settlements: Vec<Settlement>) -> Result<()> {
        let others_wait =
            self.loan.is_strict || settlements.iter().any(|settled| settled.outcome == Outcome::RETRY);
        let loan = self.loan.clone();
        let settled = loan.no_longer_out(settlements);
        let result = self.loan.client.write(false, move |connection| {
            settled
                .iter()
                .try_for_each(|(settlement, redelivered)| loan.settle(connection, settlement, *redelivered))
        });
        let result = result.await;
        if others_wait {
            self.hub.wake(&self.topic);
        }
        result
    }

    async fn close(&self, _context: &CallContext) -> Result<()> {
        let Some(done) = self.leave() else { return Ok(()) };
        self.loan.client.answer(done).await
    }
}

impl Loan {
    /// Has messages lent to the source. They go into the buffer even when the caller has gone meanwhile.
    async fn borrow(self: Arc<Self>, max: u32) -> Result<()> {
        let (told, answer) = oneshot::channel();
        let (lender, buffer) = (self.clone(), self.clone());
        self.client.write_then(
            move |connection| lender.claim(connection, max),
            move |result: Result<Found>| {
                // A send fails when the caller has gone; the messages are in the buffer.
                let _ = told.send(result.map(|found| buffer.keep(found)));
            },
        );
        self.client.answer(answer).await
    }

    fn claim(&self, connection: &Connection, max: u32) -> Result<Found> {
        if self.held().is_closed {
            return Ok(Found::default());
        }
        let now = now();
        let claim = Claim {
            group: self.group,
            lease: self.lease,
            max,
            now,
            leased_until: now + millis(self.visibility_timeout),
            max_deliveries: self.max_deliveries,
            is_strict: self.is_strict,
        };
        self.topics.claim(connection, claim)
    }

    fn keep(&self, found: Found) {
        if found.died > 0 {
            let messages = found.died;
            tracing::warn!(messages, "messages were delivered too often and count as dead");
        }
        let mut held = self.held();
        held.next_at = found.next_at;
        held.buffer.extend(found.messages);
    }

    /// From here on the heartbeat leaves them alone: if the settlement fails, they come again when their time is over.
    fn no_longer_out(&self, settlements: Vec<Settlement>) -> Vec<(Settlement, u32)> {
        let mut held = self.held();
        let known = settlements.into_iter().filter_map(|settlement| {
            let redelivered = held.out.remove(&settlement.id.cast_signed())?;
            Some((settlement, redelivered))
        });
        known.collect()
    }

    fn settle(&self, connection: &Connection, settlement: &Settlement, redelivered: u32) -> Result<()> {
        let id = settlement.id.cast_signed();
        let is_last = self.max_deliveries.is_some_and(|most| redelivered + 1 >= most);
        match settlement.outcome {
            Outcome::RETRY if !is_last => {
                let delay = match settlement.delay_ns {
                    0 => retry_delay(redelivered),
                    nanoseconds => Duration::from_nanos(nanoseconds),
                };
                self.topics.retry(connection, (self.group, self.lease), id, now() + millis(delay))
            }
            Outcome::ACK => self.topics.acknowledge(connection, self.group, id),
            _ if self.max_deliveries.is_some() => self.topics.bury(connection, self.group, id, now()),
            _ => self.topics.acknowledge(connection, self.group, id),
        }
    }

    fn ids(&self) -> Vec<MessageId> {
        let held = self.held();
        held.out.keys().copied().chain(held.buffer.iter().map(|message| message.id)).collect()
    }

    fn give_back(&self, connection: &Connection) -> Result<()> {
        let ids = self.ids();
        ids.into_iter().try_for_each(|id| self.topics.give_back(connection, (self.group, self.lease), id))
    }

    fn extend(&self, connection: &Connection) -> Result<()> {
        let until = now() + millis(self.visibility_timeout);
        let ids = self.ids();
        ids.into_iter().try_for_each(|id| self.topics.extend(connection, (self.group, self.lease), id, until))
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says three times per visibility timeout that what is out is being worked on.
async fn keep_alive(loan: Arc<Loan>) {
    let mut ticks = tokio::time::interval(loan.visibility_timeout / 3);
    loop {
        ticks.tick().await;
        if loan.ids().is_empty() {
            continue;
        }
        let extending = loan.clone();
        let extended = loan.client.write(false, move |connection| extending.extend(connection));
        if let Err(error) = extended.await {
            tracing::warn!(%error, "cannot tell that messages are still worked on: they may come again");
        }
    }
}

/// How long it is until then.
fn until(at: UnixMillis) -> Duration {
    // One more: what is due at a millisecond is there when it has begun.
    Duration::from_millis(u64::try_from(at - now() + 1).unwrap_or_default())
}

fn retry_delay(redelivered: u32) -> Duration {
    FIRST_RETRY.saturating_mul(1 << redelivered.min(10)).min(LONGEST_RETRY)
}
