//! Posts spans to a Zipkin collector (v2 JSON), for `tracing.zipkin` of Dapr's Configuration.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::KeyValue;
use opentelemetry::trace::{SpanId, SpanKind, Status};
use opentelemetry_http::HttpClient;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::SpanData;
use serde_json::{Map, Value, json};

use super::client::ExportClient;
use crate::error::Error;

const TIMEOUT: Duration = Duration::from_secs(10);

/// A collector and the name under which it sees this runtime.
#[derive(Debug)]
pub(super) struct ZipkinExporter {
    endpoint: http::Uri,
    service: String,
    client: ExportClient,
}

impl ZipkinExporter {
    pub(super) fn new(endpoint: &str, service: &str) -> Result<Self, Error> {
        let invalid = |reason: String| Error::Endpoint { endpoint: endpoint.to_owned(), reason };
        let uri = endpoint.parse::<http::Uri>().map_err(|error| invalid(error.to_string()))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(invalid("a Zipkin endpoint begins with http:// or https://".to_owned()));
        }
        Ok(Self {
            endpoint: uri,
            service: service.to_owned(),
            client: ExportClient::new(endpoint, TIMEOUT, None)?,
        })
    }

    pub(super) async fn export(&self, batch: &[SpanData]) -> OTelSdkResult {
        let spans: Value = batch.iter().map(|span| span_json(span, &self.service)).collect();
        let request = http::Request::post(&self.endpoint)
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(spans.to_string().into())
            .map_err(|error| OTelSdkError::InternalFailure(error.to_string()))?;
        let response = self.client.send_bytes(request).await;
        let response = response.map_err(|error| OTelSdkError::InternalFailure(error.to_string()))?;
        if response.status().is_success() {
            return Ok(());
        }
        Err(OTelSdkError::InternalFailure(format!("zipkin answered {}", response.status())))
    }
}

fn span_json(span: &SpanData, service: &str) -> Value {
    let mut fields = json!({
        "traceId": span.span_context.trace_id().to_string(),
        "id": span.span_context.span_id().to_string(),
        "name": span.name,
        "timestamp": micros(span.start_time),
        // Zipkin reads 0 as "unknown".
        "duration": micros(span.end_time).saturating_sub(micros(span.start_time)).max(1),
        "localEndpoint": { "serviceName": service },
        "annotations": span.events.iter().map(|event| {
            json!({ "timestamp": micros(event.timestamp), "value": event.name })
        }).collect::<Value>(),
        "tags": tags(span),
    });
    if span.parent_span_id != SpanId::INVALID {
        fields["parentId"] = span.parent_span_id.to_string().into();
    }
    if let Some(kind) = kind(&span.span_kind) {
        fields["kind"] = kind.into();
    }
    fields
}

fn tags(span: &SpanData) -> Value {
    let text = |pair: &KeyValue| (pair.key.to_string(), Value::from(pair.value.to_string()));
    let mut tags: Map<String, Value> = span.attributes.iter().map(text).collect();
    match &span.status {
        Status::Unset => {}
        Status::Ok => {
            tags.insert("otel.status_code".to_owned(), "OK".into());
        }
        Status::Error { description } => {
            tags.insert("otel.status_code".to_owned(), "ERROR".into());
            tags.insert("error".to_owned(), description.as_ref().into());
        }
    }
    Value::Object(tags)
}

fn kind(kind: &SpanKind) -> Option<&'static str> {
    match kind {
        SpanKind::Client => Some("CLIENT"),
        SpanKind::Server => Some("SERVER"),
        SpanKind::Producer => Some("PRODUCER"),
        SpanKind::Consumer => Some("CONSUMER"),
        SpanKind::Internal => None,
    }
}

fn micros(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
