//! Retries: they keep their place in the partition, and stop neither another partition nor a rebalance.

use super::*;

async fn broker(address: &str, group: &str, more: &[(&str, &str)]) -> KafkaPubSub {
    let given = [("consumerGroup", group), ("initialOffset", "oldest")];
    opened(address, &[&given[..], more].concat()).await
}

#[tokio::test]
async fn a_retry_comes_after_its_delay_and_before_anything_newer() {
    let Some(address) = server() else { return };
    let topic = topic(&address, "retry", 1).await;
    let pubsub = broker(&address, &unique("g"), &[]).await;
    let source = subscribed(&pubsub, &topic).await;
    publish(&pubsub, &topic, "1", &[]).await;
    let first = pull(&source, 1).await;
    let (begun, delay) = (Instant::now(), Duration::from_millis(700));
    settle(&source, &first, Outcome::RETRY, delay).await;
    publish(&pubsub, &topic, "2", &[]).await;
    let both = pull(&source, 2).await;
    assert!(begun.elapsed() >= delay, "{:?}", begun.elapsed());
    assert_eq!(texts(&both), ["1", "2"]);
    assert_eq!((both[0].redelivered, both[1].redelivered), (1, 0));
    ack(&source, &both).await;
    assert_quiet(&source).await;
}

#[tokio::test]
async fn without_a_delay_it_comes_at_the_components_pace() {
    let Some(address) = server() else { return };
    let topic = topic(&address, "pace", 1).await;
    let pubsub = broker(&address, &unique("g"), &[("consumeRetryInterval", "200ms")]).await;
    let source = subscribed(&pubsub, &topic).await;
    publish(&pubsub, &topic, "1", &[]).await;
    let begun = Instant::now();
    for round in 0..3 {
        let one = pull(&source, 1).await;
        assert_eq!((text(&one[0]), one[0].redelivered), ("1", round));
        settle(&source, &one, Outcome::RETRY, Duration::ZERO).await;
    }
    ack(&source, &pull(&source, 1).await).await;
    assert!(begun.elapsed() >= Duration::from_millis(600), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_retry_stops_only_its_partition() {
    let Some(address) = server() else { return };
    let topic = topic(&address, "blocked", 2).await;
    let pubsub = broker(&address, &unique("g"), &[]).await;
    let source = subscribed(&pubsub, &topic).await;
    publish(&pubsub, &topic, "poison", &[("partitionNumber", "0")]).await;
    let poison = pull(&source, 1).await;
    settle(&source, &poison, Outcome::RETRY, Duration::from_secs(3600)).await;
    for number in 0..20 {
        publish(&pubsub, &topic, &number.to_string(), &[("partitionNumber", "1")]).await;
        let good = pull(&source, 1).await;
        assert_eq!(text(&good[0]), number.to_string());
        ack(&source, &good).await;
    }
}

#[tokio::test]
async fn a_retry_does_not_stop_a_rebalance() {
    let Some(address) = server() else { return };
    let (topic, group) = (topic(&address, "rebalance", 2).await, unique("g"));
    let pubsub = broker(&address, &group, &[]).await;
    let first = subscribed(&pubsub, &topic).await;
    for number in ["0", "1"] {
        publish(&pubsub, &topic, number, &[("partitionNumber", number)]).await;
    }
    let both = pull(&first, 2).await;
    settle(&first, &both, Outcome::RETRY, Duration::from_secs(3600)).await;
    let begun = Instant::now();
    let second = subscribed(&pubsub, &topic).await;
    // One of the two went to the new member, which gets it although its retry would be due in an hour.
    assert_eq!(pull(&second, 1).await.len(), 1);
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn an_application_that_hangs_does_not_stop_a_rebalance() {
    let Some(address) = server() else { return };
    let (topic, group) = (topic(&address, "hangs", 2).await, unique("g"));
    let pubsub = broker(&address, &group, &[]).await;
    let first = subscribed(&pubsub, &topic).await;
    for number in ["0", "1"] {
        publish(&pubsub, &topic, number, &[("partitionNumber", number)]).await;
    }
    let _unanswered = pull(&first, 2).await;
    let begun = Instant::now();
    let second = subscribed(&pubsub, &topic).await;
    assert_eq!(pull(&second, 1).await.len(), 1);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn where_retries_are_off_a_failed_message_is_done() {
    let Some(address) = server() else { return };
    let (topic, group) = (topic(&address, "off", 1).await, unique("g"));
    let pubsub = broker(&address, &group, &[("consumeRetryEnabled", "false")]).await;
    let source = subscribed(&pubsub, &topic).await;
    publish(&pubsub, &topic, "1", &[]).await;
    publish(&pubsub, &topic, "2", &[]).await;
    let both = pull(&source, 2).await;
    settle(&source, &both[..1], Outcome::RETRY, Duration::ZERO).await;
    ack(&source, &both[1..]).await;
    wait_for_commit(&address, &group, &topic, &[Some(2)]).await;
    assert_quiet(&source).await;
}
