//! What every broker must do. Each check has a topic and components of its own.

use std::future::Future;
use std::time::{Duration, Instant};

use mecha_plugin_api::source::Outcome;

use crate::broker::{Broker, context, messages, texts};

type Checked = Result<(), String>;

/// Runs every check and then tells which failed.
pub async fn all(broker: &Broker) {
    let mut failed = Vec::new();
    macro_rules! check {
        ($($check:ident),* $(,)?) => {
            $(tell(broker, stringify!($check), $check(broker), &mut failed).await;)*
        };
    }
    check![
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
    ];
    assert!(failed.is_empty(), "{}: {failed:#?}", broker.row.type_name);
}

async fn tell(
    broker: &Broker,
    name: &'static str,
    check: impl Future<Output = Checked>,
    failed: &mut Vec<String>,
) {
    let (started, result) = (Instant::now(), check.await);
    println!("{}: {name} ({:?}): {result:?}", broker.row.type_name, started.elapsed());
    failed.extend(result.err().map(|error| format!("{name}: {error}")));
}

/// A check's expectation.
fn is<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> Checked {
    if found == expected { Ok(()) } else { Err(format!("{what}: {found:?} instead of {expected:?}")) }
}

async fn what_is_published_comes_out_as_it_went_in(broker: &Broker) -> Checked {
    let (component, topic) = (broker.open("g").await, broker.topic());
    let consumer = component.subscribe(&topic).await;
    let long: Vec<u8> = (0..200_000_u32).map(|number| (number % 251) as u8).collect();
    // Not UTF-8 where the broker takes any bytes; the runtime sends text to those that do not.
    let payloads: [&[u8]; 3] = [br#"{"order": 7}"#, "größer".as_bytes(), &long];
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let metadata =
        [("traceparent", trace), ("tracestate", "a=1,b=2"), ("baggage", "user=é%20x"), ("x-custom", "one")];
    for payload in payloads {
        let request = component.request(&topic, payload, &metadata);
        component
            .object
            .publish(context(), request)
            .await
            .into_result()
            .map_err(|error| error.to_string())?;
    }
    let deliveries = consumer.take(payloads.len()).await?;
    for payload in payloads {
        let found = deliveries.iter().find(|delivery| &*delivery.data == payload);
        let delivery = found.ok_or_else(|| format!("no message of {} bytes", payload.len()))?;
        is("topic", &*delivery.topic, topic.as_str())?;
        is("redelivered", delivery.redelivered, 0)?;
        if broker.row.keeps_content_type {
            is("content type", &*delivery.content_type, "application/json")?;
        }
        let kept = if broker.row.keeps_metadata { &metadata[..] } else { &metadata[..1] };
        for (key, value) in kept {
            is(key, delivery.metadata.get(key), Some(*value))?;
        }
    }
    consumer.settle(&deliveries, Outcome::ACK).await?;
    consumer.close().await
}

async fn a_pull_without_a_message_ends(broker: &Broker) -> Checked {
    let (component, topic) = (broker.open("g").await, broker.topic());
    let consumer = component.subscribe(&topic).await;
    let started = Instant::now();
    consumer.nothing_comes().await?;
    let took = started.elapsed();
    if took > broker.row.quiet + Duration::from_secs(2) {
        return Err(format!("it took {took:?}"));
    }
    consumer.close().await
}

async fn what_is_acknowledged_does_not_come_again(broker: &Broker) -> Checked {
    let (component, topic) = (broker.open("g").await, broker.topic());
    let consumer = component.subscribe(&topic).await;
    component.publish_all(&topic, 0..3).await;
    let deliveries = consumer.take(3).await?;
    consumer.settle(&deliveries, Outcome::ACK).await?;
    consumer.nothing_comes().await?;
    consumer.close().await?;
    let consumer = component.subscribe(&topic).await;
    consumer.nothing_comes().await?;
    consumer.close().await
}

async fn what_is_retried_comes_again(broker: &Broker) -> Checked {
    let (component, topic) = (broker.open("g").await, broker.topic());
    let consumer = component.subscribe(&topic).await;
    component.publish(&topic, "again").await;
    let delay = Duration::from_millis(500);
    for _ in 0..2 {
        let delivery = consumer.take(1).await?;
        let settled = Instant::now();
        consumer.settle_after(&delivery, Outcome::RETRY, delay).await?;
        let again = consumer.take(1).await?;
        is("message", texts(&again), texts(&delivery))?;
        if broker.row.keeps_delay && settled.elapsed() < delay {
            return Err(format!("it came after {:?}", settled.elapsed()));
        }
        consumer.settle(&again, Outcome::RETRY).await?;
    }
    let last = consumer.take(1).await?;
    consumer.settle(&last, Outcome::ACK).await?;
    consumer.nothing_comes().await?;
    consumer.close().await
}

async fn what_is_rejected_does_not_come_again(broker: &Broker) -> Checked {
    let (component, topic) = (broker.open("g").await, broker.topic());
    let consumer = component.subscribe(&topic).await;
    component.publish(&topic, "bad").await;
    component.publish(&topic, "good").await;
    for _ in 0..2 {
        let delivery = consumer.take(1).await?;
        let outcome = if texts(&delivery) == ["bad"] { Outcome::REJECT } else { Outcome::ACK };
        consumer.settle(&delivery, outcome).await?;
    }
    consumer.nothing_comes().await?;
    consumer.close().await
}

async fn messages_keep_their_order(broker: &Broker) -> Checked {
    if !broker.row.is_ordered {
        return Ok(());
    }
    let (component, topic) = (broker.open("g").await, broker.topic());
    let consumer = component.subscribe(&topic).await;
    component.publish_all(&topic, 0..100).await;
    let mut seen = Vec::new();
    while seen.len() < 100 {
        let deliveries = consumer.take((100 - seen.len()).min(7)).await?;
        seen.extend(texts(&deliveries));
        consumer.settle(&deliveries, Outcome::ACK).await?;
    }
    is("order", seen, messages(0..100))?;
    consumer.close().await
}

async fn a_bulk_is_published(broker: &Broker) -> Checked {
    let (component, topic) = (broker.open("g").await, broker.topic());
    let consumer = component.subscribe(&topic).await;
    is("failed entries", component.bulk_publish(&topic, 0..25).await.len(), 0)?;
    let deliveries = consumer.take(25).await?;
    let mut seen = texts(&deliveries);
    if !broker.row.is_ordered {
        seen.sort();
    }
    is("messages", seen, messages(0..25))?;
    consumer.settle(&deliveries, Outcome::ACK).await?;
    consumer.close().await
}

async fn each_group_gets_each_message(broker: &Broker) -> Checked {
    let (first, second, topic) = (broker.open("first").await, broker.open("second").await, broker.topic());
    let consumers = [first.subscribe(&topic).await, second.subscribe(&topic).await];
    first.publish_all(&topic, 0..5).await;
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

async fn consumers_of_a_group_share(broker: &Broker) -> Checked {
    let (component, topic) = (broker.open("g").await, broker.topic());
    let consumers = [component.subscribe(&topic).await, component.subscribe(&topic).await];
    component.publish_all(&topic, 0..40).await;
    let (started, mut seen) = (Instant::now(), Vec::new());
    while seen.len() < 40 {
        if started.elapsed() > broker.row.patience {
            return Err(format!("{} of 40 came", seen.len()));
        }
        for consumer in &consumers {
            let pulled = consumer.pull(4, broker.row.quiet).await.map_err(|error| error.to_string())?;
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

async fn closing_gives_back(broker: &Broker) -> Checked {
    let (component, topic) = (broker.open("g").await, broker.topic());
    let consumer = component.subscribe(&topic).await;
    component.publish_all(&topic, 0..6).await;
    let deliveries = consumer.take(4).await?;
    consumer.settle(&deliveries[..1], Outcome::ACK).await?;
    let acknowledged = texts(&deliveries[..1]);
    consumer.close().await?;
    let consumer = component.subscribe(&topic).await;
    let rest = consumer.take(5).await?;
    let mut seen = [acknowledged, texts(&rest)].concat();
    seen.sort();
    is("messages", seen, messages(0..6))?;
    consumer.settle(&rest, Outcome::ACK).await?;
    consumer.close().await
}

async fn a_group_gets_what_came_while_it_was_away(broker: &Broker) -> Checked {
    let (component, topic) = (broker.open("g").await, broker.topic());
    component.subscribe(&topic).await.close().await?;
    component.publish_all(&topic, 0..3).await;
    let consumer = component.subscribe(&topic).await;
    consumer.drain(messages(0..3).into_iter().collect()).await?;
    consumer.close().await
}

async fn settling_runs_beside_a_pull(broker: &Broker) -> Checked {
    let (component, topic) = (broker.open("g").await, broker.topic());
    let consumer = component.subscribe(&topic).await;
    component.publish(&topic, "one").await;
    let first = consumer.take(1).await?;
    let (second, settled) = tokio::join!(consumer.take(1), async {
        let settled = consumer.settle(&first, Outcome::ACK).await;
        component.publish(&topic, "two").await;
        settled
    });
    settled?;
    let second = second?;
    is("message", texts(&second), vec!["two".to_owned()])?;
    consumer.settle(&second, Outcome::ACK).await?;
    consumer.nothing_comes().await?;
    consumer.close().await
}

async fn a_pull_that_is_given_up_loses_nothing(broker: &Broker) -> Checked {
    let (component, topic) = (broker.open("g").await, broker.topic());
    let consumer = component.subscribe(&topic).await;
    for number in 0..5 {
        let text = format!("m{number:04}");
        let pulled = {
            let mut pull = std::pin::pin!(consumer.pull(10, broker.row.patience));
            tokio::select! {
                biased;
                // It may have been as quick as the publishing.
                pulled = &mut pull => pulled.map_err(|error| error.to_string())?,
                () = component.publish(&topic, &text) => Vec::new(),
            }
        };
        let deliveries = if pulled.is_empty() { consumer.take(1).await? } else { pulled };
        is("message", texts(&deliveries), vec![text])?;
        consumer.settle(&deliveries, Outcome::ACK).await?;
    }
    consumer.close().await
}

/// As the runtime does it: the new version is opened first, then calls move, then the old consumers stop.
pub async fn replacing_it_loses_nothing(broker: &mut Broker) {
    let topic = broker.topic();
    let old = broker.open("g").await;
    let old_consumer = old.subscribe(&topic).await;
    old.publish_all(&topic, 0..50).await;
    let in_flight = old_consumer.take(10).await.unwrap();

    let old_generation = broker.replace().unwrap();
    let new = broker.open("g").await;
    let publishing = new.publish_all(&topic, 50..100);
    let moving = async {
        old_consumer.settle(&in_flight[..5], Outcome::ACK).await.unwrap();
        old_consumer.close().await.unwrap();
        drop(old);
        old_generation.retire(Duration::from_secs(5)).await;
    };
    let (consumer, (), ()) = tokio::join!(new.subscribe(&topic), publishing, moving);
    consumer.drain(messages(5..100).into_iter().collect()).await.unwrap();
    consumer.nothing_comes().await.unwrap();
    consumer.close().await.unwrap();
}
