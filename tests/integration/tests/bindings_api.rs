//! Output bindings over both protocols, with `bindings.http` against an endpoint of the test's own.

#[path = "support/grpc_error.rs"]
mod grpc_error;
#[path = "support/http_error.rs"]
mod http_error;

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use grpc_error::assert_grpc;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use http_error::assert_http;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use mecha_backends::free_port;
use mecha_proto::runtime::v1::{InvokeBindingRequest, InvokeBindingResponse};
use mecha_testkit::{Mecha, Reply};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tonic::{Code, Status};

const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

/// A request as the endpoint got it.
#[derive(Debug, Clone)]
struct Seen {
    method: String,
    target: String,
    headers: HeaderMap,
    body: Bytes,
}

/// An endpoint that answers `/status/N` with status N, `/empty` with 204 and everything else with what it was sent.
struct Endpoint {
    url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    server: tokio::task::JoinHandle<()>,
}

impl Endpoint {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/base", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let server = tokio::spawn(serve(listener, seen.clone()));
        Self { url, seen, server }
    }

    /// The last request.
    fn last(&self) -> Seen {
        self.seen.lock().unwrap().last().unwrap().clone()
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(listener: TcpListener, seen: Arc<Mutex<Vec<Seen>>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let seen = seen.clone();
        let service = service_fn(move |request| answer(request, seen.clone()));
        let connection =
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        tokio::spawn(connection);
    }
}

async fn answer(
    request: Request<Incoming>,
    seen: Arc<Mutex<Vec<Seen>>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let target = head.uri.to_string();
    let (method, headers) = (head.method.to_string(), head.headers);
    seen.lock().unwrap().push(Seen { method, target: target.clone(), headers, body: body.clone() });
    let status = target.rsplit_once("/status/").and_then(|(_, status)| status.parse().ok());
    let status: u16 = status.unwrap_or(if target.ends_with("/empty") { 204 } else { 200 });
    let body = if status == 204 { Bytes::new() } else { body };
    let response = Response::builder().status(status).header("x-kind", "echo").header("x-kind", "again");
    Ok(response.body(Full::new(body)).unwrap())
}

async fn runtime(endpoint: &Endpoint) -> Mecha {
    let nobody = format!("http://127.0.0.1:{}", free_port().unwrap());
    Mecha::builder()
        .plugin("http-binding")
        .component_with("echo", "bindings.http", &[("url", &endpoint.url)])
        .component_with("nobody", "bindings.http", &[("url", &nobody)])
        .start()
        .await
        .unwrap()
}

async fn over_http(mecha: &Mecha, binding: &str, body: &Value) -> Reply {
    let url = mecha.http_url(&format!("/v1.0/bindings/{binding}"));
    mecha.http().post(&url, body.to_string()).await.unwrap()
}

async fn over_grpc(
    mecha: &Mecha,
    binding: &str,
    operation: &str,
    data: impl Into<Bytes>,
    metadata: &[(&str, &str)],
) -> Result<InvokeBindingResponse, Status> {
    let request = InvokeBindingRequest {
        name: binding.to_owned(),
        operation: operation.to_owned(),
        data: data.into(),
        metadata: metadata.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
    };
    Ok(mecha.grpc().await.unwrap().invoke_binding(request).await?.into_inner())
}

#[tokio::test]
async fn an_operation_reaches_the_endpoint_and_its_answer_comes_back_over_http() {
    let endpoint = Endpoint::start().await;
    let mecha = runtime(&endpoint).await;
    let request = json!({
        "operation": "post",
        "data": {"id": 7},
        "metadata": {"path": "/orders?x=1", "X-Customer": "c", "lower": "no header"},
    });
    let reply = over_http(&mecha, "echo", &request).await;
    assert_eq!((reply.status.as_u16(), reply.text()), (200, r#"{"id":7}"#.to_owned()));
    assert_eq!(reply.header("metadata.statuscode"), "200");
    assert_eq!(reply.header("metadata.status"), "200 OK");
    assert_eq!(reply.header("metadata.x-kind"), "echo, again");
    let seen = endpoint.last();
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/base/orders?x=1"));
    assert_eq!(seen.body, r#"{"id":7}"#);
    assert_eq!(seen.headers["x-customer"], "c");
    assert_eq!(seen.headers["content-type"], "application/json; charset=utf-8");
    assert!(!seen.headers.contains_key("lower"), "{:?}", seen.headers);

    // Text is JSON text, no data is null.
    let url = mecha.http_url("/v1.0/bindings/echo");
    let reply = mecha.http().put(&url, r#"{"operation":"create","data":"text"}"#).await.unwrap();
    assert_eq!((reply.text(), endpoint.last().method.as_str()), ("\"text\"".to_owned(), "POST"));
    assert_eq!(over_http(&mecha, "echo", &json!({"operation": "create"})).await.text(), "null");

    let reply = over_http(&mecha, "echo", &json!({"operation": "get", "metadata": {"path": "empty"}})).await;
    assert_eq!((reply.status.as_u16(), reply.body.len()), (200, 0));
    assert_eq!(reply.header("metadata.statuscode"), "204");
    assert_eq!(endpoint.last().method, "GET");
}

#[tokio::test]
async fn an_operation_reaches_the_endpoint_and_its_answer_comes_back_over_grpc() {
    let endpoint = Endpoint::start().await;
    let mecha = runtime(&endpoint).await;
    let bytes = b"\x00\xff raw".to_vec();
    let metadata = [("path", "upload"), ("Content-Type", "application/octet-stream")];
    let answer = over_grpc(&mecha, "echo", "put", bytes.clone(), &metadata).await.unwrap();
    assert_eq!(answer.data, bytes);
    assert_eq!(
        (answer.metadata["statusCode"].as_str(), answer.metadata["X-Kind"].as_str()),
        ("200", "echo, again")
    );
    let seen = endpoint.last();
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("PUT", "/base/upload"));
    assert_eq!(
        (&seen.body, &seen.headers["content-type"]),
        (&bytes.into(), &"application/octet-stream".parse().unwrap())
    );
}

#[tokio::test]
async fn the_caller_s_trace_and_baggage_reach_the_endpoint() {
    let endpoint = Endpoint::start().await;
    let mecha = runtime(&endpoint).await;
    let request = Request::post(mecha.http_url("/v1.0/bindings/echo"))
        .header("traceparent", TRACEPARENT)
        .header("tracestate", "vendor=1")
        .header("baggage", "user=alice,tier=gold")
        .body(Full::new(r#"{"operation":"get"}"#.into()))
        .unwrap();
    assert_eq!(mecha.http().send(request).await.unwrap().status, 200);
    let seen = endpoint.last().headers;
    assert!(seen["traceparent"].to_str().unwrap().starts_with(&TRACEPARENT[..36]), "{seen:?}");
    assert_eq!(
        (&seen["tracestate"], &seen["baggage"]),
        (&"vendor=1".parse().unwrap(), &"user=alice,tier=gold".parse().unwrap())
    );

    let message = InvokeBindingRequest { name: "echo".into(), operation: "get".into(), ..Default::default() };
    let mut request = tonic::Request::new(message);
    request.metadata_mut().insert("traceparent", TRACEPARENT.parse().unwrap());
    request.metadata_mut().insert("baggage", "user=bob".parse().unwrap());
    mecha.grpc().await.unwrap().invoke_binding(request).await.unwrap();
    let seen = endpoint.last().headers;
    assert!(seen["traceparent"].to_str().unwrap().starts_with(&TRACEPARENT[..36]), "{seen:?}");
    assert_eq!(seen["baggage"], "user=bob");
}

#[tokio::test]
async fn what_cannot_be_done_has_dapr_s_error() {
    let endpoint = Endpoint::start().await;
    let mecha = runtime(&endpoint).await;
    let supported = "supported operations:create get head post put patch delete options trace";
    let cases = [
        ("echo", "", "operation field is missing from request".to_owned()),
        ("echo", "paint", format!("binding echo does not support operation paint. {supported}")),
        ("unknown", "get", "couldn't find output binding unknown".to_owned()),
        ("nobody", "get", String::new()),
    ];
    for (binding, operation, reason) in cases {
        let text = format!("error invoking output binding {binding}: {reason}");
        let reply = over_http(&mecha, binding, &json!({"operation": operation})).await;
        assert_http(&reply, 500, "ERR_INVOKE_OUTPUT_BINDING", &text);
        let status = over_grpc(&mecha, binding, operation, "", &[]).await.unwrap_err();
        assert_grpc(&status, Code::Internal, Some("ERR_INVOKE_OUTPUT_BINDING"), &text);
    }
    let url = mecha.http_url("/v1.0/bindings/echo");
    for body in ["", "{", "[]", r#"{"operation":5}"#, r#"{"operation":"get","metadata":{"a":1}}"#] {
        let reply = mecha.http().post(&url, body).await.unwrap();
        assert_http(&reply, 400, "ERR_MALFORMED_REQUEST", "failed deserializing HTTP body: ");
    }
    assert_eq!(mecha.logs().matching("panicked"), Vec::<String>::new());
}

#[tokio::test]
async fn a_refusing_endpoint_is_an_error_unless_it_was_said_not_to_be() {
    let endpoint = Endpoint::start().await;
    let mecha = runtime(&endpoint).await;
    let text = "error invoking output binding echo: received status code 418";
    let refused = json!({"operation": "get", "metadata": {"path": "status/418"}});
    assert_http(&over_http(&mecha, "echo", &refused).await, 500, "ERR_INVOKE_OUTPUT_BINDING", text);
    let status = over_grpc(&mecha, "echo", "get", "", &[("path", "status/418")]).await.unwrap_err();
    assert_grpc(&status, Code::Internal, Some("ERR_INVOKE_OUTPUT_BINDING"), text);

    let taken = json!({"operation": "get", "metadata": {"path": "status/418", "errorIfNot2XX": "false"}});
    let reply = over_http(&mecha, "echo", &taken).await;
    assert_eq!((reply.status.as_u16(), reply.header("metadata.statuscode")), (200, "418"));
    let metadata = [("path", "status/418"), ("errorIfNot2XX", "false")];
    let answer = over_grpc(&mecha, "echo", "get", "", &metadata).await.unwrap();
    assert_eq!(answer.metadata["statusCode"], "418");
}

/// Dapr sends the response's metadata along with the error as well; its own suite reads the status from there.
#[tokio::test]
async fn the_metadata_of_a_refusal_comes_with_the_error() {
    let endpoint = Endpoint::start().await;
    let mecha = runtime(&endpoint).await;
    let refused = json!({"operation": "get", "metadata": {"path": "status/404"}});
    let reply = over_http(&mecha, "echo", &refused).await;
    assert_eq!(
        (reply.status.as_u16(), reply.header("metadata.statuscode")),
        (500, "404"),
        "{:?}",
        reply.headers
    );
    let status = over_grpc(&mecha, "echo", "get", "", &[("path", "status/404")]).await.unwrap_err();
    let headers: HashMap<_, _> = status.metadata().clone().into_headers().into_iter().collect();
    let found = status.metadata().get("metadata.statuscode").map(|value| value.to_str().unwrap());
    assert_eq!(found, Some("404"), "{headers:?}");
}
