//! One subscription, as the host pulls from it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use mecha_plugin_api::source::{Delivery, Settlement, Source};
use mecha_plugin_api::{CallContext, Error, RString, Result};
use tokio::time::Instant;

use super::bus::{Bus, Membership, Taken};

/// A source over one group.
pub(crate) struct MemorySource {
    bus: Arc<Bus>,
    membership: Membership,
    /// How many may be out at once.
    most_out: usize,
    out: AtomicUsize,
    is_closed: AtomicBool,
}

impl MemorySource {
    pub(crate) fn new(bus: Arc<Bus>, membership: Membership, max_in_flight: u32) -> Self {
        let most_out = if max_in_flight == 0 { usize::MAX } else { max_in_flight as usize };
        Self { bus, membership, most_out, out: AtomicUsize::new(0), is_closed: AtomicBool::new(false) }
    }

    fn take(&self, max: u32) -> Result<Taken> {
        let room = self.most_out.saturating_sub(self.out.load(Ordering::Acquire));
        let taken = self.bus.take(&self.membership, room.min(max as usize));
        let taken = taken.filter(|_| !self.is_closed.load(Ordering::Acquire));
        let taken =
            taken.ok_or_else(|| Error::unavailable("the subscription is closed").with_retriable(false))?;
        self.out.fetch_add(taken.entries.len(), Ordering::AcqRel);
        Ok(taken)
    }

    fn leave(&self) {
        if !self.is_closed.swap(true, Ordering::AcqRel) {
            self.bus.unsubscribe(&self.membership);
        }
    }
}

impl Drop for MemorySource {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Source for MemorySource {
    async fn next(&self, _context: &CallContext, max: u32, wait: Duration) -> Result<Vec<Delivery>> {
        let deadline = Instant::now() + wait;
        loop {
            let mut woken = std::pin::pin!(self.membership.wake.notified());
            woken.as_mut().enable();
            let taken = self.take(max)?;
            if !taken.entries.is_empty() {
                return Ok(deliveries(taken));
            }
            let until = taken.next_due.map_or(deadline, |due| due.min(deadline));
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
        let settled = self.bus.settle(&self.membership, &settlements);
        self.out.fetch_sub(settled, Ordering::AcqRel);
        if self.most_out != usize::MAX {
            self.membership.wake.notify_waiters();
        }
        Ok(())
    }

    async fn close(&self, _context: &CallContext) -> Result<()> {
        self.leave();
        Ok(())
    }
}

fn deliveries(taken: Taken) -> Vec<Delivery> {
    let topic = RString::from(taken.topic);
    let ordering_key = if taken.is_strict { topic.clone() } else { RString::new() };
    let deliveries = taken.entries.into_iter().map(|(sequence, entry)| Delivery {
        id: sequence,
        redelivered: entry.redelivered,
        ordering_key: ordering_key.clone(),
        topic: topic.clone(),
        data: entry.message.data.clone().into(),
        content_type: entry.message.content_type.clone(),
        metadata: entry.message.metadata.clone(),
    });
    deliveries.collect()
}
