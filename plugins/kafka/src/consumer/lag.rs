//! How many messages wait: what the partitions end with, less what the group committed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mecha_plugin_api::{Error, Result};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaResult;
use rdkafka::topic_partition_list::Offset;

use super::ledger::Partition;
use super::partition::{list, offsets};
use crate::client::{Cluster, Observer, REACH, creation_error};
use crate::error;
use crate::metadata::InitialOffset;

/// Where each partition ends. Blocks.
pub(super) fn ends<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    partitions: &[Partition],
) -> KafkaResult<Vec<(Partition, i64)>> {
    bounds(consumer, partitions, Offset::End)
}

/// Where each partition begins. Blocks.
pub(super) fn starts<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    partitions: &[Partition],
) -> KafkaResult<Vec<(Partition, i64)>> {
    bounds(consumer, partitions, Offset::Beginning)
}

fn bounds<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    partitions: &[Partition],
    which: Offset,
) -> KafkaResult<Vec<(Partition, i64)>> {
    if partitions.is_empty() {
        return Ok(Vec::new());
    }
    let asked = list(partitions.iter().map(|partition| (partition, which)));
    consumer.offsets_for_times(asked, REACH).map(|found| offsets(&found))
}

impl ConsumerContext for Observer {}

/// Counts for one component, with a client that never joins the group.
pub(crate) struct Lookout {
    cluster: Cluster,
    consumer: Mutex<Option<Arc<Ended>>>,
}

/// A client whose end is waited for on a thread of its own: it blocks.
struct Ended(Option<BaseConsumer<Observer>>);

impl Drop for Ended {
    fn drop(&mut self) {
        let consumer = self.0.take();
        // Without a thread it ends here, late but completely.
        let _ = std::thread::Builder::new().name("kafka-end".to_owned()).spawn(move || drop(consumer));
    }
}

impl Lookout {
    pub(crate) fn new(cluster: Cluster) -> Self {
        Self { cluster, consumer: Mutex::default() }
    }

    /// The messages of a topic that the group has not finished.
    pub(crate) async fn backlog(&self, topic: &str) -> Result<u64> {
        let consumer = self.consumer()?;
        let (topic, initial) = (topic.to_owned(), self.cluster.settings.initial_offset);
        let counting = tokio::task::spawn_blocking(move || match &consumer.0 {
            Some(consumer) => count(consumer, &topic, initial),
            None => Err(Error::internal("the component is closed")),
        });
        counting.await.unwrap_or_else(|_| Err(Error::internal("counting ended abnormally")))
    }

    fn consumer(&self) -> Result<Arc<Ended>> {
        let mut held = self.consumer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(consumer) = &*held {
            return Ok(consumer.clone());
        }
        let config = self.cluster.lookout_config();
        let made = BaseConsumer::from_config_and_context(&config, self.cluster.observer());
        let made = Arc::new(Ended(Some(made.map_err(|error| creation_error(&error))?)));
        *held = Some(made.clone());
        Ok(made)
    }
}

fn count(consumer: &BaseConsumer<Observer>, topic: &str, initial: InitialOffset) -> Result<u64> {
    let failed = |refusal: &_| error::error(&format!("cannot count the backlog of {topic}"), refusal);
    // Serves what came up since the last time: errors, log lines, tokens.
    for _ in 0..64 {
        drop(consumer.poll(Duration::ZERO));
    }
    let metadata = consumer.fetch_metadata(Some(topic), REACH).map_err(|error| failed(&error))?;
    let found = metadata.topics().iter().find(|found| found.name() == topic);
    let numbers = found.into_iter().flat_map(|found| found.partitions()).map(|partition| partition.id());
    let partitions: Vec<Partition> =
        numbers.map(|number| Partition { topic: topic.to_owned(), number }).collect();
    if partitions.is_empty() {
        return Ok(0);
    }
    let ends = ends(consumer, &partitions).map_err(|error| failed(&error))?;
    let asked = list(partitions.iter().map(|partition| (partition, Offset::Invalid)));
    let committed = consumer.committed_offsets(asked, REACH).map_err(|error| failed(&error))?;
    let mut reached = offsets(&committed);
    let is_new = |partition: &&Partition| reached.iter().all(|(known, _)| known != *partition);
    let new: Vec<Partition> = partitions.iter().filter(is_new).cloned().collect();
    let begun = match initial {
        InitialOffset::Newest => Ok(Vec::new()),
        InitialOffset::Oldest => starts(consumer, &new),
    };
    reached.extend(begun.map_err(|error| failed(&error))?);
    Ok(waiting(&ends, &reached))
}

/// A partition whose place is not known counts nothing.
fn waiting(ends: &[(Partition, i64)], reached: &[(Partition, i64)]) -> u64 {
    let of = |(partition, end): &(Partition, i64)| {
        let place = reached.iter().find(|(known, _)| known == partition).map(|(_, offset)| *offset)?;
        u64::try_from(end - place).ok()
    };
    ends.iter().filter_map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_is_what_lies_between_the_group_and_the_end() {
        let partition = |number| Partition { topic: "t".to_owned(), number };
        let ends = [(partition(0), 10), (partition(1), 5), (partition(2), 7)];
        assert_eq!(waiting(&ends, &[(partition(0), 4), (partition(1), 6)]), 6);
    }
}
