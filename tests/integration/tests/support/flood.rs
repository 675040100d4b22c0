//! A flood of numbered messages through one broker to an application that often fails, while a test breaks things around it.
//!
//! `MECHA_DURABILITY_MESSAGES` sets another number of messages than 10,000: the whole proof is 100,000.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mecha_backends::free_port;
use mecha_testkit::{Asked, Mecha, MechaBuilder, Scripted, ScriptedApp, Signal};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

const MESSAGES: &str = "MECHA_DURABILITY_MESSAGES";
/// Entries of one bulk publish.
const BULK: u64 = 100;
const PUBLISHERS: u64 = 4;
/// So long without a new message means that nothing comes any more.
const STALLED: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_secs(20);
/// An application that hangs gives no answer at all; its connection breaks after this.
const HANG: Duration = Duration::from_millis(500);
/// Before what was not acknowledged is published again.
const AGAIN: Duration = Duration::from_millis(50);

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
            Ok(reply) if !reply.status.is_server_error() => {
                anyhow::bail!("{}: {}", reply.status, reply.text())
            }
            // Not acknowledged: all of it is published again.
            Ok(_) | Err(_) => tokio::time::sleep(AGAIN).await,
        }
    }
    Ok(())
}

/// A runtime with its application and publishers.
pub struct Flood {
    /// Its name in what is printed.
    name: String,
    messages: u64,
    taken: Arc<Taken>,
    topic: String,
    builder: MechaBuilder,
    url: watch::Sender<String>,
    port: u16,
    app: Option<ScriptedApp>,
    mecha: Option<Mecha>,
    failed: mpsc::Receiver<anyhow::Error>,
    began: Instant,
}

#[allow(dead_code, reason = "each test breaks other things")]
impl Flood {
    /// Starts the runtime, whose component `ps` is the broker, and begins to publish.
    pub async fn start(name: String, builder: MechaBuilder, topic: String) -> Result<Self> {
        let messages = std::env::var(MESSAGES).ok().map_or(Ok(10_000), |text| text.parse())?;
        let taken = Arc::new(Taken { counts: Mutex::default(), different: AtomicU64::new(0) });
        let port = free_port()?;
        let app = Some(application(port, &topic, &taken).await?);
        let builder = builder.flag("--app-port", port.to_string());
        let mecha = builder.start().await?;
        mecha.logs().wait_for("dapr initialized", SOON).await?;
        let url = watch::Sender::new(mecha.http_url(""));
        let (fails, failed) = mpsc::channel(1);
        let share = messages / PUBLISHERS;
        for publisher in 0..PUBLISHERS {
            let end = if publisher + 1 == PUBLISHERS { messages } else { (publisher + 1) * share };
            let publishing = publish(topic.clone(), publisher * share..end, url.subscribe());
            let fails = fails.clone();
            tokio::spawn(async move {
                if let Err(error) = publishing.await {
                    // A test that failed already listens no more.
                    let _ = fails.send(error).await;
                }
            });
        }
        let (mecha, began) = (Some(mecha), Instant::now());
        Ok(Self { name, messages, taken, topic, builder, url, port, app, mecha, failed, began })
    }

    /// The runtime that is there now.
    pub fn mecha(&self) -> Result<&Mecha> {
        self.mecha.as_ref().context("it runs")
    }

    /// Breaks every connection of the application and starts another one in its place.
    pub async fn kill_application(&mut self) -> Result<()> {
        self.app.take().context("it runs")?.kill().await;
        self.app = Some(application(self.port, &self.topic, &self.taken).await?);
        Ok(())
    }

    /// Kills the runtime with signal 9 and starts another one in its place.
    pub async fn kill_runtime(&mut self) -> Result<()> {
        let mut killed = self.mecha.take().context("it runs")?;
        killed.signal(Signal::KILL)?;
        ensure!(killed.wait_exit(SOON).await? == 128 + 9);
        let mecha = self.builder.start().await?;
        self.url.send_replace(mecha.http_url(""));
        self.mecha = Some(mecha);
        Ok(())
    }

    /// Waits until so many percent of the messages were taken; an error when none comes any more.
    pub async fn reach(&mut self, percent: u64) -> Result<()> {
        let goal = self.messages * percent / 100;
        let (mut last, mut changed) = (self.taken.different(), Instant::now());
        while last < goal {
            if let Ok(error) = self.failed.try_recv() {
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
                    "{}: {} messages do not come, such as {some:?}\n{log}",
                    self.name,
                    missing.len()
                );
            }
        }
        Ok(())
    }

    /// Waits for the rest, and prints how many came more than once.
    pub async fn finish(mut self) -> Result<()> {
        self.reach(100).await?;
        println!(
            "{}: {} messages, 0 lost, {} taken more than once, in {:.0?}",
            self.name,
            self.messages,
            self.taken.duplicates(),
            self.began.elapsed()
        );
        Ok(())
    }
}
