//! Requests over HTTP that are well-formed HTTP and nothing else.

use http::{Method, Request};
use http_body_util::Full;
use mecha_testkit::{HttpClient, Mecha, Reply};
use serde_json::{Value, json};

use crate::http_error::assert_http;

const SAVE: &str = "/v1.0/state/store";
const BULK: &str = "/v1.0/state/store/bulk";
const TRANSACTION: &str = "/v1.0/state/store/transaction";
const BINDING: &str = "/v1.0/bindings/web";
const ILLEGAL_KEY: &str = "input key/keyPrefix 'a||b' can't contain '||'";
const BODY: &str = "failed deserializing HTTP body: ";

/// Path, body, then status, code and a part of the text.
type Row = (&'static str, &'static str, u16, &'static str, &'static str);

const MALFORMED: &str = "ERR_MALFORMED_REQUEST";

#[rustfmt::skip]
const POSTS: &[Row] = &[
    // No JSON.
    (SAVE, "", 400, MALFORMED, ""),
    (SAVE, "{", 400, MALFORMED, ""),
    (SAVE, "[", 400, MALFORMED, ""),
    (SAVE, "nope", 400, MALFORMED, ""),
    (SAVE, r#"[{"key":"a","value":}]"#, 400, MALFORMED, ""),
    (SAVE, r#"[{"key":"a" "value":1}]"#, 400, MALFORMED, ""),
    (SAVE, "[{\"key\":\"a\",\"value\":\"\u{1}\"}]", 400, MALFORMED, ""),
    // JSON of another shape.
    (SAVE, r#"{"key":"a","value":1}"#, 400, MALFORMED, ""),
    (SAVE, "[1]", 400, MALFORMED, ""),
    (SAVE, r#"["a"]"#, 400, MALFORMED, ""),
    (SAVE, r#"[{"key":5,"value":1}]"#, 400, MALFORMED, ""),
    (SAVE, r#"[{"key":"a","value":1,"etag":5}]"#, 400, MALFORMED, ""),
    (SAVE, r#"[{"key":"a","value":1,"metadata":"x"}]"#, 400, MALFORMED, ""),
    (SAVE, r#"[{"key":"a","value":1,"metadata":{"ttlInSeconds":5}}]"#, 400, MALFORMED, ""),
    (SAVE, r#"[{"key":"a","value":1,"options":[]}]"#, 400, MALFORMED, ""),
    (BULK, "", 400, MALFORMED, BODY),
    (BULK, "[]", 400, MALFORMED, BODY),
    (BULK, r#"{"keys":"a"}"#, 400, MALFORMED, BODY),
    (BULK, r#"{"keys":[1]}"#, 400, MALFORMED, BODY),
    (BULK, r#"{"keys":["a"],"parallelism":"x"}"#, 400, MALFORMED, BODY),
    (TRANSACTION, "", 400, MALFORMED, BODY),
    (TRANSACTION, "[]", 400, MALFORMED, BODY),
    (TRANSACTION, r#"{"operations":{}}"#, 400, MALFORMED, BODY),
    (TRANSACTION, r#"{"operations":[{"operation":5}]}"#, 400, MALFORMED, BODY),
    (TRANSACTION, r#"{"operations":[{"operation":"upsert","request":5}]}"#, 400, MALFORMED, BODY),
    (TRANSACTION, r#"{"operations":[{"operation":"delete","request":{"key":{}}}]}"#, 400, MALFORMED, BODY),
    (BINDING, "", 400, MALFORMED, BODY),
    (BINDING, r#"{"operation":[]}"#, 400, MALFORMED, BODY),
    (BINDING, r#"{"operation":"get","metadata":{"a":1}}"#, 400, MALFORMED, BODY),
    // What is asked for cannot be.
    (SAVE, r#"[{"value":1}]"#, 400, MALFORMED, "\"key\" is a required field"),
    (SAVE, r#"[{"key":"ok","value":1},{"key":"","value":1}]"#, 400, MALFORMED, "\"key\" is a required field"),
    (SAVE, r#"[{"key":"a||b","value":1}]"#, 400, MALFORMED, ILLEGAL_KEY),
    (BULK, r#"{"keys":["ok","a||b"]}"#, 400, MALFORMED, ILLEGAL_KEY),
    (TRANSACTION, r#"{"operations":[{"operation":"upsert","request":{"key":"a||b","value":1}}]}"#, 400, MALFORMED, "can't contain '||'"),
    (TRANSACTION, r#"{"operations":[{"operation":"paint","request":{"key":"a"}}]}"#, 400, "ERR_NOT_SUPPORTED_STATE_OPERATION", "operation type paint not supported"),
    (SAVE, r#"[{"key":"a","value":1,"etag":"bogus"}]"#, 409, "ERR_STATE_SAVE", "failed saving state in state store store: possible etag mismatch"),
    (SAVE, r#"[{"key":"a","value":1,"options":{"concurrency":"bogus"}}]"#, 500, "ERR_STATE_SAVE", "unrecognized concurrency model 'bogus'"),
    (SAVE, r#"[{"key":"a","value":1,"options":{"consistency":"bogus"}}]"#, 500, "ERR_STATE_SAVE", "unrecognized consistency model 'bogus'"),
    (SAVE, r#"[{"key":"a","value":1,"metadata":{"ttlInSeconds":"soon"}}]"#, 500, "ERR_STATE_SAVE", "failed saving state in state store store: "),
    // Nobody of that name; found out before the body is looked at.
    ("/v1.0/state/none", "{", 400, "ERR_STATE_STORE_NOT_FOUND", "state store none is not found"),
    ("/v1.0/state/none/bulk", "{", 400, "ERR_STATE_STORE_NOT_FOUND", "state store none is not found"),
    ("/v1.0/state/none/transaction", "{", 400, "ERR_STATE_STORE_NOT_FOUND", "state store none is not found"),
    ("/v1.0/bindings/none", r#"{"operation":"get"}"#, 500, "ERR_INVOKE_OUTPUT_BINDING", "couldn't find output binding none"),
    ("/v1.0/state/probe/transaction", "{", 500, "ERR_STATE_STORE_NOT_SUPPORTED", "state store probe doesn't support transactions"),
];

const GETS: &[(&str, u16, &str, &str)] = &[
    ("/v1.0/state/none/key", 400, "ERR_STATE_STORE_NOT_FOUND", "state store none is not found"),
    ("/v1.0/state/store/a%7C%7Cb", 400, MALFORMED, ILLEGAL_KEY),
    (
        "/v1.0/secrets/none/key",
        401,
        "ERR_SECRET_STORE_NOT_FOUND",
        "failed finding secret store with key none",
    ),
];

pub async fn check(mecha: &Mecha) {
    let http = HttpClient::new();
    for &(path, body, status, code, text) in POSTS {
        println!("POST {path} {body}");
        assert_http(&http.post(&mecha.http_url(path), body).await.unwrap(), status, code, text);
        // PUT is the same route.
        assert_http(&http.put(&mecha.http_url(path), body).await.unwrap(), status, code, text);
    }
    for &(path, status, code, text) in GETS {
        println!("GET {path}");
        assert_http(&http.get(&mecha.http_url(path)).await.unwrap(), status, code, text);
    }
    let deleted = http.delete(&mecha.http_url("/v1.0/state/none/key")).await.unwrap();
    assert_http(&deleted, 400, "ERR_STATE_STORE_NOT_FOUND", "state store none is not found");
    let deleted = http.delete(&mecha.http_url("/v1.0/state/store/a%7C%7Cb")).await.unwrap();
    assert_http(&deleted, 400, MALFORMED, ILLEGAL_KEY);
    let request = Request::delete(mecha.http_url("/v1.0/state/store/alive"))
        .header("if-match", "bogus")
        .body(Full::default())
        .unwrap();
    let text = "failed deleting state with key alive: possible etag mismatch";
    assert_http(&http.send(request).await.unwrap(), 409, "ERR_STATE_DELETE", text);
    // Nothing of a refused list was stored.
    for key in ["ok", "a"] {
        let read = http.get(&mecha.http_url(&format!("{SAVE}/{key}"))).await.unwrap();
        assert_eq!(read.status, 204, "{key}: {}", read.text());
    }
}

/// The detail of a type that an error must carry.
fn detail(reply: &Reply, kind: &str) -> Value {
    let body = reply.json().unwrap();
    let kind = format!("type.googleapis.com/google.rpc.{kind}");
    let found = body["details"].as_array().into_iter().flatten().find(|detail| detail["@type"] == kind);
    found.unwrap_or_else(|| panic!("no {kind} in {body}")).clone()
}

pub async fn check_details(mecha: &Mecha) {
    let http = HttpClient::new();
    let missing = http.get(&mecha.http_url("/v1.0/state/none/key")).await.unwrap();
    let info = detail(&missing, "ErrorInfo");
    assert_eq!((&info["domain"], &info["reason"]), (&json!("dapr.io"), &json!("DAPR_STATE_NOT_FOUND")));
    assert_eq!(missing.json().unwrap()["details"].as_array().unwrap().len(), 1);

    let illegal = http.post(&mecha.http_url(SAVE), r#"[{"key":"a||b","value":1}]"#).await.unwrap();
    assert_eq!(detail(&illegal, "ErrorInfo")["reason"], "DAPR_STATE_ILLEGAL_KEY");
    let resource = detail(&illegal, "ResourceInfo");
    assert_eq!((&resource["resource_type"], &resource["resource_name"]), (&json!("state"), &json!("store")));
    let violations = &detail(&illegal, "BadRequest")["field_violations"];
    assert_eq!(violations[0]["field"], "a||b", "{violations}");
    assert!(violations[0]["description"].as_str().unwrap().contains(ILLEGAL_KEY), "{violations}");

    let lacking = http.post(&mecha.http_url("/v1.0/state/probe/transaction"), "{}").await.unwrap();
    assert_eq!(detail(&lacking, "ErrorInfo")["reason"], "DAPR_STATE_TRANSACTIONS_NOT_SUPPORTED");
    assert_eq!(detail(&lacking, "ResourceInfo")["resource_name"], "probe");
    let links = &detail(&lacking, "Help")["links"];
    assert!(links[0]["url"].as_str().unwrap().starts_with("https://docs.dapr.io/"), "{links}");
}

pub async fn check_not_configured(mecha: &Mecha) {
    let http = mecha.http();
    let (code, text) = ("ERR_STATE_STORE_NOT_CONFIGURED", "state store none is not configured");
    for path in ["/v1.0/state/none", "/v1.0/state/none/bulk", "/v1.0/state/none/transaction"] {
        let reply = http.post(&mecha.http_url(path), "{").await.unwrap();
        assert_http(&reply, 500, code, text);
        assert_eq!(detail(&reply, "ErrorInfo")["reason"], "DAPR_STATE_NOT_CONFIGURED");
    }
    for method in [Method::GET, Method::DELETE] {
        let request = Request::builder().method(method).uri(mecha.http_url("/v1.0/state/none/key"));
        assert_http(&http.send(request.body(Full::default()).unwrap()).await.unwrap(), 500, code, text);
    }
    let reply = http.post(&mecha.http_url("/v1.0/bindings/none"), r#"{"operation":"get"}"#).await.unwrap();
    assert_http(&reply, 500, "ERR_INVOKE_OUTPUT_BINDING", "couldn't find output binding none");
}

pub async fn check_query(mecha: &Mecha) {
    let url = mecha.http_url("/v1.0-alpha1/state/store/query");
    let reply = HttpClient::new().post(&url, r#"{"filter":{"EQ":{"a":1}}}"#).await.unwrap();
    let text = "state store does not support querying";
    assert_http(&reply, 500, "ERR_STATE_STORE_NOT_SUPPORTED", text);
    assert_eq!(detail(&reply, "ErrorInfo")["reason"], "DAPR_STATE_QUERYING_NOT_SUPPORTED");
}
