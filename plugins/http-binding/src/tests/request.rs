//! What arrives at the endpoint.

use http::Method;
use mecha_plugin_api::ErrorKind;

use super::server::Server;
use super::*;

#[tokio::test]
async fn every_operation_is_its_method_and_three_have_a_body() {
    let server = Server::start().await;
    let binding = opened(&server.url, &[]).await;
    for operation in binding.operations() {
        let answer = invoke(&binding, operation, "data", &[]).await.unwrap();
        let seen = server.last();
        let expected = if operation == "create" { "POST".to_owned() } else { operation.to_ascii_uppercase() };
        assert_eq!(seen.method.as_str(), expected);
        let has_body = ["POST", "PUT", "PATCH"].contains(&expected.as_str());
        assert_eq!(&seen.body[..], if has_body { &b"data"[..] } else { b"" }, "{operation}");
        assert_eq!(&answer.data[..], &seen.body[..], "{operation}");
        let content_type = has_body.then_some("application/json; charset=utf-8");
        assert_eq!(seen.header("content-type"), content_type, "{operation}");
        assert_eq!(seen.header("accept"), Some("application/json; charset=utf-8"));
    }
    let unknown = invoke(&binding, "list", "", &[]).await.unwrap_err();
    assert_eq!((unknown.kind(), unknown.message()), (ErrorKind::UNSUPPORTED, "invalid operation: list"));
}

#[tokio::test]
async fn the_path_is_appended_to_the_address() {
    let server = Server::start().await;
    let binding = opened(&format!("{}/base/", server.url), &[]).await;
    for (path, arrived) in [("", "/base/"), ("/a/b?c=1&d=2", "/base/a/b?c=1&d=2"), ("a b", "/base/a%20b")] {
        invoke(&binding, "get", "", &[("path", path)]).await.unwrap();
        assert_eq!(server.last().path, arrived);
    }
}

#[tokio::test]
async fn metadata_with_a_capital_is_a_header_and_the_rest_is_not() {
    let server = Server::start().await;
    let binding = opened(&server.url, &[]).await;
    let metadata = [
        ("Content-Type", "text/plain"),
        ("Accept", "*/*"),
        ("X-Custom", "é"),
        ("x-not", "1"),
        ("Path", "a header"),
        ("Content-Length", "999"),
    ];
    invoke(&binding, "post", "data", &metadata).await.unwrap();
    let seen = server.last();
    assert_eq!(seen.header("content-type"), Some("text/plain"));
    assert_eq!(seen.header("accept"), Some("*/*"));
    assert_eq!(seen.headers["x-custom"].as_bytes(), "é".as_bytes());
    assert_eq!(seen.header("path"), Some("a header"));
    assert_eq!(seen.header("content-length"), Some("4"));
    assert_eq!(seen.header("x-not"), None);
    assert!(seen.header("user-agent").unwrap().starts_with("mecha/"));
}

#[tokio::test]
async fn the_components_token_is_sent_unless_the_request_has_its_own() {
    let server = Server::start().await;
    let token = [("securityToken", "from-component"), ("securityTokenHeader", "X-Token")];
    let binding = opened(&server.url, &token).await;
    invoke(&binding, "get", "", &[]).await.unwrap();
    assert_eq!(server.last().header("x-token"), Some("from-component"));
    invoke(&binding, "get", "", &[("X-Token", "own")]).await.unwrap();
    assert_eq!(server.last().header("x-token"), Some("own"));
    let half = opened(&server.url, &token[..1]).await;
    invoke(&half, "get", "", &[]).await.unwrap();
    assert_eq!(server.last().header("x-token"), None);
}

#[tokio::test]
async fn trace_context_and_baggage_travel_as_headers() {
    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let server = Server::start().await;
    let binding = opened(&server.url, &[]).await;
    let carried =
        [("traceparent", TRACE), ("tracestate", "a=1"), ("baggage", "user=7"), ("Tracestate", "custom=1")];
    let mut call = request("get", "", &[]);
    call.metadata = Metadata::from_iter(carried[..3].iter().copied());
    binding.invoke(&context(), call).await.unwrap();
    let seen = server.last();
    assert_eq!(seen.header("traceparent"), Some(TRACE));
    assert_eq!(seen.header("tracestate"), Some("a=1"));
    assert_eq!(seen.header("baggage"), Some("user=7"));

    let traced = CallContext { trace_id: [7; 16], span_id: [3; 8], trace_flags: 0, ..context() };
    binding.invoke(&traced, request("get", "", &[])).await.unwrap();
    assert_eq!(server.last().header("traceparent"), traced.traceparent().as_deref());
    invoke(&binding, "get", "", &[]).await.unwrap();
    assert_eq!(server.last().header("traceparent"), None);
}

#[tokio::test]
async fn credentials_in_the_address_become_a_header() {
    let server = Server::start().await;
    let url = server.url.replace("http://", "http://user:pass@");
    let binding = opened(&url, &[]).await;
    invoke(&binding, "get", "", &[]).await.unwrap();
    let seen = server.last();
    assert_eq!(seen.header("authorization"), Some("Basic dXNlcjpwYXNz"));
    assert_eq!(seen.method, Method::GET);
}

#[tokio::test]
async fn a_header_that_cannot_be_sent_is_invalid() {
    let server = Server::start().await;
    let binding = opened(&server.url, &[]).await;
    for metadata in [[("Two Words", "1")], [("X-A", "line\nbreak")]] {
        let error = invoke(&binding, "get", "", &metadata).await.unwrap_err();
        assert_eq!((error.kind(), error.field()), (ErrorKind::INVALID, Some(metadata[0].0)));
    }
    assert!(server.seen().is_empty());
}
