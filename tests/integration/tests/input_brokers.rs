//! Brokers as input bindings: each event reaches the application until it takes it, and not again after that.

#[path = "support/broker.rs"]
mod broker;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http::Method;
use mecha_backends::{ElasticMq, Kafka, Redis};
use mecha_testkit::{Asked, Mecha, Scripted, ScriptedApp, eventually};
use serde_json::json;

use broker::{Broker, topic};

const SOON: Duration = Duration::from_secs(60);
const EVENTS: usize = 20;
/// Each event is refused once.
const TRIES: usize = 2;

/// The type and metadata of a component that reads what is published to `topic`.
fn input(broker: Broker, topic: &str) -> Result<(&'static str, Vec<(&'static str, String)>)> {
    let text = str::to_owned;
    Ok(match broker {
        Broker::Redis => (
            "bindings.redis",
            vec![
                ("redisHost", Redis::shared()?.addr().to_string()),
                ("stream", text(topic)),
                ("redeliverInterval", text("200ms")),
                ("processingTimeout", text("500ms")),
            ],
        ),
        Broker::Kafka => (
            "bindings.kafka",
            vec![
                ("brokers", Kafka::shared()?.addr().to_string()),
                ("authType", text("none")),
                ("topics", text(topic)),
                ("consumerGroup", text(topic)),
                ("initialOffset", text("oldest")),
                ("consumeRetryEnabled", text("true")),
                ("consumeRetryInterval", text("100ms")),
            ],
        ),
        Broker::Sqs => (
            "bindings.aws.sqs",
            vec![
                ("endpoint", text(ElasticMq::shared()?.endpoint())),
                ("region", text(ElasticMq::REGION)),
                ("accessKey", text("x")),
                ("secretKey", text("x")),
                ("queueName", text(topic)),
                ("messageWaitTimeSeconds", text("1")),
            ],
        ),
        Broker::Memory | Broker::Sqlite => anyhow::bail!("{broker:?} has no input binding"),
    })
}

/// How often each event came.
type Counts = Arc<Mutex<HashMap<String, usize>>>;

async fn refusing_once(counts: Counts) -> Result<ScriptedApp> {
    ScriptedApp::start(move |asked: Asked| {
        let counts = counts.clone();
        async move {
            match (asked.method, asked.path.as_str()) {
                (Method::OPTIONS, "/in") => Scripted::status(200),
                (Method::POST, "/in") => {
                    let event = String::from_utf8_lossy(&asked.body).into_owned();
                    let mut counts = counts.lock().unwrap();
                    let count = counts.entry(event).or_default();
                    *count += 1;
                    Scripted::status(if *count < TRIES { 500 } else { 200 })
                }
                _ => Scripted::status(404),
            }
        }
    })
    .await
}

async fn every_event_comes_until_it_is_taken(broker: Broker) -> Result<()> {
    let counts = Counts::default();
    let app = refusing_once(counts.clone()).await?;
    let name = topic("events");
    let (builder, _backing) = broker.component(Mecha::builder(), "writer")?;
    let mecha = builder.flag("--app-port", app.port().to_string()).start().await?;
    let publish = async |number: usize| {
        let url = mecha.http_url(&format!("/v1.0/publish/writer/{name}?metadata.rawPayload=true"));
        let reply = mecha.http().post(&url, json!({"event": number}).to_string()).await?;
        ensure!(reply.status == 204, "publishing answered {}: {}", reply.status, reply.text());
        Ok(())
    };
    // The first one makes the queue, which the binding expects to be there.
    publish(0).await?;
    let (component_type, metadata) = input(broker, &name)?;
    let metadata: Vec<_> =
        metadata.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
    let component = json!({
        "apiVersion": "dapr.io/v1alpha1",
        "kind": "Component",
        "metadata": {"name": "in"},
        "spec": {"type": component_type, "version": "v1", "metadata": metadata},
    });
    mecha.write_resource("in.json", &component.to_string())?;
    for number in 1..EVENTS {
        publish(number).await?;
    }
    eventually(SOON, || async {
        let counts = counts.lock().unwrap().clone();
        let taken = counts.values().filter(|count| **count >= TRIES).count();
        ensure!(taken == EVENTS, "{taken} of {EVENTS} events were taken: {counts:?}");
        Ok(())
    })
    .await?;
    // What was taken does not come again: a last event comes after all that are still on their way.
    publish(EVENTS).await?;
    eventually(SOON, || async {
        let counts = counts.lock().unwrap().clone();
        let last =
            counts.get(&json!({"event": EVENTS}).to_string()).context("the last event did not come")?;
        ensure!(*last >= TRIES, "the last event was not taken");
        ensure!(counts.values().all(|count| *count == TRIES), "an event came again: {counts:?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn redis() -> Result<()> {
    every_event_comes_until_it_is_taken(Broker::Redis).await
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_and_sqs() -> Result<()> {
    for broker in Broker::all().into_iter().filter(|broker| matches!(broker, Broker::Kafka | Broker::Sqs)) {
        every_event_comes_until_it_is_taken(broker).await.with_context(|| format!("{broker:?}"))?;
    }
    Ok(())
}
