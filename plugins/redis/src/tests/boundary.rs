//! The plugin as the host sees it: declared types, calls polled from outside, spans that come back.

use std::sync::{Arc, Mutex};

use abi_stable::std_types::{ROption, RResult, RString};
use mecha_plugin_api::binding::InvokeRequest;
use mecha_plugin_api::host::{FieldValue, FinishedSpan, HostObject, HostServices, HostServices_TO, LogEvent};
use mecha_plugin_api::lock::UnlockOutcome;
use mecha_plugin_api::module;
use mecha_plugin_api::pubsub::{PublishRequest, SubscribeRequest};
use mecha_plugin_api::state::StateStoreObject;

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

fn sampled() -> CallContext {
    CallContext { trace_id: [7; 16], span_id: [3; 8], trace_flags: 1, ..context() }
}

fn text<'a>(span: &'a FinishedSpan, name: &str) -> Option<&'a str> {
    span.fields.iter().find(|field| field.name == name).and_then(|field| match &field.value {
        FieldValue::Text(text) => Some(text.as_str()),
        _ => None,
    })
}

async fn opened(recorder: &Recorder, spec: ComponentSpec) -> (module::PluginObject, StateStoreObject) {
    let plugin = module::start(crate::plugin, host(recorder)).into_result().unwrap();
    let store = plugin.open_state_store(spec).await.into_result().unwrap();
    (plugin, store)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_command_of_a_sampled_call_is_a_span_under_the_calls() {
    let redis = Redis::start().unwrap();
    let recorder = Recorder::default();
    let (plugin, store) = opened(&recorder, spec(&redis, &[])).await;
    store.set(sampled(), set("secret-key", "1")).await.into_result().unwrap();
    store.get(sampled(), get("secret-key")).await.into_result().unwrap();
    store.get(context(), get("secret-key")).await.into_result().unwrap();
    let _ = store.set(sampled(), set_with_etag("secret-key", "2", "9")).await;

    let spans = recorder.0.lock().unwrap().clone();
    let names: Vec<_> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["EVALSHA", "EVAL", "HMGET", "EVALSHA"]);
    for span in &spans {
        assert_eq!((span.trace_id, span.parent_span_id, span.kind), ([7; 16], [3; 8], 2));
        assert_eq!(text(span, "db.system.name"), Some("redis"));
        assert_eq!(text(span, "db.namespace"), Some("0"));
        assert_eq!(text(span, "server.address"), Some("127.0.0.1"));
        assert!(!format!("{span:?}").contains("secret-key"), "{span:?}");
    }
    assert_eq!(spans[2].status, 0);
    assert_eq!((spans[3].status, text(&spans[3], "error.type")), (2, Some("ERR")));
    assert_eq!(text(&spans[0], "db.response.status_code"), Some("NOSCRIPT"));
    drop(store);
    plugin.shutdown(1_000_000_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_crosses_with_its_value_and_its_error() {
    let redis = Redis::start().unwrap();
    let (plugin, store) = opened(&Recorder::default(), spec(&redis, &[])).await;
    store.set(context(), set("k", "1")).await.into_result().unwrap();
    let RResult::ROk(ROption::RSome(item)) = store.get(context(), get("k")).await else { panic!("no value") };
    assert_eq!(item.etag.as_ref().map(RString::as_str).into_option(), Some("1"));
    let refused = plugin.open_state_store(spec(&redis, &[("useOIDC", "true")])).await.into_result();
    assert_eq!(refused.err().unwrap().field(), Some("useOIDC"));
    drop(store);
    plugin.shutdown(1_000_000_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_capability_crosses_and_its_work_runs_on_the_librarys_runtime() {
    let redis = Redis::start().unwrap();
    let recorder = Recorder::default();
    let plugin = module::start(crate::plugin, host(&recorder)).into_result().unwrap();
    let typed = |type_name: &str| ComponentSpec { type_name: type_name.into(), ..spec(&redis, &[]) };
    let broker = plugin.open_pubsub(typed("pubsub.redis")).await.into_result().unwrap();
    let request = SubscribeRequest { topic: "t".into(), metadata: Metadata::new(), max_in_flight: 0 };
    let source = broker.subscribe(context(), request).await.into_result().unwrap();
    let message = PublishRequest {
        topic: "t".into(),
        data: Buf::from("x".to_owned()),
        content_type: RString::new(),
        metadata: Metadata::from_iter([("tracestate", "a=b"), ("baggage", "c=d")]),
    };
    broker.publish(sampled(), message).await.into_result().unwrap();
    let deliveries = source.next(context(), 9, 5_000_000_000).await.into_result().unwrap();
    let metadata = &deliveries[0].metadata;
    assert_eq!(metadata.get("traceparent").unwrap()[3..35], "07".repeat(16));
    assert_eq!((metadata.get("tracestate"), metadata.get("baggage")), (Some("a=b"), Some("c=d")));
    source.close(context()).await.into_result().unwrap();
    let names: Vec<_> = recorder.0.lock().unwrap().iter().map(|span| span.name.to_string()).collect();
    assert_eq!(names, ["XADD"]);

    let store = plugin.open_configuration_store(typed("configuration.redis")).await.into_result().unwrap();
    let changes = store.subscribe(context(), vec![RString::from("k")].into(), Metadata::new());
    let changes = changes.await.into_result().unwrap();
    let binding = plugin.open_output_binding(typed("bindings.redis")).await.into_result().unwrap();
    let request = InvokeRequest {
        operation: "create".into(),
        data: Buf::from("v||1".to_owned()),
        metadata: Metadata::from_iter([("key", "k")]),
    };
    binding.invoke(context(), request).await.into_result().unwrap();
    let deliveries = changes.next(context(), 9, 5_000_000_000).await.into_result().unwrap();
    assert_eq!(&*deliveries[0].data, b"v");

    let locks = plugin.open_lock_store(typed("lock.redis")).await.into_result().unwrap();
    let unlocked = locks.unlock(context(), "r".into(), "o".into()).await.into_result().unwrap();
    assert_eq!(unlocked, UnlockOutcome::NOT_LOCKED);
    drop((source, broker, changes, store, binding, locks));
    plugin.shutdown(1_000_000_000);
}
