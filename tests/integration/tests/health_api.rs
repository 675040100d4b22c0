//! Health, and how requests find their route at all.

#[path = "support/http_error.rs"]
mod http_error;
#[path = "support/raw_http.rs"]
mod raw_http;

use std::time::Duration;

use http_error::assert_http;
use mecha_testkit::{HttpClient, Mecha};

const SOON: Duration = Duration::from_secs(10);
const NO_ROUTE: &str = "failed getting app id either from the URL path or the header dapr-app-id";

#[tokio::test]
async fn health_is_told_on_both_paths() {
    let mecha = Mecha::builder().app_id("orders").start().await.unwrap();
    for path in [
        "/v1.0/healthz",
        "/v1.0/healthz/outbound",
        "/v1.0/healthz?appid=orders",
        "/v1.0/healthz/",
        "//v1.0//healthz",
        "/v1.0/metadata/../healthz",
    ] {
        let reply = mecha.http().get(&mecha.http_url(path)).await.unwrap();
        assert_eq!((reply.status.as_u16(), reply.body.len()), (204, 0), "{path}: {}", reply.text());
    }
    let other = mecha.http().get(&mecha.http_url("/v1.0/healthz?appid=other")).await.unwrap();
    assert_http(&other, 500, "ERR_HEALTH_APPID_NOT_MATCH", "dapr app-id does not match");
}

/// There is no 405 and no plain 404: what is no route is taken for an invocation without an application id.
#[tokio::test]
async fn what_is_no_route_is_an_invocation_of_nobody() {
    let mecha = Mecha::builder().start().await.unwrap();
    let http = mecha.http();
    for path in
        ["/", "/v1.0", "/v2.0/state/store/key", "/v1.0/healthz/inbound", "/favicon.ico", "/v1.0/state"]
    {
        assert_http(&http.get(&mecha.http_url(path)).await.unwrap(), 404, "ERR_DIRECT_INVOKE", NO_ROUTE);
    }
    for path in ["/v1.0/healthz", "/v1.0/metadata", "/v1.0/secrets/store/key"] {
        let reply = http.post(&mecha.http_url(path), "{}").await.unwrap();
        assert_http(&reply, 404, "ERR_DIRECT_INVOKE", NO_ROUTE);
    }
    let reply = http.delete(&mecha.http_url("/v1.0/state/store")).await.unwrap();
    assert_http(&reply, 404, "ERR_DIRECT_INVOKE", NO_ROUTE);
}

#[tokio::test]
async fn one_port_speaks_http_1_and_http_2() {
    let mecha =
        Mecha::builder().plugin("memory").component("store", "state.in-memory").start().await.unwrap();
    let (url, h2c) = (mecha.http_url("/v1.0/state/store"), HttpClient::h2c());
    assert_eq!(h2c.post(&url, r#"[{"key":"k","value":{"a":1}}]"#).await.unwrap().status, 204);
    let reply = h2c.get(&format!("{url}/k")).await.unwrap();
    assert_eq!((reply.status.as_u16(), reply.text()), (200, r#"{"a":1}"#.to_owned()));

    // Several requests follow each other on one connection, and may be sent before the answers are read.
    let mut connection = raw_http::Connection::open(&mecha.http_addr()).await.unwrap();
    let read = raw_http::request("GET", b"/v1.0/state/store/k", &[], b"");
    let health = raw_http::request("GET", b"/v1.0/healthz", &[], b"");
    connection.send(&[read.clone(), health, read].concat()).await.unwrap();
    for status in [200, 204, 200] {
        assert_eq!(connection.read_reply("GET").await.unwrap().unwrap().status, status);
    }
    let close = raw_http::request("GET", b"/v1.0/healthz", &[("connection", "close")], b"");
    connection.send(&close).await.unwrap();
    assert_eq!(connection.read_reply("GET").await.unwrap().unwrap().status, 204);
    assert!(connection.read_reply("GET").await.unwrap().is_none(), "the connection stays open");
    // The oldest of clients is answered too.
    let old =
        raw_http::exchange(&mecha.http_addr(), b"GET /v1.0/state/store/k HTTP/1.0\r\n\r\n", "GET").await;
    let old = old.unwrap().unwrap();
    assert_eq!((old.status, old.text()), (200, r#"{"a":1}"#.to_owned()));
    // As netcat does it: the sending side is closed before the answer is there.
    let mut connection = raw_http::Connection::open(&mecha.http_addr()).await.unwrap();
    connection.send(&close).await.unwrap();
    connection.finish().await.unwrap();
    let said = connection.read_to_end().await.unwrap();
    assert!(said.starts_with(b"HTTP/1.1 204"), "{}", said.escape_ascii());
}

#[tokio::test]
async fn another_process_can_wait_for_it() {
    let mecha = Mecha::builder().start().await.unwrap();
    let port = mecha.http_addr().rsplit_once(':').unwrap().1.to_owned();
    let mut waiting = tokio::process::Command::new(mecha_testkit::mecha_binary().unwrap())
        .args(["--wait", "--dapr-http-port", &port])
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let status = tokio::time::timeout(SOON, waiting.wait()).await.unwrap().unwrap();
    assert!(status.success(), "{status}");
}
