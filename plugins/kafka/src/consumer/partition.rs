//! A partition's queue in librdkafka, and lists of partitions in its words.

use std::sync::Arc;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::topic_partition_list::Offset;

use super::ledger::{Partition, Queue};
use super::member::{Consumer, Member};
use crate::message::Incoming;
use crate::metadata::Settings;

/// New messages of one partition.
pub(crate) struct Fetched {
    queue: PartitionQueue<Member>,
    settings: Arc<Settings>,
}

impl Fetched {
    /// Takes the partition's messages out of the common queue; `wake` is called on a thread of librdkafka when there are any.
    pub(crate) fn split(
        consumer: &Arc<Consumer>,
        partition: &Partition,
        settings: Arc<Settings>,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> Option<Self> {
        let mut queue = consumer.split_partition_queue(&partition.topic, partition.number)?;
        queue.set_nonempty_callback(wake);
        Some(Self { queue, settings })
    }
}

impl Queue for Fetched {
    fn pop(&mut self) -> Option<Incoming> {
        // An error here was reported to the member's health as well.
        let message = self.queue.poll(std::time::Duration::ZERO)?.ok()?;
        Some(Incoming::new(&message, &self.settings.headers))
    }
}

pub(crate) fn partitions(list: &TopicPartitionList) -> Vec<Partition> {
    let partition = |topic: &str, number| Partition { topic: topic.to_owned(), number };
    list.elements().iter().map(|element| partition(element.topic(), element.partition())).collect()
}

/// The partitions with an offset each.
pub(crate) fn list<'a>(offsets: impl IntoIterator<Item = (&'a Partition, Offset)>) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in offsets {
        // Refused only for offsets that librdkafka cannot express, and those do not come from it.
        let _ = list.add_partition_offset(&partition.topic, partition.number, offset);
    }
    list
}

/// Each partition's offset where the list has one.
pub(crate) fn offsets(list: &TopicPartitionList) -> Vec<(Partition, i64)> {
    let known = |element: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>| match element.offset() {
        Offset::Offset(offset) if offset >= 0 => {
            Some((Partition { topic: element.topic().to_owned(), number: element.partition() }, offset))
        }
        _ => None,
    };
    list.elements().iter().filter_map(known).collect()
}
