//! Spans as collectors receive them: real OTLP over gRPC and HTTP, and Zipkin, on the loopback interface.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Instant;

use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span, span, status};
use prost::Message;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::TcpListenerStream;
use tracing_subscriber::Registry;
use tracing_subscriber::layer::SubscriberExt;

mod tls;

use super::*;
use crate::logs::{LogOutput, LogSettings};
use crate::metrics::{Metrics, MetricsSettings};
use crate::names::attribute;

const DEADLINE: Duration = Duration::from_secs(10);
const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

struct Received {
    request: ExportTraceServiceRequest,
    tenant: Option<String>,
}

struct Collector(mpsc::UnboundedSender<Received>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        let tenant =
            request.metadata().get("tenant").and_then(|value| value.to_str().ok()).map(str::to_owned);
        let _ = self.0.send(Received { request: request.into_inner(), tenant });
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

async fn grpc_collector() -> (SocketAddr, mpsc::UnboundedReceiver<Received>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = TraceServiceServer::new(Collector(sender));
    let server = tonic::transport::Server::builder().add_service(service);
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    (address, receiver)
}

type Posted = (http::request::Parts, bytes::Bytes);

async fn http_collector() -> (SocketAddr, mpsc::UnboundedReceiver<Posted>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let sender = sender.clone();
            let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                let sender = sender.clone();
                async move {
                    let (parts, body) = request.into_parts();
                    let body = body.collect().await?.to_bytes();
                    let _ = sender.send((parts, body));
                    Ok::<_, hyper::Error>(http::Response::new(Full::<bytes::Bytes>::default()))
                }
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    (address, receiver)
}

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Buffer {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

struct Fixture {
    telemetry: Telemetry,
    metrics: Metrics,
    log: Buffer,
}

fn build(settings: &TraceSettings) -> Fixture {
    let log = Buffer::default();
    let output = LogOutput::Writer(Box::new(log.clone()));
    let logger = Logger::new(LogSettings { output, ..LogSettings::default() }).unwrap();
    let metrics = Metrics::new(&MetricsSettings::default()).unwrap();
    let service = Service {
        app_id: "orders".into(),
        version: "0.1.0".into(),
        host: "node-1".into(),
        attributes: vec![("team".into(), "shop".into())],
    };
    let handle = Handle::current();
    let telemetry = Telemetry::build(settings, &service, &handle, &logger, &metrics.spans).unwrap();
    Fixture { telemetry, metrics, log }
}

fn to_collector(protocol: OtlpProtocol, address: SocketAddr) -> TraceSettings {
    let otlp = OtlpSettings {
        protocol,
        endpoint: address.to_string(),
        secure: false,
        headers: vec![("tenant".into(), "a".into())],
        ..OtlpSettings::default()
    };
    TraceSettings { sampling_rate: "1".into(), otlp: Some(otlp), ..TraceSettings::default() }
}

fn text_of(attributes: &[KeyValue], key: &str) -> String {
    let found =
        attributes.iter().find(|attribute| attribute.key == key).and_then(|found| found.value.clone());
    match found.and_then(|value| value.value) {
        Some(any_value::Value::StringValue(text)) => text,
        Some(any_value::Value::IntValue(number)) => number.to_string(),
        other => panic!("{key} is {other:?}"),
    }
}

fn spans(resource: &ResourceSpans) -> Vec<Span> {
    resource.scope_spans.iter().flat_map(|scope| scope.spans.clone()).collect()
}

/// A server span, a component's span below it, and a plugin's span that arrives as data.
fn one_call(telemetry: &Telemetry) -> TraceContext {
    let incoming = TraceContext::parse_traceparent(CALLER).unwrap();
    let context = telemetry.begin(incoming);
    let mut server =
        telemetry.server_span(context, incoming, SpanKind::Client, || "/v1.0/state/cache").unwrap();
    server.set_attribute(attribute::DAPR_PROTOCOL, attribute::value::HTTP);
    server.set_tracestate(Some("vendor=1".into()));
    let mut call = telemetry
        .child_span(context, SpanKind::Client, || crate::names::span::component_call("state.redis", "set"))
        .unwrap();
    call.set_attribute(attribute::PLUGIN_GENERATION, 3_i64);
    call.add_event("retry", vec![("attempt".into(), 2_i64.into())]);
    call.fail("connection reset");
    let mut plugin = SpanRecord::starting(call.context().new_child(), "HSET", SpanKind::Client);
    plugin.parent_span_id = call.context().span_id;
    plugin.scope = "mecha_plugin_redis::client".into();
    telemetry.export(plugin);
    call.end();
    server.end();
    context
}

#[track_caller]
fn check_call(spans: &[Span], context: TraceContext) {
    let named = |name: &str| {
        spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("{name}: {spans:?}"))
    };
    let (server, call, plugin) = (named("/v1.0/state/cache"), named("state.redis set"), named("HSET"));
    for span in [server, call, plugin] {
        assert_eq!(span.trace_id, context.trace_id);
        assert!(span.end_time_unix_nano >= span.start_time_unix_nano);
    }
    assert_eq!(server.span_id, context.span_id);
    assert_eq!(server.parent_span_id, 0xb7ad_6b71_6920_3331_u64.to_be_bytes());
    assert_eq!(server.trace_state, "vendor=1");
    assert_eq!(server.kind(), span::SpanKind::Client);
    assert_eq!(text_of(&server.attributes, "dapr.protocol"), "http");
    assert_eq!(call.parent_span_id, server.span_id);
    assert_eq!(plugin.parent_span_id, call.span_id);
    assert_eq!(text_of(&call.attributes, "mecha.plugin.generation"), "3");
    assert_eq!(call.events[0].name, "retry");
    let status = call.status.clone().unwrap();
    assert_eq!((status.code(), status.message.as_str()), (status::StatusCode::Error, "connection reset"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_otlp_collector_over_grpc_sees_the_call() {
    let (address, mut collector) = grpc_collector().await;
    let fixture = build(&to_collector(OtlpProtocol::Grpc, address));
    let context = one_call(&fixture.telemetry);
    fixture.telemetry.flush(DEADLINE).await.unwrap();
    let received = collector.recv().await.unwrap();
    assert_eq!(received.tenant.as_deref(), Some("a"));
    let resource_spans = &received.request.resource_spans;
    assert_eq!(resource_spans.len(), 1);
    let resource = &resource_spans[0].resource.as_ref().unwrap().attributes;
    let pid = std::process::id().to_string();
    let expected = [
        ("service.name", "orders"),
        ("service.version", "0.1.0"),
        ("host.name", "node-1"),
        ("team", "shop"),
        ("process.pid", &pid),
    ];
    for (key, value) in expected {
        assert_eq!(text_of(resource, key), value, "{key}");
    }
    let scopes: Vec<&str> = resource_spans[0]
        .scope_spans
        .iter()
        .map(|scope| scope.scope.as_ref().unwrap().name.as_str())
        .collect();
    assert!(scopes.contains(&"mecha") && scopes.contains(&"mecha_plugin_redis::client"), "{scopes:?}");
    check_call(&spans(&resource_spans[0]), context);
    assert_eq!((fixture.metrics.spans.exported(), fixture.metrics.spans.dropped()), (3, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_otlp_collector_over_http_sees_the_call() {
    let (address, mut collector) = http_collector().await;
    let fixture = build(&to_collector(OtlpProtocol::Http, address));
    let context = one_call(&fixture.telemetry);
    fixture.telemetry.shutdown(DEADLINE).await.unwrap();
    let (head, body) = collector.recv().await.unwrap();
    assert_eq!((head.uri.path(), head.headers["tenant"].to_str().unwrap()), ("/v1/traces", "a"));
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    check_call(&spans(&request.resource_spans[0]), context);
}

#[tokio::test]
async fn zipkin_and_the_log_get_the_same_spans() {
    let (address, mut collector) = http_collector().await;
    let settings = TraceSettings {
        sampling_rate: "1".into(),
        stdout: true,
        zipkin_endpoint: Some(format!("http://{address}/api/v2/spans")),
        ..TraceSettings::default()
    };
    let fixture = build(&settings);
    let context = one_call(&fixture.telemetry);
    // On a runtime with one thread: the wait for the exporters must leave it free.
    fixture.telemetry.shutdown(DEADLINE).await.unwrap();
    let (head, body) = collector.recv().await.unwrap();
    assert_eq!(
        (head.uri.path(), head.headers["content-type"].to_str().unwrap()),
        ("/api/v2/spans", "application/json")
    );
    let spans: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let named =
        |name: &str| spans.as_array().unwrap().iter().find(|span| span["name"] == name).unwrap().clone();
    let (server, call) = (named("/v1.0/state/cache"), named("state.redis set"));
    assert_eq!(server["traceId"], "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(server["parentId"], "b7ad6b7169203331");
    assert_eq!(
        (&server["kind"], &server["localEndpoint"]["serviceName"]),
        (&"CLIENT".into(), &"orders".into())
    );
    assert_eq!(call["parentId"], server["id"]);
    assert_eq!(
        (&call["tags"]["error"], &call["annotations"][0]["value"]),
        (&"connection reset".into(), &"retry".into())
    );
    let log = fixture.log.text();
    let line = log.lines().find(|line| line.contains("[state.redis set]")).unwrap();
    let ids = format!(
        "Trace: 0af7651916cd43dd8448eb211c80319c Span: {}/",
        crate::context::hex_string(&context.span_id)
    );
    assert!(line.contains(&ids) && line.contains("scope=dapr.runtime.trace"), "{line}");
    assert_eq!(fixture.metrics.spans.exported(), 6);
}

#[tokio::test]
async fn an_unsampled_call_exports_nothing() {
    let (address, mut collector) = grpc_collector().await;
    let fixture = build(&to_collector(OtlpProtocol::Grpc, address));
    let telemetry = &fixture.telemetry;
    let incoming = TraceContext::parse_traceparent(CALLER).unwrap().with_sampled(false);
    let context = telemetry.begin(incoming);
    assert_eq!((context.trace_id, context.is_sampled()), (incoming.trace_id, false));
    let never = || -> String { unreachable!("the name of an unsampled span is not asked") };
    assert!(telemetry.server_span(context, incoming, SpanKind::Client, never).is_none());
    assert!(telemetry.child_span(context, SpanKind::Client, never).is_none());
    telemetry.export(SpanRecord::starting(context, "a plugin's", SpanKind::Internal));
    telemetry.shutdown(DEADLINE).await.unwrap();
    assert!(collector.try_recv().is_err());
}

#[tokio::test]
async fn a_cancelled_call_is_seen() {
    let (address, mut collector) = grpc_collector().await;
    let fixture = build(&to_collector(OtlpProtocol::Grpc, address));
    let telemetry = fixture.telemetry.clone();
    let call = async move {
        let context = telemetry.begin(TraceContext::NONE);
        let _span = telemetry.server_span(context, TraceContext::NONE, SpanKind::Server, || "cancelled");
        std::future::pending::<()>().await;
    };
    assert!(tokio::time::timeout(Duration::from_millis(1), call).await.is_err());
    fixture.telemetry.flush(DEADLINE).await.unwrap();
    let received = collector.recv().await.unwrap();
    let spans = spans(&received.request.resource_spans[0]);
    assert_eq!((spans[0].name.as_str(), spans[0].parent_span_id.as_slice()), ("cancelled", &[][..]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_of_tracing_take_the_same_way() {
    let (address, mut collector) = grpc_collector().await;
    let fixture = build(&to_collector(OtlpProtocol::Grpc, address));
    tracing::subscriber::with_default(Registry::default().with(fixture.telemetry.layer()), || {
        let swap = tracing::info_span!(target: "mecha_plugin_host", "plugin swap", plugin = "redis");
        swap.in_scope(|| drop(tracing::info_span!(target: "mecha_plugin_host", "plugin load")));
        drop(tracing::info_span!(target: "h2::proto", "frame"));
        drop(tracing::debug_span!(target: "mecha_runtime", "detail"));
    });
    fixture.telemetry.flush(DEADLINE).await.unwrap();
    let received = collector.recv().await.unwrap();
    assert_eq!(
        text_of(&received.request.resource_spans[0].resource.as_ref().unwrap().attributes, "service.name"),
        "orders"
    );
    let mut spans = spans(&received.request.resource_spans[0]);
    spans.sort_by_key(|span| span.parent_span_id.len());
    let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["plugin swap", "plugin load"]);
    assert_eq!(spans[1].parent_span_id, spans[0].span_id);
    assert_eq!(text_of(&spans[0].attributes, "plugin"), "redis");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreachable_collector_costs_spans_and_nothing_else() {
    // A listener that never answers: worse than a refused connection.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut settings = to_collector(OtlpProtocol::Grpc, listener.local_addr().unwrap());
    settings.batch = BatchSettings { queue_size: 64, batch_size: 16, delay: Duration::from_millis(10) };
    let fixture = build(&settings);
    let start = Instant::now();
    let spans = 5000;
    for _ in 0..spans {
        let context = fixture.telemetry.begin(TraceContext::NONE);
        fixture
            .telemetry
            .server_span(context, TraceContext::NONE, SpanKind::Server, || "call")
            .unwrap()
            .end();
    }
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    let dropped = fixture.metrics.spans.dropped();
    // At most the queue and the batch that is being sent are still alive.
    assert!(dropped >= spans - 64 - 16, "{dropped}");
    let deadline = Duration::from_millis(200);
    let start = Instant::now();
    assert!(matches!(fixture.telemetry.shutdown(deadline).await, Err(Error::Flush(_))));
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    let log = fixture.log.text();
    assert_eq!(log.lines().count(), 1, "{log}");
    assert!(
        log.contains("level=warning msg=\"spans dropped, the queue to the trace exporter is full\""),
        "{log}"
    );
    one_call(&fixture.telemetry);
    assert_eq!(fixture.metrics.spans.dropped(), dropped + 3);
}

#[tokio::test]
async fn endpoints_that_cannot_be_used_are_named() {
    let logger = Logger::new(LogSettings::default()).unwrap();
    let metrics = Metrics::new(&MetricsSettings::default()).unwrap();
    let error = |settings: TraceSettings| {
        let service = Service::default();
        Telemetry::build(&settings, &service, &Handle::current(), &logger, &metrics.spans)
            .unwrap_err()
            .to_string()
    };
    let rate = || "1".to_owned();
    let zipkin = TraceSettings {
        sampling_rate: rate(),
        zipkin_endpoint: Some("zipkin:9411".into()),
        ..Default::default()
    };
    assert!(error(zipkin).starts_with("invalid trace endpoint 'zipkin:9411'"));
    for protocol in [OtlpProtocol::Grpc, OtlpProtocol::Http] {
        let otlp = OtlpSettings { protocol, endpoint: "http://a b".into(), ..OtlpSettings::default() };
        let text = error(TraceSettings { sampling_rate: rate(), otlp: Some(otlp), ..Default::default() });
        assert!(text.contains("http://a b"), "{text}");
    }
}

#[tokio::test]
async fn a_rate_of_zero_builds_no_exporter() {
    let settings = TraceSettings {
        sampling_rate: "0".into(),
        zipkin_endpoint: Some("not even a url".into()),
        ..TraceSettings::default()
    };
    let fixture = build(&settings);
    assert!(!fixture.telemetry.is_recording());
    assert_eq!(fixture.telemetry.begin(TraceContext::NONE), TraceContext::NONE);
    fixture.telemetry.shutdown(DEADLINE).await.unwrap();
}
