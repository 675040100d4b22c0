//! Events against what Dapr makes of the same messages.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};

use super::*;

const NONE: [(&str, &str); 0] = [];

fn message(data: &[u8]) -> Message<'_> {
    Message { data, content_type: "", topic: "mytopic", pubsub: "mypubsub", raw_payload: false }
}

fn structured(json: &str) -> Event<'_> {
    Event::read(message(json.as_bytes()), NONE).unwrap()
}

fn parsed(json: &str) -> Value {
    serde_json::from_str(json).unwrap()
}

#[test]
fn reads_an_envelope_and_leaves_the_body_alone() {
    let text = r#" {"id":"a\"b","data":{"x": 1},"id":"last","custom\u0031":5,"traceid":7} "#;
    let event = structured(text);
    assert_eq!((event.id().as_ref(), event.body()), ("last", Body::AsReceived));
    assert_eq!(event.to_json(), text);
    assert!(matches!(event.value("data"), Some(FieldValue::Json(r#"{"x": 1}"#))));
    assert!(matches!(event.value("custom1"), Some(FieldValue::Json("5"))));
    assert_eq!((event.text("custom1"), event.text("absent"), event.trace_parent()), (None, None, None));
}

#[test]
fn reads_what_go_reads() {
    assert_eq!(structured("null").id(), "");
    let lossy = Event::read(message(b"{\"id\":\"\xff\",\"data\":1}"), NONE).unwrap();
    assert_eq!((lossy.id().as_ref(), lossy.body()), ("\u{fffd}", Body::AsReceived));
    for data in ["", "hello", "[]", "5", "\"x\"", "{\"a\":1} x", "{\"a\":1"] {
        assert!(Event::read(message(data.as_bytes()), NONE).is_err(), "{data}");
    }
}

#[test]
fn wraps_a_raw_payload() {
    let raw = Message { raw_payload: true, content_type: "application/json", ..message(b"hello world") };
    let event =
        Event::read(raw, [("traceparent", "tp"), ("traceid", "loses"), ("tracestate", "ts")]).unwrap();
    let Body::Json(body) = event.body() else { panic!("no envelope") };
    let mut body = parsed(&body);
    assert!(uuid::Uuid::parse_str(body["id"].take().as_str().unwrap()).is_ok());
    let expected = json!({
        "id": null, "specversion": "1.0", "datacontenttype": "application/octet-stream", "source": "Dapr",
        "type": "com.dapr.event.sent", "topic": "mytopic", "pubsubname": "mypubsub", "data_base64": "aGVsbG8gd29ybGQ=",
        "traceid": "tp", "traceparent": "tp", "tracestate": "ts",
    });
    assert_eq!(body, expected);
    assert_eq!(event.topic_event().unwrap().data.as_ref(), b"hello world");
}

#[test]
fn takes_the_trace_of_headers_when_the_event_has_none() {
    let headers = [("Traceparent", "tp"), ("tracestate", "ts"), ("baggage", "k=v")];
    let event = Event::read(message(br#"{"traceid":"own"}"#), headers).unwrap();
    let trace = (event.trace_parent(), event.text("traceid"), event.trace_state(), event.baggage());
    assert_eq!(trace, (Some("tp".into()), Some("tp".into()), Some("ts".into()), Some("k=v".into())));
    let event = Event::read(message(br#"{"traceparent":"own","tracestate":"x"}"#), headers).unwrap();
    assert_eq!((event.trace_parent(), event.trace_state()), (Some("own".into()), Some("x".into())));
    assert_eq!(event.to_json(), r#"{"traceparent":"own","tracestate":"x"}"#);
    let event = structured(r#"{"traceid":"id","traceparent":null}"#);
    assert_eq!(event.trace_parent(), Some("id".into()));
    assert_eq!(structured(r#"{"traceid":"id","traceparent":{}}"#).trace_parent(), None);
}

#[test]
fn rebuilds_an_event_from_headers() {
    let headers = [
        ("content-type", "application/octet-stream"),
        ("ce_id", "aquadag-543"),
        ("CE_Source", "tests/scopes"),
        ("ce_type", "tests.binary"),
        ("ce_specversion", "1.0"),
        ("ce_Custom", "x"),
        ("other", "y"),
    ];
    let event = Event::read(message(&[0xde, 0xad, 0xbe, 0xef]), headers).unwrap();
    assert_eq!((event.id().as_ref(), event.body()), ("aquadag-543", Body::AsReceived));
    let expected = json!({
        "id": "aquadag-543", "source": "tests/scopes", "type": "tests.binary", "specversion": "1.0", "custom": "x",
        "datacontenttype": "application/octet-stream", "data_base64": "3q2+7w==",
    });
    assert_eq!(parsed(&event.to_json()), expected);
    let topic_event = event.topic_event().unwrap();
    assert_eq!((topic_event.id.as_str(), topic_event.event_type.as_str()), ("aquadag-543", "tests.binary"));
    assert_eq!(topic_event.data.as_ref(), [0xde, 0xad, 0xbe, 0xef]);
    assert_eq!(topic_event.extensions.fields.len(), 1);
}

#[test]
fn tells_whether_an_event_has_expired() {
    let now = UNIX_EPOCH + Duration::from_secs(1_627_894_800);
    for (expiration, expired) in [
        (r#""2021-08-02T08:59:59Z""#, true),
        (r#""2021-08-03T09:00:00Z""#, false),
        (r#""Mon, 01 Aug 2021 09:00:00 GMT""#, false),
        (r#""""#, false),
        ("5", false),
        ("null", false),
    ] {
        assert_eq!(
            structured(&format!(r#"{{"expiration":{expiration}}}"#)).has_expired(now),
            expired,
            "{expiration}"
        );
    }
    assert!(!structured("{}").has_expired(now));
}

#[test]
fn gives_grpc_the_data_that_its_content_type_allows() {
    let data = |event: &str| structured(event).topic_event().map(|event| event.data.into_owned());
    for (event, expected) in [
        (r#"{"datacontenttype":"text/plain","data":"a\nb"}"#, &b"a\nb"[..]),
        (r#"{"datacontenttype":"application/xml","data":"<a/>"}"#, b"<a/>"),
        (
            r#"{"datacontenttype":"application/json","data":{"n":637831415180045507}}"#,
            br#"{"n":637831415180045507}"#,
        ),
        (r#"{"datacontenttype":"application/json","data":"text"}"#, b"\"text\""),
        (r#"{"datacontenttype":"application/cloudevents+json","data":{"a":1}}"#, br#"{"a":1}"#),
        (r#"{"datacontenttype":"foo/bar","data":"x"}"#, b""),
        (r#"{"data":"x"}"#, b""),
        (r#"{"datacontenttype":"text/plain","data":null}"#, b""),
        (r#"{"datacontenttype":"image/png","data_base64":"AQID"}"#, &[1, 2, 3]),
        (r#"{"data_base64":"AQ\n\r\nID","data":"x"}"#, &[1, 2, 3]),
        (r#"{"data_base64":null,"datacontenttype":"text/plain","data":"x"}"#, b"x"),
    ] {
        assert_eq!(data(event).unwrap(), expected, "{event}");
    }
    for event in
        [r#"{"data_base64":5}"#, r#"{"data_base64":"?"}"#, r#"{"datacontenttype":"text/plain","data":{}}"#]
    {
        assert!(data(event).is_err(), "{event}");
    }
}

#[test]
fn gives_grpc_every_other_field_as_an_extension() {
    let event = structured(
        r#"{"id":"1","source":"s","type":"t","specversion":"1.0","datacontenttype":"text/plain","data":"d",
            "topic":"mytopic","n":9007199254740993,"list":[null,true,{"a":"b"}],"half":"\ud83d"}"#,
    );
    let event = event.topic_event().unwrap();
    let names: Vec<&str> = event.extensions.fields.keys().map(String::as_str).collect();
    assert_eq!(names, ["half", "list", "n", "topic"]);
    use prost_types::value::Kind;
    assert_eq!(event.extensions.fields["n"].kind, Some(Kind::NumberValue(9_007_199_254_740_992.0)));
    assert_eq!(event.extensions.fields["half"].kind, Some(Kind::StringValue("\u{fffd}".into())));
    let Some(Kind::ListValue(list)) = &event.extensions.fields["list"].kind else { panic!("no list") };
    assert_eq!(list.values.len(), 3);
    let deep = format!(r#"{{"deep":{}{}}}"#, "[".repeat(200), "]".repeat(200));
    assert!(matches!(structured(&deep).topic_event(), Err(DataError::Extensions(_))));
}

#[test]
fn writes_a_bulk_envelope() {
    let event = structured(r#"{"id":"1","data":{"n":1e400}}"#);
    let raw = Event::read(Message { raw_payload: true, ..message(b"raw") }, NONE).unwrap();
    let mut bulk = BulkEnvelope::with_capacity(0);
    bulk.push(&BulkEntry { entry_id: "a", event: &event, content_type: "" }, [("k\"", "v")]);
    bulk.push(&BulkEntry { entry_id: "b", event: &raw, content_type: "" }, NONE);
    bulk.push(&BulkEntry { entry_id: "c", event: &raw, content_type: "text/plain" }, NONE);
    let body = String::from_utf8(bulk.finish("ps", "t", [("pubsubName", "ps")])).unwrap();
    let mut body = parsed(&body.replace("1e400", "5"));
    assert!(uuid::Uuid::parse_str(body["id"].take().as_str().unwrap()).is_ok());
    let expected = json!({
        "id": null, "type": "com.dapr.event.sent.bulk", "topic": "t", "pubsubname": "ps", "metadata": {"pubsubName": "ps"},
        "entries": [
            {"entryId": "a", "event": {"id": "1", "data": {"n": 5}}, "contentType": "application/cloudevents+json",
                "metadata": {"k\"": "v"}},
            {"entryId": "b", "event": "cmF3", "contentType": "application/octet-stream", "metadata": {}},
            {"entryId": "c", "event": "cmF3", "contentType": "text/plain", "metadata": {}},
        ],
    });
    assert_eq!(body, expected);
}
