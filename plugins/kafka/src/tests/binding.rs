//! The binding: out by `create`, in from several topics.

use mecha_plugin_api::ErrorKind;
use mecha_plugin_api::binding::{InputBinding, InvokeRequest, OutputBinding};

use super::*;
use crate::binding::{KafkaInput, KafkaOutput};

fn binding(address: &str, more: &[(&str, &str)]) -> ComponentSpec {
    spec("bindings.kafka", address, more)
}

fn invocation(operation: &str, data: &str, metadata: &[(&str, &str)]) -> InvokeRequest {
    InvokeRequest {
        operation: operation.into(),
        data: Buf::from(data.to_owned()),
        metadata: Metadata::from_iter(metadata.iter().copied()),
    }
}

#[tokio::test]
async fn what_is_created_is_read_with_its_key_and_headers() {
    let Some(address) = server() else { return };
    let (topic, other) = (topic(&address, "binding", 2).await, topic(&address, "binding", 1).await);
    let topics = format!("{topic}, {other}");
    let group = unique("g");
    let fields = [
        ("topics", topics.as_str()),
        ("publishTopic", &topic),
        ("consumerGroup", &group),
        ("initialOffset", "oldest"),
    ];
    let output = KafkaOutput::open(binding(&address, &fields)).await.unwrap();
    let input = KafkaInput::open(binding(&address, &fields)).await.unwrap();
    assert_eq!(output.operations(), ["create"]);
    let request = invocation("create", "out", &[("partitionKey", "k"), ("x-custom", "1")]);
    output.invoke(&context(), request).await.unwrap();
    let source = input.source().await.unwrap();
    let delivery = pull(&source, 1).await.remove(0);
    assert_eq!((text(&delivery), delivery.topic.as_str()), ("out", topic.as_str()));
    assert_eq!(delivery.metadata.get("__key"), Some("k"));
    assert_eq!(delivery.metadata.get("x-custom"), Some("1"));
    ack(&source, &[delivery]).await;
    let pubsub = opened(&address, &[]).await;
    publish(&pubsub, &other, "elsewhere", &[]).await;
    let delivery = pull(&source, 1).await.remove(0);
    assert_eq!((text(&delivery), delivery.topic.as_str()), ("elsewhere", other.as_str()));
    output.ping(&context()).await.unwrap();
    input.ping(&context()).await.unwrap();
}

#[tokio::test]
async fn a_failed_event_is_not_tried_again_unless_the_component_says_so() {
    let Some(address) = server() else { return };
    for (enabled, expected) in [("false", ["2"]), ("true", ["1"])] {
        let (topic, group) = (topic(&address, "events", 1).await, unique("g"));
        let fields = [
            ("topics", topic.as_str()),
            ("consumerGroup", &group),
            ("initialOffset", "oldest"),
            ("consumeRetryEnabled", enabled),
        ];
        let source = KafkaInput::open(binding(&address, &fields)).await.unwrap().source().await.unwrap();
        let pubsub = opened(&address, &[]).await;
        publish(&pubsub, &topic, "1", &[]).await;
        let first = pull(&source, 1).await;
        publish(&pubsub, &topic, "2", &[]).await;
        settle(&source, &first, Outcome::RETRY, Duration::ZERO).await;
        assert_eq!(texts(&pull(&source, 1).await), expected, "{enabled}");
    }
}

#[tokio::test]
async fn directions_and_topics_are_checked() {
    let Some(address) = server() else { return };
    let field = |error: mecha_plugin_api::Error| error.field().unwrap_or_default().to_owned();
    let output = |fields: &'static [(&str, &str)]| KafkaOutput::open(binding(&address, fields));
    let input = |fields: &'static [(&str, &str)]| KafkaInput::open(binding(&address, fields));
    assert_eq!(field(output(&[("direction", "output")]).await.err().unwrap()), "publishTopic");
    assert_eq!(field(input(&[("direction", "input, output")]).await.err().unwrap()), "topics");
    assert_eq!(field(input(&[("direction", "sideways")]).await.err().unwrap()), "direction");
    let silent = output(&[("direction", "input"), ("publishTopic", "t")]).await.unwrap();
    let error = silent.invoke(&context(), invocation("create", "x", &[])).await.unwrap_err();
    assert_eq!(field(error), "publishTopic");
    let error = silent.invoke(&context(), invocation("get", "x", &[])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UNSUPPORTED);
    let declined = input(&[]).await.err().unwrap();
    assert_eq!((declined.kind(), field(declined)), (ErrorKind::UNSUPPORTED, "topics".to_owned()));
}
