//! The cells of the matrix: what is published, what the application answers, what must arrive.

use std::collections::HashSet;
use std::sync::Mutex;

use anyhow::{Result, ensure};
use mecha_testkit::{Answer, Seen, Transport, Wish};
use serde_json::json;

use crate::broker::{Broker, topic};
use crate::{Run, SOON};

/// What a cell is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cell {
    Plain,
    Raw,
    Bulk,
    Routed,
    DeadLetter,
    Retry,
    Drop,
}

fn taken(_: &Seen) -> Answer {
    Answer::Success
}

impl Cell {
    /// A stream has one path and takes one event at a time.
    pub fn works_on_streams(self) -> bool {
        !matches!(self, Self::Bulk | Self::Routed)
    }

    pub async fn run(self, broker: Broker, transport: Transport) -> Result<()> {
        match self {
            Self::Plain => plain(broker, transport).await,
            Self::Raw => raw(broker, transport).await,
            Self::Bulk => bulk(broker, transport).await,
            Self::Routed => routed(broker, transport).await,
            Self::DeadLetter => dead_letter(broker, transport).await,
            Self::Retry => retry(broker, transport).await,
            Self::Drop => dropped(broker, transport).await,
        }
    }
}

async fn plain(broker: Broker, transport: Transport) -> Result<()> {
    let topic = topic("plain");
    let run = Run::start(broker, transport, vec![Wish::new("pubsub", &topic)], taken).await?;
    for number in 0..5 {
        run.publish_json(&topic, &json!({"number": number, "exact": 12345678901234567u64}).to_string())
            .await?;
    }
    run.publish(&topic, "", "text/plain", "hello").await?;
    let seen = run.app.wait_for(SOON, |seen| seen.len() >= 6).await?;
    ensure!(seen.iter().all(|seen| seen.topic == topic && !seen.bulk), "{seen:#?}");
    let ids: HashSet<_> = seen.iter().map(|seen| seen.id.as_str()).collect();
    ensure!(ids.len() == 6 && !ids.contains(""), "{seen:#?}");
    for number in 0..5 {
        let expected = json!({"number": number, "exact": 12345678901234567u64});
        let found = seen.iter().find(|seen| seen.data == expected);
        ensure!(found.is_some_and(|seen| seen.content_type == "application/json"), "{number}: {seen:#?}");
    }
    let text = seen.iter().find(|seen| seen.data == "hello");
    ensure!(text.is_some_and(|seen| seen.content_type == "text/plain"), "{seen:#?}");
    let path = if transport == Transport::Stream { "/".to_owned() } else { format!("/{topic}") };
    ensure!(seen.iter().all(|seen| seen.path == path), "{seen:#?}");
    Ok(())
}

async fn raw(broker: Broker, transport: Transport) -> Result<()> {
    let topic = topic("raw");
    let metadata = vec![("rawPayload".to_owned(), "true".to_owned())];
    let wish = Wish { metadata, ..Wish::new("pubsub", &topic) };
    let run = Run::start(broker, transport, vec![wish], taken).await?;
    run.publish(&topic, "?metadata.rawPayload=true", "application/octet-stream", "just bytes").await?;
    let seen = run.app.wait_for(SOON, |seen| !seen.is_empty()).await?;
    ensure!(seen[0].data == "just bytes" && seen[0].topic == topic, "{seen:#?}");
    ensure!(seen[0].content_type == "application/octet-stream", "{seen:#?}");
    Ok(())
}

async fn bulk(broker: Broker, transport: Transport) -> Result<()> {
    let topic = topic("bulk");
    let wish = Wish { bulk: true, ..Wish::new("pubsub", &topic) };
    let run = Run::start(broker, transport, vec![wish], taken).await?;
    let entries: Vec<_> = (0..20)
        .map(|number| json!({"entryId": number.to_string(), "event": {"number": number}, "contentType": "application/json"}))
        .collect();
    let url = run.mecha.http_url(&format!("/v1.0/publish/bulk/pubsub/{topic}"));
    let reply = run.mecha.http().post(&url, json!(entries).to_string()).await?;
    ensure!(reply.status == 204, "{}: {}", reply.status, reply.text());
    let seen = run.app.wait_for(SOON, |seen| seen.len() >= 20).await?;
    ensure!(seen.iter().all(|seen| seen.bulk), "{seen:#?}");
    let numbers: HashSet<_> = seen.iter().filter_map(|seen| seen.data["number"].as_u64()).collect();
    ensure!(numbers.len() == 20, "{seen:#?}");
    Ok(())
}

async fn routed(broker: Broker, transport: Transport) -> Result<()> {
    let topic = topic("routed");
    let rule = |condition: &str, path: &str| (condition.to_owned(), path.to_owned());
    let rules = vec![rule("event.type == 'order.new'", "/new"), rule("event.data.amount > 100", "/large")];
    let wish = Wish { rules, ..Wish::new("pubsub", &topic) };
    let run = Run::start(broker, transport, vec![wish], taken).await?;
    run.publish(&topic, "?metadata.cloudevent.type=order.new", "application/json", r#"{"amount":1}"#).await?;
    run.publish_json(&topic, r#"{"amount":1000}"#).await?;
    run.publish_json(&topic, r#"{"amount":2}"#).await?;
    let seen = run.app.wait_for(SOON, |seen| seen.len() >= 3).await?;
    let path =
        |amount: u64| seen.iter().find(|seen| seen.data["amount"] == amount).map(|seen| seen.path.clone());
    ensure!(path(1).as_deref() == Some("/new"), "{seen:#?}");
    ensure!(path(1000).as_deref() == Some("/large"), "{seen:#?}");
    ensure!(path(2) == Some(format!("/{topic}")), "{seen:#?}");
    Ok(())
}

async fn dead_letter(broker: Broker, transport: Transport) -> Result<()> {
    let (source, poison) = (topic("source"), topic("poison"));
    let wish = Wish { dead_letter: Some(poison.clone()), ..Wish::new("pubsub", &source) };
    let failing = source.clone();
    let respond = move |seen: &Seen| match seen.data["broken"] == true
        && seen.topic == failing
        && !seen.path.contains("poison")
    {
        true => Answer::Drop,
        false => Answer::Success,
    };
    let wishes = vec![wish, Wish::new("pubsub", &poison)];
    let run = Run::start(broker, transport, wishes, respond).await?;
    run.publish_json(&source, r#"{"broken":true}"#).await?;
    run.publish_json(&source, r#"{"broken":false}"#).await?;
    // The event is delivered twice: to its own topic, and as a dead letter; the good one once.
    let seen = run.app.wait_for(SOON, |seen| seen.len() >= 3).await?;
    let broken = seen.iter().filter(|seen| seen.data["broken"] == true).count();
    ensure!(broken == 2 && seen.len() == 3, "{seen:#?}");
    Ok(())
}

async fn retry(broker: Broker, transport: Transport) -> Result<()> {
    let topic = topic("retry");
    let refused = Mutex::new(HashSet::new());
    let respond = move |seen: &Seen| {
        let first = refused.lock().unwrap().insert(seen.id.clone());
        match (first, seen.data["how"].as_str()) {
            (true, Some("fail")) => Answer::Fail,
            (true, _) => Answer::Retry,
            (false, _) => Answer::Success,
        }
    };
    let run = Run::start(broker, transport, vec![Wish::new("pubsub", &topic)], respond).await?;
    run.publish_json(&topic, r#"{"how":"retry"}"#).await?;
    run.publish_json(&topic, r#"{"how":"fail"}"#).await?;
    let twice = |seen: &[Seen], how: &str| seen.iter().filter(|seen| seen.data["how"] == how).count() >= 2;
    run.app.wait_for(SOON, |seen| twice(seen, "retry") && twice(seen, "fail")).await?;
    Ok(())
}

async fn dropped(broker: Broker, transport: Transport) -> Result<()> {
    let topic = topic("dropped");
    let respond = |seen: &Seen| if seen.data["keep"] == true { Answer::Success } else { Answer::Drop };
    let run = Run::start(broker, transport, vec![Wish::new("pubsub", &topic)], respond).await?;
    run.publish_json(&topic, r#"{"keep":false}"#).await?;
    run.app.wait_for(SOON, |seen| seen.len() == 1).await?;
    run.publish_json(&topic, r#"{"keep":true}"#).await?;
    let seen = run.app.wait_for(SOON, |seen| seen.iter().any(|seen| seen.data["keep"] == true)).await?;
    ensure!(seen.len() == 2, "a dropped event came again: {seen:#?}");
    Ok(())
}
