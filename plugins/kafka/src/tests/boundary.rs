//! The plugin as the host sees it: declared types, calls polled from outside, spans that come back.

use std::sync::{Arc, Mutex};

use mecha_plugin_api::host::{FieldValue, FinishedSpan, HostObject, HostServices, HostServices_TO, LogEvent};
use mecha_plugin_api::module;

use super::*;

#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<FinishedSpan>>>);

impl HostServices for Recorder {
    fn span(&self, span: FinishedSpan) {
        self.0.lock().unwrap().push(span);
    }

    fn log(&self, _event: LogEvent) {}
}

fn host(recorder: &Recorder) -> HostObject {
    HostServices_TO::from_value(recorder.clone(), abi_stable::sabi_trait::TD_Opaque)
}

fn field<'a>(span: &'a FinishedSpan, name: &str) -> Option<&'a str> {
    span.fields.iter().find(|field| field.name == name).and_then(|field| match &field.value {
        FieldValue::Text(text) => Some(text.as_str()),
        _ => None,
    })
}

#[test]
fn the_types_are_declared() {
    let described = crate::plugin().describe();
    let types: Vec<_> = described.components.iter().map(|component| component.type_name.as_str()).collect();
    assert_eq!(types, ["bindings.kafka", "bindings.kafka", "pubsub.kafka"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_crosses_the_boundary_and_sampled_calls_leave_spans() {
    let Some(address) = server() else { return };
    let topic = topic(&address, "boundary", 1).await;
    let recorder = Recorder::default();
    let plugin = module::start(crate::plugin, host(&recorder)).into_result().unwrap();
    let opened = spec("pubsub.kafka", &address, &[("maxMessageBytes", "2000")]);
    let pubsub = plugin.open_pubsub(opened).await.into_result().unwrap();
    let source = pubsub.subscribe(context(), request(&topic, 4)).await.into_result().unwrap();
    pubsub
        .publish(sampled(), message(&topic, "sampled", &[("partitionKey", "hidden")]))
        .await
        .into_result()
        .unwrap();
    pubsub.publish(context(), message(&topic, "unsampled", &[])).await.into_result().unwrap();
    assert!(pubsub.publish(sampled(), message(&topic, &"x".repeat(4000), &[])).await.into_result().is_err());
    let mut settlements = Vec::new();
    while settlements.len() < 2 {
        let deliveries = source.next(context(), 4, 1_000_000_000).await.into_result().unwrap();
        let ack = |one: &Delivery| Settlement { id: one.id, outcome: Outcome::ACK, delay_ns: 0 };
        settlements.extend(deliveries.iter().map(ack));
    }
    source.settle(sampled(), settlements.into()).await.into_result().unwrap();
    source.close(context()).await.into_result().unwrap();

    let spans = recorder.0.lock().unwrap().clone();
    let names: Vec<_> = spans.iter().map(|span| span.name.to_string()).collect();
    assert_eq!(names, [format!("send {topic}"), format!("send {topic}")]);
    for span in &spans {
        assert_eq!((span.trace_id, span.parent_span_id), ([7; 16], [3; 8]));
        assert_eq!(field(span, "messaging.system"), Some("kafka"));
        assert_eq!(field(span, "messaging.destination.name"), Some(topic.as_str()));
        assert!(!format!("{span:?}").contains("hidden"), "{span:?}");
    }
    assert_eq!((spans[0].status, spans[1].status), (0, 2));
    assert!(field(&spans[1], "error.type").is_some(), "{:?}", spans[1]);
    drop((source, pubsub));
    plugin.shutdown(5_000_000_000);
}
