//! Notices a subscription that silently stopped, says so in the component's health, and starts it anew.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use mecha_plugin_api::{Error, Result};

use super::feed::Feed;
use super::ledger::Partition;
use super::source;

/// How often the thread is looked at.
const INTERVAL: Duration = Duration::from_secs(2);
/// How long the thread may show no life: longer than everything that it waits for.
const SILENCE: Duration = Duration::from_secs(30);
/// How long nothing must come before the brokers are asked whether something should have.
const QUIET: Duration = Duration::from_secs(30);

/// Looks after a subscription's thread for as long as the subscription exists.
pub(super) async fn watch(feed: Weak<Feed>) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        let Some(feed) = feed.upgrade() else { return };
        if feed.is_stopping() {
            return;
        }
        if feed.silence() >= SILENCE {
            replace(&feed);
        }
    }
}

/// The old thread ends by itself if it ever wakes; what was out comes again.
fn replace(feed: &Arc<Feed>) {
    let silent = feed.silence();
    tracing::warn!(topics = ?feed.topics, ?silent, "a kafka subscription hangs and is started anew");
    feed.fail(Error::unavailable(format!("the subscription showed no life for {silent:?}")));
    // The queues belong to the old client, which its thread holds: dropping them here ends nothing.
    let queues = feed.ledger().clear();
    source::start(feed);
    drop(queues);
}

/// Finds partitions that have messages and give none.
#[derive(Default)]
pub(super) struct Stall {
    checked: Option<Instant>,
    /// What a partition ended with when it was found to be behind.
    behind: HashMap<Partition, i64>,
}

impl Stall {
    /// Whether it is so quiet that the brokers should be asked.
    pub(super) fn is_due(&self, feed: &Feed) -> bool {
        let is_recent = |at: Instant| at.elapsed() < QUIET;
        let ledger = feed.ledger();
        !self.checked.is_some_and(is_recent) && !is_recent(ledger.last_arrival()) && ledger.unsettled() == 0
    }

    /// Fails when a partition has been behind twice and more came to it meanwhile: ends of transactions also lie between
    /// the last message and the end, but they do not grow in number without messages.
    pub(super) fn check(&mut self, feed: &Feed, ends: Vec<(Partition, i64)>) -> Result<()> {
        self.checked = Some(Instant::now());
        let positions: HashMap<Partition, i64> = feed.ledger().positions().into_iter().collect();
        match self.stalled(&positions, ends) {
            None => Ok(()),
            Some(Partition { topic, number }) => {
                let message = format!("partition {number} of {topic} has messages and gives none");
                Err(Error::unavailable(message))
            }
        }
    }

    fn stalled(
        &mut self,
        positions: &HashMap<Partition, i64>,
        ends: Vec<(Partition, i64)>,
    ) -> Option<Partition> {
        let mut stalled = None;
        for (partition, end) in ends {
            let is_behind = positions.get(&partition).is_some_and(|position| *position < end);
            if !is_behind {
                self.behind.remove(&partition);
                continue;
            }
            match self.behind.insert(partition.clone(), end) {
                Some(before) if before < end => stalled = Some(partition),
                Some(_) | None => {}
            }
        }
        stalled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_that_grows_and_gives_nothing_has_stalled() {
        let partition = Partition { topic: "t".to_owned(), number: 0 };
        let positions: HashMap<_, _> = [(partition.clone(), 5)].into();
        let mut stall = Stall::default();
        let mut check =
            |positions: &HashMap<_, _>, end| stall.stalled(positions, vec![(partition.clone(), end)]);
        assert_eq!(check(&positions, 5), None);
        assert_eq!(check(&positions, 6), None, "it may be the end of a transaction");
        assert_eq!(check(&positions, 6), None);
        assert_eq!(check(&positions, 9), Some(partition.clone()));
        assert_eq!(check(&[(partition.clone(), 12)].into(), 12), None);
        assert_eq!(check(&[(partition.clone(), 12)].into(), 13), None);
    }
}
