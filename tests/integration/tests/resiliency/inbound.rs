//! Deliveries to the application.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use http::Method;
use mecha_testkit::{Asked, Mecha, Scripted, ScriptedApp, eventually};
use serde_json::{Value, json};

use crate::{SOON, probing, quickly, resiliency, sample};

/// An application that subscribes to `topic` and answers the messages with these, then with 200.
async fn subscriber(answers: Vec<Scripted>) -> ScriptedApp {
    let (answers, next) = (Arc::new(answers), Arc::new(AtomicUsize::new(0)));
    ScriptedApp::start(move |asked: Asked| {
        let (answers, next) = (answers.clone(), next.clone());
        async move {
            match (asked.method, asked.path.as_str()) {
                (Method::GET, "/dapr/subscribe") => Scripted::json(&json!([
                    {"pubsubname": "broker", "topic": "topic", "route": "/in", "deadLetterTopic": "dead"},
                    {"pubsubname": "broker", "topic": "dead", "route": "/dead"},
                ])),
                (Method::POST, "/in") => {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    answers.get(number).cloned().unwrap_or_else(|| Scripted::status(200))
                }
                (Method::POST, "/dead") => Scripted::status(200),
                (Method::OPTIONS, "/feed") => Scripted::status(200),
                (Method::POST, "/feed") => {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    answers.get(number).cloned().unwrap_or_else(|| Scripted::status(200))
                }
                _ => Scripted::status(404),
            }
        }
    })
    .await
    .unwrap()
}

fn inbound(component: &str, policies: &Value) -> String {
    let mut names = serde_json::Map::new();
    for (kind, name) in [("timeouts", "timeout"), ("retries", "retry"), ("circuitBreakers", "circuitBreaker")]
    {
        if policies.get(kind).is_some() {
            names.insert(name.to_owned(), json!("p"));
        }
    }
    resiliency(policies, &json!({component: {"inbound": names}}))
}

async fn published(app: &ScriptedApp, policies: &Value) -> Result<Mecha> {
    let builder = Mecha::builder().plugin("memory").component("broker", "pubsub.in-memory");
    let builder = builder.resources(&inbound("broker", policies)).flag("--app-port", app.port().to_string());
    let mecha = builder.start().await?;
    let url = mecha.http_url("/v1.0/publish/broker/topic");
    eventually(SOON, || async {
        let reply = mecha.http().get(&mecha.http_url("/v1.0/metadata")).await?.json()?;
        ensure!(reply["subscriptions"].as_array().map(Vec::len) == Some(2), "{reply}");
        Ok(())
    })
    .await?;
    let reply = mecha.http().post(&url, r#"{"a":1}"#).await?;
    ensure!(reply.status == 204, "{}", reply.text());
    Ok(mecha)
}

#[tokio::test]
async fn a_message_is_tried_again_before_it_is_a_dead_letter() {
    let again = || Scripted::json(&json!({"status": "RETRY"}));
    let answers = vec![Scripted::status(500), again(), Scripted::status(503)];
    let app = subscriber(answers).await;
    let mecha = published(&app, &quickly(3)).await.unwrap();
    let asked = app.wait_for("/in", 4, SOON).await.unwrap();
    assert!(asked.iter().all(|other| other.body == asked[0].body), "not one message: {asked:?}");
    let labels = [r#"target="Pubsub_broker""#, r#"flow_direction="inbound""#, r#"policy="retry""#];
    eventually(SOON, || async {
        let activated = sample(&mecha, "activations_total", &labels).await;
        ensure!(activated == 1.0, "{activated} activations");
        Ok(())
    })
    .await
    .unwrap();
    mecha.logs().wait_for("component[broker] input after 4 attempts", SOON).await.unwrap();
    assert!(app.asked_at("/dead").is_empty());

    let app = subscriber(vec![Scripted::status(500); 9]).await;
    let _mecha = published(&app, &quickly(2)).await.unwrap();
    app.wait_one("/dead", SOON).await.unwrap();
    assert_eq!(app.asked_at("/in").len(), 3);
}

#[tokio::test]
async fn only_codes_that_match_are_tried_again() {
    let mut policies = quickly(5);
    policies["retries"]["p"]["matching"] = json!({"httpStatusCodes": "500,502-504"});
    for (status, attempts) in [(500, 6), (503, 6), (501, 1), (400, 1)] {
        let app = subscriber(vec![Scripted::status(status); 9]).await;
        let _mecha = published(&app, &policies).await.unwrap();
        app.wait_one("/dead", SOON).await.unwrap();
        assert_eq!(app.asked_at("/in").len(), attempts, "{status}");
    }
}

#[tokio::test]
async fn an_application_that_takes_too_long_is_asked_again() {
    let (_held, ends) = tokio::sync::watch::channel(false);
    let app = subscriber(vec![Scripted::held("{", ends)]).await;
    let mut policies = quickly(3);
    policies["timeouts"] = json!({"p": "200ms"});
    let mecha = published(&app, &policies).await.unwrap();
    app.wait_for("/in", 2, SOON).await.unwrap();
    mecha.logs().wait_for("component[broker] input after 2 attempts", SOON).await.unwrap();
    assert!(app.asked_at("/dead").is_empty());
}

/// Of several messages in one call, those that were taken do not come again.
#[tokio::test]
async fn what_a_bulk_left_untaken_is_brought_again() {
    let app = ScriptedApp::start(|asked: Asked| async move {
        match (asked.method.clone(), asked.path.as_str()) {
            (Method::GET, "/dapr/subscribe") => Scripted::json(&json!([{
                "pubsubname": "broker", "topic": "topic", "route": "/in",
                "bulkSubscribe": {"enabled": true, "maxMessagesCount": 3, "maxAwaitDurationMs": 10_000},
            }])),
            (Method::POST, "/in") => {
                let body = asked.json();
                let entries = body["entries"].as_array().cloned().unwrap_or_default();
                // One more of them each time.
                let status = |at| if at == 0 { "SUCCESS" } else { "RETRY" };
                let statuses = entries.iter().enumerate();
                let statuses =
                    statuses.map(|(at, entry)| json!({"entryId": entry["entryId"], "status": status(at)}));
                Scripted::json(&json!({"statuses": statuses.collect::<Vec<_>>()}))
            }
            _ => Scripted::status(404),
        }
    })
    .await
    .unwrap();
    let builder = Mecha::builder().plugin("memory").component("broker", "pubsub.in-memory");
    let builder = builder.resources(&inbound("broker", &quickly(5)));
    let mecha = builder.flag("--app-port", app.port().to_string()).start().await.unwrap();
    let entries: Vec<_> = (0..3)
        .map(|id| json!({"entryId": id.to_string(), "event": {"n": id}, "contentType": "application/json"}))
        .collect();
    let url = mecha.http_url("/v1.0-alpha1/publish/bulk/broker/topic");
    let reply = mecha.http().post(&url, Value::from(entries).to_string()).await.unwrap();
    assert_eq!(reply.status, 204, "{}", reply.text());
    let asked = app.wait_for("/in", 3, SOON).await.unwrap();
    let counts: Vec<_> =
        asked.iter().map(|asked| asked.json()["entries"].as_array().map_or(0, Vec::len)).collect();
    assert_eq!(counts, [3, 2, 1]);
    mecha.logs().wait_for("component[broker] input after 3 attempts", SOON).await.unwrap();
}

/// Retries that never end do not keep the process.
#[tokio::test]
async fn the_end_of_the_process_ends_the_retries() {
    let app = subscriber(vec![Scripted::status(500); 10_000]).await;
    let mut policies = quickly(-1);
    policies["retries"]["p"]["duration"] = json!("10m");
    let mut mecha = published(&app, &policies).await.unwrap();
    app.wait_one("/in", SOON).await.unwrap();
    mecha.logs().wait_for("Retrying in 10m", SOON).await.unwrap();
    let started = Instant::now();
    assert_eq!(mecha.terminate(SOON).await.unwrap(), 0, "{}", mecha.logs().tail());
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert!(app.asked_at("/dead").is_empty(), "the message is the next process's");
}

#[tokio::test]
async fn an_event_of_a_binding_is_tried_again_before_its_source_is_asked() {
    let app = subscriber(vec![Scripted::status(500), Scripted::status(500)]).await;
    let builder = probing().component_with("feed", "bindings.probe", &[("events", "1")]);
    let builder = builder.resources(&inbound("feed", &quickly(5))).flag("--app-port", app.port().to_string());
    let mecha = builder.start().await.unwrap();
    let asked = app.wait_for("/feed", 4, SOON).await.unwrap();
    let posts: Vec<_> = asked.iter().filter(|asked| asked.method == Method::POST).collect();
    // The source counts its deliveries: there was one.
    assert!(posts.iter().all(|asked| asked.header("deliveries") == "0"), "{posts:?}");
    assert_eq!(posts.len(), 3);
    let labels = [r#"target="Binding_feed""#, r#"flow_direction="inbound""#, r#"policy="retry""#];
    assert_eq!(sample(&mecha, "count", &labels).await, 1.0);
}
