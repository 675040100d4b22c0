//! A broker's plugin replaced again and again while messages flow through it: no publish fails, nothing is lost, and where the
//! broker keeps an order within a key, applications see that order.
//!
//! `MECHA_DURABILITY_MESSAGES` sets another number of messages than 4,000.

#[path = "support/broker.rs"]
mod broker;
#[path = "support/sequences.rs"]
mod sequences;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use mecha_backends::ElasticMq;
use mecha_testkit::{HttpClient, Mecha, MechaBuilder, Scripted, ScriptedApp, eventually, plugin_library};
use serde_json::json;
use tempfile::TempDir;
use tokio::task::JoinSet;

use broker::{Backing, Broker, topic};
use sequences::Sequences;

const MESSAGES: &str = "MECHA_DURABILITY_MESSAGES";
const SWAPS: u64 = 10;
/// Message groups, or keys of partitions, each with a publisher of its own.
const KEYS: u64 = 16;
/// Publishers are no more than this ahead of the application.
const AHEAD: u64 = 500;
/// So long without a new message means that nothing comes any more.
const STALLED: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(5);

/// Whether messages of one key must come in the order in which they were published.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Kept,
    Any,
}

/// A broker, and what it promises.
struct Case {
    name: &'static str,
    backend: &'static str,
    builder: MechaBuilder,
    order: Order,
    topic: String,
    _backing: (Option<Backing>, Option<ElasticMq>),
}

impl Case {
    fn of(name: &'static str, broker: Broker, backend: &'static str, order: Order) -> Result<Self> {
        let (builder, backing) = broker.component(Mecha::builder().app_id("swapping"), "ps")?;
        let topic = topic("swap");
        backing.spread(&topic)?;
        Ok(Self { name, backend, builder, order, topic, _backing: (Some(backing), None) })
    }

    fn fifo() -> Result<Self> {
        let server = ElasticMq::shared()?;
        let metadata = [
            ("endpoint", server.endpoint()),
            ("region", ElasticMq::REGION),
            ("accessKey", "x"),
            ("secretKey", "x"),
            ("messageWaitTimeSeconds", "1"),
            ("fifo", "true"),
        ];
        let builder = Mecha::builder().app_id("swapping").plugin("aws");
        let builder = builder.component_with("ps", "pubsub.aws.sqs", &metadata);
        let (order, topic) = (Order::Kept, topic("swap"));
        Ok(Self { name: "SQS, FIFO", backend: "aws", builder, order, topic, _backing: (None, Some(server)) })
    }
}

/// Two builds of a plugin that do the same: what stands behind a library's end changes only what it is told apart by.
fn builds(backend: &str) -> Result<(TempDir, [PathBuf; 2])> {
    let (folder, library) = (tempfile::tempdir()?, std::fs::read(plugin_library(backend)?)?);
    let build = |name: &str| -> Result<PathBuf> {
        let file = folder.path().join(format!("{name}.so"));
        std::fs::write(&file, [&library[..], name.as_bytes()].concat())?;
        Ok(file)
    };
    let both = [build("a")?, build("b")?];
    Ok((folder, both))
}

/// The application: every fiftieth delivery fails.
async fn application(topic: String, sequences: Arc<Sequences>) -> Result<ScriptedApp> {
    ScriptedApp::start(move |asked| {
        let (topic, sequences) = (topic.clone(), sequences.clone());
        async move {
            match asked.path.as_str() {
                "/dapr/subscribe" => {
                    Scripted::json(&json!([{"pubsubname": "ps", "topic": topic, "route": "/event"}]))
                }
                "/event" => {
                    let event = asked.json();
                    let data = &event["data"];
                    let (Some(key), Some(number)) = (data["key"].as_u64(), data["number"].as_u64()) else {
                        return Scripted::status(404);
                    };
                    let working = sequences.begin(key, number);
                    // Long enough that two of one key would meet here.
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    let fails = rand::random_range(0..50) == 0;
                    working.end(!fails);
                    Scripted::status(if fails { 500 } else { 200 })
                }
                _ => Scripted::status(404),
            }
        }
    })
    .await
}

/// Publishers and how many messages they had acknowledged.
struct Publishers {
    stop: Arc<AtomicBool>,
    published: Arc<AtomicU64>,
    running: JoinSet<Result<()>>,
}

impl Publishers {
    fn start(mecha: &Mecha, topic: &str, sequences: &Arc<Sequences>) -> Self {
        let (stop, published) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut running = JoinSet::new();
        for key in 0..KEYS {
            let url = mecha.http_url(&format!("/v1.0/publish/ps/{topic}?metadata.partitionKey=key-{key}"));
            let (stop, published, sequences) = (stop.clone(), published.clone(), sequences.clone());
            running.spawn(async move {
                let http = HttpClient::new();
                let mut number = 0;
                while !stop.load(Ordering::Relaxed) {
                    if published.load(Ordering::Relaxed) >= sequences.different() + AHEAD {
                        tokio::time::sleep(PAUSE).await;
                        continue;
                    }
                    let reply = http.post(&url, json!({"key": key, "number": number}).to_string()).await?;
                    ensure!(reply.status == 204, "{}: {}", reply.status, reply.text());
                    published.fetch_add(1, Ordering::Relaxed);
                    number += 1;
                }
                Ok(())
            });
        }
        Self { stop, published, running }
    }

    /// How many were published in all.
    async fn finish(mut self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(publisher) = self.running.join_next().await {
            publisher?.context("a publish failed while the plugin was replaced")?;
        }
        Ok(self.published.load(Ordering::Relaxed))
    }
}

/// Waits until so many different messages were taken; gives the longest time without one.
async fn reach(case: &str, mecha: &Mecha, sequences: &Sequences, goal: u64) -> Result<Duration> {
    let (mut last, mut changed, mut longest) = (sequences.different(), Instant::now(), Duration::ZERO);
    while last < goal {
        tokio::time::sleep(PAUSE).await;
        longest = longest.max(changed.elapsed());
        let now = sequences.different();
        if now != last {
            (last, changed) = (now, Instant::now());
        }
        if changed.elapsed() > STALLED {
            bail!("{case}: {now} of {goal} messages, and no more come\n{}", mecha.logs().tail());
        }
    }
    Ok(longest)
}

async fn retired(mecha: &Mecha, expected: u64) -> Result<()> {
    let text = mecha.metrics().await?;
    let count = |state: &str| -> f64 {
        let label = format!("state=\"{state}\"");
        let lines = text.lines().filter(|line| line.starts_with("mecha_plugin_generations{"));
        let values = lines.filter(|line| line.contains(&label)).filter_map(|line| line.rsplit(' ').next());
        values.filter_map(|value| value.parse::<f64>().ok()).sum()
    };
    let counts = ["active", "draining", "retired"].map(count);
    ensure!(counts == [1.0, 0.0, expected as f64], "active, draining, retired: {counts:?}");
    Ok(())
}

async fn nothing_is_lost(case: Case) -> Result<()> {
    let messages: u64 = std::env::var(MESSAGES).ok().map_or(Ok(4_000), |text| text.parse())?;
    let (_folder, builds) = builds(case.backend)?;
    let sequences = Arc::new(Sequences::default());
    let app = application(case.topic.clone(), sequences.clone()).await?;
    let mecha = case.builder.flag("--app-port", app.port().to_string()).start().await?;
    let began = Instant::now();
    let publishers = Publishers::start(&mecha, &case.topic, &sequences);
    let (mut pause, mut slowest) = (Duration::ZERO, Duration::ZERO);
    for swap in 0..SWAPS {
        let goal = sequences.different() + messages / (SWAPS + 1);
        pause = pause.max(reach(case.name, &mecha, &sequences, goal).await?);
        let asked = Instant::now();
        mecha.replace_plugin(case.backend, &builds[swap as usize % 2])?;
        eventually(SOON, || retired(&mecha, swap + 1)).await.context(case.name)?;
        slowest = slowest.max(asked.elapsed());
    }
    let goal = sequences.different() + messages / (SWAPS + 1);
    pause = pause.max(reach(case.name, &mecha, &sequences, goal).await?);
    let published = publishers.finish().await?;
    reach(case.name, &mecha, &sequences, published).await?;
    let (duplicates, disorder) = (sequences.duplicates(), sequences.disorder());
    println!(
        "{}: {published} messages through {SWAPS} swaps, 0 lost, {duplicates} taken more than once, {} out of order, longest \
         swap {slowest:.1?}, longest pause {pause:.1?}, in {:.0?}",
        case.name,
        disorder.len(),
        began.elapsed()
    );
    ensure!(sequences.different() == published, "more came than was published");
    ensure!(case.order == Order::Any || disorder.is_empty(), "{}: {disorder:#?}", case.name);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_plugin_is_replaced_under_messages() {
    nothing_is_lost(Case::of("memory", Broker::Memory, "memory", Order::Any).unwrap()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_redis_plugin_is_replaced_under_messages() {
    nothing_is_lost(Case::of("Redis", Broker::Redis, "redis", Order::Any).unwrap()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kafka_plugin_is_replaced_under_messages() {
    if Broker::all().contains(&Broker::Kafka) {
        nothing_is_lost(Case::of("Kafka", Broker::Kafka, "kafka", Order::Kept).unwrap()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sqs_plugin_is_replaced_under_messages() {
    if Broker::all().contains(&Broker::Sqs) {
        nothing_is_lost(Case::of("SQS", Broker::Sqs, "aws", Order::Any).unwrap()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sqs_plugin_is_replaced_under_messages_of_a_fifo_queue() {
    if Broker::all().contains(&Broker::Sqs) {
        nothing_is_lost(Case::fifo().unwrap()).await.unwrap();
    }
}
