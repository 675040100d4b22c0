//! Sending to and receiving from queues.

use std::collections::HashSet;
use std::sync::Arc;

use mecha_plugin_api::binding::{InvokeRequest, OutputBinding};
use mecha_plugin_api::pubsub::{BulkEntry, PubSub, PublishRequest, SubscribeRequest};
use mecha_plugin_api::{Buf, RString};

use super::*;
use crate::sqs::{SqsBinding, SqsPubSub, SqsSource};

pub(super) async fn opened(more: &[(&str, &str)]) -> Option<SqsPubSub> {
    let address = server(SQS_VARIABLE)?;
    Some(SqsPubSub::open(sqs_spec("pubsub.aws.sqs", &address, more), shared()).await.unwrap())
}

pub(super) fn message(topic: &str, data: impl Into<Buf>, metadata: &[(&str, &str)]) -> PublishRequest {
    PublishRequest {
        topic: topic.into(),
        data: data.into(),
        content_type: RString::new(),
        metadata: Metadata::from_iter(metadata.iter().copied()),
    }
}

pub(super) async fn publish(pubsub: &SqsPubSub, topic: &str, data: &str, metadata: &[(&str, &str)]) {
    pubsub.publish(&context(), message(topic, data.to_owned(), metadata)).await.unwrap();
}

pub(super) async fn subscribed(pubsub: &SqsPubSub, topic: &str, metadata: &[(&str, &str)]) -> SqsSource {
    let metadata = Metadata::from_iter(metadata.iter().copied());
    pubsub.source(&SubscribeRequest { topic: topic.into(), metadata, max_in_flight: 0 }).await.unwrap()
}

pub(super) fn entries(count: usize, metadata: &[(&str, &str)]) -> Vec<BulkEntry> {
    let entry = |number: usize| BulkEntry {
        entry_id: number.to_string().into(),
        data: Buf::from(format!("message {number:04}")),
        content_type: RString::new(),
        metadata: Metadata::from_iter(metadata.iter().copied()),
    };
    (0..count).map(entry).collect()
}

#[tokio::test]
async fn a_message_keeps_its_headers_and_is_gone_once_acknowledged() {
    let Some(pubsub) = opened(&[]).await else { return };
    let topic = unique("orders");
    let traced =
        message(&topic, "hello".to_owned(), &[("kind", "new"), ("tracestate", "a=b"), ("baggage", "c=d")]);
    pubsub.publish(&sampled(), traced).await.unwrap();
    let source = subscribed(&pubsub, &topic, &[]).await;
    let delivery = pull(&source, 1).await.remove(0);
    assert_eq!(
        (text(&delivery), delivery.redelivered, delivery.topic.as_str()),
        ("hello", 0, topic.as_str())
    );
    assert_eq!(delivery.ordering_key.as_str(), "");
    let metadata = &delivery.metadata;
    assert_eq!(metadata.get("traceparent"), sampled().traceparent().as_deref());
    for (name, value) in
        [("kind", "new"), ("tracestate", "a=b"), ("baggage", "c=d"), ("approximateReceiveCount", "1")]
    {
        assert_eq!(metadata.get(name), Some(value));
    }
    assert!(
        metadata.get("messageId").is_some_and(|id| !id.is_empty()) && metadata.get("sentTimestamp").is_some()
    );
    source.settle(&context(), vec![settle(delivery.id, Outcome::ACK)]).await.unwrap();
    source.close(&context()).await.unwrap();
    assert_eq!(pubsub.held(&topic).await, 0);
}

#[tokio::test]
async fn bytes_that_are_no_text_arrive_as_they_were() {
    let Some(pubsub) = opened(&[]).await else { return };
    let topic = unique("bytes");
    let data: Vec<u8> = (0..=255).collect();
    pubsub.publish(&context(), message(&topic, data.clone(), &[])).await.unwrap();
    let source = subscribed(&pubsub, &topic, &[]).await;
    assert_eq!(&*drain(&source, 1).await[0].data, data);
}

#[tokio::test]
async fn a_bulk_is_published_whole_and_bad_entries_are_told() {
    let Some(pubsub) = opened(&[]).await else { return };
    let topic = unique("bulk");
    let mut entries = entries(25, &[]);
    entries[7].metadata.insert("delaySeconds", "tomorrow");
    entries[9].data = Buf::new();
    let failed = pubsub.bulk_publish(&context(), &topic, entries, Metadata::new()).await.unwrap();
    let ids: Vec<_> = failed.iter().map(|entry| entry.entry_id.as_str()).collect();
    assert_eq!(ids, ["7", "9"]);
    assert_eq!(failed[0].error.field(), Some("delaySeconds"));
    let source = subscribed(&pubsub, &topic, &[]).await;
    let got: HashSet<String> =
        drain(&source, 23).await.iter().map(|delivery| text(delivery).to_owned()).collect();
    assert_eq!(got.len(), 23);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_between_many_publishers_and_a_reader() {
    const PUBLISHERS: usize = 32;
    const EACH: usize = 40;
    let Some(pubsub) = opened(&[]).await else { return };
    let (pubsub, topic) = (Arc::new(pubsub), unique("many"));
    let source = subscribed(&pubsub, &topic, &[]).await;
    let publishing: Vec<_> = (0..PUBLISHERS)
        .map(|publisher| {
            let (pubsub, topic) = (pubsub.clone(), topic.clone());
            tokio::spawn(async move {
                for number in 0..EACH {
                    publish(&pubsub, &topic, &format!("{publisher}-{number}"), &[]).await;
                }
            })
        })
        .collect();
    let mut got = HashSet::new();
    while got.len() < PUBLISHERS * EACH {
        got.extend(drain(&source, 1).await.iter().map(|delivery| text(delivery).to_owned()));
    }
    for publisher in publishing {
        publisher.await.unwrap();
    }
    source.close(&context()).await.unwrap();
    assert_eq!(pubsub.held(&topic).await, 0);
}

#[tokio::test]
async fn a_delayed_message_waits_in_the_queue() {
    let Some(pubsub) = opened(&[]).await else { return };
    let topic = unique("later");
    let source = subscribed(&pubsub, &topic, &[("messageWaitTimeSeconds", "1")]).await;
    let before = Instant::now();
    publish(&pubsub, &topic, "later", &[("delayInSeconds", "2")]).await;
    pull(&source, 1).await;
    assert!(before.elapsed() >= Duration::from_millis(1900), "{:?}", before.elapsed());
}

#[tokio::test]
async fn the_binding_sends_to_its_queue_and_reads_from_it() {
    let Some(pubsub) = opened(&[]).await else { return };
    let (address, queue) = (server(SQS_VARIABLE).unwrap(), unique("bound"));
    subscribed(&pubsub, &queue, &[]).await.close(&context()).await.unwrap();
    let spec = sqs_spec("bindings.aws.sqs", &address, &[("queueName", &queue)]);
    let binding = SqsBinding::open(spec, shared()).await.unwrap();
    assert_eq!(binding.operations(), ["create"]);
    OutputBinding::ping(&binding, &context()).await.unwrap();
    let request = |operation: &str| InvokeRequest {
        operation: operation.into(),
        data: Buf::from_static(br#"{"id":7}"#),
        metadata: Metadata::from_iter([("kind", "new")]),
    };
    binding.invoke(&context(), request("create")).await.unwrap();
    let source = binding.source().await.unwrap();
    let delivery = drain(&source, 1).await.remove(0);
    assert_eq!((text(&delivery), delivery.metadata.get("kind")), (r#"{"id":7}"#, Some("new")));
    let error = binding.invoke(&context(), request("get")).await.unwrap_err();
    assert_eq!(error.kind(), mecha_plugin_api::ErrorKind::UNSUPPORTED);
}

#[tokio::test]
async fn the_backlog_is_told() {
    let Some(pubsub) = opened(&[]).await else { return };
    let topic = unique("backlog");
    let failed = pubsub.bulk_publish(&context(), &topic, entries(12, &[]), Metadata::new()).await.unwrap();
    assert!(failed.is_empty());
    assert_eq!(pubsub.backlog(&context(), &topic).await.unwrap(), Some(12));
    pubsub.ping(&context()).await.unwrap();
}
