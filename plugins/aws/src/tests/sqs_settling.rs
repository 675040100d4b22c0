//! What becomes of messages: acknowledged, tried again, rejected, given back, and kept while they are worked on.

use mecha_plugin_api::pubsub::PubSub;

use super::sqs::{entries, opened, publish, subscribed};
use super::*;

#[tokio::test]
async fn a_retry_comes_again_after_its_delay() {
    let Some(pubsub) = opened(&[]).await else { return };
    let topic = unique("retry");
    let source = subscribed(&pubsub, &topic, &[("messageWaitTimeSeconds", "1")]).await;
    publish(&pubsub, &topic, "again", &[]).await;
    let first = pull(&source, 1).await.remove(0);
    let before = Instant::now();
    let delayed = Settlement { id: first.id, outcome: Outcome::RETRY, delay_ns: 2_000_000_000 };
    source.settle(&context(), vec![delayed]).await.unwrap();
    let second = pull(&source, 1).await.remove(0);
    assert!(before.elapsed() >= Duration::from_millis(1900), "{:?}", before.elapsed());
    assert_eq!((text(&second), second.redelivered), ("again", 1));
    assert_eq!(second.metadata.get("messageId"), first.metadata.get("messageId"));
    source.settle(&context(), vec![settle(second.id, Outcome::RETRY)]).await.unwrap();
    assert_eq!(pull(&source, 1).await[0].redelivered, 2);
}

#[tokio::test]
async fn without_a_policy_a_rejected_message_is_deleted() {
    let Some(pubsub) = opened(&[]).await else { return };
    let topic = unique("reject");
    let source = subscribed(&pubsub, &topic, &[]).await;
    publish(&pubsub, &topic, "poison", &[]).await;
    let poison = pull(&source, 1).await.remove(0);
    source.settle(&context(), vec![settle(poison.id, Outcome::REJECT)]).await.unwrap();
    source.close(&context()).await.unwrap();
    assert_eq!(pubsub.held(&topic).await, 0);
}

#[tokio::test]
async fn with_a_policy_it_goes_to_the_dead_letters_and_blocks_nothing() {
    let (topic, dead) = (unique("policy"), unique("dead"));
    let fields = [("sqsDeadLettersQueueName", dead.as_str()), ("messageReceiveLimit", "2")];
    let Some(pubsub) = opened(&fields).await else { return };
    let source = subscribed(&pubsub, &topic, &[("messageWaitTimeSeconds", "1")]).await;
    publish(&pubsub, &topic, "poison", &[]).await;
    let poison = pull(&source, 1).await.remove(0);
    source.settle(&context(), vec![settle(poison.id, Outcome::REJECT)]).await.unwrap();
    publish(&pubsub, &topic, "good", &[]).await;
    assert_eq!(text(&drain(&source, 1).await[0]), "good");
    let Some(plain) = opened(&[]).await else { return };
    let letters = subscribed(&plain, &dead, &[("messageWaitTimeSeconds", "1")]).await;
    let letter = tokio::select! {
        letters = pull(&letters, 1) => letters,
        came = pull(&source, 1) => panic!("the application got {} again", text(&came[0])),
    };
    assert_eq!(text(&letter[0]), "poison");
    // The same policy again changes nothing.
    subscribed(&pubsub, &topic, &[]).await;
}

#[tokio::test]
async fn a_message_stays_hidden_while_it_is_worked_on() {
    let Some(pubsub) = opened(&[("messageVisibilityTimeout", "2"), ("messageWaitTimeSeconds", "1")]).await
    else {
        return;
    };
    let topic = unique("slow");
    let (worker, other) = (subscribed(&pubsub, &topic, &[]).await, subscribed(&pubsub, &topic, &[]).await);
    other.close(&context()).await.unwrap();
    publish(&pubsub, &topic, "slow", &[]).await;
    let slow = pull(&worker, 1).await.remove(0);
    let other = subscribed(&pubsub, &topic, &[]).await;
    assert_quiet(&other, Duration::from_secs(5)).await;
    worker.settle(&context(), vec![settle(slow.id, Outcome::ACK)]).await.unwrap();
    assert_quiet(&other, Duration::from_secs(3)).await;
}

#[tokio::test]
async fn what_was_not_settled_is_given_back_on_close() {
    let Some(pubsub) = opened(&[("messageVisibilityTimeout", "600")]).await else { return };
    let topic = unique("close");
    pubsub.bulk_publish(&context(), &topic, entries(10, &[]), Metadata::new()).await.unwrap();
    let source = subscribed(&pubsub, &topic, &[]).await;
    let out = pull(&source, 3).await;
    source.settle(&context(), vec![settle(out[0].id, Outcome::ACK)]).await.unwrap();
    let before = Instant::now();
    source.close(&context()).await.unwrap();
    assert!(before.elapsed() < Duration::from_secs(5));
    let next = subscribed(&pubsub, &topic, &[]).await;
    assert_eq!(drain(&next, 9).await.len(), 9);
}

#[tokio::test]
async fn settling_twice_or_what_is_unknown_changes_nothing() {
    let Some(pubsub) = opened(&[]).await else { return };
    let topic = unique("twice");
    publish(&pubsub, &topic, "once", &[]).await;
    let source = subscribed(&pubsub, &topic, &[]).await;
    let once = pull(&source, 1).await.remove(0);
    let all =
        vec![settle(once.id, Outcome::ACK), settle(once.id, Outcome::RETRY), settle(99, Outcome::REJECT)];
    source.settle(&context(), all).await.unwrap();
    source.close(&context()).await.unwrap();
    assert_eq!(pubsub.held(&topic).await, 0);
}
