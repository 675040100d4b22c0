//! One trace from the caller through the API and the capability call into the plugin.

use std::time::Duration;

use http::Request;
use http_body_util::Full;
use mecha_backends::Redis;
use mecha_testkit::{Mecha, OtlpCollector, ReceivedSpan};

const SOON: Duration = Duration::from_secs(15);
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

fn tracing_to(collector: &OtlpCollector, protocol: &str) -> String {
    format!(
        "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: {{name: tracing}}\nspec:\n  tracing:\n    samplingRate: \"1\"\n    otel: {{endpointAddress: \"{}\", isSecure: false, protocol: {protocol}}}\n",
        collector.addr()
    )
}

fn named<'a>(spans: &'a [ReceivedSpan], name: &str) -> &'a ReceivedSpan {
    let names: Vec<_> = spans.iter().map(|span| &span.span.name).collect();
    spans.iter().find(|span| span.span.name == name).unwrap_or_else(|| panic!("no span {name} in {names:?}"))
}

async fn save(mecha: &Mecha, flags: &str) -> mecha_testkit::Reply {
    let request = Request::put(mecha.http_url("/v1.0/state/store"))
        .header("content-type", "application/json")
        .header("traceparent", format!("00-{TRACE}-{CALLER}-{flags}"))
        .body(Full::new(r#"[{"key":"k","value":"v"}]"#.into()))
        .unwrap();
    mecha.http().send(request).await.unwrap()
}

async fn runtime(redis: &Redis, configuration: &str) -> (Mecha, tempfile::NamedTempFile) {
    let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    std::fs::write(file.path(), configuration).unwrap();
    let mecha = Mecha::builder()
        .app_id("traced")
        .plugin("redis")
        .component_with("store", "state.redis", &[("redisHost", &redis.addr().to_string())])
        .flag("--config", file.path().to_str().unwrap())
        .start()
        .await
        .unwrap();
    (mecha, file)
}

async fn one_trace(protocol: &str) {
    let (redis, collector) = (Redis::shared().unwrap(), OtlpCollector::start().await.unwrap());
    let (mecha, _file) = runtime(&redis, &tracing_to(&collector, protocol)).await;
    let reply = save(&mecha, "01").await;
    assert_eq!(reply.status, 204, "{}", reply.text());
    assert!(reply.header("traceparent").contains(TRACE), "{:?}", reply.headers);

    let in_trace = |spans: &[ReceivedSpan]| spans.iter().filter(|span| span.trace_id() == TRACE).count() >= 3;
    let spans = collector.wait_for_spans(in_trace, SOON).await.unwrap();
    let spans: Vec<_> = spans.into_iter().filter(|span| span.trace_id() == TRACE).collect();
    let server = named(&spans, "/v1.0/state/store");
    assert_eq!(server.parent_id(), CALLER);
    assert_eq!(server.service, "traced");
    let call = named(&spans, "state.redis set");
    assert_eq!(call.parent_id(), server.span_id());
    for (key, value) in [
        ("mecha.component.name", "store"),
        ("mecha.component.type", "state.redis"),
        ("mecha.plugin.file", "libmecha_plugin_redis.so"),
        ("mecha.plugin.generation", "1"),
    ] {
        assert_eq!(call.attribute(key).as_deref(), Some(value), "{key}");
    }
    assert!(call.attribute("mecha.plugin.version").is_some());
    let inside: Vec<_> = spans.iter().filter(|span| span.parent_id() == call.span_id()).collect();
    assert!(!inside.is_empty(), "no span of the plugin under the call's span");
    assert_eq!(inside[0].attribute("db.system.name").as_deref(), Some("redis"));
}

#[tokio::test]
async fn a_save_is_one_trace_down_into_the_plugin_over_grpc() {
    one_trace("grpc").await;
}

#[tokio::test]
async fn a_save_is_one_trace_down_into_the_plugin_over_http() {
    one_trace("http").await;
}

#[tokio::test]
async fn an_unsampled_call_exports_nothing() {
    let (redis, collector) = (Redis::shared().unwrap(), OtlpCollector::start().await.unwrap());
    let (mecha, _file) = runtime(&redis, &tracing_to(&collector, "grpc")).await;
    assert_eq!(save(&mecha, "00").await.status, 204);
    // The sampled call after it shows that the pipeline is up and has passed the unsampled one.
    assert_eq!(save(&mecha, "01").await.status, 204);
    let spans = collector.wait_for_spans(|spans| spans.len() >= 3, SOON).await.unwrap();
    let saves = spans.iter().filter(|span| span.span.name == "state.redis set").count();
    assert_eq!(saves, 1);
}
