//! `pubsub.aws.sqs` against the AWS SDK: a full queue received and deleted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{
    DeleteMessageBatchRequestEntry as Deletion, Message, MessageSystemAttributeName,
    SendMessageBatchRequestEntry as Entry,
};
use mecha_backends::ElasticMq;
use mecha_plugin_api::pubsub::{PubSubObject, SubscribeRequest};
use mecha_plugin_api::source::{Delivery, Outcome, Settlement, SourceObject};
use mecha_plugin_api::{CallContext, Metadata, RVec};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::super::{APP_ID, KIBIBYTE};
use super::BOUNDARY;
use super::aws::{Access, InFull as _};
use crate::benches::loaded::LoadedPlugin;
use crate::plan::Plan;
use crate::report::Table;
use crate::rounds::{Comparison, Contender, Unit, table};

const WANTED: &str = "≥ 0.85";
/// Messages for every second of a turn.
const A_SECOND: f64 = 2000.0;
/// Most messages in one request.
const BATCH: usize = 10;
/// Requests that fill a queue at once.
const FILLING: usize = 4;
/// What the host takes from a source, and settles, in one call at the most.
const AT_ONCE: usize = 256;
const WAIT_SECONDS: i32 = 2;
/// A message that does not come for so long is lost.
const LOST_AFTER: Duration = Duration::from_secs(20);

pub(super) async fn run(plan: &Plan) -> Result<Vec<Table>> {
    println!("    starting ElasticMQ");
    let server = ElasticMq::start()?;
    let access =
        Access { endpoint: server.endpoint(), region: ElasticMq::REGION, access_key: "x", secret_key: "x" };
    let plugin = LoadedPlugin::load("aws")?;
    let pubsub: PubSubObject = plugin.open_with("pubsub.aws.sqs", &access.metadata()).await?;
    let pubsub = Arc::new(pubsub);
    let queues = Queues { client: access.sqs(), made: AtomicUsize::new(0), messages: messages(plan) };
    // The server compiles itself while it works: the first queue would pay for that.
    queues.direct(1).await?;
    queues.boundary(&pubsub).await?;
    let mut rows = Vec::new();
    for (what, loops) in [("beside one loop", 1), ("beside four loops", 4)] {
        let contenders = vec![
            Contender::new(BOUNDARY, async || queues.boundary(&pubsub).await.map(Into::into)),
            Contender::new("aws-sdk-sqs", async || queues.direct(loops).await.map(Into::into)),
        ];
        rows.extend(Comparison { what, unit: Unit::Rate, wanted: WANTED }.run(plan, contenders).await?);
    }
    drop(pubsub);
    plugin.retire().await;
    let mut table = table("SQS at the plugin boundary: receive and delete, 1 KiB", &rows);
    table.note(format!(
        "messages a second, out of an ElasticMQ queue that holds {} of them; from the first receive to the last deletion",
        queues.messages
    ));
    table.note("boundary: one subscription, pulled and settled as the host does");
    table.note("aws-sdk-sqs: a loop receives ten and deletes them in one request before it receives again");
    Ok(vec![table])
}

fn messages(plan: &Plan) -> usize {
    (plan.turn.as_secs_f64() * A_SECOND) as usize / BATCH * BATCH
}

/// Every turn has a queue of its own: what the turn before left behind must not take its messages.
struct Queues {
    client: Client,
    made: AtomicUsize,
    messages: usize,
}

impl Queues {
    /// A new queue, full: its name and address.
    async fn full(&self) -> Result<(String, String)> {
        let name = format!("bench-{}", self.made.fetch_add(1, Ordering::Relaxed));
        let made = self.client.create_queue().queue_name(&name).send().await.in_full()?;
        let url = made.queue_url.context("a queue without an address")?;
        let requests = self.messages / BATCH;
        let mut filling = JoinSet::new();
        for worker in 0..FILLING {
            let share = requests / FILLING + usize::from(worker < requests % FILLING);
            filling.spawn(fill(self.client.clone(), url.clone(), share));
        }
        while let Some(filled) = filling.join_next().await {
            filled??;
        }
        Ok((name, url))
    }

    /// Messages a second through the plugin.
    async fn boundary(&self, pubsub: &PubSubObject) -> Result<f64> {
        let (name, url) = self.full().await?;
        let context = CallContext::background(APP_ID);
        let request =
            SubscribeRequest { topic: name.as_str().into(), metadata: Metadata::new(), max_in_flight: 0 };
        let began = Instant::now();
        let source = Arc::new(pubsub.subscribe(context.clone(), request).await.into_result()?);
        let (taken, settling) = mpsc::unbounded_channel();
        let settled = tokio::spawn(settle(source.clone(), context.clone(), settling));
        let pulled = pull(&source, &context, self.messages, taken).await;
        let settled = settled.await?;
        let elapsed = began.elapsed();
        source.close(context).await.into_result()?;
        ensure!(pulled? == settled?, "not every message was settled");
        self.finish(&url, elapsed).await
    }

    /// Messages a second through the SDK.
    async fn direct(&self, loops: usize) -> Result<f64> {
        let (_, url) = self.full().await?;
        let left = Arc::new(AtomicUsize::new(self.messages));
        let began = Instant::now();
        let mut running = JoinSet::new();
        for _ in 0..loops {
            running.spawn(drain(self.client.clone(), url.clone(), left.clone()));
        }
        while let Some(drained) = running.join_next().await {
            drained??;
            if left.load(Ordering::Relaxed) == 0 {
                break;
            }
        }
        // The other loops may wait for messages that will not come.
        let elapsed = began.elapsed();
        running.shutdown().await;
        self.finish(&url, elapsed).await
    }

    async fn finish(&self, url: &str, elapsed: Duration) -> Result<f64> {
        self.client.delete_queue().queue_url(url).send().await.in_full()?;
        Ok(self.messages as f64 / elapsed.as_secs_f64())
    }
}

async fn fill(client: Client, url: String, requests: usize) -> Result<()> {
    let body = "x".repeat(KIBIBYTE);
    for _ in 0..requests {
        let entries: Result<Vec<_>, _> = (0..BATCH)
            .map(|place| Entry::builder().id(place.to_string()).message_body(&body).build())
            .collect();
        let request = client.send_message_batch().queue_url(&url).set_entries(Some(entries?));
        let sent = request.send().await.in_full()?;
        ensure!(sent.failed.is_empty(), "{} messages were not sent", sent.failed.len());
    }
    Ok(())
}

/// The host's pump: takes what there is and leaves the settling to another task.
async fn pull(
    source: &SourceObject,
    context: &CallContext,
    messages: usize,
    taken: mpsc::UnboundedSender<u64>,
) -> Result<usize> {
    let wait = u64::try_from(LOST_AFTER.as_nanos())?;
    let mut pulled = 0;
    while pulled < messages {
        let deliveries: RVec<Delivery> =
            source.next(context.clone(), AT_ONCE as u32, wait).await.into_result()?;
        ensure!(!deliveries.is_empty(), "{pulled} of {messages} messages came");
        for delivery in &deliveries {
            ensure!(delivery.data.len() == KIBIBYTE, "a message of {} bytes", delivery.data.len());
            // The settling has ended only with an error, which the caller sees.
            let _ = taken.send(delivery.id);
        }
        pulled += deliveries.len();
    }
    Ok(pulled)
}

async fn settle(
    source: Arc<SourceObject>,
    context: CallContext,
    mut taken: mpsc::UnboundedReceiver<u64>,
) -> Result<usize> {
    let (mut settled, mut ids) = (0, Vec::with_capacity(AT_ONCE));
    while taken.recv_many(&mut ids, AT_ONCE).await > 0 {
        settled += ids.len();
        let settlements: RVec<_> =
            ids.drain(..).map(|id| Settlement { id, outcome: Outcome::ACK, delay_ns: 0 }).collect();
        source.settle(context.clone(), settlements).await.into_result()?;
    }
    Ok(settled)
}

async fn drain(client: Client, url: String, left: Arc<AtomicUsize>) -> Result<()> {
    while left.load(Ordering::Relaxed) > 0 {
        // With what the plugin asks for.
        let request = client
            .receive_message()
            .queue_url(&url)
            .max_number_of_messages(BATCH as i32)
            .wait_time_seconds(WAIT_SECONDS)
            .message_attribute_names("All")
            .message_system_attribute_names(MessageSystemAttributeName::All);
        let messages = request.send().await.in_full()?.messages.unwrap_or_default();
        if messages.is_empty() {
            continue;
        }
        let count = messages.len();
        let request = client.delete_message_batch().queue_url(&url);
        let deleted = request.set_entries(Some(deletions(messages)?)).send().await.in_full()?;
        ensure!(deleted.failed.is_empty(), "{} messages were not deleted", deleted.failed.len());
        left.fetch_sub(count, Ordering::Relaxed);
    }
    Ok(())
}

fn deletions(messages: Vec<Message>) -> Result<Vec<Deletion>> {
    let entry = |(place, message): (usize, Message)| {
        let length = message.body().map_or(0, str::len);
        ensure!(length == KIBIBYTE, "a message of {length} bytes");
        Ok(Deletion::builder().id(place.to_string()).set_receipt_handle(message.receipt_handle).build()?)
    };
    messages.into_iter().enumerate().map(entry).collect()
}
