//! Publishing as Dapr has it, in both protocols: errors with their details, scopes, envelopes, raw payloads, expiry.

#[path = "support/grpc_error.rs"]
mod grpc_error;

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Result;
use grpc_error::assert_grpc;
use http::Request;
use http_body_util::Full;
use mecha_proto::error_model::StatusExt;
use mecha_proto::runtime::v1 as pb;
use mecha_testkit::{Asked, Mecha, MechaBuilder, Reply, Scripted, ScriptedApp};
use serde_json::{Value, json};
use tonic::Code;

const SOON: Duration = Duration::from_secs(20);

fn runtime() -> MechaBuilder {
    Mecha::builder().app_id("app1").plugin("memory").component("ps", "pubsub.in-memory")
}

/// An application that takes every event of `topic`.
async fn subscriber(topic: &str, metadata: Value) -> Result<ScriptedApp> {
    let wish = json!([{"pubsubname": "ps", "topic": topic, "route": "/event", "metadata": metadata}]);
    ScriptedApp::start(move |asked: Asked| {
        let wish = wish.clone();
        async move {
            match asked.path.as_str() {
                "/dapr/subscribe" => Scripted::json(&wish),
                "/event" => Scripted::status(200),
                _ => Scripted::status(404),
            }
        }
    })
    .await
}

async fn with_app(builder: MechaBuilder, app: &ScriptedApp) -> Result<Mecha> {
    builder.flag("--app-port", app.port().to_string()).start().await
}

async fn post(mecha: &Mecha, path: &str, content_type: &str, body: &str) -> Result<Reply> {
    let request = Request::post(mecha.http_url(path)).header("content-type", content_type);
    mecha.http().send(request.body(Full::new(body.to_owned().into()))?).await
}

/// What one error must look like over HTTP.
#[track_caller]
fn assert_error(reply: &Reply, status: u16, code: &str, reason: &str, message: &str, metadata: Value) {
    let body = reply.json().unwrap();
    assert_eq!((reply.status.as_u16(), &body["errorCode"]), (status, &json!(code)), "{body}");
    assert_eq!(body["message"], message, "{body}");
    let info = json!({
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": reason, "domain": "dapr.io", "metadata": metadata,
    });
    assert_eq!(body["details"][0], info, "{body}");
    assert_eq!(reply.header("content-type"), "application/json");
    if code == "ERR_PUBSUB_NOT_FOUND" {
        assert_eq!(body["details"].as_array().unwrap().len(), 1, "{body}");
        return;
    }
    let resource = json!({
        "@type": "type.googleapis.com/google.rpc.ResourceInfo",
        "resource_type": "pubsub", "resource_name": "ps", "owner": "", "description": message,
    });
    assert_eq!(body["details"][1], resource, "{body}");
    assert_eq!(body["details"].as_array().unwrap().len(), 2, "{body}");
}

#[tokio::test]
async fn every_error_over_http() {
    let mecha =
        runtime().resources(&scoped("strict", &[("allowedTopics", "allowed")])).start().await.unwrap();
    let json = "application/json";

    let reply = post(&mecha, "/v1.0/publish/none/t?metadata.a=b", json, "{}").await.unwrap();
    let (reason, message) = ("DAPR_PUBSUB_NOT_FOUND", "pubsub none is not found");
    assert_error(&reply, 404, "ERR_PUBSUB_NOT_FOUND", reason, message, json!({"a": "b"}));

    let reply = post(&mecha, "/v1.0/publish/ps/t?metadata.rawPayload=maybe", json, "{}").await.unwrap();
    let reason = "DAPR_PUBSUB_METADATA_DESERIALIZATION";
    let message =
        "failed deserializing metadata. Error: rawPayload value must be a valid boolean: actual is 'maybe'";
    let metadata = json!({"rawPayload": "maybe"});
    assert_error(&reply, 400, "ERR_PUBSUB_REQUEST_METADATA", reason, message, metadata.clone());
    let reply =
        post(&mecha, "/v1.0/publish/bulk/ps/t?metadata.rawPayload=maybe", json, "no list").await.unwrap();
    assert_error(&reply, 400, "ERR_PUBSUB_REQUEST_METADATA", reason, message, metadata);

    let reply = post(&mecha, "/v1.0/publish/ps/t", "application/cloudevents+json", "{\"").await.unwrap();
    let body = reply.json().unwrap();
    assert_eq!((reply.status.as_u16(), &body["errorCode"]), (500, &json!("ERR_PUBSUB_CLOUD_EVENTS_SER")));
    assert_eq!(body["message"], "cannot create cloudevent");
    assert_eq!(body["details"][0]["reason"], "DAPR_PUBSUB_CLOUD_EVENT_CREATION");
    assert_eq!(body["details"][0]["metadata"]["appID"], "app1");
    assert!(body["details"][0]["metadata"]["error"].as_str().is_some_and(|text| !text.is_empty()), "{body}");

    let reply = post(&mecha, "/v1.0/publish/strict/other", json, "{}").await.unwrap();
    let body = reply.json().unwrap();
    let message = "topic other is not allowed for app id app1";
    assert_eq!((reply.status.as_u16(), &body["errorCode"]), (403, &json!("ERR_PUBSUB_FORBIDDEN")), "{body}");
    assert_eq!(body["message"], message);
    assert_eq!(body["details"][0]["reason"], "DAPR_PUBSUB_FORBIDDEN");
    assert_eq!(body["details"][0]["metadata"], json!({"topic": "other", "error": message}));
    assert_eq!(body["details"][1]["resource_name"], "strict");
    // A request that is wrong in itself is told so first.
    let reply = post(&mecha, "/v1.0/publish/strict/other?metadata.rawPayload=x", json, "{}").await.unwrap();
    assert_eq!(reply.json().unwrap()["errorCode"], "ERR_PUBSUB_REQUEST_METADATA");

    // Without a topic it is no route at all.
    for path in ["/v1.0/publish/ps", "/v1.0/publish/ps/", "/v1.0-alpha1/publish/ps/t", "/v1.0/publish"] {
        let reply = post(&mecha, path, json, "{}").await.unwrap();
        let code = reply.json().unwrap()["errorCode"].clone();
        assert_eq!((reply.status.as_u16(), code), (404, json!("ERR_DIRECT_INVOKE")), "{path}");
    }
}

#[tokio::test]
async fn every_error_of_a_bulk_over_http() {
    let mecha =
        runtime().resources(&scoped("strict", &[("allowedTopics", "allowed")])).start().await.unwrap();
    let bulk = |body: &'static str| {
        let mecha = &mecha;
        async move { post(mecha, "/v1.0/publish/bulk/ps/t", "application/json", body).await.unwrap() }
    };
    let unmarshal =
        |reason: &str| format!("error when unmarshaling the request for topic t pubsub ps: {reason}");
    let kind = |kind: &str| {
        format!("json: cannot unmarshal {kind} into Go value of type []http.bulkPublishMessageEntry")
    };
    for (body, reason) in [
        ("", "EOF".to_owned()),
        (r#"{"entryID": "}"#, "unexpected EOF".to_owned()),
        (r#"[{"entryId":"1""#, "unexpected EOF".to_owned()),
        (r#"{"entryID": ""}"#, kind("object")),
        ("\"x\"", kind("string")),
        ("true", kind("bool")),
        ("-1", kind("number")),
    ] {
        let (code, expected) = ("DAPR_PUBSUB_UNMARSHAL_EVENTS", unmarshal(&reason));
        assert_error(
            &bulk(body).await,
            400,
            "ERR_PUBSUB_EVENTS_SER",
            code,
            &expected,
            json!({"appID": "app1"}),
        );
    }
    for body in ["not json", "[1]", "[[]]"] {
        assert_eq!(bulk(body).await.status, 400, "{body}");
    }

    let reason = "entryId is duplicated or not present for entry";
    let message = format!("error marshaling events to bytes for topic t pubsub ps. error: {reason}");
    let metadata = json!({"appID": "app1", "error": reason});
    for body in [
        r#"[{"event":"a","contentType":"text/plain"}]"#,
        r#"[{"entryId":"","event":"a","contentType":"text/plain"}]"#,
        r#"[{"entryId":"1","event":"a","contentType":"text/plain"},{"entryId":"1","event":"b","contentType":"text/plain"}]"#,
    ] {
        let code = "DAPR_PUBSUB_MARSHAL_EVENTS";
        assert_error(&bulk(body).await, 400, "ERR_PUBSUB_EVENTS_SER", code, &message, metadata.clone());
    }

    let reason = "error: mismatch between contentType and event";
    let message = format!("error when marshalling cloud event envelope for topic t pubsub ps: {reason}");
    let metadata = json!({"appID": "app1", "error": reason});
    for body in [
        r#"[{"entryId":"1","event":{"a":1},"contentType":"text/plain"}]"#,
        r#"[{"entryId":"1","event":{"a":1},"contentType":"application/octet-stream"}]"#,
        r#"[{"entryId":"1","event":"a"}]"#,
        r#"[{"entryId":"1","event":"a","contentType":"image/png"}]"#,
    ] {
        let code = "DAPR_PUBSUB_MARSHAL_ENVELOPE";
        assert_error(&bulk(body).await, 400, "ERR_PUBSUB_EVENTS_SER", code, &message, metadata.clone());
    }

    let body = r#"[{"entryId":"1","event":"a","contentType":"text/plain"}]"#;
    let reply = post(&mecha, "/v1.0/publish/bulk/strict/other", "application/json", body).await.unwrap();
    let answered = reply.json().unwrap();
    assert_eq!((reply.status.as_u16(), &answered["errorCode"]), (403, &json!("ERR_PUBSUB_FORBIDDEN")));
    for version in ["v1.0", "v1.0-alpha1"] {
        let path = format!("/{version}/publish/bulk/strict/allowed");
        assert_eq!(post(&mecha, &path, "application/json", body).await.unwrap().status, 204);
    }
    for empty in ["[]", "null", "[] rest"] {
        assert_eq!(bulk(empty).await.status, 204, "{empty}");
    }
    let metrics = mecha.metrics().await.unwrap();
    let failed = metrics.lines().find(|line| line.starts_with("dapr_error_code_total"));
    assert!(failed.is_none(), "error codes are recorded only when the Configuration says so: {failed:?}");
}

#[tokio::test]
async fn every_error_over_grpc() {
    let mecha =
        runtime().resources(&scoped("strict", &[("allowedTopics", "allowed")])).start().await.unwrap();
    let mut client = mecha.grpc().await.unwrap();
    let metadata = |pairs: &[(&str, &str)]| -> HashMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    let raw = [("rawPayload", "maybe")];
    let wrong_raw =
        "failed deserializing metadata. Error: rawPayload value must be a valid boolean: actual is 'maybe'";
    for (pubsub, topic, given, code, reason, message) in [
        ("", "t", &[("a", "b")][..], Code::InvalidArgument, "DAPR_PUBSUB_NAME_EMPTY", "pubsub name is empty"),
        (
            "none",
            "t",
            &[("a", "b")],
            Code::InvalidArgument,
            "DAPR_PUBSUB_NOT_FOUND",
            "pubsub none is not found",
        ),
        (
            "ps",
            "",
            &[("a", "b")],
            Code::InvalidArgument,
            "DAPR_PUBSUB_TOPIC_NAME_EMPTY",
            "topic is empty in pubsub ps",
        ),
        ("ps", "t", &raw, Code::InvalidArgument, "DAPR_PUBSUB_METADATA_DESERIALIZATION", wrong_raw),
        (
            "strict",
            "other",
            &[],
            Code::PermissionDenied,
            "DAPR_PUBSUB_FORBIDDEN",
            "topic other is not allowed for app id app1",
        ),
    ] {
        let request = pb::PublishEventRequest {
            pubsub_name: pubsub.to_owned(),
            topic: topic.to_owned(),
            data: "x".into(),
            data_content_type: "text/plain".to_owned(),
            metadata: metadata(given),
        };
        let status = client.publish_event(request.clone()).await.unwrap_err();
        assert_grpc(&status, code, Some(reason), message);
        assert_eq!(status.message(), message);
        let resource = status.get_details_resource_info();
        assert_eq!(resource.is_none(), reason == "DAPR_PUBSUB_NOT_FOUND", "{status:?}");
        let info = status.get_details_error_info().unwrap();
        match reason {
            "DAPR_PUBSUB_NOT_FOUND" => assert!(info.metadata.is_empty(), "{info:?}"),
            "DAPR_PUBSUB_FORBIDDEN" => {
                assert_eq!(info.metadata, metadata(&[("topic", "other"), ("error", message)]))
            }
            _ => assert_eq!(info.metadata, metadata(given)),
        }
        let bulk = pb::BulkPublishRequest {
            pubsub_name: pubsub.to_owned(),
            topic: topic.to_owned(),
            entries: vec![entry("1", "x", &[])],
            metadata: metadata(given),
        };
        let status = client.bulk_publish_event(bulk).await.unwrap_err();
        assert_grpc(&status, code, Some(reason), message);
    }

    let request = pb::PublishEventRequest {
        pubsub_name: "ps".to_owned(),
        topic: "t".to_owned(),
        data: "{\"".into(),
        data_content_type: "application/cloudevents+json".to_owned(),
        metadata: HashMap::new(),
    };
    let status = client.publish_event(request).await.unwrap_err();
    let reason = "DAPR_PUBSUB_CLOUD_EVENT_CREATION";
    assert_grpc(&status, Code::InvalidArgument, Some(reason), "cannot create cloudevent");

    for ids in [&["1", "1"][..], &[""]] {
        let bulk = pb::BulkPublishRequest {
            pubsub_name: "ps".to_owned(),
            topic: "t".to_owned(),
            entries: ids.iter().map(|id| entry(id, "x", &[])).collect(),
            metadata: HashMap::new(),
        };
        let message = "error marshaling events to bytes for topic t pubsub ps. error: entryId is duplicated or not present for entry";
        let status = client.bulk_publish_event(bulk).await.unwrap_err();
        assert_grpc(&status, Code::InvalidArgument, Some("DAPR_PUBSUB_MARSHAL_EVENTS"), message);
    }
}

fn entry(id: &str, text: &str, metadata: &[(&str, &str)]) -> pb::BulkPublishRequestEntry {
    pb::BulkPublishRequestEntry {
        entry_id: id.to_owned(),
        event: text.to_owned().into(),
        content_type: "text/plain".to_owned(),
        metadata: metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
    }
}

fn scoped(name: &str, metadata: &[(&str, &str)]) -> String {
    let metadata: Vec<_> =
        metadata.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
    json!({
        "apiVersion": "dapr.io/v1alpha1", "kind": "Component", "metadata": {"name": name},
        "spec": {"type": "pubsub.in-memory", "version": "v1", "metadata": metadata},
    })
    .to_string()
}

#[tokio::test]
async fn scopes_say_who_may_publish_where() {
    let mecha = Mecha::builder()
        .app_id("app1")
        .plugin("memory")
        .resources(&scoped("publishing", &[("publishingScopes", "app1=a,b;app2=c;app3=")]))
        .resources(&scoped("nothing", &[("publishingScopes", "app2=a;app1=")]))
        .resources(&scoped("allowed", &[("allowedTopics", "a,b")]))
        .resources(&scoped("protected", &[("protectedTopics", "a,b"), ("publishingScopes", "app2=b")]))
        .resources(&scoped("guarded", &[("protectedTopics", "a,b"), ("publishingScopes", "app1=b")]))
        .start()
        .await
        .unwrap();
    for (pubsub, topic, may) in [
        ("publishing", "a", true),
        ("publishing", "b", true),
        ("publishing", "c", false),
        ("nothing", "a", false),
        ("allowed", "b", true),
        ("allowed", "c", false),
        ("protected", "a", false),
        ("protected", "c", true),
        ("guarded", "b", true),
        ("guarded", "a", false),
        ("guarded", "c", false),
    ] {
        let status = if may { 204 } else { 403 };
        let path = format!("/v1.0/publish/{pubsub}/{topic}");
        assert_eq!(post(&mecha, &path, "application/json", "{}").await.unwrap().status, status, "{path}");
        let path = format!("/v1.0/publish/bulk/{pubsub}/{topic}");
        let body = r#"[{"entryId":"1","event":"a","contentType":"text/plain"}]"#;
        assert_eq!(post(&mecha, &path, "application/json", body).await.unwrap().status, status, "{path}");
    }
}

#[tokio::test]
async fn an_envelope_has_the_fields_that_the_publisher_names() {
    let app = subscriber("orders/new/a b", json!({})).await.unwrap();
    let mecha = with_app(runtime(), &app).await.unwrap();
    // A topic may hold slashes, and its escapes are undone.
    let overrides = "metadata.cloudevent.id=i1&metadata.cloudevent.type=t1&metadata.CloudEvent.Source=s1\
                     &metadata.cloudevent.subject=sub1";
    let path = format!("/v1.0/publish/ps/orders/new/a%20b?{overrides}");
    let reply = post(&mecha, &path, "application/json", r#"{"n":12345678901234567}"#).await.unwrap();
    assert_eq!(reply.status, 204, "{}", reply.text());
    let asked = app.wait_one("/event", SOON).await.unwrap();
    assert_eq!(asked.header("content-type"), "application/cloudevents+json");
    assert_eq!(asked.header("pubsubname"), "ps");
    let event = asked.json();
    for (field, expected) in [
        ("id", "i1"),
        ("type", "t1"),
        ("source", "s1"),
        ("subject", "sub1"),
        ("specversion", "1.0"),
        ("datacontenttype", "application/json"),
        ("topic", "orders/new/a b"),
        ("pubsubname", "ps"),
    ] {
        assert_eq!(event[field], expected, "{field} in {event}");
    }
    assert_eq!(event["data"], json!({"n": 12345678901234567u64}));
    assert!(event["time"].as_str().is_some_and(|time| time.contains('T')), "{event}");

    for (content_type, body, data, base64) in [
        ("text/plain", "hi", json!("hi"), Value::Null),
        ("", "hi", json!("hi"), Value::Null),
        ("application/xml", "<a/>", json!("<a/>"), Value::Null),
        ("application/octet-stream", "hi", Value::Null, json!("aGk=")),
        ("application/json", "[1,2]", json!([1, 2]), Value::Null),
        ("application/json; charset=utf-8", "[1]", json!([1]), Value::Null),
    ] {
        let seen = app.asked_at("/event").len();
        let path = "/v1.0/publish/ps/orders/new/a%20b";
        assert_eq!(post(&mecha, path, content_type, body).await.unwrap().status, 204);
        let event = app.wait_for("/event", seen + 1, SOON).await.unwrap()[seen].json();
        assert_eq!((&event["data"], &event["data_base64"]), (&data, &base64), "{content_type}: {event}");
        let expected = if content_type.is_empty() { "text/plain" } else { content_type };
        assert_eq!(event["datacontenttype"], expected, "{event}");
        assert_eq!((&event["source"], &event["type"]), (&json!("app1"), &json!("com.dapr.event.sent")));
    }
}

#[tokio::test]
async fn a_cloud_event_passes_with_what_it_lacks_filled_in() {
    let app = subscriber("t", json!({})).await.unwrap();
    let mecha = with_app(runtime(), &app).await.unwrap();
    let event = json!({
        "specversion": "1.0", "id": "own", "source": "mine", "type": "made", "datacontenttype": "application/json",
        "data": {"a": [1, 2.50]}, "extension": "kept", "topic": "lie", "pubsubname": "lie",
    });
    let content_type = "application/cloudevents+json; charset=utf-8";
    let reply = post(&mecha, "/v1.0/publish/ps/t", content_type, &event.to_string()).await.unwrap();
    assert_eq!(reply.status, 204, "{}", reply.text());
    let seen = app.wait_one("/event", SOON).await.unwrap().json();
    for (field, expected) in [
        ("id", json!("own")),
        ("source", json!("mine")),
        ("type", json!("made")),
        ("extension", json!("kept")),
        ("data", json!({"a": [1, 2.50]})),
        ("topic", json!("t")),
        ("pubsubname", json!("ps")),
    ] {
        assert_eq!(seen[field], expected, "{field} in {seen}");
    }
    // One that lacks everything is filled up rather than refused.
    let reply = post(&mecha, "/v1.0/publish/ps/t", content_type, r#"{"data":"x"}"#).await.unwrap();
    assert_eq!(reply.status, 204, "{}", reply.text());
    let seen = app.wait_for("/event", 2, SOON).await.unwrap()[1].json();
    assert_eq!((&seen["topic"], &seen["data"]), (&json!("t"), &json!("x")), "{seen}");
}

#[tokio::test]
async fn what_is_too_old_is_dropped_and_what_is_not_arrives() {
    let app = subscriber("t", json!({})).await.unwrap();
    let mecha = with_app(runtime(), &app).await.unwrap();
    let expired = json!({"specversion": "1.0", "id": "old", "expiration": "2020-01-01T00:00:00Z", "data": 1});
    let cloud_event = "application/cloudevents+json";
    assert_eq!(
        post(&mecha, "/v1.0/publish/ps/t", cloud_event, &expired.to_string()).await.unwrap().status,
        204
    );
    mecha.logs().wait_for("dropping expired pub/sub event", SOON).await.unwrap();
    let path = "/v1.0/publish/ps/t?metadata.ttlInSeconds=60&metadata.cloudevent.id=young";
    assert_eq!(post(&mecha, path, "text/plain", "x").await.unwrap().status, 204);
    let event = app.wait_one("/event", SOON).await.unwrap().json();
    assert_eq!(event["id"], "young", "{event}");
    assert_eq!(app.asked_at("/event").len(), 1);
    let metrics = mecha.metrics().await.unwrap();
    let dropped = metrics.lines().find(|line| {
        line.starts_with("dapr_component_pubsub_ingress_count{") && line.contains("process_status=\"drop\"")
    });
    assert!(dropped.is_some_and(|line| line.contains("topic=\"t\"") && line.ends_with(" 1")), "{dropped:?}");
}

#[tokio::test]
async fn a_raw_payload_is_the_request_s_word_for_all_its_entries() {
    let app = subscriber("t", json!({"rawPayload": "true"})).await.unwrap();
    let mecha = with_app(runtime(), &app).await.unwrap();
    let reply =
        post(&mecha, "/v1.0/publish/ps/t?metadata.rawPayload=true", "text/plain", "one").await.unwrap();
    assert_eq!(reply.status, 204);
    let event = app.wait_one("/event", SOON).await.unwrap().json();
    assert_eq!(event["data_base64"], "b25l", "{event}");
    assert_eq!(event["datacontenttype"], "application/octet-stream", "{event}");
    assert_eq!((&event["topic"], &event["pubsubname"]), (&json!("t"), &json!("ps")), "{event}");

    let mut client = mecha.grpc().await.unwrap();
    let bulk = pb::BulkPublishRequest {
        pubsub_name: "ps".to_owned(),
        topic: "t".to_owned(),
        entries: vec![entry("1", "two", &[]), entry("2", "two", &[("rawPayload", "no boolean")])],
        metadata: [("rawPayload".to_owned(), "true".to_owned())].into(),
    };
    let answer = client.bulk_publish_event(bulk).await.unwrap().into_inner();
    assert!(answer.failed_entries.is_empty(), "{answer:?}");
    let events = app.wait_for("/event", 3, SOON).await.unwrap();
    assert!(events[1..].iter().all(|event| event.json()["data_base64"] == "dHdv"), "{events:?}");

    // An entry cannot ask for what its request does not.
    let body =
        r#"[{"entryId":"1","event":"three","contentType":"text/plain","metadata":{"rawPayload":"true"}}]"#;
    let reply = post(&mecha, "/v1.0/publish/bulk/ps/t", "application/json", body).await.unwrap();
    assert_eq!(reply.status, 204, "{}", reply.text());
    let event = app.wait_for("/event", 4, SOON).await.unwrap()[3].json();
    let inner =
        base64::Engine::decode(&base64::prelude::BASE64_STANDARD, event["data_base64"].as_str().unwrap());
    let inner: Value = serde_json::from_slice(&inner.unwrap()).unwrap();
    assert_eq!(inner["data"], "three", "{inner}");
}
