//! A new version of the plugin takes over while messages flow.

use mecha_plugin_api::source::Outcome;

use super::Broker;
use super::consumer::messages;
use crate::plugin::{Plugin, retire};
use crate::row::Row;
use crate::subject::Subject;
use crate::{Checked, because};

/// As the runtime does it: the new version is opened first, then calls move, then the old consumers stop.
pub(crate) async fn replacing_it_loses_nothing(plugin: &mut Plugin, row: &Row) -> Checked {
    let subject = Subject { plugin, row };
    let broker = Broker(&subject);
    let topic = broker.topic();
    let old = broker.open("g").await?;
    let old_consumer = old.subscribe(&topic).await?;
    old.publish_all(&topic, 0..50).await?;
    let in_flight = old_consumer.take(10).await?;

    let old_generation = plugin.replace().map_err(because)?;
    let subject = Subject { plugin, row };
    let new = Broker(&subject).open("g").await?;
    let moving = async {
        old_consumer.settle(&in_flight[..5], Outcome::ACK).await?;
        old_consumer.close().await?;
        drop(old);
        retire(&old_generation).await;
        Ok::<_, String>(())
    };
    let (consumer, published, moved) =
        tokio::join!(new.subscribe(&topic), new.publish_all(&topic, 50..100), moving);
    published?;
    moved?;
    let consumer = consumer?;
    consumer.drain(messages(5..100).into_iter().collect()).await?;
    consumer.nothing_comes().await?;
    consumer.close().await
}
