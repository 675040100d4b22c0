//! Applications that misbehave: they answer bytes that are no HTTP, too much, nothing, or half of it, and ask for subscriptions
//! that cannot be. Each is told, nothing stops, and a message that is good still arrives.

mod raw_app;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use http::Request;
use http_body_util::Full;
use mecha_testkit::{Mecha, MechaBuilder, Scripted, ScriptedApp, eventually, fixture};
use raw_app::{Answer, Asked, RawApp};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(20);
/// What the runtime may hold in memory, whatever it is sent.
const MEMORY: u64 = 256 << 20;

/// What is no answer, by the name under which a test asks for it.
const BROKEN: &[(&str, &[u8])] = &[
    ("nothing", b""),
    ("noise", b"\x16\x03\x01\x00\xa5\x00\xff\xfe\x00garbage\r\n\r\n"),
    ("words", b"good morning\r\n\r\n"),
    ("half-a-head", b"HTTP/1.1 200 OK\r\ncontent-le"),
    ("half-a-body", b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"status\""),
    ("no-chunk", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"),
    ("half-a-chunk", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n10\r\nabc"),
    ("two-lengths", b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab"),
    ("negative-length", b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n"),
    ("no-status", b"HTTP/1.1 abc OK\r\n\r\n"),
    ("only-interim", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ("odd-header", b"HTTP/1.1 200 OK\r\nna me\x00: x\r\n\r\n"),
];
const HEAD_WITHOUT_END: &str = "head-without-end";

fn broken(name: &str) -> Option<Answer> {
    if name == HEAD_WITHOUT_END {
        let head = [b"HTTP/1.1 200 OK\r\nx: ".as_slice(), &vec![b'a'; 4 << 20]].concat();
        return Some(Answer::Bytes(head));
    }
    let bytes = BROKEN.iter().find(|(known, _)| *known == name)?.1;
    Some(Answer::Bytes(bytes.to_vec()))
}

fn broken_names() -> impl Iterator<Item = &'static str> {
    BROKEN.iter().map(|(name, _)| *name).chain([HEAD_WITHOUT_END])
}

fn runtime() -> MechaBuilder {
    Mecha::builder()
        .app_id("app1")
        .plugin("memory")
        .component("ps", "pubsub.in-memory")
        .component("store", "state.in-memory")
}

async fn with_port(builder: MechaBuilder, port: u16) -> Result<Mecha> {
    builder.flag("--app-port", port.to_string()).start().await
}

async fn publish(mecha: &Mecha, topic: &str, media_type: &str, body: &str) -> Result<()> {
    let request = Request::post(mecha.http_url(&format!("/v1.0/publish/ps/{topic}")));
    let request = request.header("content-type", media_type).body(Full::new(body.to_owned().into()))?;
    let reply = mecha.http().send(request).await?;
    ensure!(reply.status == 204, "{}: {}", reply.status, reply.text());
    Ok(())
}

/// It serves, within its memory, and has not panicked.
async fn unharmed(mecha: &Mecha) -> Result<()> {
    let url = mecha.http_url("/v1.0/state/store");
    let saved = mecha.http().post(&url, r#"[{"key":"k","value":1}]"#).await?;
    ensure!(saved.status == 204, "{}: {}", saved.status, saved.text());
    let panics = mecha.logs().matching("panicked");
    ensure!(panics.is_empty(), "{panics:#?}");
    let resident = mecha.rss_bytes()?;
    ensure!(resident < MEMORY, "{resident} bytes are resident");
    Ok(())
}

fn subscribed() -> Value {
    json!([
        {"pubsubname": "ps", "topic": "t", "route": "/event", "deadLetterTopic": "dead"},
        {"pubsubname": "ps", "topic": "dead", "route": "/dead"},
    ])
}

/// Answers the questions of a start, and everything else as told.
fn starting(asked: &Asked, then: impl FnOnce() -> Answer) -> Answer {
    match asked.path.as_str() {
        "/dapr/subscribe" => Answer::proper(200, &subscribed().to_string()),
        "/dapr/config" => Answer::proper(404, ""),
        "/dead" => Answer::proper(200, ""),
        _ => then(),
    }
}

#[tokio::test]
async fn an_event_answered_with_what_is_no_http_is_a_dead_letter() {
    let app = RawApp::start(|asked| {
        starting(asked, || {
            let name = asked.event()["data"].as_str().unwrap_or_default().to_owned();
            broken(&name).unwrap_or_else(|| Answer::proper(200, ""))
        })
    })
    .await
    .unwrap();
    let mecha = with_port(runtime(), app.port()).await.unwrap();
    for name in broken_names() {
        publish(&mecha, "t", "text/plain", name).await.unwrap();
    }
    let expected: BTreeSet<_> = broken_names().map(str::to_owned).collect();
    app.wait_for("/dead", expected.len(), SOON).await.unwrap();
    let data = |asked: &Asked| asked.event()["data"].as_str().unwrap_or_default().to_owned();
    let dead: BTreeSet<_> = app.at("/dead").iter().map(data).collect();
    assert_eq!(dead, expected);
    publish(&mecha, "t", "text/plain", "good").await.unwrap();
    eventually(SOON, || async {
        ensure!(app.at("/event").iter().any(|asked| data(asked) == "good"), "the good one");
        Ok(())
    })
    .await
    .unwrap();
    assert!(!app.at("/dead").iter().any(|asked| data(asked) == "good"));
    unharmed(&mecha).await.unwrap();
}

#[tokio::test]
async fn a_call_answered_with_what_is_no_http_fails() {
    let app = RawApp::start(|asked| {
        starting(asked, || {
            let name = asked.path.trim_start_matches('/');
            broken(name).unwrap_or_else(|| Answer::proper(200, "well"))
        })
    })
    .await
    .unwrap();
    let mecha = with_port(runtime(), app.port()).await.unwrap();
    for name in broken_names() {
        let url = mecha.http_url(&format!("/v1.0/invoke/app1/method/{name}"));
        let asked = mecha.http().get(&url);
        let reply = tokio::time::timeout(SOON, asked).await.unwrap_or_else(|_| panic!("{name} hangs"));
        // What broke off after its head is no whole answer for the caller either.
        if let Ok(reply) = reply {
            let text = reply.text();
            assert_eq!(reply.status, 500, "{name}: {text}");
            assert_eq!(reply.json().unwrap()["errorCode"], "ERR_DIRECT_INVOKE", "{name}: {text}");
        }
        let reply = mecha.http().get(&mecha.http_url("/v1.0/invoke/app1/method/good")).await.unwrap();
        assert_eq!((reply.status.as_u16(), reply.text().as_str()), (200, "well"), "after {name}");
    }
    unharmed(&mecha).await.unwrap();
}

/// Each answer comes to the same event, until one is an answer.
#[tokio::test]
async fn an_event_of_a_binding_answered_with_what_is_no_http_comes_again() {
    let names: Vec<_> = broken_names().collect();
    let (last, next) = (names.len(), AtomicUsize::new(0));
    let app = RawApp::start(move |asked| match asked.path.as_str() {
        "/in" if !asked.body.is_empty() => {
            let name = names.get(next.fetch_add(1, Ordering::SeqCst)).copied().unwrap_or_default();
            broken(name).unwrap_or_else(|| Answer::proper(200, ""))
        }
        "/in" => Answer::proper(200, ""),
        _ => Answer::proper(404, ""),
    })
    .await
    .unwrap();
    let builder = runtime().library("libmecha_plugin_probe.so", fixture("probe-a").unwrap()).component_with(
        "in",
        "bindings.probe",
        &[("events", "1")],
    );
    let mecha = with_port(builder, app.port()).await.unwrap();
    // The question whether it is wanted at all, each failure, and the one that is taken.
    let asked = app.wait_for("/in", last + 2, SOON).await.unwrap();
    assert!(asked[1..].iter().all(|again| again.body == asked[1].body), "{asked:?}");
    unharmed(&mecha).await.unwrap();
}

#[tokio::test]
async fn questions_answered_with_what_is_no_http_stop_no_start() {
    for name in broken_names() {
        let app = RawApp::start(move |_| broken(name).unwrap_or(Answer::Silence)).await.unwrap();
        let builder =
            runtime().plugin("cron").component_with("tick", "bindings.cron", &[("schedule", "@every 1h")]);
        let mut mecha = with_port(builder, app.port()).await.unwrap();
        mecha.logs().wait_for("error getting topic", SOON).await.unwrap();
        mecha.logs().wait_for("app has not subscribed to binding tick.", SOON).await.unwrap();
        for path in ["/dapr/config", "/dapr/subscribe", "/tick"] {
            assert!(!app.at(path).is_empty(), "{name}: {path} is not asked");
        }
        publish(&mecha, "t", "text/plain", "x").await.unwrap();
        unharmed(&mecha).await.unwrap_or_else(|error| panic!("{name}: {error:#}"));
        assert_eq!(mecha.terminate(SOON).await.unwrap(), 0, "{name}");
    }
}

#[tokio::test]
async fn answers_of_a_gibibyte_stop_no_start() {
    let app = ScriptedApp::start(|asked| async move {
        match asked.method.as_str() {
            "GET" | "OPTIONS" => Scripted::large(1 << 30),
            _ => Scripted::status(200),
        }
    })
    .await
    .unwrap();
    let builder =
        runtime().plugin("cron").component_with("tick", "bindings.cron", &[("schedule", "@every 1h")]);
    let mut mecha = with_port(builder, app.port()).await.unwrap();
    app.wait_one("/dapr/config", SOON).await.unwrap();
    mecha.logs().wait_for("larger than", SOON).await.unwrap();
    app.wait_one("/tick", SOON).await.unwrap();
    unharmed(&mecha).await.unwrap();
    assert_eq!(mecha.terminate(SOON).await.unwrap(), 0);
}

#[tokio::test]
async fn probes_answered_by_a_gibibyte_harm_nothing() {
    let app = ScriptedApp::start(|_| async { Scripted::large(1 << 30) }).await.unwrap();
    let builder = runtime().switch("--enable-app-health-check").flag("--app-health-probe-interval", "1");
    let mut mecha = with_port(builder, app.port()).await.unwrap();
    app.wait_for("/healthz", 3, SOON).await.unwrap();
    publish(&mecha, "t", "text/plain", "x").await.unwrap();
    unharmed(&mecha).await.unwrap();
    assert_eq!(mecha.terminate(SOON).await.unwrap(), 0);
}

/// Asks for a gibibyte and reads it piece by piece.
#[tokio::test]
async fn an_answer_of_a_gibibyte_to_a_call_is_passed_on_in_pieces() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let app = ScriptedApp::start(|asked| async move {
        if asked.path == "/much" { Scripted::large(1 << 30) } else { Scripted::status(404) }
    })
    .await
    .unwrap();
    let mecha = with_port(runtime(), app.port()).await.unwrap();
    let mut stream = tokio::net::TcpStream::connect(mecha.http_addr()).await.unwrap();
    let request = b"GET /v1.0/invoke/app1/method/much HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let (mut piece, mut total, mut most) = (vec![0; 1 << 20], 0, 0);
    loop {
        let read = tokio::time::timeout(SOON, stream.read(&mut piece)).await.unwrap().unwrap();
        if read == 0 {
            break;
        }
        if total == 0 {
            assert!(
                piece.starts_with(b"HTTP/1.1 200"),
                "{}",
                String::from_utf8_lossy(&piece[..read.min(200)])
            );
        }
        if total >> 26 != (total + read) >> 26 {
            most = most.max(mecha.rss_bytes().unwrap());
        }
        total += read;
    }
    assert!(total > 1 << 30, "{total} bytes");
    assert!(most < MEMORY, "{most} bytes were resident");
    unharmed(&mecha).await.unwrap();
}

#[tokio::test]
async fn an_event_without_an_answer_is_given_up_where_a_policy_says_so() {
    let app = RawApp::start(|asked| {
        starting(asked, || match asked.event()["data"].as_str() {
            Some("silence") => Answer::Silence,
            _ => Answer::proper(200, ""),
        })
    })
    .await
    .unwrap();
    let policy = json!({
        "apiVersion": "dapr.io/v1alpha1", "kind": "Resiliency", "metadata": {"name": "res"},
        "spec": {
            "policies": {
                "timeouts": {"p": "300ms"},
                "retries": {"p": {"policy": "constant", "duration": "5ms", "maxRetries": 1}},
            },
            "targets": {"components": {"ps": {"inbound": {"timeout": "p", "retry": "p"}}}},
        },
    });
    let mut mecha = with_port(runtime().resources(&policy.to_string()), app.port()).await.unwrap();
    publish(&mecha, "t", "text/plain", "silence").await.unwrap();
    publish(&mecha, "t", "text/plain", "good").await.unwrap();
    let dead = app.wait_for("/dead", 1, SOON).await.unwrap();
    assert_eq!(dead[0].event()["data"], "silence");
    // Tried twice, and the good one.
    app.wait_for("/event", 3, SOON).await.unwrap();
    unharmed(&mecha).await.unwrap();
    assert_eq!(mecha.terminate(SOON).await.unwrap(), 0);
}

#[tokio::test]
async fn an_application_that_answers_nothing_holds_no_end() {
    let app = RawApp::start(|_| Answer::Silence).await.unwrap();
    for args in [&[][..], &["--enable-app-health-check"]] {
        let mut builder = runtime().flag("--app-port", app.port().to_string());
        for arg in args {
            builder = builder.switch(arg).flag("--app-health-probe-interval", "1");
        }
        let mut mecha = builder.spawn().await.unwrap();
        let line = if args.is_empty() {
            "the application has not answered GET /dapr/config"
        } else {
            "App health probes starting"
        };
        mecha.logs().wait_for(line, SOON).await.unwrap();
        publish(&mecha, "t", "text/plain", "x").await.unwrap();
        unharmed(&mecha).await.unwrap();
        assert_eq!(mecha.terminate(SOON).await.unwrap(), 0, "{args:?}");
    }
}

#[tokio::test]
async fn an_application_that_speaks_no_grpc_stops_nothing() {
    for name in ["nothing", "noise", "words", "half-a-body"] {
        let app = RawApp::start(move |_| broken(name).unwrap_or(Answer::Silence)).await.unwrap();
        let declared = json!({"apiVersion": "dapr.io/v2alpha1", "kind": "Subscription", "metadata": {"name": "s"},
            "spec": {"pubsubname": "ps", "topic": "t", "routes": {"default": "/t"}}});
        let builder = runtime().resources(&declared.to_string()).flag("--app-protocol", "grpc");
        let mut mecha = builder.flag("--app-port", app.port().to_string()).spawn().await.unwrap();
        mecha.logs().wait_for("application discovered on port", SOON).await.unwrap();
        publish(&mecha, "t", "text/plain", "x").await.unwrap();
        unharmed(&mecha).await.unwrap_or_else(|error| panic!("{name}: {error:#}"));
        assert_eq!(mecha.terminate(SOON).await.unwrap(), 0, "{name}");
    }
}

/// Every entry that cannot be is told by itself; those around it hold.
#[tokio::test]
async fn wrong_entries_are_left_out_one_by_one() {
    let entry = |topic: &str, field: &str, value: Value| {
        let mut entry = json!({"pubsubname": "ps", "topic": topic, "route": "/wrong"});
        entry[field] = value;
        entry
    };
    let wrong = [
        entry("wrong-pubsub", "pubsubname", json!(["ps"])),
        entry("wrong-route", "route", json!(7)),
        entry("wrong-routes", "routes", json!("everywhere")),
        entry("wrong-rules", "routes", json!({"rules": "all"})),
        entry("wrong-rule", "routes", json!({"rules": ["all"]})),
        entry("wrong-match", "routes", json!({"rules": [{"match": 5, "path": "/wrong"}]})),
        entry("wrong-cel", "routes", json!({"rules": [{"match": "event.type == 'a' &&", "path": "/wrong"}]})),
        entry("wrong-metadata", "metadata", json!("none")),
        entry("wrong-dead", "deadLetterTopic", json!({"to": "dead"})),
        entry("wrong-bulk", "bulkSubscribe", json!("yes")),
        entry("wrong-count", "bulkSubscribe", json!({"enabled": true, "maxMessagesCount": "many"})),
        entry("", "topic", json!(5)),
    ];
    let mut list = vec![json!({"pubsubname": "ps", "topic": "first", "route": "/first"})];
    list.extend(wrong.iter().cloned());
    list.push(json!({"pubsubname": "ps", "topic": "last", "route": "/last"}));
    let list = Value::Array(list).to_string();
    let app = RawApp::start(move |asked| match asked.path.as_str() {
        "/dapr/subscribe" => Answer::proper(200, &list),
        "/dapr/config" => Answer::proper(404, ""),
        _ => Answer::proper(200, ""),
    })
    .await
    .unwrap();
    let mecha = with_port(runtime(), app.port()).await.unwrap();
    let metadata = mecha.http().get(&mecha.http_url("/v1.0/metadata")).await.unwrap().json().unwrap();
    let topics: BTreeSet<_> = metadata["subscriptions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|subscription| subscription["topic"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(topics, BTreeSet::from(["first".to_owned(), "last".to_owned()]));
    // The first entry is a good one.
    for number in 1..=wrong.len() {
        let lines = mecha.logs().lines();
        let is_told = |line: &String| {
            line.contains("a subscription of the application is left out: ")
                && line.ends_with(&format!(" entry={number}"))
        };
        let told = lines.iter().filter(|line| is_told(line)).count();
        assert_eq!(told, 1, "entry {number}: {}", mecha.logs().tail());
    }
    for topic in ["first", "last"] {
        publish(&mecha, topic, "text/plain", "x").await.unwrap();
        app.wait_for(&format!("/{topic}"), 1, SOON).await.unwrap();
    }
    assert!(app.at("/wrong").is_empty());
    unharmed(&mecha).await.unwrap();
}

/// A condition that turns out to be no condition fails the events that it is asked about, and no others.
#[tokio::test]
async fn conditions_that_give_no_boolean_fail_their_events_only() {
    let rules =
        |condition: &str| json!({"rules": [{"match": condition, "path": "/wrong"}], "default": "/event"});
    let list = json!([
        {"pubsubname": "ps", "topic": "text", "routes": rules("event.type"), "deadLetterTopic": "dead"},
        {"pubsubname": "ps", "topic": "number", "routes": rules("size(event.id)"), "deadLetterTopic": "dead"},
        {"pubsubname": "ps", "topic": "none", "routes": rules("event.data.a.b == 1"), "deadLetterTopic": "dead"},
        {"pubsubname": "ps", "topic": "sometimes", "routes": rules("event.data"), "deadLetterTopic": "dead"},
        {"pubsubname": "ps", "topic": "dead", "route": "/dead"},
    ])
    .to_string();
    let app = RawApp::start(move |asked| match asked.path.as_str() {
        "/dapr/subscribe" => Answer::proper(200, &list),
        "/dapr/config" => Answer::proper(404, ""),
        _ => Answer::proper(200, ""),
    })
    .await
    .unwrap();
    let mecha = with_port(runtime(), app.port()).await.unwrap();
    for (count, topic) in ["text", "number", "none", "sometimes"].iter().enumerate() {
        publish(&mecha, topic, "text/plain", topic).await.unwrap();
        let dead = app.wait_for("/dead", count + 1, SOON).await.unwrap();
        assert_eq!(dead[count].event()["data"], *topic);
    }
    mecha.logs().wait_for("error finding matching route for event", SOON).await.unwrap();
    publish(&mecha, "sometimes", "application/json", "false").await.unwrap();
    let good = app.wait_for("/event", 1, SOON).await.unwrap();
    assert_eq!(good[0].event()["data"], false);
    assert!(app.at("/wrong").is_empty());
    unharmed(&mecha).await.unwrap();
}

/// Events are published as they are, as Dapr does: whatever they lack is the application's to see.
#[tokio::test]
async fn cloud_events_that_lack_fields_arrive_as_they_are() {
    let app = RawApp::start(|asked| starting(asked, || Answer::proper(200, ""))).await.unwrap();
    let mecha = with_port(runtime(), app.port()).await.unwrap();
    let kind = "application/cloudevents+json";
    let whole = json!({"specversion": "1.0", "id": "1", "source": "a", "type": "t", "data": 1});
    for (count, field) in ["specversion", "id", "source", "type", "data"].iter().enumerate() {
        let mut event = whole.clone();
        event.as_object_mut().unwrap().remove(*field);
        publish(&mecha, "t", kind, &event.to_string()).await.unwrap();
        let arrived = app.wait_for("/event", count + 1, SOON).await.unwrap()[count].event();
        for (name, value) in event.as_object().unwrap() {
            assert_eq!(&arrived[name], value, "without {field}: {arrived}");
        }
        assert_eq!((&arrived["topic"], &arrived["pubsubname"]), (&json!("t"), &json!("ps")));
    }
    // What is no event is refused where it is published.
    for body in ["[1]", "7", "null", "{"] {
        let url = mecha.http_url("/v1.0/publish/ps/t");
        let request = Request::post(url).header("content-type", kind);
        let reply = mecha.http().send(request.body(Full::new(body.into())).unwrap()).await.unwrap();
        let answer = reply.json().unwrap_or_default();
        assert_eq!(
            (reply.status.as_u16(), &answer["errorCode"]),
            (500, &json!("ERR_PUBSUB_CLOUD_EVENTS_SER")),
            "{body}"
        );
    }
    publish(&mecha, "t", "text/plain", "good").await.unwrap();
    let arrived = app.wait_for("/event", 6, SOON).await.unwrap();
    assert_eq!(arrived[5].event()["data"], "good");
    assert!(app.at("/dead").is_empty());
    unharmed(&mecha).await.unwrap();
}
