//! The broker itself goes away under a flood of messages: killed and started again, frozen, cut off, behind a wire that went
//! silent. The component's health says so while it lasts, calls fail rather than hang, the plugin recovers by itself, and no
//! acknowledged message is lost.

#[path = "support/broker.rs"]
mod broker;
#[path = "support/faults.rs"]
mod faults;
#[path = "support/flood.rs"]
mod flood;

use std::time::Duration;

use anyhow::{Context, Result};
use mecha_backends::{ElasticMq, Kafka, Proxy, Redis, Toxic, Toxiproxy, Way, optional};
use mecha_testkit::{HttpClient, Mecha, MechaBuilder};
use rustix::process::{Pid, Signal, kill_process};

use broker::topic;
use faults::{fails, wait_healthy};
use flood::Flood;

/// So many partitions of a topic are worked on at once.
const PARTITIONS: u16 = 32;

fn runtime() -> MechaBuilder {
    Mecha::builder().app_id("faults")
}

/// A broker under test: what it is called, and how long one of its calls may take when nobody answers: as long as it waits for
/// its turn, and then for its own answer.
struct Case {
    name: &'static str,
    limit: Duration,
    topic: String,
    flood: Flood,
}

impl Case {
    async fn start(name: &'static str, limit: u64, builder: MechaBuilder, topic: String) -> Result<Self> {
        let flood = Flood::start(name.to_owned(), builder, topic.clone()).await?;
        Ok(Self { name, limit: Duration::from_secs(limit), topic, flood })
    }

    /// Lets messages flow up to so many percent, and then takes the broker away.
    async fn away(&mut self, how: &str, from: u64, begin: impl FnOnce() -> Result<()>) -> Result<()> {
        self.flood.reach(from).await?;
        begin()?;
        let (mecha, what) = (self.flood.mecha()?, format!("{}, {how}", self.name));
        // The first call after it went away meets connections that stand, later ones find none.
        self.fails(&what, mecha, &self.topic).await?;
        wait_healthy(mecha, "ps", false).await.with_context(|| format!("{what}: it is away"))?;
        self.fails(&what, mecha, &self.topic).await?;
        self.fails(&format!("{what}, another topic"), mecha, "another").await
    }

    async fn fails(&self, what: &str, mecha: &Mecha, topic: &str) -> Result<()> {
        let url = mecha.http_url(&format!("/v1.0/publish/ps/{topic}"));
        // A client of its own: a connection that was idle for long may be closed at the very moment.
        let http = HttpClient::new();
        let failed = fails(what, "ERR_PUBSUB_PUBLISH_MESSAGE", self.limit, http.post(&url, "1")).await;
        failed.with_context(|| mecha.logs().tail())
    }

    /// The broker is there again.
    async fn back(&self) -> Result<()> {
        wait_healthy(self.flood.mecha()?, "ps", true).await.with_context(|| format!("{} is back", self.name))
    }

    /// Cuts the wire, mends it, makes it silent, mends it.
    async fn break_wire(&mut self, proxy: &Proxy<'_>) -> Result<()> {
        self.away("cut off", 15, || Ok(proxy.cut()?)).await?;
        proxy.heal()?;
        self.back().await?;
        self.away("silent", 35, || Ok(proxy.add(Toxic::Silence, Way::ToClient)?)).await?;
        proxy.heal()?;
        self.back().await
    }
}

async fn over_redis(mut redis: Redis, toxiproxy: &Toxiproxy) -> Result<()> {
    let proxy = toxiproxy.proxy(redis.addr())?;
    let addr = proxy.addr().to_string();
    let metadata =
        [("redisHost", addr.as_str()), ("redeliverInterval", "200ms"), ("processingTimeout", "500ms")];
    let builder = runtime().plugin("redis").component_with("ps", "pubsub.redis", &metadata);
    let mut case = Case::start("Redis", 5, builder, topic("faults")).await?;
    case.break_wire(&proxy).await?;
    case.away("killed", 55, || Ok(redis.stop()?)).await?;
    redis.start_again()?;
    case.back().await?;
    case.flood.finish().await
}

async fn over_kafka(mut kafka: Kafka) -> Result<()> {
    let (addr, topic) = (kafka.addr().to_string(), topic("faults"));
    kafka.create_topic(&topic, PARTITIONS)?;
    let metadata = [
        ("brokers", addr.as_str()),
        ("authType", "none"),
        ("consumerGroup", "faults"),
        ("initialOffset", "oldest"),
    ];
    let builder = runtime().plugin("kafka").component_with("ps", "pubsub.kafka", &metadata);
    let mut case = Case::start("Kafka", 25, builder, topic).await?;
    // A broker tells its clients its own address, so that no proxy can stand before it. One that is stopped is a silent wire:
    // the system still takes connections in its name.
    let frozen = kafka.pid().and_then(|pid| Pid::from_raw(pid as i32)).context("it runs")?;
    let away = case.away("silent", 15, || Ok(kill_process(frozen, Signal::STOP)?)).await;
    kill_process(frozen, Signal::CONT)?;
    away?;
    case.back().await?;
    case.away("killed", 45, || Ok(kafka.stop()?)).await?;
    kafka.start_again()?;
    case.back().await?;
    case.flood.finish().await
}

/// The server forgets its queues when it is killed, so that only the way to it is broken.
async fn over_sqs(sqs: ElasticMq, toxiproxy: &Toxiproxy, wait: &str) -> Result<()> {
    let proxy = toxiproxy.proxy(sqs.addr().context("a server of our own")?)?;
    let endpoint = format!("http://{}", proxy.addr());
    let metadata = [
        ("endpoint", endpoint.as_str()),
        ("region", ElasticMq::REGION),
        ("accessKey", "x"),
        ("secretKey", "x"),
        ("messageWaitTimeSeconds", wait),
        // What a silent wire swallowed on its way to the plugin comes again after this.
        ("messageVisibilityTimeout", "10"),
    ];
    let builder = runtime().plugin("aws").component_with("ps", "pubsub.aws.sqs", &metadata);
    let mut case = Case::start("SQS", 35, builder, topic("faults")).await?;
    case.break_wire(&proxy).await?;
    case.flood.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_is_cut_off_silent_and_killed() {
    let Some(toxiproxy) = optional(Toxiproxy::start()).unwrap() else { return };
    over_redis(Redis::start_durable().unwrap(), &toxiproxy).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_is_silent_and_killed() {
    let Some(kafka) = optional(Kafka::start()).unwrap() else { return };
    over_kafka(kafka).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn sqs_is_cut_off_and_silent() {
    let Some(toxiproxy) = optional(Toxiproxy::start()).unwrap() else { return };
    let Some(sqs) = optional(ElasticMq::start()).unwrap() else { return };
    over_sqs(sqs, &toxiproxy, "1").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn sqs_is_cut_off_and_silent_under_the_longest_polls() {
    let Some(toxiproxy) = optional(Toxiproxy::start()).unwrap() else { return };
    let Some(sqs) = optional(ElasticMq::start()).unwrap() else { return };
    over_sqs(sqs, &toxiproxy, "20").await.unwrap();
}
