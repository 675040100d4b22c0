//! What queue components say when something is wrong.

use mecha_plugin_api::ErrorKind;
use mecha_plugin_api::binding::OutputBinding;
use mecha_plugin_api::pubsub::PubSub;

use super::sqs::{message, opened, subscribed};
use super::*;
use crate::sqs::{SqsBinding, SqsPubSub};

#[tokio::test]
async fn a_missing_queue_names_the_field() {
    let Some(address) = server(SQS_VARIABLE) else { return };
    let name = unique("missing");
    let spec = sqs_spec("bindings.aws.sqs", &address, &[("queueName", &name)]);
    let error = SqsBinding::open(spec, shared()).await.err().unwrap();
    assert_eq!((error.kind(), error.field()), (ErrorKind::NOT_FOUND, Some("queueName")), "{error}");
    assert!(error.message().contains(&name), "{error}");
}

#[tokio::test]
async fn topics_are_not_created_where_that_is_disabled() {
    let Some(pubsub) = opened(&[("disableEntityManagement", "true")]).await else { return };
    let topic = unique("missing");
    let error = pubsub.publish(&context(), message(&topic, "x".to_owned(), &[])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NOT_FOUND, "{error}");
    assert!(error.message().contains(&topic) && !error.is_retriable(), "{error}");
}

#[tokio::test]
async fn a_queue_that_was_deleted_is_made_again_by_the_next_publish_but_one() {
    let Some(pubsub) = opened(&[]).await else { return };
    let (topic, address) = (unique("deleted"), server(SQS_VARIABLE).unwrap());
    pubsub.publish(&context(), message(&topic, "x".to_owned(), &[])).await.unwrap();
    let spec = sqs_spec("bindings.aws.sqs", &address, &[("queueName", &topic)]);
    let binding = SqsBinding::open(spec, shared()).await.unwrap();
    pubsub.delete_queue(&topic).await;
    let error = binding.source().await.err().unwrap();
    assert_eq!((error.kind(), error.field()), (ErrorKind::NOT_FOUND, Some("queueName")), "{error}");
    let error = pubsub.publish(&context(), message(&topic, "y".to_owned(), &[])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NOT_FOUND, "{error}");
    pubsub.publish(&context(), message(&topic, "y".to_owned(), &[])).await.unwrap();
    let source = subscribed(&pubsub, &topic, &[]).await;
    assert_eq!(text(&drain(&source, 1).await[0]), "y");
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let Some(pubsub) = opened(&[]).await else { return };
    let topic = unique("large");
    let error = pubsub.publish(&context(), message(&topic, vec![b'x'; 1_100_000], &[])).await.unwrap_err();
    assert_eq!((error.kind(), error.field()), (ErrorKind::INVALID, Some("data")), "{error}");
    // Over the limit of this server, which is lower than that of AWS today.
    if let Err(error) = pubsub.publish(&context(), message(&topic, vec![b'x'; 1_000_000], &[])).await {
        assert_eq!((error.kind(), error.is_retriable()), (ErrorKind::INVALID, false), "{error}");
    }
    let large = message(&topic, vec![b'x'; 200_000], &[]);
    pubsub.publish(&context(), large).await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_away_is_unavailable_but_opens() {
    let away = "http://127.0.0.1:1";
    let spec = sqs_spec("bindings.aws.sqs", away, &[("queueName", "q")]);
    let binding = SqsBinding::open(spec, shared()).await.unwrap();
    let error = OutputBinding::ping(&binding, &context()).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retriable()), (ErrorKind::UNAVAILABLE, true), "{error}");
    assert!(error.message().contains("refused"), "{error}");
    let pubsub = SqsPubSub::open(sqs_spec("pubsub.aws.sqs", away, &[]), shared()).await.unwrap();
    let error = pubsub.publish(&context(), message("t", "x".to_owned(), &[])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UNAVAILABLE, "{error}");
}
