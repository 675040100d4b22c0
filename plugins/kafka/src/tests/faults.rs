//! A broker that goes away and comes back: calls fail soon, health says why, and nothing acknowledged is lost.

use std::collections::BTreeSet;

use mecha_backends::Kafka;
use mecha_plugin_api::ErrorKind;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_loses_nothing_that_was_acknowledged() {
    if server().is_none() {
        return;
    }
    let mut kafka = Kafka::start().unwrap();
    let address = kafka.addr().to_string();
    let topic = topic(&address, "restart", 1).await;
    let fields = [("initialOffset", "oldest"), ("writeTimeout", "2s")];
    let pubsub = opened(&address, &fields).await;
    let source = subscribed(&pubsub, &topic).await;
    for number in 0..20 {
        publish(&pubsub, &topic, &number.to_string(), &[]).await;
    }
    let before = pull(&source, 10).await;
    ack(&source, &before[..5]).await;

    kafka.stop().unwrap();
    let begun = Instant::now();
    let error = pubsub.publish(&context(), message(&topic, "lost", &[])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UNAVAILABLE, "{error}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let error = pubsub.ping(&context()).await.unwrap_err();
    assert_eq!((error.kind(), error.field()), (ErrorKind::UNAVAILABLE, Some("brokers")), "{error}");
    // Answers that come meanwhile count once the broker is back.
    ack(&source, &before[5..]).await;

    kafka.start_again().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut missing: BTreeSet<String> = (10..21).map(|number| number.to_string()).collect();
    while pubsub.publish(&context(), message(&topic, "20", &[])).await.is_err() {
        assert!(Instant::now() < deadline, "publishing does not recover");
    }
    while !missing.is_empty() {
        assert!(Instant::now() < deadline, "missing: {missing:?}");
        // Trouble is told until the broker is found again.
        let Ok(came) = source.next(&context(), 100, Duration::from_millis(200)).await else { continue };
        ack(&source, &came).await;
        for delivery in &came {
            missing.remove(text(delivery));
        }
    }
    while let Err(error) = pubsub.ping(&context()).await {
        assert!(Instant::now() < deadline, "still in trouble: {error}");
    }
    let ends = |committed: &[Option<i64>]| committed[0].is_some_and(|offset| offset >= 21);
    while !ends(&committed(&address, "app", &topic, 1)) {
        assert!(Instant::now() < deadline, "the commits do not recover");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
