//! What an application is subscribed to, however it says so, and what becomes of each event.

use std::time::Duration;

use anyhow::{Result, ensure};
use http::Request;
use http_body_util::Full;
use mecha_backends::Redis;
use mecha_testkit::{
    Answer, Asked, Mecha, MechaBuilder, Scripted, ScriptedApp, TestApp, Transport, Wish, eventually,
};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(20);

fn runtime() -> MechaBuilder {
    Mecha::builder().app_id("app1").plugin("memory").component("ps", "pubsub.in-memory")
}

/// An application that asks for this list and takes whatever comes.
async fn wanting(list: Value) -> Result<ScriptedApp> {
    let list = list.to_string();
    answering(list, |_| Scripted::status(200)).await
}

/// An application that asks for this list, and answers events as told.
async fn answering(
    list: String,
    respond: impl Fn(&Asked) -> Scripted + Send + Sync + 'static,
) -> Result<ScriptedApp> {
    let respond = std::sync::Arc::new(respond);
    ScriptedApp::start(move |asked: Asked| {
        let (list, respond) = (list.clone(), respond.clone());
        async move {
            match asked.path.as_str() {
                "/dapr/subscribe" => Scripted::ok(list),
                "/dapr/config" => Scripted::status(404),
                _ => respond(&asked),
            }
        }
    })
    .await
}

async fn with_app(builder: MechaBuilder, app: &ScriptedApp) -> Result<Mecha> {
    builder.flag("--app-port", app.port().to_string()).start().await
}

async fn publish(mecha: &Mecha, topic: &str, content_type: &str, body: impl Into<String>) -> Result<()> {
    let request = Request::post(mecha.http_url(&format!("/v1.0/publish/ps/{topic}")));
    let request = request.header("content-type", content_type).body(Full::new(body.into().into()))?;
    let reply = mecha.http().send(request).await?;
    ensure!(reply.status == 204, "{}: {}", reply.status, reply.text());
    Ok(())
}

async fn subscriptions(mecha: &Mecha) -> Result<Vec<Value>> {
    let metadata = mecha.http().get(&mecha.http_url("/v1.0/metadata")).await?.json()?;
    let mut subscriptions = metadata["subscriptions"].as_array().cloned().unwrap_or_default();
    subscriptions.sort_by_key(|subscription| subscription["topic"].to_string());
    Ok(subscriptions)
}

#[tokio::test]
async fn every_shape_of_an_entry_is_taken_and_shown() {
    let app = wanting(json!([
        {"pubsubname": "ps", "topic": "a", "route": "/a"},
        {"pubsubname": "ps", "topic": "b", "routes": {"rules": [
            {"match": "event.type == 'x'", "path": "/x"}, {"match": "  ", "path": "/always"}], "default": "/b"}},
        {"pubsubname": "ps", "topic": "c", "routes": {"default": "/c"}, "route": "/not-this",
            "deadLetterTopic": "dead", "metadata": {"rawPayload": "false", "other": "1"}},
        {"pubsubname": "ps", "topic": "d", "route": "d/without/slash",
            "bulkSubscribe": {"enabled": true, "maxMessagesCount": 2, "maxAwaitDurationMs": 10}},
    ]))
    .await
    .unwrap();
    let mecha = with_app(runtime(), &app).await.unwrap();
    let asked = app.wait_one("/dapr/subscribe", SOON).await.unwrap();
    assert_eq!(asked.header("dapr-app-id"), "app1");
    let base = |topic: &str, dead: &str, rules: Value| json!({"pubsubname": "ps", "topic": topic, "rules": rules, "deadLetterTopic": dead, "type": "PROGRAMMATIC"});
    let mut third = base("c", "dead", json!([{"path": "/c"}]));
    third["metadata"] = json!({"rawPayload": "false", "other": "1"});
    let expected = [
        base("a", "", json!([{"path": "/a"}])),
        base(
            "b",
            "",
            json!([{"match": "event.type == 'x'", "path": "/x"}, {"path": "/always"}, {"path": "/b"}]),
        ),
        third,
        base("d", "", json!([{"path": "d/without/slash"}])),
    ];
    assert_eq!(subscriptions(&mecha).await.unwrap(), expected);
    for (topic, path) in [("a", "/a"), ("b", "/always"), ("c", "/c"), ("d", "/d/without/slash")] {
        publish(&mecha, topic, "application/json", "{}").await.unwrap();
        app.wait_one(path, SOON).await.unwrap();
    }
    let bulk = app.asked_at("/d/without/slash")[0].json();
    assert_eq!(bulk["type"], "com.dapr.event.sent.bulk", "{bulk}");
    assert_eq!((&bulk["topic"], &bulk["pubsubname"]), (&json!("d"), &json!("ps")));
    let line = "app is subscribed to the following topics: [[a b c d]] through pubsub=ps";
    mecha.logs().wait_for(line, SOON).await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_used_is_left_out_and_the_rest_holds() {
    let app = wanting(json!([
        {"pubsubname": "ps", "topic": "no-route"},
        {"pubsubname": "ps", "topic": "no-boolean", "routes": {"rules": [{"match": "'text'", "path": "/x"}]}},
        {"pubsubname": "ps", "topic": "no-cel", "routes": {"rules": [{"match": "event.type ==", "path": "/x"}]}},
        {"pubsubname": "ps", "topic": "no-function", "routes": {"rules": [{"match": "event.type.nofunc()", "path": "/x"}]}},
        {"pubsubname": "ps", "route": "/x"},
        {"topic": "no-pubsub", "route": "/x"},
        {"pubsubname": "none", "topic": "t", "route": "/x"},
        {"pubsubname": 5, "topic": "wrong-type", "route": "/x"},
        "no entry",
        null,
        {"pubsubname": "ps", "topic": "good", "route": "/good"},
    ]))
    .await
    .unwrap();
    let mecha = with_app(runtime(), &app).await.unwrap();
    let found = subscriptions(&mecha).await.unwrap();
    let topics: Vec<_> = found.iter().map(|found| found["topic"].as_str().unwrap_or_default()).collect();
    // One that is no boolean shows with the first event at the latest.
    assert!(
        topics.contains(&"good") && topics.iter().all(|topic| ["good", "no-boolean"].contains(topic)),
        "{topics:?}"
    );
    publish(&mecha, "good", "text/plain", "x").await.unwrap();
    app.wait_one("/good", SOON).await.unwrap();
    let logs = mecha.logs();
    logs.wait_for("topic no-route has an empty routes. removing from subscriptions list", SOON)
        .await
        .unwrap();
    for topic in ["no-cel", "no-function"] {
        let told = logs.matching(topic);
        assert!(told.iter().any(|line| line.contains("warn")), "{topic}: {told:?}");
    }
    logs.wait_for("pubsub none is not found", SOON).await.unwrap();
}

#[tokio::test]
async fn an_answer_that_is_no_list_leaves_the_runtime_serving() {
    for (answer, line) in [
        (Scripted::ok("garbage"), "error getting topics from app"),
        (Scripted::json(&json!({"topic": "t"})), "error getting topics from app"),
        (Scripted::status(500), "app returned http status code 500 from subscription endpoint"),
        (Scripted::large(1 << 30), "larger than"),
        (Scripted::broken("[{"), "error getting topic list from app"),
    ] {
        let given = answer.clone();
        let app = ScriptedApp::start(move |asked: Asked| {
            let answer = if asked.path == "/dapr/subscribe" { given.clone() } else { Scripted::status(404) };
            async move { answer }
        })
        .await
        .unwrap();
        let mecha = with_app(runtime(), &app).await.unwrap();
        mecha.logs().wait_for(line, SOON).await.unwrap();
        assert!(subscriptions(&mecha).await.unwrap().is_empty(), "{answer:?}");
        assert!(mecha.rss_bytes().unwrap() < 256 << 20, "{answer:?}");
    }
}

#[tokio::test]
async fn declared_subscriptions_of_both_versions_hold_for_their_applications() {
    let app = wanting(json!([{"pubsubname": "ps", "topic": "both", "route": "/asked"}])).await.unwrap();
    let v1 = |name: &str, topic: &str, scopes: Value| {
        json!({"apiVersion": "dapr.io/v1alpha1", "kind": "Subscription", "metadata": {"name": name}, "scopes": scopes,
            "spec": {"pubsubname": "ps", "topic": topic, "route": format!("/{name}"), "deadLetterTopic": "dead"}})
        .to_string()
    };
    let v2 = json!({"apiVersion": "dapr.io/v2alpha1", "kind": "Subscription", "metadata": {"name": "routed"},
        "scopes": ["other", "app1"],
        "spec": {"pubsubname": "ps", "topic": "routed", "metadata": {"k": "v"}, "routes": {
            "rules": [{"match": "has(event.data.n) && event.data.n > 10", "path": "/large"}, {"match": "has(event.data.n)", "path": "/small"}],
            "default": "/default"}}});
    let bad = json!({"apiVersion": "dapr.io/v2alpha1", "kind": "Subscription", "metadata": {"name": "bad"},
        "spec": {"pubsubname": "ps", "topic": "bad", "routes": {"rules": [{"match": "nofunc(", "path": "/x"}]}}});
    let builder = runtime()
        .resources(&v1("mine", "mine", json!(["app1"])))
        .resources(&v1("everyones", "everyones", json!([])))
        .resources(&v1("anothers", "anothers", json!(["app2"])))
        .resources(&v1("both", "both", json!([])))
        .resources(&v2.to_string())
        .resources(&bad.to_string());
    let mecha = with_app(builder, &app).await.unwrap();
    let found = subscriptions(&mecha).await.unwrap();
    let shown: Vec<_> = found
        .iter()
        .map(|found| (found["topic"].as_str().unwrap(), found["type"].as_str().unwrap()))
        .collect();
    let expected = [
        ("both", "PROGRAMMATIC"),
        ("everyones", "DECLARATIVE"),
        ("mine", "DECLARATIVE"),
        ("routed", "DECLARATIVE"),
    ];
    assert_eq!(shown, expected);
    assert_eq!(
        found[1],
        json!({"pubsubname": "ps", "topic": "everyones", "deadLetterTopic": "dead",
        "rules": [{"path": "/everyones"}], "type": "DECLARATIVE"})
    );
    assert_eq!(found[3]["metadata"], json!({"k": "v"}));
    for (topic, body, path) in [
        ("mine", "{}", "/mine"),
        ("everyones", "{}", "/everyones"),
        ("both", "{}", "/asked"),
        ("routed", r#"{"n":11}"#, "/large"),
        ("routed", r#"{"n":9}"#, "/small"),
        ("routed", "{}", "/default"),
    ] {
        publish(&mecha, topic, "application/json", body).await.unwrap();
        app.wait_one(path, SOON).await.unwrap();
    }
    assert!(app.asked_at("/both").is_empty());
    mecha.logs().wait_for("bad", SOON).await.unwrap();
}

#[tokio::test]
async fn an_application_that_is_not_to_be_asked_is_not_asked() {
    let app = wanting(json!([{"pubsubname": "ps", "topic": "asked", "route": "/asked"}])).await.unwrap();
    let declared = json!({"apiVersion": "dapr.io/v1alpha1", "kind": "Subscription", "metadata": {"name": "s"},
        "spec": {"pubsubname": "ps", "topic": "declared", "route": "/declared"}});
    let builder =
        runtime().resources(&declared.to_string()).flag("--disable-init-endpoints", "config,subscribe");
    let mecha = with_app(builder, &app).await.unwrap();
    mecha.logs().wait_for("Skipping programmatic subscription loading", SOON).await.unwrap();
    mecha.logs().wait_for("Skipping programmatic dapr configuration loading", SOON).await.unwrap();
    let found = subscriptions(&mecha).await.unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(app.asked().is_empty(), "{:?}", app.asked());
    publish(&mecha, "declared", "text/plain", "x").await.unwrap();
    app.wait_one("/declared", SOON).await.unwrap();
}

#[tokio::test]
async fn scopes_say_what_may_be_subscribed_to() {
    let app = wanting(json!([
        {"pubsubname": "strict", "topic": "mine", "route": "/mine"},
        {"pubsubname": "strict", "topic": "theirs", "route": "/theirs"},
        {"pubsubname": "strict", "topic": "guarded", "route": "/guarded"},
    ]))
    .await
    .unwrap();
    let scopes = [("subscriptionScopes", "app1=mine;app2=theirs"), ("protectedTopics", "guarded")];
    let builder = runtime().component_with("strict", "pubsub.in-memory", &scopes);
    let mecha = with_app(builder, &app).await.unwrap();
    let found = subscriptions(&mecha).await.unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    for topic in ["theirs", "guarded"] {
        let line = format!("subscription to topic '{topic}' on pubsub 'strict' is not allowed");
        mecha.logs().wait_for(&line, SOON).await.unwrap();
    }
}

/// Every answer that an application can give to an event, and what becomes of the event then.
#[tokio::test]
async fn an_event_s_end_is_what_the_application_answers() {
    let list = json!([{"pubsubname": "ps", "topic": "t", "route": "/event", "deadLetterTopic": "dead"},
        {"pubsubname": "ps", "topic": "dead", "route": "/dead"}]);
    let app = answering(list.to_string(), |asked| match asked.path.as_str() {
        "/dead" => Scripted::status(200),
        _ => match asked.json()["data"].as_str().unwrap_or_default() {
            "empty" => Scripted::status(200),
            "no content" => Scripted::status(204),
            "created" => Scripted::status(201),
            "garbage" => Scripted::ok("<html>"),
            "list" => Scripted::ok("[1]"),
            "empty status" => Scripted::ok(r#"{"status":""}"#),
            "other" => Scripted::ok(r#"{"ok":true}"#),
            "success" => Scripted::ok(r#"{"status":"SUCCESS"}"#),
            "drop" => Scripted::ok(r#"{"status":"DROP"}"#),
            "retry" => Scripted::ok(r#"{"status":"RETRY"}"#),
            "unknown" => Scripted::ok(r#"{"status":"success"}"#),
            "404" => Scripted::status(404),
            "500" => Scripted::status(500),
            "301" => Scripted::status(301),
            "broken" => Scripted::broken(r#"{"status":"SUCC"#),
            "large" => Scripted::large(1 << 30),
            _ => Scripted::status(418),
        },
    })
    .await
    .unwrap();
    let mecha = with_app(runtime(), &app).await.unwrap();
    let taken = ["empty", "no content", "created", "garbage", "list", "empty status", "other", "success"];
    let dead = ["drop", "retry", "unknown", "404", "500", "301", "broken", "large"];
    for text in taken.iter().chain(&dead) {
        publish(&mecha, "t", "text/plain", *text).await.unwrap();
    }
    app.wait_for("/event", taken.len() + dead.len(), SOON).await.unwrap();
    let letters = app.wait_for("/dead", dead.len(), SOON).await.unwrap();
    let mut arrived: Vec<_> =
        letters.iter().map(|letter| letter.json()["data"].as_str().unwrap_or_default().to_owned()).collect();
    arrived.sort();
    let mut expected = dead.map(str::to_owned);
    expected.sort();
    assert_eq!(arrived, expected);
    // Each went out once: a dead letter is not delivered again.
    assert_eq!(app.asked_at("/event").len(), taken.len() + dead.len());
    assert!(mecha.rss_bytes().unwrap() < 256 << 20);
    let metrics = mecha.metrics().await.unwrap();
    let count = |status: &str, answer: &str| {
        let labels = [
            format!("process_status=\"{status}\""),
            format!("status=\"{answer}\""),
            "topic=\"t\"".to_owned(),
        ];
        let line = metrics.lines().find(|line| {
            line.starts_with("dapr_component_pubsub_ingress_count{")
                && labels.iter().all(|label| line.contains(label))
        });
        line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).unwrap_or_default()
    };
    assert_eq!(count("success", "") as usize, taken.len(), "{metrics}");
    assert_eq!((count("drop", "") + count("drop", "success")) as usize, dead.len(), "{metrics}");
    let line = metrics.lines().find(|line| line.starts_with("dapr_component_pubsub_ingress_count{")).unwrap();
    for label in ["app_id=\"app1\"", "component=\"ps\"", "namespace=\"\""] {
        assert!(line.contains(label), "{label} is not in {line}");
    }
}

#[tokio::test]
async fn without_a_dead_letter_topic_an_event_comes_until_it_is_taken() {
    let list = json!([{"pubsubname": "ps", "topic": "t", "route": "/event"}]);
    let count = std::sync::atomic::AtomicUsize::new(0);
    let app = answering(list.to_string(), move |_| {
        match count.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
            0 => Scripted::status(500),
            1 => Scripted::broken("{"),
            2 => Scripted::ok(r#"{"status":"WHAT"}"#),
            _ => Scripted::status(200),
        }
    })
    .await
    .unwrap();
    let mecha = with_app(runtime(), &app).await.unwrap();
    publish(&mecha, "t", "text/plain", "x").await.unwrap();
    let events = app.wait_for("/event", 4, SOON).await.unwrap();
    let ids: std::collections::HashSet<_> =
        events.iter().map(|event| event.json()["id"].to_string()).collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
}

#[tokio::test]
async fn a_raw_payload_that_is_no_boolean_fails_each_event() {
    let list = json!([
        {"pubsubname": "ps", "topic": "t", "route": "/event", "deadLetterTopic": "dead", "metadata": {"rawPayload": "maybe"}},
        {"pubsubname": "ps", "topic": "bulk", "route": "/event", "deadLetterTopic": "dead",
            "metadata": {"rawPayload": "maybe"}, "bulkSubscribe": {"enabled": true, "maxAwaitDurationMs": 10}},
        {"pubsubname": "ps", "topic": "dead", "route": "/dead"}]);
    let app = wanting(list).await.unwrap();
    let mecha = with_app(runtime(), &app).await.unwrap();
    publish(&mecha, "t", "text/plain", "x").await.unwrap();
    app.wait_one("/dead", SOON).await.unwrap();
    publish(&mecha, "bulk", "text/plain", "x").await.unwrap();
    app.wait_for("/dead", 2, SOON).await.unwrap();
    assert!(app.asked_at("/event").is_empty());
    let line =
        "error deserializing pubsub metadata: rawPayload value must be a valid boolean: actual is 'maybe'";
    mecha.logs().wait_for(line, SOON).await.unwrap();
}

#[tokio::test]
async fn an_event_that_no_route_wants_is_dropped_or_a_dead_letter() {
    let rules = |text: &str| json!({"rules": [{"match": text, "path": "/event"}]});
    let list = json!([
        {"pubsubname": "ps", "topic": "unwanted", "routes": rules("event.type == 'never'"), "deadLetterTopic": "dead"},
        {"pubsubname": "ps", "topic": "failing", "routes": rules("event.data.missing == 1"), "deadLetterTopic": "dead"},
        {"pubsubname": "ps", "topic": "text", "routes": rules("event.data"), "deadLetterTopic": "dead"},
        {"pubsubname": "ps", "topic": "dead", "route": "/dead"}]);
    let app = wanting(list).await.unwrap();
    let mecha = with_app(runtime(), &app).await.unwrap();
    for (count, topic) in ["unwanted", "failing", "text"].iter().enumerate() {
        publish(&mecha, topic, "text/plain", *topic).await.unwrap();
        app.wait_for("/dead", count + 1, SOON).await.unwrap();
    }
    assert!(app.asked_at("/event").is_empty());
    mecha.logs().wait_for("error finding matching route for event", SOON).await.unwrap();
}

#[tokio::test]
async fn what_is_no_event_does_not_stop_what_follows() {
    let list = json!([{"pubsubname": "ps", "topic": "t", "route": "/event"},
        {"pubsubname": "ps", "topic": "with-dead", "route": "/event", "deadLetterTopic": "dead"},
        {"pubsubname": "ps", "topic": "dead", "route": "/dead", "metadata": {"rawPayload": "true"}}]);
    let app = wanting(list).await.unwrap();
    let mecha = with_app(runtime(), &app).await.unwrap();
    for topic in ["t", "with-dead"] {
        publish(&mecha, &format!("{topic}?metadata.rawPayload=true"), "text/plain", "no event")
            .await
            .unwrap();
        mecha.logs().wait_for("error deserializing cloud event", SOON).await.unwrap();
        publish(&mecha, topic, "text/plain", "an event").await.unwrap();
    }
    app.wait_for("/event", 2, SOON).await.unwrap();
    let letter = app.wait_one("/dead", SOON).await.unwrap().json();
    assert_eq!(letter["data_base64"], "bm8gZXZlbnQ=", "{letter}");
    // Fields of odd types and missing fields are the application's to see.
    for event in [r#"{"data":1,"traceparent":5}"#, "{}", r#"{"traceid":{"a":1},"id":7,"expiration":"never"}"#]
    {
        let seen = app.asked_at("/event").len();
        publish(&mecha, "t?metadata.rawPayload=true", "application/json", event).await.unwrap();
        let arrived = app.wait_for("/event", seen + 1, SOON).await.unwrap();
        assert_eq!(arrived[seen].json(), serde_json::from_str::<Value>(event).unwrap());
    }
}

#[tokio::test]
async fn a_bulk_is_answered_entry_by_entry() {
    let list = json!([{"pubsubname": "ps", "topic": "t", "route": "/bulk", "deadLetterTopic": "dead",
            "bulkSubscribe": {"enabled": true, "maxMessagesCount": 5, "maxAwaitDurationMs": 500}},
        {"pubsubname": "ps", "topic": "dead", "route": "/dead"}]);
    let app = answering(list.to_string(), |asked| {
        let bulk = asked.json();
        let status = |entry: &Value| match entry["event"]["data"].as_str().unwrap_or_default() {
            "silent" => None,
            "empty" => Some(json!({"entryId": entry["entryId"], "status": ""})),
            word => Some(json!({"entryId": entry["entryId"], "status": word})),
        };
        let statuses: Vec<_> = bulk["entries"].as_array().into_iter().flatten().filter_map(status).collect();
        Scripted::json(&json!({"statuses": statuses}))
    })
    .await
    .unwrap();
    let mecha = with_app(runtime(), &app).await.unwrap();
    let words = ["SUCCESS", "DROP", "RETRY", "silent", "empty"];
    let entries: Vec<_> = words
        .iter()
        .map(|word| json!({"entryId": word, "event": word, "contentType": "text/plain", "metadata": {"k": "v"}}))
        .collect();
    let url = mecha.http_url("/v1.0/publish/bulk/ps/t");
    assert_eq!(mecha.http().post(&url, json!(entries).to_string()).await.unwrap().status, 204);
    let letters = app.wait_for("/dead", 4, SOON).await.unwrap();
    let mut dead: Vec<_> =
        letters.iter().map(|letter| letter.json()["data"].as_str().unwrap().to_owned()).collect();
    dead.sort();
    assert_eq!(dead, ["DROP", "RETRY", "empty", "silent"]);
    let first = &app.asked_at("/bulk")[0];
    let bulk = first.json();
    assert_eq!((first.header("content-type"), first.header("pubsubname")), ("application/json", "ps"));
    assert_eq!(bulk["metadata"], json!({"pubsubName": "ps"}), "{bulk}");
    let entry = &bulk["entries"][0];
    assert_eq!(entry["contentType"], "application/cloudevents+json", "{entry}");
    assert_eq!(entry["metadata"]["k"], "v", "{entry}");
    assert!(entry["entryId"].as_str().is_some_and(|id| !id.is_empty()), "{entry}");
    let metrics = mecha.metrics().await.unwrap();
    for name in [
        "dapr_component_pubsub_ingress_bulk_count{",
        "dapr_component_pubsub_ingress_bulk_event_count{",
        "dapr_component_pubsub_egress_bulk_count{",
        "dapr_component_pubsub_egress_bulk_event_count{",
    ] {
        assert!(metrics.lines().any(|line| line.starts_with(name)), "{name} is not in {metrics}");
    }
}

#[tokio::test]
async fn a_topic_in_two_places_and_over_two_brokers_is_kept_apart() {
    let app = wanting(json!([
        {"pubsubname": "ps", "topic": "t", "route": "/first"},
        {"pubsubname": "ps", "topic": "t", "route": "/second"},
        {"pubsubname": "other", "topic": "t", "route": "/other"},
    ]))
    .await
    .unwrap();
    let mecha = with_app(runtime().component("other", "pubsub.in-memory"), &app).await.unwrap();
    assert_eq!(subscriptions(&mecha).await.unwrap().len(), 2);
    publish(&mecha, "t", "text/plain", "x").await.unwrap();
    // Of two wishes for one topic the application's last word counts.
    app.wait_one("/second", SOON).await.unwrap();
    let reply = mecha.http().post(&mecha.http_url("/v1.0/publish/other/t"), "{}").await.unwrap();
    assert_eq!(reply.status, 204);
    app.wait_one("/other", SOON).await.unwrap();
    assert!(app.asked_at("/first").is_empty());
}

/// The same answers over gRPC.
#[tokio::test]
async fn an_application_over_grpc_is_asked_and_answers() {
    let wish = |topic: &str| Wish { dead_letter: Some("dead".to_owned()), ..Wish::new("ps", topic) };
    let wishes =
        vec![wish("t"), Wish::new("ps", "dead"), Wish { route: String::new(), ..Wish::new("ps", "bare") }];
    let app = TestApp::start(Transport::Grpc, wishes, |seen| match seen.data.as_str().unwrap_or_default() {
        _ if seen.path == "/dead" => Answer::Success,
        "drop" => Answer::Drop,
        "retry" => Answer::Retry,
        "fail" => Answer::Fail,
        _ => Answer::Success,
    })
    .await
    .unwrap();
    let mut builder = runtime();
    for (flag, value) in app.flags() {
        builder = builder.flag(flag, value);
    }
    let mecha = builder.start().await.unwrap();
    for text in ["ok", "drop", "retry", "fail"] {
        publish(&mecha, "t", "text/plain", text).await.unwrap();
    }
    publish(&mecha, "bare", "text/plain", "bare").await.unwrap();
    let seen = app.wait_for(SOON, |seen| seen.len() >= 8).await.unwrap();
    let at = |path: &str| {
        let mut found: Vec<_> = seen
            .iter()
            .filter(|seen| seen.path == path)
            .map(|seen| seen.data.as_str().unwrap().to_owned())
            .collect();
        found.sort();
        found
    };
    assert_eq!(at("/t"), ["drop", "fail", "ok", "retry"]);
    assert_eq!(at("/dead"), ["drop", "fail", "retry"]);
    assert_eq!(at(""), ["bare"]);
    assert!(
        seen.iter().all(|seen| seen.headers.get("pubsubname").map(String::as_str) == Some("ps")),
        "{seen:#?}"
    );
}

mod streams {
    use mecha_proto::error_model::StatusExt;
    use mecha_proto::runtime::v1 as pb;
    use mecha_proto::runtime::v1::subscribe_topic_events_request_alpha1::SubscribeTopicEventsRequestType as Up;
    use mecha_proto::runtime::v1::subscribe_topic_events_response_alpha1::SubscribeTopicEventsResponseType as Down;
    use tokio::sync::mpsc;
    use tonic::{Code, Status, Streaming};

    use super::*;

    /// A stream of the application, by hand.
    pub struct Stream {
        up: mpsc::Sender<pb::SubscribeTopicEventsRequestAlpha1>,
        down: Streaming<pb::SubscribeTopicEventsResponseAlpha1>,
    }

    fn up(message: Up) -> pb::SubscribeTopicEventsRequestAlpha1 {
        pb::SubscribeTopicEventsRequestAlpha1 { subscribe_topic_events_request_type: Some(message) }
    }

    pub fn initial(pubsub: &str, topic: &str) -> Up {
        Up::InitialRequest(pb::SubscribeTopicEventsRequestInitialAlpha1 {
            pubsub_name: pubsub.to_owned(),
            topic: topic.to_owned(),
            metadata: [("k".to_owned(), "v".to_owned())].into(),
            dead_letter_topic: None,
        })
    }

    impl Stream {
        pub async fn open(mecha: &Mecha, first: Up) -> Result<Self, Status> {
            let (sender, requests) = mpsc::channel(64);
            sender.send(up(first)).await.unwrap();
            let requests = tokio_stream_of(requests);
            let answered = mecha.grpc().await.unwrap().subscribe_topic_events_alpha1(requests).await?;
            let mut stream = Self { up: sender, down: answered.into_inner() };
            match stream.down.message().await?.and_then(|first| first.subscribe_topic_events_response_type) {
                Some(Down::InitialResponse(_)) => Ok(stream),
                other => panic!("the first message is {other:?}"),
            }
        }

        pub async fn event(&mut self) -> Result<pb::TopicEventRequest, Status> {
            let message = self.down.message().await?.ok_or_else(|| Status::ok("the stream is over"))?;
            match message.subscribe_topic_events_response_type {
                Some(Down::EventMessage(event)) => Ok(event),
                other => panic!("{other:?} is no event"),
            }
        }

        pub async fn answer(&self, id: &str) {
            let status = Some(pb::TopicEventResponse { status: 0 });
            let processed = pb::SubscribeTopicEventsRequestProcessedAlpha1 { id: id.to_owned(), status };
            self.up.send(up(Up::EventProcessed(processed))).await.unwrap();
        }

        async fn say(&self, message: Up) {
            self.up.send(up(message)).await.unwrap();
        }
    }

    fn tokio_stream_of(
        mut requests: mpsc::Receiver<pb::SubscribeTopicEventsRequestAlpha1>,
    ) -> impl futures_util::Stream<Item = pb::SubscribeTopicEventsRequestAlpha1> {
        futures_util::stream::poll_fn(move |context| requests.poll_recv(context))
    }

    /// A broker whose subscribers share a topic, and which brings again soon.
    fn over_redis(redis: &Redis) -> MechaBuilder {
        let addr = redis.addr().to_string();
        let metadata = [
            ("redisHost", addr.as_str()),
            ("consumerID", redis.key_prefix()),
            ("processingTimeout", "1s"),
            ("redeliverInterval", "200ms"),
        ];
        Mecha::builder().app_id("app1").plugin("redis").component_with("ps", "pubsub.redis", &metadata)
    }

    #[tokio::test]
    async fn a_stream_s_wrong_beginnings_are_told() {
        let builder =
            runtime().component_with("strict", "pubsub.in-memory", &[("subscriptionScopes", "app2=t")]);
        let builder =
            builder.component_with("mine", "pubsub.in-memory", &[("subscriptionScopes", "app1=other")]);
        let mecha = builder.start().await.unwrap();
        let processed = Up::EventProcessed(pb::SubscribeTopicEventsRequestProcessedAlpha1::default());
        let not_allowed = "failed to create subscription for mine: subscription to topic 't' on pubsub 'mine' is not allowed";
        for (first, code, message) in [
            (processed, Code::Unknown, "initial request is required"),
            (initial("", "t"), Code::Unknown, "pubsubName is required"),
            (initial("ps", ""), Code::Unknown, "topic is required"),
            (initial("none", "t"), Code::InvalidArgument, "pubsub none is not found"),
            (initial("mine", "t"), Code::Unknown, not_allowed),
        ] {
            let status = Stream::open(&mecha, first).await.err().unwrap();
            assert_eq!((status.code(), status.message()), (code, message), "{status:?}");
            let reason = status.get_details_error_info().map(|info| info.reason);
            let expected = (code == Code::InvalidArgument).then(|| "DAPR_PUBSUB_NOT_FOUND".to_owned());
            assert_eq!(reason, expected);
        }
        let mut stream = Stream::open(&mecha, initial("ps", "t")).await.unwrap();
        stream.say(initial("ps", "t")).await;
        let status = stream.event().await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::Unknown, "duplicate initial request received"));
    }

    #[tokio::test]
    async fn a_stream_shows_among_the_subscriptions_while_it_lives() {
        let mecha = runtime().start().await.unwrap();
        let stream = Stream::open(&mecha, initial("ps", "t")).await.unwrap();
        let expected = json!({"pubsubname": "ps", "topic": "t", "metadata": {"k": "v"}, "rules": [{"path": "/"}],
            "deadLetterTopic": "", "type": "STREAMING"});
        assert_eq!(subscriptions(&mecha).await.unwrap(), [expected]);
        drop(stream);
        eventually(SOON, || async {
            let left = subscriptions(&mecha).await?;
            ensure!(left.is_empty(), "{left:?}");
            Ok(())
        })
        .await
        .unwrap();
    }

    #[tokio::test]
    async fn what_a_closed_stream_left_unanswered_comes_again() {
        let redis = Redis::shared().unwrap();
        let mecha = over_redis(&redis).start().await.unwrap();
        let topic = format!("{}-left", redis.key_prefix());
        let mut first = Stream::open(&mecha, initial("ps", &topic)).await.unwrap();
        for number in 0..40 {
            publish(&mecha, &topic, "text/plain", number.to_string()).await.unwrap();
        }
        // More than wait for a slow stream: the others stay with the broker.
        let mut ids = std::collections::BTreeSet::new();
        for _ in 0..10 {
            ids.insert(first.event().await.unwrap().id);
        }
        let answered = ids.pop_first().unwrap();
        first.answer(&answered).await;
        // A second stream takes over what the first one left.
        let mut second = Stream::open(&mecha, initial("ps", &topic)).await.unwrap();
        drop(first);
        let mut seen = std::collections::BTreeSet::new();
        while seen.len() < 39 {
            let event = tokio::time::timeout(SOON, second.event()).await;
            let event = event.unwrap_or_else(|_| panic!("only {} events came", seen.len())).unwrap();
            second.answer(&event.id).await;
            seen.insert(event.id);
        }
        assert!(ids.is_subset(&seen), "{ids:?} {seen:?}");
    }

    #[tokio::test]
    async fn two_streams_of_one_topic_share_its_events() {
        let redis = Redis::shared().unwrap();
        let mecha = over_redis(&redis).start().await.unwrap();
        let topic = format!("{}-streams", redis.key_prefix());
        let mut streams = Vec::new();
        for _ in 0..2 {
            streams.push(Stream::open(&mecha, initial("ps", &topic)).await.unwrap());
        }
        for number in 0..200 {
            publish(&mecha, &topic, "text/plain", number.to_string()).await.unwrap();
        }
        let seen: std::sync::Arc<std::sync::Mutex<Vec<String>>> = std::sync::Arc::default();
        for mut stream in streams {
            let seen = seen.clone();
            tokio::spawn(async move {
                while let Ok(event) = stream.event().await {
                    stream.answer(&event.id).await;
                    seen.lock().unwrap().push(event.id);
                }
            });
        }
        eventually(SOON, || async {
            let seen = seen.lock().unwrap().clone();
            ensure!(seen.len() >= 200, "{}", seen.len());
            Ok(())
        })
        .await
        .unwrap();
        let seen = seen.lock().unwrap().clone();
        let different: std::collections::HashSet<_> = seen.iter().collect();
        assert_eq!((seen.len(), different.len()), (200, 200), "each event goes to one of the two");
    }
}
