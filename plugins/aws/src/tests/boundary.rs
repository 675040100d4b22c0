//! The plugin as the host sees it: declared types, calls polled from outside, spans that come back.

use std::sync::{Arc, Mutex};

use abi_stable::std_types::RString;
use mecha_plugin_api::Buf;
use mecha_plugin_api::host::{FieldValue, FinishedSpan, HostServices, HostServices_TO, LogEvent};
use mecha_plugin_api::module;
use mecha_plugin_api::pubsub::{PublishRequest, SubscribeRequest};

use super::*;

#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<FinishedSpan>>>);

impl HostServices for Recorder {
    fn span(&self, span: FinishedSpan) {
        self.0.lock().unwrap().push(span);
    }

    fn log(&self, _event: LogEvent) {}
}

fn field(span: &FinishedSpan, name: &str) -> Option<String> {
    span.fields.iter().find(|field| field.name == name).and_then(|field| match &field.value {
        FieldValue::Text(text) => Some(text.to_string()),
        _ => None,
    })
}

#[test]
fn the_types_are_declared() {
    let types: Vec<_> = crate::plugin()
        .describe()
        .components
        .iter()
        .map(|component| component.type_name.to_string())
        .collect();
    let all = ["bindings.aws.sqs", "bindings.aws.s3", "bindings.aws.sqs", "pubsub.aws.sqs", "objects.aws.s3"];
    assert_eq!(types, all);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_crosses_the_boundary_and_sampled_calls_leave_spans() {
    let Some(address) = server(SQS_VARIABLE) else { return };
    let recorder = Recorder::default();
    let host = HostServices_TO::from_value(recorder.clone(), abi_stable::sabi_trait::TD_Opaque);
    let plugin = module::start(crate::plugin, host).into_result().unwrap();
    let pubsub = plugin.open_pubsub(sqs_spec("pubsub.aws.sqs", &address, &[])).await.into_result().unwrap();
    let topic = unique("boundary");
    let request = |data: &str| PublishRequest {
        topic: topic.as_str().into(),
        data: Buf::from(data.to_owned()),
        content_type: RString::new(),
        metadata: Metadata::new(),
    };
    pubsub.publish(sampled(), request("sampled")).await.into_result().unwrap();
    pubsub.publish(context(), request("unsampled")).await.into_result().unwrap();
    let subscription =
        SubscribeRequest { topic: topic.as_str().into(), metadata: Metadata::new(), max_in_flight: 4 };
    let source = pubsub.subscribe(context(), subscription).await.into_result().unwrap();
    let mut settlements = Vec::new();
    while settlements.len() < 2 {
        let deliveries = source.next(context(), 4, 1_000_000_000).await.into_result().unwrap();
        settlements.extend(deliveries.iter().map(|delivery| settle(delivery.id, Outcome::ACK)));
    }
    source.settle(sampled(), settlements.into()).await.into_result().unwrap();
    source.close(context()).await.into_result().unwrap();
    let spans = recorder.0.lock().unwrap().clone();
    let names: Vec<_> = spans.iter().map(|span| span.name.to_string()).collect();
    assert_eq!(names, [format!("send {topic}"), format!("delete {topic}")]);
    for span in &spans {
        assert_eq!(field(span, "messaging.system").as_deref(), Some("aws_sqs"));
        assert_eq!(field(span, "messaging.destination.name").as_deref(), Some(topic.as_str()));
    }
}
