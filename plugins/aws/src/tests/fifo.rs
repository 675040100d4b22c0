//! FIFO queues: groups keep their order, whatever happens to their messages.

use std::collections::HashMap;

use mecha_plugin_api::pubsub::PubSub;

use super::sqs::{entries, opened, publish, subscribed};
use super::*;

#[tokio::test]
async fn groups_keep_their_order_and_do_not_wait_for_each_other() {
    let Some(pubsub) = opened(&[("fifo", "true")]).await else { return };
    let topic = unique("groups");
    let groups = ["a", "b", "c"];
    for number in 0..12 {
        for group in groups {
            publish(&pubsub, &topic, &number.to_string(), &[("messageGroupId", group)]).await;
        }
    }
    let source = subscribed(&pubsub, &topic, &[]).await;
    let mut seen: HashMap<String, Vec<String>> = HashMap::new();
    for delivery in drain(&source, 36).await {
        assert!(delivery.metadata.get("sequenceNumber").is_some());
        seen.entry(delivery.ordering_key.to_string()).or_default().push(text(&delivery).to_owned());
    }
    let expected: Vec<String> = (0..12).map(|number| number.to_string()).collect();
    for group in groups {
        assert_eq!(seen[group], expected, "{group}");
    }
}

#[tokio::test]
async fn a_bulk_arrives_in_its_order() {
    let Some(pubsub) = opened(&[("fifo", "true"), ("fifoMessageGroupID", "one")]).await else { return };
    let topic = unique("bulk");
    let failed = pubsub.bulk_publish(&context(), &topic, entries(35, &[]), Metadata::new()).await.unwrap();
    assert!(failed.is_empty());
    let source = subscribed(&pubsub, &topic, &[]).await;
    let got: Vec<String> =
        drain(&source, 35).await.iter().map(|delivery| text(delivery).to_owned()).collect();
    let expected: Vec<String> = (0..35).map(|number| format!("message {number:04}")).collect();
    assert_eq!(got, expected);
}

#[tokio::test]
async fn what_follows_a_retry_comes_after_it() {
    let Some(pubsub) = opened(&[("fifo", "true"), ("messageWaitTimeSeconds", "1")]).await else { return };
    let topic = unique("retry");
    let group = [("messageGroupId", "a")];
    pubsub.bulk_publish(&context(), &topic, entries(8, &group), Metadata::new()).await.unwrap();
    let source = subscribed(&pubsub, &topic, &[]).await;
    // Three are handed out, the other five wait in the plugin.
    let first = pull(&source, 3).await;
    let outcomes = [Outcome::ACK, Outcome::RETRY, Outcome::RETRY];
    let settled =
        first.iter().zip(outcomes).map(|(delivery, outcome)| settle(delivery.id, outcome)).collect();
    source.settle(&context(), settled).await.unwrap();
    let got: Vec<String> = drain(&source, 7).await.iter().map(|delivery| text(delivery).to_owned()).collect();
    let expected: Vec<String> = (1..8).map(|number| format!("message {number:04}")).collect();
    assert_eq!(got, expected);
}

#[tokio::test]
async fn the_same_deduplication_id_adds_no_second_message() {
    let Some(pubsub) = opened(&[("fifo", "true")]).await else { return };
    let topic = unique("once");
    let id = [("messageGroupId", "a"), ("messageDeduplicationId", "7")];
    publish(&pubsub, &topic, "first", &id).await;
    publish(&pubsub, &topic, "first again", &id).await;
    publish(&pubsub, &topic, "equal", &[("messageGroupId", "a")]).await;
    publish(&pubsub, &topic, "equal", &[("messageGroupId", "a")]).await;
    let source = subscribed(&pubsub, &topic, &[]).await;
    let got: Vec<String> = drain(&source, 3).await.iter().map(|delivery| text(delivery).to_owned()).collect();
    assert_eq!(got, ["first", "equal", "equal"]);
}
