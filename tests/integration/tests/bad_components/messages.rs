//! Messages that a broker or an application cannot take: too large ones, and ones that fail whenever they are tried.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mecha_backends::{ElasticMq, Kafka, Redis};
use mecha_testkit::{Answer, Mecha, MechaBuilder, Reply, Seen, TestApp, Transport, Wish};
use serde_json::{Value, json};

use crate::broker::{Broker, topic};
use crate::redis;
use crate::refusals::{Given, SECRET, component, runtime, unharmed};
use crate::servers::fails;

const SOON: Duration = Duration::from_secs(20);
const GOOD: u64 = 10;

/// A body that no compression makes small.
fn body(bytes: usize) -> String {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'a' + u8::try_from((state >> 33) % 26).unwrap_or_default())
    };
    json!((0..bytes).map(|_| next()).collect::<String>()).to_string()
}

async fn publish(mecha: &Mecha, name: &str, topic: &str, body: String) -> Result<Reply> {
    mecha.http().post(&mecha.http_url(&format!("/v1.0/publish/{name}/{topic}")), body).await
}

/// A component `ps` that refuses so many bytes with these words, and takes a small message after that.
async fn too_large(builder: MechaBuilder, bytes: usize, words: &[&str]) -> Result<()> {
    let mecha = builder.flag("--max-body-size", "16Mi").start().await?;
    let topic = topic("large");
    let reply = publish(&mecha, "ps", &topic, body(bytes)).await?;
    fails(&reply, "ERR_PUBSUB_PUBLISH_MESSAGE", words).with_context(|| format!("{bytes} bytes"))?;
    let reply = publish(&mecha, "ps", &topic, body(10)).await?;
    ensure!(reply.status == 204, "a small message after a large one: {} {}", reply.status, reply.text());
    unharmed(&mecha).await
}

/// By what the component says, and by what the broker says.
pub async fn too_large_for_kafka(kafka: &Kafka) -> Result<()> {
    let addr = kafka.addr().to_string();
    for (limit, bytes) in [("1000", 2000), ("10000000", 2 << 20)] {
        let metadata: Given<'_> = &[("brokers", &addr), ("authType", "none"), ("maxMessageBytes", limit)];
        let builder = runtime().plugin("kafka").resources(&component("ps", "pubsub.kafka", &[metadata]));
        too_large(builder, bytes, &["ps", "maxMessageBytes"]).await?;
    }
    Ok(())
}

/// SQS takes a mebibyte.
pub async fn too_large_for_sqs(sqs: &ElasticMq) -> Result<()> {
    let metadata: Given<'_> = &[
        ("endpoint", sqs.endpoint()),
        ("region", ElasticMq::REGION),
        ("accessKey", "x"),
        ("secretKey", SECRET),
    ];
    let builder = runtime().plugin("aws").resources(&component("ps", "pubsub.aws.sqs", &[metadata]));
    too_large(builder, (1 << 20) + 1, &["ps", "1048576"]).await
}

/// Redis closes the connection on a value that is longer than it may be.
pub async fn too_large_for_redis() -> Result<()> {
    let server = Redis::start()?;
    redis::command(server.addr(), &["CONFIG", "SET", "proto-max-bulk-len", "1mb"]);
    let addr = server.addr().to_string();
    let metadata: Given<'_> = &[("redisHost", &addr)];
    let builder = runtime().plugin("redis").resources(&component("ps", "pubsub.redis", &[metadata]));
    too_large(builder, 2 << 20, &["ps", "redis"]).await
}

fn is_poison(seen: &Seen) -> bool {
    seen.data["number"] == 0
}

/// One runtime and its application, which fails the message numbered 0 wherever it is not a dead letter.
struct Run {
    app: TestApp,
    mecha: Mecha,
    topic: String,
    _backing: crate::broker::Backing,
}

impl Run {
    async fn start(broker: Broker, dead_letter: Option<String>) -> Result<Self> {
        let topic = topic("work");
        let mut wishes = vec![Wish { dead_letter: dead_letter.clone(), ..Wish::new("ps", &topic) }];
        wishes.extend(dead_letter.map(|dead| Wish::new("ps", &dead)));
        let path = format!("/{topic}");
        let respond = move |seen: &Seen| {
            if is_poison(seen) && seen.path == path { Answer::Fail } else { Answer::Success }
        };
        let app = TestApp::start(Transport::Http, wishes, respond).await?;
        let (mut builder, backing) = broker.component(runtime(), "ps")?;
        for (flag, value) in app.flags() {
            builder = builder.flag(flag, value);
        }
        Ok(Self { app, mecha: builder.start().await?, topic, _backing: backing })
    }

    async fn send(&self, numbers: impl IntoIterator<Item = u64>) -> Result<()> {
        for number in numbers {
            let reply =
                publish(&self.mecha, "ps", &self.topic, json!({"number": number}).to_string()).await?;
            ensure!(reply.status == 204, "{}: {}", reply.status, reply.text());
        }
        Ok(())
    }

    /// Waits until every good message up to this one has come.
    async fn good(&self, last: u64) -> Result<()> {
        let all: HashSet<u64> = (1..=last).collect();
        let numbers = |seen: &[Seen]| -> HashSet<u64> {
            seen.iter().filter_map(|seen| seen.data["number"].as_u64()).filter(|number| *number > 0).collect()
        };
        self.app.wait_for(SOON, |seen| numbers(seen) == all).await.map(drop)
    }
}

/// It goes to the dead letter topic, once, and the messages behind it come.
pub async fn poison(broker: Broker) -> Result<()> {
    let dead = topic("dead");
    let run = Run::start(broker, Some(dead.clone())).await?;
    run.send(0..=GOOD).await?;
    run.good(GOOD).await?;
    let path = format!("/{dead}");
    let letters = |seen: &[Seen]| seen.iter().filter(|seen| seen.path == path).count();
    run.app.wait_for(SOON, |seen| letters(seen) > 0).await?;
    run.send(GOOD + 1..=GOOD + 5).await?;
    let seen = run.app.wait_for(SOON, |seen| seen.iter().any(|seen| seen.data["number"] == GOOD + 5)).await?;
    ensure!(letters(&seen) == 1, "{seen:#?}");
    ensure!(seen.iter().filter(|seen| is_poison(seen)).count() == 2, "it was tried again: {seen:#?}");
    let letter = seen.iter().find(|seen| seen.path == path).context("the letter")?;
    ensure!(letter.data == json!({"number": 0}) && letter.topic == run.topic, "{letter:#?}");
    unharmed(&run.mecha).await
}

/// Without one it comes again and again, and the messages behind it come as well; a partition of Kafka keeps its order.
pub async fn poison_without_dead_letters(broker: Broker) -> Result<()> {
    if broker == Broker::Kafka {
        return Ok(());
    }
    let run = Run::start(broker, None).await?;
    run.send(0..=GOOD).await?;
    run.good(GOOD).await?;
    let tries = |seen: &[Seen]| seen.iter().filter(|seen| is_poison(seen)).count();
    run.app.wait_for(2 * SOON, |seen| tries(seen) >= 2).await?;
    run.send(GOOD + 1..=GOOD + 5).await?;
    run.good(GOOD + 5).await?;
    let _: Value = run.mecha.http().get(&run.mecha.http_url("/v1.0/metadata")).await?.json()?;
    unharmed(&run.mecha).await
}
