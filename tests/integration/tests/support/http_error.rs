//! What a failed call must look like to a client of Dapr's HTTP API: status, code and text.

use mecha_testkit::Reply;

/// Holds an HTTP answer to a status, the body's `errorCode` and a part of its `message`.
#[track_caller]
pub fn assert_http(reply: &Reply, status: u16, code: &str, message: &str) {
    let text = reply.text();
    assert_eq!(reply.status.as_u16(), status, "{text}");
    assert_eq!(reply.header("content-type"), "application/json", "{text}");
    let body = reply.json().unwrap();
    assert_eq!(body["errorCode"], code, "{text}");
    let said = body["message"].as_str().unwrap_or_default();
    assert!(said.contains(message), "{message:?} is not in {said:?}");
}
