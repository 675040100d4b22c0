//! An OTLP receiver that keeps the spans it gets, over gRPC and over HTTP with protobuf bodies, on one port.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, anyhow};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tonic::body::Body;

use crate::wait::eventually;

/// Path that OTLP over HTTP posts traces to.
const HTTP_TRACES: &str = "/v1/traces";

/// A span as it was received, with what surrounded it.
#[derive(Debug, Clone)]
pub struct ReceivedSpan {
    /// The span: name, ids, kind, times, attributes, events, links, status.
    pub span: Span,
    /// `service.name` of the resource.
    pub service: String,
    /// Name of the instrumentation scope.
    pub scope: String,
    /// Request headers of the export, for tests of authentication.
    pub export_headers: http::HeaderMap,
}

impl ReceivedSpan {
    /// Trace id in hexadecimal.
    pub fn trace_id(&self) -> String {
        hex(&self.span.trace_id)
    }

    /// Span id in hexadecimal.
    pub fn span_id(&self) -> String {
        hex(&self.span.span_id)
    }

    /// Parent's span id in hexadecimal; empty for a root span.
    pub fn parent_id(&self) -> String {
        hex(&self.span.parent_span_id)
    }

    /// An attribute as text.
    pub fn attribute(&self, key: &str) -> Option<String> {
        attribute(&self.span.attributes, key)
    }
}

#[derive(Debug, Clone, Default)]
struct Received {
    spans: Arc<Mutex<Vec<ReceivedSpan>>>,
}

/// A receiver of spans. Dropping it stops it.
#[derive(Debug)]
pub struct OtlpCollector {
    addr: SocketAddr,
    received: Received,
    server: JoinHandle<()>,
}

impl OtlpCollector {
    /// Starts a receiver on a free loopback port.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let received = Received::default();
        let server = tokio::spawn(serve(listener, received.clone()));
        Ok(Self { addr, received, server })
    }

    /// Address, as `127.0.0.1:port`, for settings that take no scheme.
    pub fn addr(&self) -> String {
        self.addr.to_string()
    }

    /// Base URL; the same for gRPC and for HTTP.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Every span so far, in the order of arrival.
    pub fn spans(&self) -> Vec<ReceivedSpan> {
        self.received.lock().clone()
    }

    /// Forgets every span so far.
    pub fn clear(&self) {
        self.received.lock().clear();
    }

    /// Waits until `enough` holds for the spans received, and returns them.
    pub async fn wait_for_spans(
        &self,
        enough: impl Fn(&[ReceivedSpan]) -> bool,
        limit: Duration,
    ) -> Result<Vec<ReceivedSpan>> {
        eventually(limit, || async {
            let spans = self.spans();
            if enough(&spans) { Ok(spans) } else { Err(anyhow!("received {}", outline(&spans))) }
        })
        .await
    }
}

impl Drop for OtlpCollector {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Received {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<ReceivedSpan>> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, request: ExportTraceServiceRequest, export_headers: &http::HeaderMap) {
        let mut spans = self.lock();
        for of_resource in request.resource_spans {
            let attributes = of_resource.resource.map(|resource| resource.attributes).unwrap_or_default();
            let service = attribute(&attributes, "service.name").unwrap_or_default();
            for of_scope in of_resource.scope_spans {
                let scope = of_scope.scope.map(|scope| scope.name).unwrap_or_default();
                spans.extend(of_scope.spans.into_iter().map(|span| ReceivedSpan {
                    span,
                    service: service.clone(),
                    scope: scope.clone(),
                    export_headers: export_headers.clone(),
                }));
            }
        }
    }
}

#[tonic::async_trait]
impl TraceService for Received {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        let (metadata, _, message) = request.into_parts();
        self.add(message, &metadata.into_headers());
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

async fn serve(listener: TcpListener, received: Received) {
    // Connections end with the receiver, so that a test can watch an exporter lose its collector.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let received = received.clone();
        connections.spawn(async move {
            let service = service_fn(move |request| answer(request, received.clone()));
            // An exporter that goes away mid-request is no matter for the receiver.
            let _ = auto::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn answer(request: Request<Incoming>, received: Received) -> Result<Response<Body>> {
    if request.uri().path() != HTTP_TRACES {
        let grpc = TowerToHyperService::new(TraceServiceServer::new(received));
        return Ok(grpc.call(request).await?);
    }
    let (head, body) = request.into_parts();
    let decoded = ExportTraceServiceRequest::decode(body.collect().await?.to_bytes());
    let (status, text) = match decoded {
        Ok(message) => {
            received.add(message, &head.headers);
            (StatusCode::OK, Bytes::new())
        }
        Err(error) => (StatusCode::BAD_REQUEST, Bytes::from(error.to_string())),
    };
    let body = Body::new(Full::new(text));
    Ok(Response::builder().status(status).header("content-type", "application/x-protobuf").body(body)?)
}

fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    found.value.as_ref().and_then(text_of)
}

fn text_of(value: &AnyValue) -> Option<String> {
    match value.value.as_ref()? {
        any_value::Value::StringValue(text) => Some(text.clone()),
        any_value::Value::BoolValue(flag) => Some(flag.to_string()),
        any_value::Value::IntValue(number) => Some(number.to_string()),
        any_value::Value::DoubleValue(number) => Some(number.to_string()),
        other => Some(format!("{other:?}")),
    }
}

fn outline(spans: &[ReceivedSpan]) -> String {
    let names: Vec<_> = spans.iter().map(|received| received.span.name.as_str()).collect();
    format!("{} spans: {}", names.len(), names.join(", "))
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};

    use super::*;
    use crate::client::HttpClient;

    const SOON: Duration = Duration::from_secs(10);

    fn text(key: &str, value: &str) -> KeyValue {
        let value = AnyValue { value: Some(any_value::Value::StringValue(value.into())) };
        KeyValue { key: key.into(), value: Some(value), ..Default::default() }
    }

    fn export(name: &str) -> ExportTraceServiceRequest {
        let span = Span {
            name: name.into(),
            trace_id: vec![0xab; 16],
            span_id: vec![1; 8],
            attributes: vec![text("component", "store")],
            ..Default::default()
        };
        let resource = Resource { attributes: vec![text("service.name", "orders")], ..Default::default() };
        let scope_spans = vec![ScopeSpans { spans: vec![span], ..Default::default() }];
        let resource_spans = ResourceSpans { resource: Some(resource), scope_spans, ..Default::default() };
        ExportTraceServiceRequest { resource_spans: vec![resource_spans] }
    }

    #[tokio::test]
    async fn spans_come_over_grpc_and_over_http() {
        let collector = OtlpCollector::start().await.unwrap();
        let channel =
            tonic::transport::Endpoint::from_shared(collector.endpoint()).unwrap().connect().await.unwrap();
        TraceServiceClient::new(channel).export(export("over grpc")).await.unwrap();

        let url = format!("{}{HTTP_TRACES}", collector.endpoint());
        let reply = HttpClient::new().post(&url, export("over http").encode_to_vec()).await.unwrap();
        assert_eq!(reply.status, StatusCode::OK);

        let spans = collector.wait_for_spans(|spans| spans.len() == 2, SOON).await.unwrap();
        assert_eq!(spans[0].span.name, "over grpc");
        assert_eq!(spans[1].service, "orders");
        assert_eq!(spans[1].trace_id(), "ab".repeat(16));
        assert_eq!(spans[1].parent_id(), "");
        assert_eq!(spans[1].attribute("component").as_deref(), Some("store"));
    }

    #[tokio::test]
    async fn what_is_no_export_is_refused() {
        let collector = OtlpCollector::start().await.unwrap();
        let url = format!("{}{HTTP_TRACES}", collector.endpoint());
        let reply = HttpClient::new().post(&url, "not protobuf").await.unwrap();
        assert_eq!(reply.status, StatusCode::BAD_REQUEST);
        let error = collector.wait_for_spans(|spans| !spans.is_empty(), Duration::ZERO).await.unwrap_err();
        assert!(error.to_string().contains("0 spans"), "{error}");
    }
}
