//! Order, retries, commits and shares, without a broker.

use std::collections::VecDeque;

use bytes::Bytes;
use mecha_plugin_api::Metadata;

use super::*;

struct Offsets(VecDeque<i64>);

impl Queue for Offsets {
    fn pop(&mut self) -> Option<Incoming> {
        let offset = self.0.pop_front()?;
        let data = Bytes::from(offset.to_string());
        Some(Incoming { offset, data, content_type: String::new(), metadata: Metadata::new() })
    }
}

fn partition(number: i32) -> Partition {
    Partition { topic: "t".to_owned(), number }
}

/// A partition each, with the messages from one offset up to another.
fn ledger(lanes: &[(i64, i64)]) -> Ledger<Offsets> {
    let mut ledger = Ledger::new();
    for (number, (from, to)) in (0_i32..).zip(lanes) {
        ledger.add(partition(number), Offsets((*from..*to).collect()), None);
    }
    ledger
}

fn texts(deliveries: &[Delivery]) -> Vec<String> {
    deliveries.iter().map(|delivery| String::from_utf8_lossy(&delivery.data).into_owned()).collect()
}

fn done(deliveries: &[Delivery]) -> Vec<(u64, Verdict)> {
    deliveries.iter().map(|delivery| (delivery.id, Verdict::Done)).collect()
}

fn again(delivery: &Delivery, delay: u64) -> (u64, Verdict) {
    (delivery.id, Verdict::Again(Some(Duration::from_millis(delay))))
}

#[test]
fn only_what_is_done_without_a_gap_is_committed() {
    let (mut ledger, now) = (ledger(&[(10, 14)]), Instant::now());
    let taken = ledger.take(10, 10, now);
    assert_eq!(texts(&taken), ["10", "11", "12", "13"]);
    assert!(!ledger.settle(&done(&taken[1..3]), now).advanced);
    assert_eq!(ledger.commits(), []);
    assert!(ledger.settle(&done(&taken[..1]), now).advanced);
    assert_eq!(ledger.commits(), [(partition(0), 13)]);
    assert_eq!(ledger.commits(), []);
    ledger.not_committed(&partition(0), 13);
    assert_eq!(ledger.commits(), [(partition(0), 13)]);
    assert_eq!(ledger.done(&[partition(1)]), []);
    assert_eq!(ledger.done(&[partition(0)]), [(partition(0), 13)], "committed or not");
}

#[test]
fn offsets_may_have_holes() {
    let (mut ledger, now) = (Ledger::new(), Instant::now());
    ledger.add(partition(0), Offsets([3, 7, 20].into()), Some(0));
    let taken = ledger.take(10, 10, now);
    ledger.settle(&done(&taken), now);
    assert_eq!(ledger.commits(), [(partition(0), 21)]);
    assert_eq!(ledger.positions(), [(partition(0), 21)]);
}

#[test]
fn what_is_retried_comes_before_anything_newer_and_stops_only_its_partition() {
    let (mut ledger, now) = (ledger(&[(0, 4), (0, 2)]), Instant::now());
    let taken = ledger.take(4, 10, now);
    let of_first: Vec<_> = taken.into_iter().filter(|delivery| delivery.ordering_key == "t/0").collect();
    assert_eq!(texts(&of_first), ["0", "1"]);
    ledger.settle(&[again(&of_first[1], 50), again(&of_first[0], 50)], now);
    assert_eq!(ledger.take(10, 10, now).len(), 0, "both wait, the other partition is empty");
    let due = now + Duration::from_millis(50);
    assert_eq!(ledger.next_due(), Some(due));
    let second = ledger.take(10, 10, due);
    assert_eq!(texts(&second), ["0", "1", "2", "3"]);
    assert_eq!(second.iter().map(|delivery| delivery.redelivered).collect::<Vec<_>>(), [1, 1, 0, 0]);
    assert_ne!(second[0].id, of_first[0].id);
    ledger.settle(&done(&second), due);
    assert_eq!(ledger.commits(), [(partition(0), 4)]);
}

#[test]
fn without_retries_the_first_failure_is_given_up_and_the_rest_comes_again() {
    let (mut ledger, now) = (ledger(&[(0, 3)]), Instant::now());
    let taken = ledger.take(3, 10, now);
    let failed: Vec<_> = taken.iter().rev().map(|delivery| (delivery.id, Verdict::Again(None))).collect();
    let settled = ledger.settle(&failed, now);
    assert_eq!(settled, Settled { advanced: true, given_up: vec![(partition(0), 0)] });
    assert_eq!(texts(&ledger.take(10, 10, now)), ["1", "2"]);
    assert_eq!(ledger.commits(), [(partition(0), 1)]);
}

#[test]
fn a_partition_takes_no_more_than_its_share() {
    let (mut ledger, now) = (ledger(&[(0, 100), (0, 1)]), Instant::now());
    let taken = ledger.take(100, 4, now);
    assert_eq!(taken.len(), 3, "two of one, one of the other");
    assert_eq!(ledger.take(100, 4, now).len(), 0);
    ledger.settle(&done(&taken), now);
    assert_eq!(ledger.take(100, 4, now).len(), 2);
    assert_eq!(ledger.take(1, 3, now).len(), 0);
}

#[test]
fn a_partition_that_left_takes_its_messages_along() {
    let (mut ledger, now) = (ledger(&[(0, 4)]), Instant::now());
    let taken = ledger.take(2, 10, now);
    ledger.leave(&[partition(0)]);
    assert_eq!(ledger.take(10, 10, now).len(), 0);
    assert_eq!(ledger.out_of(&[partition(0)]), 2);
    ledger.settle(&[again(&taken[1], 0)], now);
    assert_eq!((ledger.out_of(&[partition(0)]), ledger.unsettled()), (1, 2));
    assert!(ledger.remove(&partition(0)).is_some());
    assert_eq!(ledger.settle(&done(&taken), now), Settled::default());
    assert_eq!((ledger.commits(), ledger.partitions()), (Vec::new(), Vec::new()));
    ledger.add(partition(0), Offsets((0..1).collect()), None);
    assert_eq!(ledger.take(10, 10, now)[0].redelivered, 0);
}
