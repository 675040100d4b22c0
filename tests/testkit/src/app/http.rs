//! The application over HTTP.

use std::collections::BTreeMap;
use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{Answer, Seen, Shared};

pub(super) async fn serve(listener: TcpListener, shared: Shared) {
    while let Ok((stream, _)) = listener.accept().await {
        let shared = shared.clone();
        let service = service_fn(move |request| answer(request, shared.clone()));
        let connection =
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        tokio::spawn(connection);
    }
}

async fn answer(request: Request<Incoming>, shared: Shared) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let (status, body) = match (head.method, path.as_str()) {
        (Method::GET, "/dapr/subscribe") => {
            let wishes: Vec<_> = shared.wishes.iter().map(super::Wish::json).collect();
            (StatusCode::OK, json!(wishes).to_string())
        }
        (Method::POST, path) => event(path, &head.headers, &body, &shared),
        _ => (StatusCode::NOT_FOUND, String::new()),
    };
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    Ok(response)
}

fn event(path: &str, headers: &HeaderMap, body: &Bytes, shared: &Shared) -> (StatusCode, String) {
    let event: Value = serde_json::from_slice(body).unwrap_or_default();
    let headers = super::texts(headers);
    let Some(entries) = event.get("entries").and_then(Value::as_array) else {
        return match shared.take(seen(path, &event, &headers, false)) {
            Answer::Success => (StatusCode::OK, String::new()),
            Answer::Retry => (StatusCode::OK, json!({"status": "RETRY"}).to_string()),
            Answer::Drop => (StatusCode::OK, json!({"status": "DROP"}).to_string()),
            Answer::Fail => (StatusCode::INTERNAL_SERVER_ERROR, "no".to_owned()),
        };
    };
    let mut statuses = Vec::new();
    for entry in entries {
        let mut inner = entry["event"].clone();
        if inner.is_string() {
            inner = json!({"data_base64": inner, "topic": event["topic"]});
        }
        let status = match shared.take(seen(path, &inner, &headers, true)) {
            Answer::Success => "SUCCESS",
            Answer::Retry | Answer::Fail => "RETRY",
            Answer::Drop => "DROP",
        };
        statuses.push(json!({"entryId": entry["entryId"], "status": status}));
    }
    (StatusCode::OK, json!({"statuses": statuses}).to_string())
}

fn seen(path: &str, event: &Value, headers: &BTreeMap<String, String>, bulk: bool) -> Seen {
    let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
    let data = match event["data_base64"].as_str() {
        Some(encoded) => super::data(&decode(encoded)),
        None => event["data"].clone(),
    };
    Seen {
        path: path.to_owned(),
        topic: text("topic"),
        id: text("id"),
        data,
        content_type: text("datacontenttype"),
        traceparent: headers.get("traceparent").cloned().unwrap_or_default(),
        headers: headers.clone(),
        bulk,
    }
}

/// Standard base64.
fn decode(text: &str) -> Vec<u8> {
    use base64::Engine;
    base64::prelude::BASE64_STANDARD.decode(text).unwrap_or_default()
}
