//! Partitions come and go. Runs on the subscription's thread, where waiting is allowed: heartbeats go on beside it.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{CommitMode, Consumer as _, RebalanceProtocol};
use rdkafka::topic_partition_list::Offset;

use super::lag;
use super::ledger::Partition;
use super::member::{Consumer, Member, commit_these};
use super::partition::{Fetched, list, offsets, partitions};
use crate::client::REACH;
use crate::metadata::InitialOffset;

/// How long the application may still work on messages of a partition that goes to another member, so that it does not get
/// them twice. What waits for a retry is not waited for.
const FINISH: Duration = Duration::from_secs(3);

/// Takes over partitions: where each begins is settled first, their queues are there before the first message.
pub(super) fn assign(
    member: &Member,
    consumer: &Consumer,
    shared: Option<&Arc<Consumer>>,
    assigned: &mut TopicPartitionList,
) {
    let feed = &member.feed;
    feed.live();
    let taken = partitions(assigned);
    let begun = begin(member, consumer, assigned);
    let positions = offsets(assigned);
    if let Some(shared) = shared
        && feed.is_current(member.generation)
    {
        let mut replaced = Vec::new();
        for partition in &taken {
            let woken = feed.clone();
            let wake = move || woken.ready.notify_one();
            let queue = Fetched::split(shared, partition, feed.cluster.settings.clone(), wake);
            let Some(queue) = queue else { continue };
            let position = positions.iter().find(|(known, _)| known == partition).map(|(_, offset)| *offset);
            let mut ledger = feed.ledger();
            replaced.extend(ledger.remove(partition));
            ledger.add(partition.clone(), queue, position);
        }
        drop(replaced);
    }
    let done = match consumer.rebalance_protocol() {
        RebalanceProtocol::Cooperative => consumer.incremental_assign(assigned),
        RebalanceProtocol::Eager | RebalanceProtocol::None => consumer.assign(assigned),
    };
    match done {
        Ok(()) => {
            commit_these(feed, consumer, &begun, CommitMode::Async);
            feed.joined();
        }
        Err(error) => feed.fail(crate::error::error("cannot take over partitions", &error)),
    }
}

/// A partition that the group never committed begins where the component says, and this is committed at once: otherwise
/// what is published before the first commit would be skipped when the partition moves. Gives what is to be committed.
fn begin(member: &Member, consumer: &Consumer, assigned: &mut TopicPartitionList) -> Vec<(Partition, i64)> {
    // Without an answer librdkafka finds the place by itself, by the same rules.
    let Ok(committed) = consumer.committed_offsets(assigned.clone(), REACH) else { return Vec::new() };
    let committed = offsets(&committed);
    let is_new = |partition: &Partition| committed.iter().all(|(known, _)| known != partition);
    let new: Vec<Partition> = partitions(assigned).into_iter().filter(|one| is_new(one)).collect();
    let begun = match member.feed.cluster.settings.initial_offset {
        _ if new.is_empty() => Vec::new(),
        InitialOffset::Newest => lag::ends(consumer, &new).unwrap_or_default(),
        InitialOffset::Oldest => lag::starts(consumer, &new).unwrap_or_default(),
    };
    for (partition, offset) in committed.iter().chain(&begun) {
        // Refused only for a partition that is not in the list.
        let _ = assigned.set_partition_offset(&partition.topic, partition.number, Offset::Offset(*offset));
    }
    begun
}

/// Gives partitions up, after the application has finished what it has of them and that is committed.
pub(super) fn revoke(member: &Member, consumer: &Consumer, revoked: &TopicPartitionList) {
    let feed = &member.feed;
    feed.live();
    let given = partitions(revoked);
    if feed.is_current(member.generation) {
        feed.ledger().leave(&given);
        // Lost partitions have another owner already.
        if !consumer.assignment_lost() {
            feed.wait_for_application(&given, FINISH);
            let commits = feed.ledger().done(&given);
            commit_these(feed, consumer, &commits, CommitMode::Sync);
        }
        let queues: Vec<_> = {
            let mut ledger = feed.ledger();
            given.iter().filter_map(|partition| ledger.remove(partition)).collect()
        };
        drop(queues);
    }
    let offsets = list(given.iter().map(|partition| (partition, Offset::Invalid)));
    // A client that is closing has nothing to give up any more.
    let _ = match consumer.rebalance_protocol() {
        RebalanceProtocol::Cooperative => consumer.incremental_unassign(&offsets),
        RebalanceProtocol::Eager | RebalanceProtocol::None => consumer.unassign(),
    };
}
