//! Events of input bindings: who wants them, where they go, and what the application's answer sets off.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::Result;
use http::Method;
use mecha_proto::common::v1 as common;
use mecha_proto::runtime::v1 as pb;
use mecha_testkit::{Asked, Mecha, MechaBuilder, Scripted, ScriptedApp, TestApp, eventually, fixture};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(20);

/// A runtime with one input binding that has `events` events.
fn feeding(name: &str, metadata: &[(&str, &str)]) -> MechaBuilder {
    let probe = fixture("probe-a").unwrap();
    Mecha::builder().app_id("app1").library("libmecha_plugin_probe.so", probe).component_with(
        name,
        "bindings.probe",
        metadata,
    )
}

/// An application that answers `OPTIONS` with a status and `POST` as told.
async fn application(
    options: u16,
    respond: impl Fn(&Asked) -> Scripted + Send + Sync + 'static,
) -> Result<ScriptedApp> {
    let respond = std::sync::Arc::new(respond);
    ScriptedApp::start(move |asked: Asked| {
        let respond = respond.clone();
        async move {
            match asked.method {
                Method::OPTIONS => Scripted::status(options),
                Method::POST => respond(&asked),
                _ => Scripted::status(404),
            }
        }
    })
    .await
}

async fn with_app(builder: MechaBuilder, app: &ScriptedApp) -> Result<Mecha> {
    builder.flag("--app-port", app.port().to_string()).start().await
}

#[tokio::test]
async fn an_application_is_probed_whether_it_wants_the_events() {
    for (options, wants) in [(200, true), (204, true), (405, true), (404, false), (500, false), (301, false)]
    {
        let app = application(options, |_| Scripted::status(200)).await.unwrap();
        let mecha = with_app(feeding("in", &[("events", "2")]), &app).await.unwrap();
        assert_eq!(app.asked_at("/in")[0].method, Method::OPTIONS);
        if wants {
            let asked = app.wait_for("/in", 3, SOON).await.unwrap();
            // The two events are brought side by side.
            let mut bodies: Vec<_> = asked[1..].iter().map(|asked| asked.json()["n"].as_u64()).collect();
            bodies.sort_unstable();
            assert_eq!((&asked[1].method, bodies), (&Method::POST, vec![Some(1), Some(2)]), "{options}");
            assert_eq!(asked[1].header("content-type"), "application/json");
            assert_eq!(asked[1].header("deliveries"), "0");
        } else {
            mecha.logs().wait_for("app has not subscribed to binding in.", SOON).await.unwrap();
            assert_eq!(app.asked_at("/in").len(), 1, "{options}");
        }
    }
}

#[tokio::test]
async fn a_probe_without_an_answer_is_a_no_after_its_time() {
    let app = ScriptedApp::start(|asked: Asked| async move {
        if asked.method == Method::OPTIONS {
            std::future::pending::<()>().await;
        }
        Scripted::status(404)
    })
    .await
    .unwrap();
    let builder = feeding("in", &[]).flag("--app-binding-options-timeout", "200ms");
    let mecha = with_app(builder, &app).await.unwrap();
    let line = r#"could not invoke OPTIONS method on input binding subscription endpoint "in""#;
    mecha.logs().wait_for(&line.replace('"', "\\\"").as_str()[..40], SOON).await.unwrap();
    mecha.logs().wait_for("app has not subscribed to binding in.", SOON).await.unwrap();
}

#[tokio::test]
async fn direction_and_route_replace_the_probe_and_the_path() {
    let app = application(404, |_| Scripted::status(200)).await.unwrap();
    let builder = feeding("in", &[("direction", "output, Input"), ("route", "/to/here")]);
    let builder = builder.component_with("out", "bindings.probe", &[("direction", "output")]);
    let _mecha = with_app(builder, &app).await.unwrap();
    let asked = app.wait_one("/to/here", SOON).await.unwrap();
    assert_eq!((asked.method.clone(), asked.json()), (Method::POST, json!({"n": 1})));
    let others: Vec<_> = app.asked().into_iter().filter(|asked| asked.path != "/to/here").collect();
    assert!(others.iter().all(|asked| asked.path.starts_with("/dapr/")), "{others:?}");

    // The route is what is probed, too.
    let app = application(200, |_| Scripted::status(200)).await.unwrap();
    let _mecha = with_app(feeding("in", &[("route", "routed")]), &app).await.unwrap();
    let asked = app.wait_for("/routed", 2, SOON).await.unwrap();
    assert_eq!((&asked[0].method, &asked[1].method), (&Method::OPTIONS, &Method::POST));
}

#[tokio::test]
async fn an_event_comes_until_the_application_takes_it() {
    let app = application(200, |asked| match asked.header("deliveries") {
        "0" => Scripted::status(500),
        "1" => Scripted::status(404),
        "2" => Scripted::status(301),
        "3" => Scripted::broken("{"),
        "4" => Scripted::large(1 << 30),
        _ => Scripted::status(201),
    })
    .await
    .unwrap();
    let mecha = with_app(feeding("in", &[("events", "3")]), &app).await.unwrap();
    let posts = || app.asked_at("/in").into_iter().filter(|asked| asked.method == Method::POST);
    eventually(SOON, || async {
        let taken = posts().filter(|asked| asked.header("deliveries") == "5").count();
        anyhow::ensure!(taken == 3, "{taken} of 3 were taken");
        Ok(())
    })
    .await
    .unwrap();
    let metric = |success: bool| {
        let mecha = &mecha;
        async move {
            let label = format!("success=\"{success}\"");
            let metrics = mecha.metrics().await?;
            let line = metrics.lines().find(|line| {
                line.starts_with("dapr_component_input_binding_count{") && line.contains(&label)
            });
            let line = line.unwrap_or_default().to_owned();
            anyhow::ensure!(
                line.contains("component=\"in\"") && line.contains("app_id=\"app1\""),
                "{metrics}"
            );
            Ok(line.rsplit(' ').next().and_then(|count| count.parse::<f64>().ok()).unwrap_or_default())
        }
    };
    eventually(SOON, || async {
        let (taken, failed) = (metric(true).await?, metric(false).await?);
        anyhow::ensure!((taken, failed) == (3.0, 15.0), "{taken} {failed}");
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(posts().count(), 18);
}

/// A second application that output bindings post to.
async fn sink() -> Result<ScriptedApp> {
    ScriptedApp::start(|asked: Asked| async move {
        if asked.path == "/fails" { Scripted::status(500) } else { Scripted::ok("ok") }
    })
    .await
}

fn with_outputs(builder: MechaBuilder, sink: &ScriptedApp) -> MechaBuilder {
    let mut builder = builder.plugin("http-binding").plugin("memory").component("store", "state.in-memory");
    for name in ["first", "fails", "last"] {
        let url = format!("http://127.0.0.1:{}/{name}", sink.port());
        builder = builder.component_with(name, "bindings.http", &[("url", &url), ("errorIfNot2XX", "true")]);
    }
    builder
}

#[tokio::test]
async fn an_answer_names_output_bindings_and_state() {
    let sink = sink().await.unwrap();
    let app = application(200, |asked| match asked.json()["n"].as_u64() {
        Some(1) => Scripted::json(&json!({
            "storeName": "store",
            "state": [{"key": "a", "value": {"kept": true}}, {"key": "b", "value": "text", "metadata": {"ttlInSeconds": "60"}}],
            "to": ["first", "last"], "concurrency": "parallel", "data": {"said": 1},
        })),
        // One after the other: the failing one ends it, and the event is taken all the same.
        Some(2) => Scripted::json(&json!({"to": ["fails", "last"], "data": "sequence"})),
        // Side by side: the failing one is only said.
        Some(3) => Scripted::json(&json!({"to": ["fails", "nowhere", "last"], "concurrency": "parallel", "data": [3]})),
        Some(4) => Scripted::json(&json!({"storeName": "nowhere", "state": [{"key": "x", "value": 1}]})),
        Some(5) => Scripted::json(&json!({"to": "no list"})),
        _ => Scripted::ok("no JSON"),
    })
    .await
    .unwrap();
    let mecha = with_app(with_outputs(feeding("in", &[("events", "6")]), &sink), &app).await.unwrap();
    sink.wait_for("/fails", 2, SOON).await.unwrap();
    let mut last: Vec<_> =
        sink.wait_for("/last", 2, SOON).await.unwrap().iter().map(|asked| asked.json()).collect();
    last.sort_by_key(Value::to_string);
    assert_eq!(last, [json!([3]), json!({"said": 1})]);
    assert_eq!(sink.asked_at("/first")[0].json(), json!({"said": 1}));
    let get = |key: &'static str| {
        let mecha = &mecha;
        async move { mecha.http().get(&mecha.http_url(&format!("/v1.0/state/store/{key}"))).await }
    };
    eventually(SOON, || async {
        let (a, b) = (get("a").await?, get("b").await?);
        anyhow::ensure!(
            a.text() == r#"{"kept":true}"# && b.text() == "\"text\"",
            "{} {}",
            a.text(),
            b.text()
        );
        Ok(())
    })
    .await
    .unwrap();
    for line in [
        "error executing app response",
        "couldn't find output binding nowhere",
        "error saving state from app response: couldn't find state store nowhere",
    ] {
        mecha.logs().wait_for(line, SOON).await.unwrap();
    }
    // Each event was taken with its first delivery.
    let posts = app.asked_at("/in").into_iter().filter(|asked| asked.method == Method::POST);
    assert_eq!(posts.filter(|asked| asked.header("deliveries") != "0").count(), 0);
}

#[tokio::test]
async fn over_grpc_the_application_lists_what_it_wants() {
    let sink = sink().await.unwrap();
    let seen: std::sync::Arc<Mutex<Vec<pb::BindingEventRequest>>> = std::sync::Arc::default();
    let all = seen.clone();
    let app = TestApp::start_bound(&["in"], move |event, headers| {
        all.lock().unwrap().push(event.clone());
        if headers.get("dapr-api-token").map(String::as_str) != Some("secret") {
            return Err(tonic::Status::unauthenticated("no token"));
        }
        if event.metadata.get("deliveries").map(String::as_str) == Some("0") {
            return Err(tonic::Status::internal("not now"));
        }
        let state = common::StateItem { key: "grpc".to_owned(), value: "kept".into(), ..Default::default() };
        Ok(pb::BindingEventResponse {
            store_name: "store".to_owned(),
            states: vec![state],
            to: vec!["first".to_owned()],
            data: r#"{"over":"grpc"}"#.into(),
            ..Default::default()
        })
    })
    .await
    .unwrap();
    let mut builder = with_outputs(feeding("in", &[("events", "1")]), &sink).env("APP_API_TOKEN", "secret");
    builder = builder.component_with("unwanted", "bindings.probe", &[]);
    for (flag, value) in app.flags() {
        builder = builder.flag(flag, value);
    }
    let mecha = builder.start().await.unwrap();
    let sent = sink.wait_one("/first", SOON).await.unwrap();
    assert_eq!(sent.json(), json!({"over": "grpc"}));
    let events = seen.lock().unwrap().clone();
    assert!(events.iter().all(|event| event.name == "in" && event.data == r#"{"n":1}"#), "{events:?}");
    assert_eq!(events.len(), 2);
    assert_eq!(events[1].metadata, HashMap::from([("deliveries".to_owned(), "1".to_owned())]));
    mecha.logs().wait_for("app has not subscribed to binding unwanted.", SOON).await.unwrap();
    let mut client = mecha.grpc().await.unwrap();
    let request =
        pb::GetStateRequest { store_name: "store".to_owned(), key: "grpc".to_owned(), ..Default::default() };
    eventually(SOON, || {
        let (mut client, request) = (client.clone(), request.clone());
        async move {
            let answer = client.get_state(request).await?.into_inner();
            anyhow::ensure!(answer.data == "kept", "{answer:?}");
            Ok(())
        }
    })
    .await
    .unwrap();
    client.get_metadata(pb::GetMetadataRequest::default()).await.unwrap();
}

#[tokio::test]
async fn a_schedule_s_events_reach_the_application() {
    let app = application(200, |_| Scripted::status(200)).await.unwrap();
    let builder = Mecha::builder().app_id("app1").plugin("cron");
    let builder = builder.component_with("tick", "bindings.cron", &[("schedule", "@every 1s")]);
    let mut mecha = with_app(builder, &app).await.unwrap();
    let asked = app.wait_for("/tick", 3, SOON).await.unwrap();
    assert_eq!(asked[1].method, Method::POST);
    assert!(!asked[1].header("readtimeutc").is_empty(), "{:?}", asked[1]);
    assert_eq!(mecha.terminate(SOON).await.unwrap(), 0);
}
