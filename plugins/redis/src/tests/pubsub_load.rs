//! Streams under load: what was published arrives, through broken connections and sources that are replaced.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mecha_plugin_api::Metadata;
use mecha_plugin_api::pubsub::{PubSub, PublishRequest};
use mecha_plugin_api::source::{Outcome, Settlement, Source};
use tokio::task::JoinHandle;

use super::servers::Server;
use super::*;
use crate::pubsub::{RedisPubSub, StreamSource};

const COUNT: usize = 20_000;
const LIMIT: Duration = Duration::from_secs(60);

async fn opened(addr: SocketAddr) -> Arc<RedisPubSub> {
    let mut metadata = Metadata::from_iter([("processingTimeout", "1s"), ("redeliverInterval", "200ms")]);
    metadata.insert("redisHost", addr.to_string());
    loop {
        let spec = ComponentSpec::new("broker", "pubsub.redis", metadata.clone());
        if let Ok(broker) = RedisPubSub::open(spec).await {
            return Arc::new(broker);
        }
    }
}

/// Publishes every number until the server has taken it; one whose answer was lost may lie there twice.
async fn publish_all(broker: Arc<RedisPubSub>, lane: usize, lanes: usize) {
    for number in (lane..COUNT).step_by(lanes) {
        let request = PublishRequest {
            topic: "t".into(),
            data: Buf::from(number.to_string()),
            content_type: "".into(),
            metadata: Metadata::new(),
        };
        while broker.publish(&context(), request.clone()).await.is_err() {}
    }
}

/// Takes, remembers and acknowledges until told to stop, failing every 97th message once.
async fn consume(source: &StreamSource, seen: &mut HashMap<usize, usize>, done: &AtomicBool) {
    while !done.load(Ordering::Relaxed) {
        let Ok(deliveries) = source.next(&context(), 64, Duration::from_millis(50)).await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let mut settlements = Vec::new();
        for delivery in deliveries {
            let number: usize = std::str::from_utf8(&delivery.data).unwrap().parse().unwrap();
            let fails = number.is_multiple_of(97) && delivery.redelivered == 0;
            let outcome = if fails { Outcome::RETRY } else { Outcome::ACK };
            settlements.push(Settlement { id: delivery.id, outcome, delay_ns: 0 });
            // Before it is settled, as an application does.
            if !fails {
                *seen.entry(number).or_default() += 1;
            }
        }
        let _ = source.settle(&context(), settlements).await;
        if seen.len() == COUNT {
            done.store(true, Ordering::Relaxed);
        }
    }
}

/// Publishes and consumes all numbers while `breaking` goes on, with a source that is replaced now and then.
async fn everything_arrives<T>(addr: SocketAddr, done: Arc<AtomicBool>, breaking: JoinHandle<T>) {
    let broker = opened(addr).await;
    let publishers: Vec<_> = (0..8).map(|lane| tokio::spawn(publish_all(broker.clone(), lane, 8))).collect();
    let mut seen = HashMap::new();
    let consuming = async {
        while seen.len() < COUNT {
            // A source lives for a moment and is replaced by one of another component, as in a hot swap.
            let source = loop {
                if let Ok(source) = opened(addr).await.source("t", 500).await {
                    break source;
                }
            };
            let turn = tokio::time::timeout(Duration::from_millis(700), consume(&source, &mut seen, &done));
            let _ = turn.await;
            let _ = source.close(&context()).await;
        }
    };
    tokio::time::timeout(LIMIT, consuming).await.expect("every message in time");
    for publisher in publishers {
        publisher.await.unwrap();
    }
    // Ends the server if it was handed along.
    assert!(breaking.await.is_ok());
    assert_eq!(seen.keys().copied().collect::<HashSet<_>>(), (0..COUNT).collect());
    let twice = seen.values().filter(|times| **times > 1).count();
    println!("{COUNT} messages arrived, {twice} of them more than once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_while_connections_break_and_sources_are_replaced() {
    let redis = Redis::start().unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let (mut raw, until) = (raw(&redis), done.clone());
    let breaking = tokio::spawn(async move {
        for _ in 0..40 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            if until.load(Ordering::Relaxed) {
                break;
            }
            let _: i64 = run(&mut raw, "CLIENT KILL TYPE normal");
        }
    });
    everything_arrives(redis.addr(), done, breaking).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_while_a_server_that_keeps_its_data_is_killed() {
    drop(Redis::start().unwrap());
    let durable = ["--appendonly", "yes", "--appendfsync", "always"];
    let mut server = Server::start(None, &durable).await;
    let addr = server.addr();
    let breaking = tokio::spawn(async move {
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_millis(500)).await;
            server.kill();
            server.start_again().await;
        }
        server
    });
    everything_arrives(addr, Arc::default(), breaking).await;
}
