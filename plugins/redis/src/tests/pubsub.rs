//! Streams: what lies in one, who gets which message how often, and what survives a server that goes away.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use mecha_plugin_api::ErrorKind;
use mecha_plugin_api::pubsub::{BulkEntry, PubSub, PublishRequest};
use mecha_plugin_api::source::{Delivery, Outcome, Settlement, Source};
use redis::Value;

use super::*;
use crate::pubsub::{RedisPubSub, StreamSource};

/// Redelivery fast enough for a test.
const FAST: &[(&str, &str)] = &[("processingTimeout", "300ms"), ("redeliverInterval", "50ms")];
const WAIT: Duration = Duration::from_secs(5);
const SOON: Duration = Duration::from_millis(200);

async fn broker(redis: &Redis, more: &[(&str, &str)]) -> RedisPubSub {
    RedisPubSub::open(spec(redis, more)).await.unwrap()
}

async fn started(more: &[(&str, &str)]) -> (Redis, RedisPubSub) {
    let redis = Redis::start().unwrap();
    let broker = broker(&redis, more).await;
    (redis, broker)
}

fn message(topic: &str, data: &str, metadata: &[(&str, &str)]) -> PublishRequest {
    PublishRequest {
        topic: topic.into(),
        data: Buf::from(data.to_owned()),
        content_type: "text/plain".into(),
        metadata: Metadata::from_iter(metadata.iter().copied()),
    }
}

async fn publish(broker: &RedisPubSub, data: &str) {
    broker.publish(&context(), message("t", data, &[])).await.unwrap();
}

async fn next(source: &StreamSource, wait: Duration) -> Vec<Delivery> {
    source.next(&context(), 100, wait).await.unwrap()
}

/// The next message alone; fails the test when none comes.
async fn one(source: &StreamSource) -> Delivery {
    let mut deliveries = source.next(&context(), 1, WAIT).await.unwrap();
    assert_eq!(deliveries.len(), 1);
    deliveries.remove(0)
}

async fn settle(source: &StreamSource, delivery: &Delivery, outcome: Outcome, delay: Duration) {
    let delay_ns = u64::try_from(delay.as_nanos()).unwrap();
    let settlement = Settlement { id: delivery.id, outcome, delay_ns };
    source.settle(&context(), vec![settlement]).await.unwrap();
}

async fn ack(source: &StreamSource, delivery: &Delivery) {
    settle(source, delivery, Outcome::ACK, Duration::ZERO).await;
}

fn text(delivery: &Delivery) -> String {
    String::from_utf8(delivery.data.to_vec()).unwrap()
}

fn pending(connection: &mut redis::Connection) -> i64 {
    let answer: Vec<Value> = run(connection, "XPENDING t app");
    match answer[0] {
        Value::Int(count) => count,
        _ => panic!("{answer:?}"),
    }
}

#[tokio::test]
async fn an_entry_is_the_one_that_daprd_writes_and_reads() {
    let (redis, broker) = started(&[]).await;
    let mut raw = raw(&redis);
    publish(&broker, "plain").await;
    broker.publish(&context(), message("t", "{}", &[("rawPayload", "true")])).await.unwrap();
    let entries: Vec<(String, Vec<(String, String)>)> = run(&mut raw, "XRANGE t - +");
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(entries[0].1, [pair("data", "plain"), pair("metadata", "{}")]);
    assert_eq!(entries[1].1, [pair("data", "{}"), pair("metadata", r#"{"rawPayload":"true"}"#)]);

    let _: String = run(&mut raw, r#"XADD t * metadata {"traceparent":"00-a-b-01"} data theirs"#);
    let source = broker.source("t", 0).await.unwrap();
    let groups: Vec<Value> = run(&mut raw, "XINFO GROUPS t");
    assert_eq!(groups.len(), 1);
    let all = next(&source, WAIT).await;
    assert_eq!(all.iter().map(text).collect::<Vec<_>>(), ["plain", "{}", "theirs"]);
    assert_eq!(all[2].metadata.get("traceparent"), Some("00-a-b-01"));
    assert_eq!((all[0].topic.as_str(), all[0].redelivered), ("t", 0));
}

#[tokio::test]
async fn a_message_is_acknowledged_only_when_the_host_says_so() {
    let (redis, broker) = started(&[]).await;
    let mut raw = raw(&redis);
    let source = broker.source("t", 0).await.unwrap();
    publish(&broker, "1").await;
    publish(&broker, "2").await;
    let (first, second) = (one(&source).await, one(&source).await);
    assert_eq!(pending(&mut raw), 2);
    ack(&source, &first).await;
    assert_eq!(pending(&mut raw), 1);
    settle(&source, &second, Outcome::REJECT, Duration::ZERO).await;
    assert_eq!(pending(&mut raw), 0);
    assert_eq!(broker.backlog(&context(), "t").await.unwrap(), Some(0));
}

#[tokio::test]
async fn a_retry_comes_after_its_delay_and_blocks_nobody() {
    let (_redis, broker) = started(&[]).await;
    let source = broker.source("t", 1).await.unwrap();
    publish(&broker, "1").await;
    publish(&broker, "2").await;
    let begun = Instant::now();
    let delay = Duration::from_millis(400);
    settle(&source, &one(&source).await, Outcome::RETRY, delay).await;
    let second = one(&source).await;
    assert_eq!(text(&second), "2");
    ack(&source, &second).await;
    let again = one(&source).await;
    assert!(begun.elapsed() >= delay);
    assert_eq!((text(&again).as_str(), again.redelivered), ("1", 1));
    ack(&source, &again).await;
    assert!(next(&source, SOON).await.is_empty());
}

#[tokio::test]
async fn a_retry_without_a_delay_comes_at_the_pace_of_redelivery() {
    let (redis, broker) = started(FAST).await;
    let source = broker.source("t", 0).await.unwrap();
    publish(&broker, "1").await;
    for round in 0..3 {
        let delivery = one(&source).await;
        assert_eq!((text(&delivery).as_str(), delivery.redelivered), ("1", round));
        settle(&source, &delivery, Outcome::RETRY, Duration::ZERO).await;
    }
    ack(&source, &one(&source).await).await;
    assert_eq!(pending(&mut raw(&redis)), 0);
}

#[tokio::test]
async fn what_a_dead_consumer_left_is_claimed() {
    let (redis, broker) = started(FAST).await;
    let mut raw = raw(&redis);
    publish(&broker, "1").await;
    let _: () = run(&mut raw, "XGROUP CREATE t app 0");
    let _: Value = run(&mut raw, "XREADGROUP GROUP app someone COUNT 1 STREAMS t >");
    let source = broker.source("t", 0).await.unwrap();
    let delivery = one(&source).await;
    assert_eq!((text(&delivery).as_str(), delivery.redelivered), ("1", 1));
    ack(&source, &delivery).await;
    assert_eq!(pending(&mut raw), 0);
}

#[tokio::test]
async fn what_the_application_works_on_is_not_claimed_however_long_it_takes() {
    let (_redis, broker) = started(FAST).await;
    let (source, other) = (broker.source("t", 0).await.unwrap(), broker.source("t", 0).await.unwrap());
    publish(&broker, "1").await;
    let (mut mine, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..10 {
        mine.extend(next(&source, Duration::from_millis(100)).await);
        theirs.extend(next(&other, Duration::from_millis(100)).await);
    }
    assert_eq!(mine.len() + theirs.len(), 1, "three processing timeouts have passed");
}

#[tokio::test]
async fn a_deleted_message_does_not_stay_pending() {
    let (redis, broker) = started(FAST).await;
    let mut raw = raw(&redis);
    let _: () = run(&mut raw, "XGROUP CREATE t app 0 MKSTREAM");
    let _: String = run(&mut raw, "XADD t 1-1 data x");
    let _: Value = run(&mut raw, "XREADGROUP GROUP app someone COUNT 1 STREAMS t >");
    let _: i64 = run(&mut raw, "XDEL t 1-1");
    let _source = broker.source("t", 0).await.unwrap();
    wait_until(|| pending(&mut raw) == 0).await;
}

#[tokio::test]
async fn a_closed_source_gives_back_what_it_held_at_once() {
    // Long timeouts: only what was given back can come again within the test.
    let slow = [("processingTimeout", "60s"), ("redeliverInterval", "100ms")];
    let (_redis, broker) = started(&slow).await;
    let source = broker.source("t", 0).await.unwrap();
    for data in ["1", "2", "3"] {
        publish(&broker, data).await;
    }
    let first = one(&source).await;
    ack(&source, &first).await;
    let _unsettled = one(&source).await;
    let begun = Instant::now();
    source.close(&context()).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(1), "the waiting read is woken");
    let heir = broker.source("t", 0).await.unwrap();
    let mut got = HashSet::new();
    while got.len() < 2 {
        got.extend(next(&heir, WAIT).await.iter().map(text));
    }
    assert_eq!(got, HashSet::from(["2".to_owned(), "3".to_owned()]));
}

#[tokio::test]
async fn a_group_that_is_gone_is_made_again() {
    let (redis, broker) = started(&[]).await;
    let mut raw = raw(&redis);
    let source = broker.source("t", 0).await.unwrap();
    publish(&broker, "1").await;
    ack(&source, &one(&source).await).await;
    let _: () = run(&mut raw, "FLUSHALL");
    publish(&broker, "2").await;
    assert_eq!(text(&one(&source).await), "2");
    let _: i64 = run(&mut raw, "XGROUP DESTROY t app");
    publish(&broker, "3").await;
    let mut got = HashSet::new();
    while !got.contains("3") {
        got.extend(next(&source, WAIT).await.iter().map(text));
    }
}

#[tokio::test]
async fn no_more_than_allowed_is_out() {
    let (_redis, broker) = started(&[("concurrency", "2")]).await;
    let source = broker.source("t", 50).await.unwrap();
    for data in ["1", "2", "3"] {
        publish(&broker, data).await;
    }
    let mut out = next(&source, WAIT).await;
    while out.len() < 2 {
        out.extend(next(&source, WAIT).await);
    }
    assert!(next(&source, SOON).await.is_empty());
    ack(&source, &out[0]).await;
    assert_eq!(next(&source, WAIT).await.len(), 1);
}

#[tokio::test]
async fn a_cancelled_pull_loses_nothing() {
    let (_redis, broker) = started(&[]).await;
    let source = broker.source("t", 0).await.unwrap();
    let mut got = Vec::new();
    for round in 0..50 {
        publish(&broker, &round.to_string()).await;
        let context = context();
        let pull = source.next(&context, 100, WAIT);
        if let Ok(deliveries) = tokio::time::timeout(Duration::from_micros(round * 20), pull).await {
            got.extend(deliveries.unwrap());
        }
        for delivery in &got {
            ack(&source, delivery).await;
        }
    }
    while got.len() < 50 {
        let more = next(&source, WAIT).await;
        assert!(!more.is_empty(), "only {} of 50", got.len());
        for delivery in &more {
            ack(&source, delivery).await;
        }
        got.extend(more);
    }
    let texts: Vec<_> = got.iter().map(text).collect();
    assert_eq!(texts, (0..50).map(|round| round.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn many_are_published_in_one_write_and_each_has_its_own_metadata() {
    let (redis, broker) = started(&[]).await;
    let entry = |at: usize| BulkEntry {
        entry_id: at.to_string().into(),
        data: Buf::from(at.to_string()),
        content_type: "".into(),
        metadata: Metadata::from_iter([("at", at.to_string())]),
    };
    let request = Metadata::from_iter([("shared", "s")]);
    let failed = broker.bulk_publish(&context(), "t", (0..1000).map(entry).collect(), request).await.unwrap();
    assert!(failed.is_empty());
    assert_eq!(run::<i64>(&mut raw(&redis), "XLEN t"), 1000);
    let source = broker.source("t", 1000).await.unwrap();
    let delivery = one(&source).await;
    assert_eq!((delivery.metadata.get("at"), delivery.metadata.get("shared")), (Some("0"), Some("s")));

    let _: () = run(&mut raw(&redis), "SET taken x");
    let failed = broker.bulk_publish(&context(), "taken", vec![entry(7)], Metadata::new()).await.unwrap();
    assert_eq!((failed.len(), failed[0].entry_id.as_str()), (1, "7"));
    assert!(failed[0].error.message().contains("WRONGTYPE"), "{}", failed[0].error);
}

#[tokio::test]
async fn streams_are_trimmed() {
    let (redis, broker) = started(&[("maxLenApprox", "100")]).await;
    for _ in 0..2000 {
        publish(&broker, "x").await;
    }
    assert!(run::<i64>(&mut raw(&redis), "XLEN t") < 300);
    let aged = self::broker(&redis, &[("streamTTL", "1s")]).await;
    let _: String = run(&mut raw(&redis), "XADD old 1-1 data x");
    let _: String = run(&mut raw(&redis), "CONFIG SET stream-node-max-entries 1");
    for _ in 0..5 {
        aged.publish(&context(), message("old", "y", &[])).await.unwrap();
    }
    let ids: Vec<(String, Value)> = run(&mut raw(&redis), "XRANGE old - +");
    assert!(ids.iter().all(|(id, _)| id != "1-1"), "{ids:?}");
}

#[tokio::test]
async fn reading_goes_on_after_the_server_comes_back_and_says_so_meanwhile() {
    let (mut redis, broker) = started(&[("dialTimeout", "500ms")]).await;
    let source = broker.source("t", 0).await.unwrap();
    publish(&broker, "1").await;
    ack(&source, &one(&source).await).await;
    redis.stop().unwrap();
    let error = loop {
        if let Err(error) = source.next(&context(), 1, WAIT).await {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::UNAVAILABLE, "{error}");
    assert!(error.is_retriable());
    let begun = Instant::now();
    let unpublished = broker.publish(&context(), message("t", "x", &[])).await.unwrap_err();
    assert_eq!(unpublished.kind(), ErrorKind::UNAVAILABLE, "{unpublished}");
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());

    redis.start_again().unwrap();
    let healing = async { while broker.publish(&context(), message("t", "2", &[])).await.is_err() {} };
    tokio::time::timeout(Duration::from_secs(10), healing).await.unwrap();
    let arriving = async {
        loop {
            match source.next(&context(), 1, WAIT).await {
                Ok(deliveries) if !deliveries.is_empty() => break text(&deliveries[0]),
                _ => tokio::task::yield_now().await,
            }
        }
    };
    assert_eq!(tokio::time::timeout(Duration::from_secs(10), arriving).await.unwrap(), "2");
}

#[tokio::test]
async fn what_is_no_stream_cannot_be_subscribed() {
    let (redis, broker) = started(&[]).await;
    let _: () = run(&mut raw(&redis), "SET t x");
    let error = broker.source("t", 0).await.err().unwrap();
    assert!(error.message().contains("cannot subscribe to t: WRONGTYPE"), "{error}");
    assert_eq!(broker.backlog(&context(), "absent").await.unwrap(), Some(0));
}

#[tokio::test]
async fn a_dropped_subscription_closes_its_connection() {
    let (redis, broker) = started(&[]).await;
    let mut raw = raw(&redis);
    let clients = |count: u32| format!("connected_clients:{count}\r");
    let source = broker.source("t", 0).await.unwrap();
    wait_until(|| run::<String>(&mut raw, "INFO clients").contains(&clients(3))).await;
    drop(source);
    wait_until(|| run::<String>(&mut raw, "INFO clients").contains(&clients(2))).await;
    let source = broker.source("t", 0).await.unwrap();
    source.close(&context()).await.unwrap();
    drop((source, broker));
    wait_until(|| run::<String>(&mut raw, "INFO clients").contains(&clients(1))).await;
}
