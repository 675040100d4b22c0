//! The way into the application: when it is asked what, over which protocol, how much at once, and until when.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use http::{Method, Version};
use mecha_backends::{Redis, free_port};
use mecha_testkit::{
    Answer, Asked, Mecha, MechaBuilder, Scripted, ScriptedApp, Signal, TestApp, Transport, Wish, eventually,
};
use serde_json::{Value, json};
use tokio::sync::watch;

const SOON: Duration = Duration::from_secs(20);

fn runtime() -> MechaBuilder {
    Mecha::builder().app_id("app1").plugin("memory").component("ps", "pubsub.in-memory")
}

/// A runtime on Redis, whose messages outlive it.
struct OnRedis {
    redis: Redis,
    topic: String,
}

impl OnRedis {
    fn new() -> Self {
        let redis = Redis::shared().unwrap();
        let topic = format!("{}-t", redis.key_prefix());
        Self { redis, topic }
    }

    fn builder(&self) -> MechaBuilder {
        let addr = self.redis.addr().to_string();
        let metadata = [
            ("redisHost", addr.as_str()),
            ("consumerID", self.redis.key_prefix()),
            ("redeliverInterval", "200ms"),
            ("processingTimeout", "500ms"),
        ];
        Mecha::builder().app_id("app1").plugin("redis").component_with("ps", "pubsub.redis", &metadata)
    }

    fn wish(&self) -> Value {
        json!([{"pubsubname": "ps", "topic": self.topic, "route": "/event"}])
    }
}

async fn app_at<F>(
    port: u16,
    list: Value,
    respond: impl Fn(Asked) -> F + Clone + Send + Sync + 'static,
) -> Result<ScriptedApp>
where
    F: Future<Output = Scripted> + Send + 'static,
{
    ScriptedApp::start_on(port, move |asked: Asked| {
        let (list, respond) = (list.clone(), respond.clone());
        async move {
            match asked.path.as_str() {
                "/dapr/subscribe" => Scripted::json(&list),
                "/dapr/config" => Scripted::status(404),
                _ => respond(asked).await,
            }
        }
    })
    .await
}

async fn with_app(builder: MechaBuilder, app: &ScriptedApp) -> Result<Mecha> {
    builder.flag("--app-port", app.port().to_string()).start().await
}

async fn publish(mecha: &Mecha, topic: &str, text: &str) -> Result<()> {
    let url = mecha.http_url(&format!("/v1.0/publish/ps/{topic}"));
    let reply = mecha.http().post(&url, json!(text).to_string()).await?;
    ensure!(reply.status == 204, "{}: {}", reply.status, reply.text());
    Ok(())
}

#[tokio::test]
async fn the_application_is_waited_for_and_asked_in_order() {
    let port = free_port().unwrap();
    let builder = runtime()
        .plugin("cron")
        .component_with("tick", "bindings.cron", &[("schedule", "@every 1h")])
        .env("APP_API_TOKEN", "secret")
        .flag("--app-port", port.to_string())
        .flag("--app-max-concurrency", "7");
    let mut mecha = builder.spawn().await.unwrap();
    let line = format!(
        "application protocol: http. waiting on port {port}.  This will block until the app is listening on that port."
    );
    mecha.logs().wait_for(&line, SOON).await.unwrap();
    // The API serves meanwhile: applications call it while they start.
    publish(&mecha, "t", "early").await.unwrap();
    assert_eq!(mecha.http().get(&mecha.http_url("/v1.0/healthz")).await.unwrap().status, 500);
    assert_eq!(mecha.http().get(&mecha.http_url("/v1.0/healthz/outbound")).await.unwrap().status, 204);

    let list = json!([{"pubsubname": "ps", "topic": "t", "route": "/event"}]);
    let app = app_at(port, list, |_| async { Scripted::status(200) }).await.unwrap();
    mecha.wait_ready(SOON).await.unwrap();
    publish(&mecha, "t", "late").await.unwrap();
    app.wait_one("/event", SOON).await.unwrap();
    let asked: Vec<_> =
        app.asked().iter().map(|asked| (asked.method.clone(), asked.path.clone())).take(3).collect();
    let expected =
        [(Method::GET, "/dapr/config"), (Method::GET, "/dapr/subscribe"), (Method::OPTIONS, "/tick")];
    assert_eq!(asked, expected.map(|(method, path)| (method, path.to_owned())));
    for asked in app.asked() {
        assert_eq!(asked.header("dapr-api-token"), "secret", "{asked:?}");
    }
    assert_eq!(app.asked_at("/dapr/config")[0].header("dapr-app-id"), "app1");
    let lines = mecha.logs().lines();
    let place = |part: &str| {
        lines.iter().position(|line| line.contains(part)).unwrap_or_else(|| panic!("no line has {part}"))
    };
    let order = [
        place("waiting on port"),
        place("application discovered on port"),
        place("app max concurrency set to 7"),
        place("app is subscribed to the following topics: [[t]] through pubsub=ps"),
        place("dapr initialized. Status: Running."),
    ];
    assert!(order.is_sorted(), "{order:?}");
}

#[tokio::test]
async fn a_question_without_an_answer_is_told_and_holds_nothing_else() {
    let app = ScriptedApp::start(|asked: Asked| async move {
        if asked.path == "/dapr/subscribe" {
            std::future::pending::<()>().await;
        }
        Scripted::status(404)
    })
    .await
    .unwrap();
    let builder = runtime().flag("--app-port", app.port().to_string());
    let mut mecha = builder.spawn().await.unwrap();
    mecha.logs().wait_for("the application has not answered GET /dapr/subscribe", SOON).await.unwrap();
    publish(&mecha, "t", "x").await.unwrap();
    assert_eq!(mecha.terminate(SOON).await.unwrap(), 0);
}

#[tokio::test]
async fn no_more_calls_than_allowed_are_with_the_application() {
    const LIMIT: usize = 3;
    const EVENTS: usize = 60;
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counts = (now.clone(), most.clone());
    let list = json!([
        {"pubsubname": "ps", "topic": "a", "route": "/event"},
        {"pubsubname": "ps", "topic": "b", "route": "/event"},
    ]);
    let app = app_at(free_port().unwrap(), list, move |_| {
        let (now, most) = counts.clone();
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(10)).await;
            now.fetch_sub(1, Ordering::SeqCst);
            Scripted::status(200)
        }
    })
    .await
    .unwrap();
    let mecha = with_app(runtime().flag("--app-max-concurrency", LIMIT.to_string()), &app).await.unwrap();
    for number in 0..EVENTS {
        publish(&mecha, if number % 2 == 0 { "a" } else { "b" }, "x").await.unwrap();
    }
    app.wait_for("/event", EVENTS, SOON).await.unwrap();
    assert_eq!(most.load(Ordering::SeqCst), LIMIT, "the limit is reached and not passed");
}

#[tokio::test]
async fn a_call_keeps_its_place_until_its_answer_was_read() {
    let (end, ends) = watch::channel(false);
    let too_early = Arc::new(AtomicBool::new(false));
    let (first, early) = (Arc::new(AtomicBool::new(true)), too_early.clone());
    let list = json!([{"pubsubname": "ps", "topic": "t", "route": "/event"}]);
    let app = app_at(free_port().unwrap(), list, move |asked| {
        let (ends, first, early) = (ends.clone(), first.clone(), early.clone());
        async move {
            if asked.path != "/event" {
                return Scripted::status(200);
            }
            if first.swap(false, Ordering::SeqCst) {
                return Scripted::held("{}", ends);
            }
            early.fetch_or(!*ends.borrow(), Ordering::SeqCst);
            Scripted::status(200)
        }
    })
    .await
    .unwrap();
    let builder = runtime()
        .flag("--app-max-concurrency", "1")
        .switch("--enable-app-health-check")
        .flag("--app-health-probe-interval", "1")
        .flag("--app-health-threshold", "1");
    let mecha = with_app(builder, &app).await.unwrap();
    mecha.logs().wait_for("app is subscribed", SOON).await.unwrap();
    publish(&mecha, "t", "first").await.unwrap();
    app.wait_one("/event", SOON).await.unwrap();
    for _ in 0..50 {
        publish(&mecha, "t", "more").await.unwrap();
    }
    // Probes take no place: an application at its limit is well.
    let probed = app.asked_at("/healthz").len();
    app.wait_for("/healthz", probed + 2, SOON).await.unwrap();
    assert_eq!(app.asked_at("/event").len(), 1, "a second call while the first answer is not read");
    assert!(mecha.logs().matching("un-healthy").is_empty());
    end.send_replace(true);
    app.wait_for("/event", 51, SOON).await.unwrap();
    assert!(!too_early.load(Ordering::SeqCst));
}

#[tokio::test]
async fn an_unhealthy_application_gets_nothing_and_loses_nothing() {
    let place = OnRedis::new();
    let healthy = Arc::new(AtomicBool::new(false));
    let (is_healthy, wrong) = (healthy.clone(), Arc::new(AtomicUsize::new(0)));
    let misplaced = wrong.clone();
    let app = app_at(free_port().unwrap(), place.wish(), move |asked| {
        let (healthy, wrong) = (is_healthy.load(Ordering::SeqCst), wrong.clone());
        async move {
            if asked.path == "/event" && !healthy {
                wrong.fetch_add(1, Ordering::SeqCst);
            }
            Scripted::status(if healthy { 200 } else { 503 })
        }
    })
    .await
    .unwrap();
    let builder = place
        .builder()
        .switch("--enable-app-health-check")
        .flag("--app-health-probe-interval", "1")
        .flag("--app-health-probe-timeout", "500")
        .flag("--app-health-threshold", "2");
    let mecha = with_app(builder, &app).await.unwrap();
    let logs = mecha.logs();
    logs.wait_for("App health probes starting", SOON).await.unwrap();
    // Ready, and not asked anything yet: it has not said that it is well.
    app.wait_one("/healthz", SOON).await.unwrap();
    assert!(app.asked_at("/dapr/subscribe").is_empty());
    publish(&mecha, &place.topic, "1").await.unwrap();
    healthy.store(true, Ordering::SeqCst);
    logs.wait_for("App entered healthy status", SOON).await.unwrap();
    app.wait_for("/event", 1, SOON).await.unwrap();

    let mark = logs.mark();
    healthy.store(false, Ordering::SeqCst);
    logs.wait_after(mark, "App entered un-healthy status", SOON).await.unwrap();
    let seen = app.asked_at("/event").len();
    let before = misplaced.load(Ordering::SeqCst);
    for number in 0..20 {
        publish(&mecha, &place.topic, &number.to_string()).await.unwrap();
    }
    let probed = app.asked_at("/healthz").len();
    app.wait_for("/healthz", probed + 2, SOON).await.unwrap();
    assert_eq!(app.asked_at("/event").len(), seen, "events come although the application is not well");
    assert_eq!(misplaced.load(Ordering::SeqCst), before);
    let mark = logs.mark();
    healthy.store(true, Ordering::SeqCst);
    logs.wait_after(mark, "App entered healthy status", SOON).await.unwrap();
    app.wait_for("/event", seen + 20, SOON).await.unwrap();
    // Asked once: what it wants does not change with its health.
    assert_eq!(app.asked_at("/dapr/subscribe").len(), 1);
}

#[tokio::test]
async fn health_over_grpc_has_a_service_of_its_own() {
    let app = TestApp::start(Transport::Grpc, vec![Wish::new("ps", "t")], |_| Answer::Success).await.unwrap();
    app.set_healthy(false);
    let mut builder = runtime()
        .switch("--enable-app-health-check")
        .flag("--app-health-probe-interval", "1")
        .flag("--app-health-threshold", "1")
        .env("APP_API_TOKEN", "secret");
    for (flag, value) in app.flags() {
        builder = builder.flag(flag, value);
    }
    let mecha = builder.start().await.unwrap();
    mecha.logs().wait_for("App health probes starting", SOON).await.unwrap();
    app.set_healthy(true);
    mecha.logs().wait_for("App entered healthy status", SOON).await.unwrap();
    mecha.logs().wait_for("app is subscribed", SOON).await.unwrap();
    publish(&mecha, "t", "x").await.unwrap();
    let seen = app.wait_for(SOON, |seen| !seen.is_empty()).await.unwrap();
    assert_eq!(seen[0].headers.get("dapr-api-token").map(String::as_str), Some("secret"), "{seen:?}");
}

#[tokio::test]
async fn every_protocol_of_an_application_works() {
    let list = json!([{"pubsubname": "ps", "topic": "t", "route": "/event"}]);
    let answer = move |asked: Asked| {
        let list = list.clone();
        async move { if asked.path == "/dapr/subscribe" { Scripted::json(&list) } else { Scripted::status(200) } }
    };
    for (protocol, version) in
        [("http", Version::HTTP_11), ("h2c", Version::HTTP_2), ("https", Version::HTTP_11)]
    {
        let app = match protocol {
            "https" => ScriptedApp::start_tls(answer.clone()).await.unwrap(),
            _ => ScriptedApp::start(answer.clone()).await.unwrap(),
        };
        let mecha = with_app(runtime().flag("--app-protocol", protocol), &app).await.unwrap();
        publish(&mecha, "t", "x").await.unwrap();
        let event = app.wait_one("/event", SOON).await.unwrap();
        assert_eq!((event.version, event.json()["data"].clone()), (version, json!("x")), "{protocol}");
    }
    let app = TestApp::start_grpcs(vec![Wish::new("ps", "t")], |_| Answer::Success).await.unwrap();
    let mut builder = runtime();
    for (flag, value) in app.flags() {
        builder = builder.flag(flag, value);
    }
    let mecha = builder.start().await.unwrap();
    publish(&mecha, "t", "x").await.unwrap();
    app.wait_for(SOON, |seen| seen.len() == 1).await.unwrap();
}

#[tokio::test]
async fn an_application_that_went_away_gets_its_events_when_it_is_back() {
    let port = free_port().unwrap();
    let list = json!([{"pubsubname": "ps", "topic": "t", "route": "/event"}]);
    let app = app_at(port, list.clone(), |_| async { Scripted::status(200) }).await.unwrap();
    let mecha = with_app(runtime(), &app).await.unwrap();
    drop(app);
    for number in 0..10 {
        publish(&mecha, "t", &number.to_string()).await.unwrap();
    }
    let app = app_at(port, list, |_| async { Scripted::status(200) }).await.unwrap();
    eventually(SOON, || async {
        let mut seen: Vec<_> =
            app.asked_at("/event").iter().map(|event| event.json()["data"].to_string()).collect();
        seen.sort();
        seen.dedup();
        ensure!(seen.len() == 10, "{seen:?}");
        Ok(())
    })
    .await
    .unwrap();
    // One line a message would bury the log.
    assert!(mecha.logs().lines().len() < 200, "{}", mecha.logs().tail());
}

#[tokio::test]
async fn a_delivery_in_flight_finishes_before_the_end_and_may_use_the_api() {
    let place = OnRedis::new();
    let (end, ends) = watch::channel(false);
    let app = app_at(free_port().unwrap(), place.wish(), move |asked| {
        let ends = ends.clone();
        async move { if asked.path == "/event" { Scripted::held("{}", ends) } else { Scripted::status(200) } }
    })
    .await
    .unwrap();
    let mut mecha = with_app(place.builder(), &app).await.unwrap();
    publish(&mecha, &place.topic, "held").await.unwrap();
    app.wait_one("/event", SOON).await.unwrap();
    mecha.signal(Signal::TERM).unwrap();
    mecha.logs().wait_for("beginning shutdown", SOON).await.unwrap();
    // What the application works on may need the API.
    publish(&mecha, &place.topic, "later").await.unwrap();
    end.send_replace(true);
    assert_eq!(mecha.wait_exit(SOON).await.unwrap(), 0);
    mecha.logs().wait_for("Daprd shutdown gracefully", SOON).await.unwrap();
    let held = |app: &ScriptedApp| {
        app.asked_at("/event").iter().filter(|event| event.json()["data"] == "held").count()
    };
    assert_eq!(held(&app), 1);
    // The next process gets what was not taken, and not what was.
    let _mecha = with_app(place.builder(), &app).await.unwrap();
    eventually(SOON, || async {
        let later = app.asked_at("/event").iter().any(|event| event.json()["data"] == "later");
        ensure!(later, "the later event did not come");
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(held(&app), 1, "a finished delivery came again");
}

#[tokio::test]
async fn an_application_that_never_answers_does_not_hold_the_end() {
    let place = OnRedis::new();
    let stuck = Arc::new(AtomicBool::new(true));
    let is_stuck = stuck.clone();
    let app = app_at(free_port().unwrap(), place.wish(), move |asked| {
        let stuck = is_stuck.load(Ordering::SeqCst) && asked.path == "/event";
        async move {
            if stuck {
                std::future::pending::<()>().await;
            }
            Scripted::status(200)
        }
    })
    .await
    .unwrap();
    let builder = place.builder().flag("--dapr-graceful-shutdown-seconds", "1");
    let mut mecha = with_app(builder, &app).await.unwrap();
    publish(&mecha, &place.topic, "x").await.unwrap();
    app.wait_one("/event", SOON).await.unwrap();
    assert_eq!(mecha.terminate(SOON).await.unwrap(), 1);
    mecha.logs().wait_for("Graceful shutdown timeout exceeded, forcing shutdown", SOON).await.unwrap();
    // Nothing is lost by it.
    stuck.store(false, Ordering::SeqCst);
    let mut mecha = with_app(place.builder(), &app).await.unwrap();
    app.wait_for("/event", 2, SOON).await.unwrap();
    assert_eq!(mecha.terminate(SOON).await.unwrap(), 0);
}

#[tokio::test]
async fn a_blocked_end_goes_on_serving_for_its_time() {
    let list = json!([{"pubsubname": "ps", "topic": "t", "route": "/event"}]);
    let app = app_at(free_port().unwrap(), list, |_| async { Scripted::status(200) }).await.unwrap();
    let mut mecha = with_app(runtime().flag("--dapr-block-shutdown-duration", "2s"), &app).await.unwrap();
    mecha.signal(Signal::TERM).unwrap();
    let line = "Blocking graceful shutdown for 2s or until app reports unhealthy...";
    mecha.logs().wait_for(line, SOON).await.unwrap();
    publish(&mecha, "t", "blocked").await.unwrap();
    app.wait_one("/event", SOON).await.unwrap();
    mecha.logs().wait_for("Block shutdown period expired, entering shutdown...", SOON).await.unwrap();
    assert_eq!(mecha.wait_exit(SOON).await.unwrap(), 0);
}

#[tokio::test]
async fn an_unhealthy_application_ends_the_wait() {
    let healthy = Arc::new(AtomicBool::new(true));
    let is_healthy = healthy.clone();
    let app = app_at(free_port().unwrap(), json!([]), move |_| {
        let status = if is_healthy.load(Ordering::SeqCst) { 200 } else { 500 };
        async move { Scripted::status(status) }
    })
    .await
    .unwrap();
    let builder = runtime()
        .flag("--dapr-block-shutdown-duration", "180s")
        .switch("--enable-app-health-check")
        .flag("--app-health-probe-interval", "1")
        .flag("--app-health-threshold", "1");
    let mut mecha = with_app(builder, &app).await.unwrap();
    mecha.logs().wait_for("App entered healthy status", SOON).await.unwrap();
    mecha.signal(Signal::INT).unwrap();
    let line = "Blocking graceful shutdown for 3m0s or until app reports unhealthy...";
    mecha.logs().wait_for(line, SOON).await.unwrap();
    healthy.store(false, Ordering::SeqCst);
    mecha.logs().wait_for("App reported unhealthy, entering shutdown...", SOON).await.unwrap();
    assert_eq!(mecha.wait_exit(SOON).await.unwrap(), 0);
}
