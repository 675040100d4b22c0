//! Nothing that was published is lost: 100,000 messages through each broker, to an application that fails, asks for more
//! time, hangs and is killed, with a runtime that is killed as well.
//!
//! `MECHA_DURABILITY_MESSAGES` sets another number of messages.

#[path = "support/broker.rs"]
mod broker;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mecha_backends::free_port;
use mecha_testkit::{Asked, Mecha, MechaBuilder, Scripted, ScriptedApp, Signal};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use broker::{Broker, topic};

const MESSAGES: &str = "MECHA_DURABILITY_MESSAGES";
/// Entries of one bulk publish.
const BULK: u64 = 100;
const PUBLISHERS: u64 = 4;
/// So long without a new message means that nothing comes any more.
const STALLED: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_secs(20);
/// An application that hangs gives no answer at all; its connection breaks after this.
const HANG: Duration = Duration::from_secs(2);

/// How often each message was taken, by its number.
struct Taken {
    counts: Mutex<HashMap<u64, u32>>,
    different: AtomicU64,
}

impl Taken {
    fn add(&self, number: u64) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(number).or_default();
        *count += 1;
        if *count == 1 {
            self.different.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn different(&self) -> u64 {
        self.different.load(Ordering::Relaxed)
    }

    fn missing(&self, messages: u64) -> Vec<u64> {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        (0..messages).filter(|number| !counts.contains_key(number)).collect()
    }

    fn duplicates(&self) -> u64 {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.values().map(|count| u64::from(*count - 1)).sum()
    }
}

/// Answers events: of a hundred, ten with a failure, five with RETRY, one not at all.
async fn answer(asked: Asked, topic: String, taken: Arc<Taken>) -> Scripted {
    match asked.path.as_str() {
        "/dapr/subscribe" => {
            return Scripted::json(&json!([{"pubsubname": "ps", "topic": topic, "route": "/event"}]));
        }
        "/event" => {}
        _ => return Scripted::status(404),
    }
    match rand::random_range(0..100) {
        0..10 => Scripted::status(500),
        10..15 => Scripted::json(&json!({"status": "RETRY"})),
        15 => {
            tokio::time::sleep(HANG).await;
            Scripted::broken("")
        }
        _ => {
            if let Some(number) = asked.json()["data"]["number"].as_u64() {
                taken.add(number);
            }
            Scripted::status(200)
        }
    }
}

async fn application(port: u16, topic: &str, taken: &Arc<Taken>) -> Result<ScriptedApp> {
    let (topic, taken) = (topic.to_owned(), taken.clone());
    ScriptedApp::start_on(port, move |asked| answer(asked, topic.clone(), taken.clone())).await
}

/// Publishes until every number is acknowledged, over whichever runtime is there.
async fn publish(
    topic: String,
    numbers: std::ops::Range<u64>,
    runtime: watch::Receiver<String>,
) -> Result<()> {
    let http = mecha_testkit::HttpClient::new();
    let mut next = numbers.start;
    while next < numbers.end {
        let end = (next + BULK).min(numbers.end);
        let entries: Vec<_> = (next..end)
            .map(|number| json!({"entryId": number.to_string(), "event": {"number": number}, "contentType": "application/json"}))
            .collect();
        let url = format!("{}/v1.0/publish/bulk/ps/{topic}", *runtime.borrow());
        match http.post(&url, Value::from(entries).to_string()).await {
            Ok(reply) if reply.status == 204 => next = end,
            // Not acknowledged: a runtime that was just killed. All of it is published again.
            Ok(reply) if reply.status.is_server_error() => {}
            Ok(reply) => anyhow::bail!("{}: {}", reply.status, reply.text()),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
    Ok(())
}

/// A broker with its runtime and application, while both come and go.
struct Run {
    broker: Broker,
    messages: u64,
    taken: Arc<Taken>,
    topic: String,
    builder: MechaBuilder,
    url: watch::Sender<String>,
    port: u16,
    app: Option<ScriptedApp>,
    mecha: Option<Mecha>,
}

impl Run {
    async fn kill_application(&mut self) -> Result<()> {
        self.app.take().context("it runs")?.kill().await;
        self.app = Some(application(self.port, &self.topic, &self.taken).await?);
        Ok(())
    }

    async fn kill_runtime(&mut self) -> Result<()> {
        let mut killed = self.mecha.take().context("it runs")?;
        killed.signal(Signal::KILL)?;
        ensure!(killed.wait_exit(SOON).await? == 128 + 9);
        let mecha = self.builder.start().await?;
        self.url.send_replace(mecha.http_url(""));
        self.mecha = Some(mecha);
        Ok(())
    }

    /// Waits until so many different messages were taken; an error when none comes any more.
    async fn reach(&self, goal: u64, failed: &mut mpsc::Receiver<anyhow::Error>) -> Result<()> {
        let (mut last, mut changed) = (self.taken.different(), Instant::now());
        while last < goal {
            if let Ok(error) = failed.try_recv() {
                return Err(error.context("publishing"));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            let now = self.taken.different();
            if now != last {
                (last, changed) = (now, Instant::now());
            }
            if changed.elapsed() > STALLED {
                let missing = self.taken.missing(self.messages);
                let log = self.mecha.as_ref().map(|mecha| mecha.logs().tail()).unwrap_or_default();
                let some = &missing[..missing.len().min(20)];
                anyhow::bail!(
                    "{:?}: {} messages do not come, such as {some:?}\n{log}",
                    self.broker,
                    missing.len()
                );
            }
        }
        Ok(())
    }
}

async fn nothing_is_lost(broker: Broker) -> Result<()> {
    let messages = std::env::var(MESSAGES).ok().map_or(Ok(100_000), |text| text.parse())?;
    let taken = Arc::new(Taken { counts: Mutex::default(), different: AtomicU64::new(0) });
    let topic = topic("durability");
    let port = free_port()?;
    let app = application(port, &topic, &taken).await?;
    let (builder, _backing) = broker.component(Mecha::builder().app_id("durable"), "ps")?;
    let builder = builder.flag("--app-port", port.to_string());
    let mecha = builder.start().await?;
    mecha.logs().wait_for("dapr initialized", SOON).await?;
    let url = watch::Sender::new(mecha.http_url(""));
    let (app, mecha) = (Some(app), Some(mecha));
    let mut run = Run { broker, messages, taken, topic, builder, url, port, app, mecha };

    let began = Instant::now();
    let (fails, mut failed) = mpsc::channel(1);
    let share = messages / PUBLISHERS;
    for publisher in 0..PUBLISHERS {
        let end = if publisher + 1 == PUBLISHERS { messages } else { (publisher + 1) * share };
        let publishing = publish(run.topic.clone(), publisher * share..end, run.url.subscribe());
        let fails = fails.clone();
        tokio::spawn(async move {
            if let Err(error) = publishing.await {
                // A test that failed already listens no more.
                let _ = fails.send(error).await;
            }
        });
    }
    run.reach(messages / 5, &mut failed).await?;
    run.kill_application().await?;
    run.reach(messages * 2 / 5, &mut failed).await?;
    if broker.is_durable() {
        run.kill_runtime().await?;
    }
    run.reach(messages * 3 / 5, &mut failed).await?;
    run.kill_application().await?;
    run.reach(messages, &mut failed).await?;
    println!(
        "{broker:?}: {messages} messages, 0 lost, {} taken more than once, in {:.0?}",
        run.taken.duplicates(),
        began.elapsed()
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_message_is_lost_in_memory_while_the_runtime_lives() {
    nothing_is_lost(Broker::Memory).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_message_is_lost_over_sqlite() {
    nothing_is_lost(Broker::Sqlite).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_message_is_lost_over_redis() {
    nothing_is_lost(Broker::Redis).await.unwrap();
}
