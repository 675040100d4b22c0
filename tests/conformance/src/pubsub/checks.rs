//! What every broker must do. Each check has a topic and components of its own.

use std::time::{Duration, Instant};

use mecha_plugin_api::source::Outcome;

use super::Broker;
use super::consumer::{messages, texts};
use crate::row::Lack;
use crate::subject::{Subject, context};
use crate::{Checked, Tell, because, is, run};

/// Runs every check.
pub(crate) async fn all(subject: &Subject<'_>, tell: Tell<'_>) {
    let broker = &Broker(subject);
    run!(
        broker,
        tell,
        [
            what_is_published_comes_out_as_it_went_in,
            a_pull_without_a_message_ends,
            what_is_acknowledged_does_not_come_again,
            what_is_retried_comes_again,
            what_is_rejected_does_not_come_again,
            messages_keep_their_order,
            a_bulk_is_published,
            each_group_gets_each_message,
            consumers_of_a_group_share,
            closing_gives_back,
            a_group_gets_what_came_while_it_was_away,
            settling_runs_beside_a_pull,
            a_pull_that_is_given_up_loses_nothing,
        ]
    );
}

async fn what_is_published_comes_out_as_it_went_in(broker: &Broker<'_>) -> Checked {
    let (component, topic) = (broker.open("g").await?, broker.topic());
    let consumer = component.subscribe(&topic).await?;
    let long: Vec<u8> = (0..200_000_u32).map(|number| (number % 251) as u8).collect();
    // Not UTF-8 where the broker takes any bytes; the runtime sends text to those that do not.
    let payloads: [&[u8]; 3] = [br#"{"order": 7}"#, "größer".as_bytes(), &long];
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let metadata =
        [("traceparent", trace), ("tracestate", "a=1,b=2"), ("baggage", "user=é%20x"), ("x-custom", "one")];
    for payload in payloads {
        let request = component.request(&topic, payload, &metadata);
        component.object.publish(context(), request).await.into_result().map_err(because)?;
    }
    let deliveries = consumer.take(payloads.len()).await?;
    for payload in payloads {
        let found = deliveries.iter().find(|delivery| &*delivery.data == payload);
        let delivery = found.ok_or_else(|| format!("no message of {} bytes", payload.len()))?;
        is("topic", &*delivery.topic, topic.as_str())?;
        is("redelivered", delivery.redelivered, 0)?;
        if broker.row().has(Lack::ContentType) {
            is("content type", &*delivery.content_type, "application/json")?;
        }
        let kept = if broker.row().has(Lack::Metadata) { &metadata[..] } else { &metadata[..1] };
        for (key, value) in kept {
            is(key, delivery.metadata.get(key), Some(*value))?;
        }
    }
    consumer.settle(&deliveries, Outcome::ACK).await?;
    consumer.close().await
}

async fn a_pull_without_a_message_ends(broker: &Broker<'_>) -> Checked {
    let (component, topic) = (broker.open("g").await?, broker.topic());
    let consumer = component.subscribe(&topic).await?;
    let started = Instant::now();
    consumer.nothing_comes().await?;
    let took = started.elapsed();
    if took > broker.row().quiet + Duration::from_secs(2) {
        return Err(format!("it took {took:?}"));
    }
    consumer.close().await
}

async fn what_is_acknowledged_does_not_come_again(broker: &Broker<'_>) -> Checked {
    let (component, topic) = (broker.open("g").await?, broker.topic());
    let consumer = component.subscribe(&topic).await?;
    component.publish_all(&topic, 0..3).await?;
    let deliveries = consumer.take(3).await?;
    consumer.settle(&deliveries, Outcome::ACK).await?;
    consumer.nothing_comes().await?;
    consumer.close().await?;
    let consumer = component.subscribe(&topic).await?;
    consumer.nothing_comes().await?;
    consumer.close().await
}

async fn what_is_retried_comes_again(broker: &Broker<'_>) -> Checked {
    let (component, topic) = (broker.open("g").await?, broker.topic());
    let consumer = component.subscribe(&topic).await?;
    component.publish(&topic, "again").await?;
    let delay = Duration::from_millis(500);
    for _ in 0..2 {
        let delivery = consumer.take(1).await?;
        let settled = Instant::now();
        consumer.settle_after(&delivery, Outcome::RETRY, delay).await?;
        let again = consumer.take(1).await?;
        is("message", texts(&again), texts(&delivery))?;
        if broker.row().has(Lack::Delay) && settled.elapsed() < delay {
            return Err(format!("it came after {:?}", settled.elapsed()));
        }
        consumer.settle(&again, Outcome::RETRY).await?;
    }
    let last = consumer.take(1).await?;
    consumer.settle(&last, Outcome::ACK).await?;
    consumer.nothing_comes().await?;
    consumer.close().await
}

async fn what_is_rejected_does_not_come_again(broker: &Broker<'_>) -> Checked {
    let (component, topic) = (broker.open("g").await?, broker.topic());
    let consumer = component.subscribe(&topic).await?;
    component.publish(&topic, "bad").await?;
    component.publish(&topic, "good").await?;
    for _ in 0..2 {
        let delivery = consumer.take(1).await?;
        let outcome = if texts(&delivery) == ["bad"] { Outcome::REJECT } else { Outcome::ACK };
        consumer.settle(&delivery, outcome).await?;
    }
    consumer.nothing_comes().await?;
    consumer.close().await
}

async fn messages_keep_their_order(broker: &Broker<'_>) -> Checked {
    if !broker.row().has(Lack::Order) {
        return Ok(());
    }
    let (component, topic) = (broker.open("g").await?, broker.topic());
    let consumer = component.subscribe(&topic).await?;
    component.publish_all(&topic, 0..100).await?;
    let mut seen = Vec::new();
    while seen.len() < 100 {
        let deliveries = consumer.take((100 - seen.len()).min(7)).await?;
        seen.extend(texts(&deliveries));
        consumer.settle(&deliveries, Outcome::ACK).await?;
    }
    is("order", seen, messages(0..100))?;
    consumer.close().await
}

async fn a_bulk_is_published(broker: &Broker<'_>) -> Checked {
    let (component, topic) = (broker.open("g").await?, broker.topic());
    let consumer = component.subscribe(&topic).await?;
    is("failed entries", component.bulk_publish(&topic, 0..25).await?.len(), 0)?;
    let deliveries = consumer.take(25).await?;
    let mut seen = texts(&deliveries);
    if !broker.row().has(Lack::Order) {
        seen.sort();
    }
    is("messages", seen, messages(0..25))?;
    consumer.settle(&deliveries, Outcome::ACK).await?;
    consumer.close().await
}

async fn each_group_gets_each_message(broker: &Broker<'_>) -> Checked {
    if !broker.row().has(Lack::Groups) {
        return Ok(());
    }
    let (first, second, topic) = (broker.open("first").await?, broker.open("second").await?, broker.topic());
    let consumers = [first.subscribe(&topic).await?, second.subscribe(&topic).await?];
    first.publish_all(&topic, 0..5).await?;
    for consumer in consumers {
        let deliveries = consumer.take(5).await?;
        let mut seen = texts(&deliveries);
        seen.sort();
        is("messages", seen, messages(0..5))?;
        consumer.settle(&deliveries, Outcome::ACK).await?;
        consumer.nothing_comes().await?;
        consumer.close().await?;
    }
    Ok(())
}

async fn consumers_of_a_group_share(broker: &Broker<'_>) -> Checked {
    let (component, topic) = (broker.open("g").await?, broker.topic());
    let consumers = [component.subscribe(&topic).await?, component.subscribe(&topic).await?];
    component.publish_all(&topic, 0..40).await?;
    let (started, mut seen) = (Instant::now(), Vec::new());
    while seen.len() < 40 {
        if started.elapsed() > broker.row().patience {
            return Err(format!("{} of 40 came", seen.len()));
        }
        for consumer in &consumers {
            let pulled = consumer.pull(4, broker.row().quiet).await.map_err(because)?;
            seen.extend(texts(&pulled));
            consumer.settle(&pulled, Outcome::ACK).await?;
        }
    }
    seen.sort();
    is("messages", seen, messages(0..40))?;
    for consumer in consumers {
        consumer.nothing_comes().await?;
        consumer.close().await?;
    }
    Ok(())
}

async fn closing_gives_back(broker: &Broker<'_>) -> Checked {
    let (component, topic) = (broker.open("g").await?, broker.topic());
    let consumer = component.subscribe(&topic).await?;
    component.publish_all(&topic, 0..6).await?;
    let deliveries = consumer.take(4).await?;
    consumer.settle(&deliveries[..1], Outcome::ACK).await?;
    let acknowledged = texts(&deliveries[..1]);
    consumer.close().await?;
    let consumer = component.subscribe(&topic).await?;
    let rest = consumer.take(5).await?;
    let mut seen = [acknowledged, texts(&rest)].concat();
    seen.sort();
    is("messages", seen, messages(0..6))?;
    consumer.settle(&rest, Outcome::ACK).await?;
    consumer.close().await
}

async fn a_group_gets_what_came_while_it_was_away(broker: &Broker<'_>) -> Checked {
    let (component, topic) = (broker.open("g").await?, broker.topic());
    component.subscribe(&topic).await?.close().await?;
    component.publish_all(&topic, 0..3).await?;
    let consumer = component.subscribe(&topic).await?;
    consumer.drain(messages(0..3).into_iter().collect()).await?;
    consumer.close().await
}

async fn settling_runs_beside_a_pull(broker: &Broker<'_>) -> Checked {
    let (component, topic) = (broker.open("g").await?, broker.topic());
    let consumer = component.subscribe(&topic).await?;
    component.publish(&topic, "one").await?;
    let first = consumer.take(1).await?;
    let (second, settled) = tokio::join!(consumer.take(1), async {
        let settled = consumer.settle(&first, Outcome::ACK).await;
        component.publish(&topic, "two").await?;
        settled
    });
    settled?;
    let second = second?;
    is("message", texts(&second), vec!["two".to_owned()])?;
    consumer.settle(&second, Outcome::ACK).await?;
    consumer.nothing_comes().await?;
    consumer.close().await
}

async fn a_pull_that_is_given_up_loses_nothing(broker: &Broker<'_>) -> Checked {
    let (component, topic) = (broker.open("g").await?, broker.topic());
    let consumer = component.subscribe(&topic).await?;
    for number in 0..5 {
        let text = format!("m{number:04}");
        let pulled = {
            let mut pull = std::pin::pin!(consumer.pull(10, broker.row().patience));
            tokio::select! {
                biased;
                // It may have been as quick as the publishing.
                pulled = &mut pull => pulled.map_err(because)?,
                published = component.publish(&topic, &text) => published.map(|()| Vec::new())?,
            }
        };
        let deliveries = if pulled.is_empty() { consumer.take(1).await? } else { pulled };
        is("message", texts(&deliveries), vec![text])?;
        consumer.settle(&deliveries, Outcome::ACK).await?;
    }
    consumer.close().await
}
