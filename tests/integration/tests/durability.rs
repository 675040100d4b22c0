//! Nothing that was published is lost: 100,000 messages through each broker, to an application that fails, asks for more
//! time, hangs and is killed, with a runtime that is killed as well.

#[path = "support/broker.rs"]
mod broker;
#[path = "support/flood.rs"]
mod flood;

use anyhow::Result;
use mecha_testkit::Mecha;

use broker::{Broker, topic};
use flood::Flood;

async fn nothing_is_lost(broker: Broker) -> Result<()> {
    let (builder, backing) = broker.component(Mecha::builder().app_id("durable"), "ps")?;
    let topic = topic("durability");
    backing.spread(&topic)?;
    let mut flood = Flood::start(format!("{broker:?}"), builder, topic).await?;
    flood.reach(20).await?;
    flood.kill_application().await?;
    flood.reach(40).await?;
    if broker.is_durable() {
        flood.kill_runtime().await?;
    }
    flood.reach(60).await?;
    flood.kill_application().await?;
    flood.finish().await
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

#[tokio::test(flavor = "multi_thread")]
async fn no_message_is_lost_over_kafka() {
    if Broker::all().contains(&Broker::Kafka) {
        nothing_is_lost(Broker::Kafka).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_message_is_lost_over_sqs() {
    if Broker::all().contains(&Broker::Sqs) {
        nothing_is_lost(Broker::Sqs).await.unwrap();
    }
}
