//! Envelopes against what Dapr's own tests expect of them.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};

use super::*;

const NOW: Duration = Duration::from_secs(1_627_894_800);

fn request<'a>(content_type: &'a str, data: &'a [u8]) -> Publish<'a> {
    Publish {
        pubsub: "mypubsub",
        topic: "orders",
        app_id: "app",
        content_type,
        data,
        trace: Trace::default(),
        metadata: PublishMetadata::default(),
        native_ttl: false,
        now: UNIX_EPOCH + NOW,
    }
}

fn published(request: &Publish<'_>) -> Value {
    serde_json::from_str(Envelope::for_publish(request).unwrap().as_str()).unwrap()
}

#[test]
fn wraps_text_with_daprs_defaults() {
    let mut envelope = published(&request("", b"hello"));
    let id = envelope["id"].take();
    assert!(Uuid::parse_str(id.as_str().unwrap()).is_ok(), "{id}");
    let expected = json!({
        "id": null, "specversion": "1.0", "datacontenttype": "text/plain", "source": "app", "type": "com.dapr.event.sent",
        "topic": "orders", "pubsubname": "mypubsub", "traceid": "", "traceparent": "", "tracestate": "",
        "time": "2021-08-02T09:00:00Z", "data": "hello",
    });
    assert_eq!(envelope, expected);
}

#[test]
fn names_dapr_as_the_source_of_an_unnamed_application() {
    let request = Publish { app_id: "", ..request("application/xml", b"") };
    let envelope = published(&request);
    assert_eq!((&envelope["source"], &envelope["data"]), (&json!("Dapr"), &json!("")));
}

#[test]
fn embeds_json_as_it_stands() {
    let digits = r#"{"Val2":637831415180045507, "x": 1.50}"#;
    let rich = "application/JSON; charset=utf-8";
    let envelope = Envelope::for_publish(&request(rich, format!(" {digits}\n").as_bytes())).unwrap();
    assert!(envelope.as_str().contains(&format!(r#""data":{digits},"#)), "{}", envelope.as_str());
    for (data, expected) in [
        (&br#""message""#[..], json!("message")),
        (b"null", Value::Null),
        (b"", json!("")),
        (b"{not json", json!("{not json")),
        (br#"{"a":1} trailing"#, json!({"a": 1})),
        (b"\"\xff\"", json!("\u{fffd}")),
        (b"1 2", json!(1)),
    ] {
        assert_eq!(published(&request("application/json", data))["data"], expected);
    }
}

#[test]
fn keeps_json_of_any_depth() {
    let deep = "[".repeat(50_000) + &"]".repeat(50_000);
    let envelope = Envelope::for_publish(&request("application/json", deep.as_bytes())).unwrap();
    assert!(envelope.as_str().contains(&deep));
}

#[test]
fn encodes_bytes() {
    for content_type in ["application/octet-stream", "application/cloudevents+protobuf"] {
        let envelope = published(&request(content_type, &[1]));
        assert_eq!((&envelope["data_base64"], envelope.get("data")), (&json!("AQ=="), None));
    }
    assert_eq!(published(&request("image/png", b"\xff1"))["data"], json!("\u{fffd}1"));
}

#[test]
fn takes_overrides_from_metadata_and_no_others() {
    let metadata = [
        ("cloudevent.topic", "overridetopic"),
        ("cloudevent.pubsub", "overridepubsub"),
        ("cloudevent.data", "overridedata"),
        ("cloudevent.datacontenttype", "overridedatacontenttype"),
        ("cloudevent.source", "overridesource"),
        ("cloudevent.id", "overrideid"),
        ("CLOUDEVENT.type", "overridetype"),
        ("cloudevent.traceparent", "overridetraceparent"),
        ("cloudevent.traceid", "loses"),
        ("cloudevent.tracestate", "overridetracestate"),
        ("cloudevent.subject", "overridesubject"),
    ];
    let request = Publish {
        metadata: PublishMetadata::read(metadata).unwrap(),
        trace: Trace { parent: "p", state: "s", baggage: "k=v" },
        ..request("originaldatacontenttype", b"originaldata")
    };
    let expected = json!({
        "id": "overrideid", "specversion": "1.0", "datacontenttype": "originaldatacontenttype", "source": "overridesource",
        "type": "overridetype", "topic": "orders", "pubsubname": "mypubsub", "traceid": "overridetraceparent",
        "traceparent": "overridetraceparent", "tracestate": "overridetracestate", "subject": "overridesubject",
        "time": "2021-08-02T09:00:00Z", "data": "originaldata", "baggage": "k=v",
    });
    assert_eq!(published(&request), expected);
}

#[test]
fn says_when_a_message_expires_unless_the_broker_does() {
    let metadata = PublishMetadata::read([("ttlInSeconds", "60")]).unwrap();
    for content_type in ["text/plain", "application/cloudevents+json"] {
        let request = Publish { metadata, ..request(content_type, br#"{"expiration":"old"}"#) };
        assert_eq!(published(&request)["expiration"], "2021-08-02T09:01:00Z");
    }
    let native = Publish { metadata, native_ttl: true, ..request("", b"") };
    assert_eq!(published(&native).get("expiration"), None);
}

#[test]
fn completes_an_event() {
    let data = br#"{"customfield":"a","id":"event","data":9007199254740993, "source":null, "topic":"x","pubsubname":"y"} "#;
    let trace = Trace { parent: "1", state: "k=v", baggage: "" };
    let request = Publish { trace, ..request("application/cloudevents+json; charset=utf-8", data) };
    let envelope = Envelope::for_publish(&request).unwrap();
    assert!(envelope.as_str().contains(r#""data":9007199254740993,"#), "{}", envelope.as_str());
    let mut value: Value = serde_json::from_str(envelope.as_str()).unwrap();
    value["data"].take();
    let expected = json!({
        "customfield": "a", "id": "event", "data": null, "source": "Dapr", "type": "com.dapr.event.sent",
        "specversion": "1.0", "topic": "orders", "pubsubname": "mypubsub", "time": "2021-08-02T09:00:00Z",
        "traceid": "1", "traceparent": "1", "tracestate": "k=v",
    });
    assert_eq!(value, expected);
}

#[test]
fn leaves_an_events_own_trace_and_time() {
    let data = br#"{"time":"t","traceid":"e","tracestate":"f","traceparent":"g","trac\u0065x":1}"#;
    let trace = Trace { parent: "1", state: "2", baggage: "" };
    let value = published(&Publish { trace, ..request("application/cloudevents+json", data) });
    for (name, expected) in [("time", "t"), ("traceid", "e"), ("tracestate", "f"), ("traceparent", "g")] {
        assert_eq!(value[name], expected);
    }
    assert_eq!(value["tracex"], 1);
    // A traceparent alone gives way to the request's, as in Dapr; a value of another kind stays what it is.
    let foreign = request("application/cloudevents+json", br#"{"traceparent":{"x":1},"tracestate":5}"#);
    let value = published(&Publish { trace, ..foreign });
    assert_eq!(
        (&value["traceparent"], &value["traceid"], &value["tracestate"]),
        (&json!("1"), &json!("1"), &json!(5))
    );
}

#[test]
fn refuses_what_is_no_event() {
    for data in [&b"a"[..], b"", b"null", b"[]", b"\"x\"", b"{\"a\":", b"{1:2}"] {
        assert!(Envelope::for_publish(&request("application/cloudevents+json", data)).is_err(), "{data:?}");
    }
}

#[test]
fn does_not_grow_its_buffer() {
    for data in [vec![0xff; 30_000], b"x".repeat(10), Vec::new()] {
        let request = request("application/octet-stream", &data);
        let text = wrap(&request);
        assert!(text.len() <= capacity(&request), "{} > {}", text.len(), capacity(&request));
    }
}
