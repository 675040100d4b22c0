//! One trace from the publisher to the subscriber, over every broker and in both protocols.

#[path = "support/broker.rs"]
mod broker;
#[path = "support/configuration.rs"]
mod configuration;

use std::time::Duration;

use anyhow::{Result, ensure};
use http::Request;
use http_body_util::Full;
use mecha_proto::runtime::v1 as pb;
use mecha_testkit::{Answer, Mecha, OtlpCollector, ReceivedSpan, Seen, TestApp, Transport, Wish, fixture};
use serde_json::json;

use broker::{Backing, Broker, topic};

const SOON: Duration = Duration::from_secs(20);
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";
const STATE: &str = "vendor=value,other=1";
const BAGGAGE: &str = "user=alice,session=1";

#[derive(Debug, Clone, Copy, PartialEq)]
enum Publisher {
    Http,
    Grpc,
}

struct Run {
    app: TestApp,
    mecha: Mecha,
    collector: OtlpCollector,
    topic: String,
    _backing: Backing,
    _configuration: tempfile::NamedTempFile,
}

impl Run {
    async fn start(broker: Broker, transport: Transport, raw: bool, bulk: bool) -> Result<Self> {
        let collector = OtlpCollector::start().await?;
        let tracing = json!({"tracing": {"samplingRate": "1",
            "otel": {"endpointAddress": collector.addr(), "isSecure": false, "protocol": "grpc"}}});
        let file = configuration::configuration(&tracing);
        let builder = Mecha::builder()
            .app_id("traced")
            .flag("--config", configuration::path(&file))
            .env("OTEL_BSP_SCHEDULE_DELAY", "50");
        let (mut builder, backing) = broker.component(builder, "ps")?;
        // Brokers that are shared with other tests keep topics apart by their names.
        let topic = if broker.is_durable() { topic("orders") } else { "orders".to_owned() };
        let metadata = if raw { vec![("rawPayload".to_owned(), "true".to_owned())] } else { Vec::new() };
        let wish = Wish { metadata, bulk, ..Wish::new("ps", &topic) };
        let app = TestApp::start(transport, vec![wish], |_| Answer::Success).await?;
        for (flag, value) in app.flags() {
            builder = builder.flag(flag, value);
        }
        let mecha = builder.start().await?;
        Ok(Self { app, mecha, collector, topic, _backing: backing, _configuration: file })
    }

    async fn publish(&self, publisher: Publisher, traced: bool, raw: bool) -> Result<()> {
        let headers = [
            ("traceparent", format!("00-{TRACE}-{CALLER}-01")),
            ("tracestate", STATE.to_owned()),
            ("baggage", BAGGAGE.to_owned()),
        ];
        let headers = headers.iter().filter(|_| traced);
        match publisher {
            Publisher::Http => {
                let query = if raw { "?metadata.rawPayload=true" } else { "" };
                let url = self.mecha.http_url(&format!("/v1.0/publish/ps/{}{query}", self.topic));
                let mut request = Request::post(url).header("content-type", "text/plain");
                for (name, value) in headers {
                    request = request.header(*name, value);
                }
                let reply = self.mecha.http().send(request.body(Full::new("x".into()))?).await?;
                ensure!(reply.status == 204, "{}", reply.text());
            }
            Publisher::Grpc => {
                let mut event = pb::PublishEventRequest {
                    pubsub_name: "ps".to_owned(),
                    topic: self.topic.clone(),
                    data: "x".into(),
                    data_content_type: "text/plain".to_owned(),
                    ..Default::default()
                };
                if raw {
                    event.metadata.insert("rawPayload".to_owned(), "true".to_owned());
                }
                let mut request = tonic::Request::new(event);
                for (name, value) in headers {
                    request.metadata_mut().insert(*name, value.parse()?);
                }
                self.mecha.grpc().await?.publish_event(request).await?;
            }
        }
        Ok(())
    }

    async fn delivered(&self) -> Result<Seen> {
        Ok(self.app.wait_for(SOON, |seen| !seen.is_empty()).await?.remove(0))
    }

    async fn spans(&self, count: usize) -> Result<Vec<ReceivedSpan>> {
        let consumer = format!("pubsub/{}", self.topic);
        let enough = |spans: &[ReceivedSpan]| {
            spans.len() >= count && spans.iter().any(|span| span.span.name == consumer)
        };
        self.collector.wait_for_spans(enough, SOON).await
    }
}

fn named<'a>(spans: &'a [ReceivedSpan], name: &str) -> Result<&'a ReceivedSpan> {
    let names: Vec<_> = spans.iter().map(|span| &span.span.name).collect();
    spans
        .iter()
        .find(|span| span.span.name == name)
        .ok_or_else(|| anyhow::anyhow!("no span {name} in {names:?}"))
}

fn header(seen: &Seen, name: &str) -> String {
    seen.headers.get(name).cloned().unwrap_or_default()
}

async fn one_trace(broker: Broker, transport: Transport, publisher: Publisher, raw: bool) -> Result<()> {
    let run = Run::start(broker, transport, raw, false).await?;
    run.publish(publisher, true, raw).await?;
    let seen = run.delivered().await?;
    let spans = run.spans(3).await?;
    let spans: Vec<_> = spans.into_iter().filter(|span| span.trace_id() == TRACE).collect();
    let path = match publisher {
        Publisher::Http => format!("/v1.0/publish/ps/{}", run.topic),
        Publisher::Grpc => "/dapr.proto.runtime.v1.Dapr/PublishEvent".to_owned(),
    };
    let server = named(&spans, &path)?;
    ensure!(server.parent_id() == CALLER, "{server:?}");
    let kind = format!("{} publish", broker.component_type());
    ensure!(named(&spans, &kind)?.parent_id() == server.span_id(), "{spans:#?}");
    let consumer = named(&spans, &format!("pubsub/{}", run.topic))?;
    ensure!(consumer.parent_id() == server.span_id(), "{consumer:?}");
    ensure!(consumer.span.trace_state == STATE, "{consumer:?}");
    let expected = format!("00-{TRACE}-{}-01", consumer.span_id());
    ensure!(header(&seen, "traceparent") == expected, "{expected} {seen:#?}");
    ensure!(header(&seen, "tracestate") == STATE, "{seen:#?}");
    ensure!(header(&seen, "baggage") == BAGGAGE, "{seen:#?}");
    if transport == Transport::Grpc {
        ensure!(!header(&seen, "grpc-trace-bin").is_empty(), "{seen:#?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_publish_and_its_delivery_are_one_trace() {
    let mut failed = Vec::new();
    for broker in Broker::all() {
        for transport in [Transport::Http, Transport::Grpc] {
            for publisher in [Publisher::Http, Publisher::Grpc] {
                for raw in [false, true] {
                    if let Err(error) = one_trace(broker, transport, publisher, raw).await {
                        failed.push(format!("{broker:?} {transport:?} {publisher:?} raw {raw}: {error:#}"));
                    }
                }
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

#[tokio::test]
async fn a_publisher_without_a_trace_begins_one() {
    for transport in [Transport::Http, Transport::Grpc] {
        let run = Run::start(Broker::Memory, transport, false, false).await.unwrap();
        run.publish(Publisher::Http, false, false).await.unwrap();
        let seen = run.delivered().await.unwrap();
        let spans = run.spans(3).await.unwrap();
        let server = named(&spans, "/v1.0/publish/ps/orders").unwrap();
        assert_eq!(server.parent_id(), "");
        let consumer = named(&spans, "pubsub/orders").unwrap();
        assert_eq!((consumer.trace_id(), consumer.parent_id()), (server.trace_id(), server.span_id()));
        let expected = format!("00-{}-{}-01", server.trace_id(), consumer.span_id());
        assert_eq!(header(&seen, "traceparent"), expected, "{transport:?}");
    }
}

#[tokio::test]
async fn a_message_of_another_publisher_begins_a_trace_at_its_delivery() {
    let run = Run::start(Broker::Memory, Transport::Http, false, false).await.unwrap();
    // As another system would write it: an event that names no trace, or one that is none.
    for event in
        [r#"{"id":"1","data":1}"#, r#"{"id":"2","traceparent":7}"#, r#"{"id":"3","traceparent":"bad"}"#]
    {
        let count = run.app.seen().len();
        let url =
            run.mecha.http_url("/v1.0/publish/ps/orders?metadata.rawPayload=true&metadata.traceparent=none");
        assert_eq!(run.mecha.http().post(&url, event).await.unwrap().status, 204);
        let seen = run.app.wait_for(SOON, |seen| seen.len() > count).await.unwrap();
        let parent = header(&seen[count], "traceparent");
        let parts: Vec<_> = parent.split('-').collect();
        assert_eq!(parts.len(), 4, "{parent}");
        let spans = run
            .collector
            .wait_for_spans(|spans| spans.iter().any(|span| span.span_id() == parts[2]), SOON)
            .await
            .unwrap();
        let consumer = spans.iter().find(|span| span.span_id() == parts[2]).unwrap();
        assert_eq!((consumer.parent_id(), consumer.trace_id()), (String::new(), parts[1].to_owned()));
    }
}

#[tokio::test]
async fn every_entry_of_a_bulk_has_its_own_place_in_the_trace() {
    for transport in [Transport::Http, Transport::Grpc] {
        let run = Run::start(Broker::Memory, transport, false, true).await.unwrap();
        let entries: Vec<_> = (0..3)
            .map(|number| json!({"entryId": number.to_string(), "event": "x", "contentType": "text/plain"}))
            .collect();
        let request = Request::post(run.mecha.http_url("/v1.0/publish/bulk/ps/orders"))
            .header("traceparent", format!("00-{TRACE}-{CALLER}-01"))
            .body(Full::new(json!(entries).to_string().into()))
            .unwrap();
        assert_eq!(run.mecha.http().send(request).await.unwrap().status, 204);
        run.app.wait_for(SOON, |seen| seen.len() == 3).await.unwrap();
        let consumers = |spans: &[ReceivedSpan]| {
            spans.iter().filter(|span| span.span.name == "pubsub/orders").cloned().collect::<Vec<_>>()
        };
        let spans = run.collector.wait_for_spans(|spans| consumers(spans).len() == 3, SOON).await.unwrap();
        let server = named(&spans, "/v1.0/publish/bulk/ps/orders").unwrap();
        let producers: Vec<_> = spans
            .iter()
            .filter(|span| span.span.name == "orders publish")
            .map(ReceivedSpan::span_id)
            .collect();
        assert_eq!(producers.len(), 3, "{transport:?}");
        for span in spans.iter().filter(|span| span.span.name == "orders publish") {
            assert_eq!(span.parent_id(), server.span_id());
        }
        let mut parents: Vec<_> = consumers(&spans).iter().map(ReceivedSpan::parent_id).collect();
        let mut producers = producers;
        parents.sort();
        producers.sort();
        assert_eq!(parents, producers, "{transport:?}");
        assert!(consumers(&spans).iter().all(|span| span.trace_id() == TRACE));
    }
}

#[tokio::test]
async fn an_input_binding_s_event_is_in_its_source_s_trace() {
    let collector = OtlpCollector::start().await.unwrap();
    let tracing = json!({"tracing": {"samplingRate": "1",
        "otel": {"endpointAddress": collector.addr(), "isSecure": false, "protocol": "grpc"}}});
    let file = configuration::configuration(&tracing);
    let app =
        mecha_testkit::ScriptedApp::start(|_| async { mecha_testkit::Scripted::status(200) }).await.unwrap();
    let parent = format!("00-{TRACE}-{CALLER}-01");
    let _mecha = Mecha::builder()
        .app_id("traced")
        .library("libmecha_plugin_probe.so", fixture("probe-a").unwrap())
        .component_with("in", "bindings.probe", &[("traceparent", &parent), ("direction", "input")])
        .component_with("root", "bindings.probe", &[("direction", "input")])
        .flag("--config", configuration::path(&file))
        .flag("--app-port", app.port().to_string())
        .start()
        .await
        .unwrap();
    let both = |spans: &[ReceivedSpan]| {
        ["bindings/in", "bindings/root"].iter().all(|name| spans.iter().any(|span| span.span.name == *name))
    };
    let spans = collector.wait_for_spans(both, SOON).await.unwrap();
    let (inner, root) = (named(&spans, "bindings/in").unwrap(), named(&spans, "bindings/root").unwrap());
    assert_eq!((inner.trace_id(), inner.parent_id()), (TRACE.to_owned(), CALLER.to_owned()));
    assert_eq!(root.parent_id(), "");
    for (path, span) in [("/in", inner), ("/root", root)] {
        let asked = app.wait_one(path, SOON).await.unwrap();
        let expected = format!("00-{}-{}-01", span.trace_id(), span.span_id());
        assert_eq!(asked.header("traceparent"), expected, "{path}");
    }
}
