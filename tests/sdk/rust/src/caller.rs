//! Calls the application at another runtime and at its own, and publishes to both.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use dapr::client::{Client, TonicClientWithAuth};
use prost_types::Any;
use serde_json::Value;

use crate::steps::{equal, eventually, fails, need, step, with};

struct Caller {
    dapr: Client<TonicClientWithAuth>,
    app: String,
}

pub async fn play() -> Result<()> {
    for app in [need("APP_ID")?, need("TARGET_APP_ID")?] {
        let mut caller = Caller { dapr: Client::new().await?, app };
        step("invoke", caller.invocation()).await?;
        step("publish", caller.publish("orders", "keep", "", &["orders"])).await?;
        step("dead letter", caller.publish("orders", "drop", "", &["orders", "dead"])).await?;
        step("retry", caller.publish("again", "keep", "", &["again", "again"])).await?;
        step("declared subscription", caller.publish("declared", "keep", "", &["/declared"])).await?;
        for kind in ["important", "unimportant"] {
            step("routing rule", caller.publish("routed", "keep", kind, &[kind])).await?;
        }
        step("input binding", caller.tick()).await?;
        step("an unknown application", async {
            fails(caller.dapr.invoke_service("nobody", "echo", None).await, "nobody")
        })
        .await?;
    }
    Ok(())
}

impl Caller {
    async fn ask(&mut self, method: &str, body: &str) -> Result<Value> {
        let data = Any { type_url: String::new(), value: body.as_bytes().to_vec() };
        let answer = self.dapr.invoke_service(self.app.as_str(), method, Some(data)).await?;
        Ok(serde_json::from_slice(&answer.data.context("an answer has data")?.value)?)
    }

    async fn invocation(&mut self) -> Result<()> {
        let answer = self.ask("echo", "ä").await?;
        equal(&answer["body"], "ä")?;
        equal(answer["caller"].as_str(), Some(need("APP_ID")?.as_str()))?;
        equal(answer["token"].as_str(), Some(need("APP_API_TOKEN")?.as_str()))
    }

    /// Publishes something and waits for it to come as often as there are kinds, as these.
    async fn publish(&mut self, topic: &str, please: &str, kind: &str, kinds: &[&str]) -> Result<()> {
        let name = self.app.split('-').next().unwrap_or_default();
        let topic = format!("{name}-{topic}-{}", need("RUN")?);
        let data = format!("{please} {}", SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos());
        let metadata = if kind.is_empty() { None } else { with("cloudevent.type", kind) };
        self.dapr.publish_event("pubsub", &topic, "text/plain", data.clone().into_bytes(), metadata).await?;
        let arrived = async || {
            let found = self.received("data", &data).await?;
            Ok((found.len() >= kinds.len()).then_some(found))
        };
        let found = eventually("it arrives", arrived).await?;
        let all_kinds: Vec<_> =
            found.iter().map(|entry| entry["kind"].as_str().unwrap_or_default()).collect();
        equal(all_kinds, kinds)?;
        for entry in found {
            equal(entry["source"].as_str(), Some(need("APP_ID")?.as_str()))?;
            ensure!(entry["trace"].as_str().is_some_and(|trace| trace.split('-').count() == 4), "{entry}");
        }
        Ok(())
    }

    async fn tick(&mut self) -> Result<()> {
        eventually("a tick", async || Ok(self.received("kind", "tick").await?.pop())).await?;
        Ok(())
    }

    async fn received(&mut self, key: &str, value: &str) -> Result<Vec<Value>> {
        let everything = self.ask("received", "").await?;
        let everything = everything.as_array().cloned().unwrap_or_default();
        Ok(everything.into_iter().filter(|entry| entry[key] == value).collect())
    }
}
