//! Subscriptions and input bindings in resource files while the process runs: they come, change and go under load.

#[path = "support/broker.rs"]
mod broker;

use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use mecha_testkit::{Asked, Mecha, Scripted, ScriptedApp, eventually};
use serde_json::{Value, json};

use broker::{Backing, Broker, topic};

const SOON: Duration = Duration::from_secs(20);

/// An application that asks for one topic itself and takes whatever comes; it wants every input binding.
async fn application() -> Result<ScriptedApp> {
    ScriptedApp::start(|asked: Asked| async move {
        match asked.path.as_str() {
            "/dapr/subscribe" => {
                Scripted::json(&json!([{"pubsubname": "ps", "topic": "its-own", "route": "/its-own"}]))
            }
            "/dapr/config" => Scripted::status(404),
            _ => Scripted::status(200),
        }
    })
    .await
}

fn subscription(name: &str, topic: &str, route: &str) -> String {
    json!({"apiVersion": "dapr.io/v2alpha1", "kind": "Subscription", "metadata": {"name": name},
        "spec": {"pubsubname": "ps", "topic": topic, "routes": {"default": route}}})
    .to_string()
}

struct Reloading {
    mecha: Mecha,
    app: ScriptedApp,
    _backing: Backing,
}

impl Reloading {
    async fn start(broker: Broker) -> Self {
        let app = application().await.unwrap();
        let (builder, _backing) = broker.component(Mecha::builder().app_id("app1"), "ps").unwrap();
        let mecha = builder.flag("--app-port", app.port().to_string()).start().await.unwrap();
        mecha.logs().wait_for("dapr initialized", SOON).await.unwrap();
        Self { mecha, app, _backing }
    }

    async fn publish(&self, topic: &str, number: u32) -> Result<()> {
        let url = self.mecha.http_url(&format!("/v1.0/publish/ps/{topic}"));
        let reply = self.mecha.http().post(&url, json!({"number": number}).to_string()).await?;
        ensure!(reply.status == 204, "{}: {}", reply.status, reply.text());
        Ok(())
    }

    /// Topics and where their messages go.
    async fn subscribed(&self) -> Result<Vec<(String, String)>> {
        let metadata = self.mecha.http().get(&self.mecha.http_url("/v1.0/metadata")).await?.json()?;
        let subscriptions = metadata["subscriptions"].as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut found: Vec<_> = subscriptions
            .iter()
            .map(|found| (text(&found["topic"]), text(&found["rules"][0]["path"])))
            .collect();
        found.sort();
        Ok(found)
    }

    async fn wait_subscribed(&self, expected: &[(&str, &str)]) {
        let own = |(topic, path): &(&str, &str)| ((*topic).to_owned(), (*path).to_owned());
        let mut expected: Vec<_> = expected.iter().chain(&[("its-own", "/its-own")]).map(own).collect();
        expected.sort();
        eventually(SOON, || async {
            let found = self.subscribed().await?;
            ensure!(found == expected, "{found:?} {expected:?}");
            Ok(())
        })
        .await
        .unwrap();
    }

    fn numbers(&self, paths: &[&str]) -> HashSet<u64> {
        let asked = paths.iter().flat_map(|path| self.app.asked_at(path));
        asked.filter_map(|asked| asked.json()["data"]["number"].as_u64()).collect()
    }
}

#[tokio::test]
async fn subscriptions_come_change_and_go_with_their_files() {
    let run = Reloading::start(Broker::Memory).await;
    run.wait_subscribed(&[]).await;
    run.mecha.write_resource("sub.json", &subscription("s", "orders", "/first")).unwrap();
    run.wait_subscribed(&[("orders", "/first")]).await;
    run.publish("orders", 1).await.unwrap();
    run.app.wait_one("/first", SOON).await.unwrap();

    run.mecha.write_resource("sub.json", &subscription("s", "orders", "/second")).unwrap();
    run.wait_subscribed(&[("orders", "/second")]).await;
    run.publish("orders", 2).await.unwrap();
    run.app.wait_one("/second", SOON).await.unwrap();
    assert_eq!(run.app.asked_at("/first").len(), 1);

    // A broken file changes nothing.
    run.mecha.write_resource("sub.json", "{ this is none").unwrap();
    run.mecha.logs().wait_for("what it held before stays", SOON).await.unwrap();
    run.publish("orders", 3).await.unwrap();
    run.app.wait_for("/second", 2, SOON).await.unwrap();

    run.mecha.remove_resource("sub.json").unwrap();
    run.wait_subscribed(&[]).await;
    run.publish("orders", 4).await.unwrap();
    // What the application asked for itself went on all the time.
    run.publish("its-own", 5).await.unwrap();
    run.app.wait_one("/its-own", SOON).await.unwrap();
    assert_eq!(run.app.asked_at("/second").len(), 2);
}

#[tokio::test]
async fn a_subscription_that_changes_under_load_loses_nothing() {
    for broker in [Broker::Sqlite, Broker::Redis] {
        let run = Reloading::start(broker).await;
        let topic = topic("changing");
        run.mecha.write_resource("sub.json", &subscription("s", &topic, "/even")).unwrap();
        run.wait_subscribed(&[(&topic, "/even")]).await;
        for number in 0..500 {
            if number % 50 == 25 {
                let route = if number % 100 == 25 { "/odd" } else { "/even" };
                run.mecha.write_resource("sub.json", &subscription("s", &topic, route)).unwrap();
            }
            run.publish(&topic, number).await.unwrap();
        }
        eventually(SOON, || async {
            let seen = run.numbers(&["/even", "/odd"]).len();
            ensure!(seen == 500, "{broker:?}: {seen} of 500");
            Ok(())
        })
        .await
        .unwrap();
        // The last change holds.
        run.wait_subscribed(&[(&topic, "/even")]).await;
    }
}

#[tokio::test]
async fn a_broker_that_changes_keeps_its_subscriptions() {
    let run = Reloading::start(Broker::Memory).await;
    let later = |queue: &str| {
        json!({"apiVersion": "dapr.io/v1alpha1", "kind": "Component", "metadata": {"name": "later"},
            "spec": {"type": "pubsub.in-memory", "version": "v1", "metadata": [{"name": "note", "value": queue}]}})
        .to_string()
    };
    // The subscription names a broker that is not there yet.
    let subscription = subscription("s", "orders", "/orders").replace("\"ps\"", "\"later\"");
    run.mecha.write_resource("sub.json", &subscription).unwrap();
    run.mecha.logs().wait_for("pubsub later is not found", SOON).await.unwrap();
    for (count, text) in ["first", "second"].into_iter().enumerate() {
        run.mecha.write_resource("later.json", &later(text)).unwrap();
        eventually(SOON, || async {
            let loaded = run.mecha.logs().matching("Component loaded: later").len();
            ensure!(loaded == count + 1, "loaded {loaded} times");
            Ok(())
        })
        .await
        .unwrap();
        eventually(SOON, || async {
            let url = run.mecha.http_url("/v1.0/publish/later/orders");
            let reply = run.mecha.http().post(&url, json!({"text": text}).to_string()).await?;
            ensure!(reply.status == 204, "{}", reply.text());
            let seen = run.app.asked_at("/orders");
            ensure!(seen.iter().any(|asked| asked.json()["data"]["text"] == text), "{} came", seen.len());
            Ok(())
        })
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn an_input_binding_that_is_declared_later_is_read_and_one_that_goes_is_not() {
    let app = application().await.unwrap();
    let mecha =
        Mecha::builder().plugin("cron").flag("--app-port", app.port().to_string()).start().await.unwrap();
    mecha.logs().wait_for("dapr initialized", SOON).await.unwrap();
    let tick = |name: &str| {
        json!({"apiVersion": "dapr.io/v1alpha1", "kind": "Component", "metadata": {"name": name},
            "spec": {"type": "bindings.cron", "version": "v1", "metadata": [{"name": "schedule", "value": "@every 1s"}]}})
        .to_string()
    };
    mecha.write_resource("tick.json", &tick("tick")).unwrap();
    app.wait_for("/tick", 3, SOON).await.unwrap();
    mecha.write_resource("tick.json", &tick("tock")).unwrap();
    app.wait_for("/tock", 2, SOON).await.unwrap();
    let before = app.asked_at("/tick").len();
    app.wait_for("/tock", 4, SOON).await.unwrap();
    assert!(app.asked_at("/tick").len() <= before + 1, "the binding that went is still read");
}
