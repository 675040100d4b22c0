//! The plugin as the host sees it: declared operations, calls polled from outside, spans that come back.

use std::sync::{Arc, Mutex};

use mecha_plugin_api::host::{FieldValue, FinishedSpan, HostServices, HostServices_TO, LogEvent};
use mecha_plugin_api::module;

use super::server::Server;
use super::*;

#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<FinishedSpan>>>);

impl HostServices for Recorder {
    fn span(&self, span: FinishedSpan) {
        self.0.lock().unwrap().push(span);
    }

    fn log(&self, _event: LogEvent) {}
}

fn value<'a>(span: &'a FinishedSpan, name: &str) -> Option<&'a FieldValue> {
    span.fields.iter().find(|field| field.name == name).map(|field| &field.value)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_exchange_of_a_sampled_call_is_a_span() {
    let server = Server::start().await;
    let recorder = Recorder::default();
    let host = HostServices_TO::from_value(recorder.clone(), abi_stable::sabi_trait::TD_Opaque);
    let plugin = module::start(crate::plugin, host).into_result().unwrap();
    let binding = plugin.open_output_binding(spec(&server.url, &[])).await.into_result().unwrap();
    assert_eq!(binding.operations().len(), 9);
    let sampled = CallContext { trace_id: [7; 16], span_id: [3; 8], trace_flags: 1, ..context() };
    let path = [("path", "redirect/302?to=/status/404")];
    let error = binding.invoke(sampled, request("post", "x", &path)).await.into_result().unwrap_err();
    assert_eq!(error.message(), "received status code 404");
    binding.invoke(context(), request("get", "", &[])).await.into_result().unwrap();

    let spans = recorder.0.lock().unwrap().clone();
    let names: Vec<_> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["POST", "GET"]);
    for span in &spans {
        assert_eq!((span.trace_id, span.parent_span_id, span.kind), ([7; 16], [3; 8], 2));
        assert_eq!(value(span, "server.port"), Some(&FieldValue::Int(server.port.into())));
    }
    assert_eq!(value(&spans[0], "http.response.status_code"), Some(&FieldValue::Int(302)));
    let url = format!("{}/redirect/302", server.url);
    assert_eq!(value(&spans[0], "url.full"), Some(&FieldValue::Text(url.into())), "no query");
    assert_eq!((spans[0].status, spans[1].status), (0, 2));
    assert_eq!(value(&spans[1], "http.request.resend_count"), Some(&FieldValue::Int(1)));
    drop(binding);
    plugin.shutdown(1_000_000_000);
}
