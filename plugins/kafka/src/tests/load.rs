//! Many messages: none is lost, none comes twice, and memory stays bounded. Prints what it measured.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::*;

const MESSAGES: usize = 20_000;
const PUBLISHERS: usize = 64;
/// What the plugin may grow by, with librdkafka's threads and full queues.
const LIMIT_KIB: u64 = 64 * 1024;

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_messages_arrive_once_each_in_bounded_memory() {
    let Some(address) = server() else { return };
    let topic = topic(&address, "load", 4).await;
    let before = resident_kib();
    let pubsub = Arc::new(opened(&address, &[("initialOffset", "oldest")]).await);
    let source = subscribed(&pubsub, &topic).await;
    let opened_kib = resident_kib().saturating_sub(before);

    let begun = Instant::now();
    let mut publishing = JoinSet::new();
    for first in 0..PUBLISHERS {
        let (pubsub, topic) = (pubsub.clone(), topic.clone());
        publishing.spawn(async move {
            for number in (first..MESSAGES).step_by(PUBLISHERS) {
                publish(&pubsub, &topic, &number.to_string(), &[("partitionKey", &number.to_string())]).await;
            }
        });
    }
    let (mut seen, mut published) = (HashSet::new(), None);
    while seen.len() < MESSAGES {
        assert!(begun.elapsed() < Duration::from_secs(120), "{} of {MESSAGES} came", seen.len());
        let came = source.next(&context(), 100, Duration::from_millis(100)).await.unwrap();
        ack(&source, &came).await;
        for delivery in &came {
            assert!(seen.insert(text(delivery).to_owned()), "{} came twice", text(delivery));
        }
        while let Some(done) = publishing.try_join_next() {
            done.unwrap();
        }
        if publishing.is_empty() && published.is_none() {
            published = Some(begun.elapsed());
        }
    }
    assert_quiet(&source).await;
    let grown = resident_kib().saturating_sub(before);
    println!(
        "{MESSAGES} messages published in {:.1?}, read and acknowledged in {:.1?}; resident: {opened_kib} KiB \
         after opening, {grown} KiB after the load",
        published.unwrap_or_default(),
        begun.elapsed()
    );
    assert!(grown < LIMIT_KIB, "{grown} KiB");
}
