//! Publishing: one producer a component, batches that form by themselves, and a span for each request.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mecha_plugin_api::pubsub::{BulkEntry, FailedEntry};
use mecha_plugin_api::{CallContext, Error, ErrorKind, Metadata, Result};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, NoCustomPartitioner, Producer as _, ProducerContext, ThreadedProducer};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::field::Empty;
use tracing::{Instrument, Span};

use crate::client::{Cluster, Health, Observer, REACH, creation_error};
use crate::error;
use crate::message::Outgoing;

/// How long a message waits for room among those that are on their way.
const ROOM_PAUSE: Duration = Duration::from_millis(2);
const ROOM_LIMIT: Duration = Duration::from_secs(10);
const FAILED: &str = "kafka: failed to publish";

type Native = ThreadedProducer<Observer>;
type Receipt = oneshot::Sender<Result<(), KafkaError>>;

impl ProducerContext<NoCustomPartitioner> for Observer {
    type DeliveryOpaque = Box<Receipt>;

    fn delivery(&self, result: &DeliveryResult<'_>, receipt: Self::DeliveryOpaque) {
        let outcome = match result {
            Ok(_) => {
                self.health.worked();
                Ok(())
            }
            Err((error, _)) => Err(error.clone()),
        };
        // Nobody waits for it when the call was given up.
        let _ = receipt.send(outcome);
    }
}

/// Publishes for one component.
pub(crate) struct Producer {
    cluster: Cluster,
    native: Mutex<Arc<Ended>>,
}

/// A client whose end is waited for on a thread of its own: it blocks.
struct Ended(Option<Native>);

impl Ended {
    fn native(&self) -> Option<&Native> {
        self.0.as_ref()
    }

    fn health(&self) -> Option<Arc<Health>> {
        self.native().map(|native| native.context().health.clone())
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        let native = self.0.take();
        // Without a thread it ends here, late but completely.
        let _ = std::thread::Builder::new().name("kafka-end".to_owned()).spawn(move || drop(native));
    }
}

impl Producer {
    /// Connects: a broker must be reachable and take the credentials.
    pub(crate) async fn open(cluster: Cluster) -> Result<Self> {
        let native = Arc::new(make(&cluster)?);
        reach(&native, cluster.settings.dial_timeout).await?;
        Ok(Self { cluster, native: Mutex::new(native) })
    }

    fn current(&self) -> Arc<Ended> {
        self.native.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Publishes one message; returns when the brokers have it.
    pub(crate) async fn publish(
        &self,
        context: &CallContext,
        topic: &str,
        data: &[u8],
        metadata: &Metadata,
    ) -> Result<()> {
        let span = self.span(context, topic, None);
        let sending = async {
            let native = self.current();
            let receipt = self.hand_over(&native, context, topic, data, (metadata, &NONE)).await?;
            self.delivered(&native, topic, receipt, &span).await
        };
        sending.instrument(span.clone()).await.inspect_err(|error| record(&span, error))
    }

    /// Publishes several messages and tells which failed. They travel together.
    pub(crate) async fn publish_all(
        &self,
        context: &CallContext,
        topic: &str,
        entries: Vec<BulkEntry>,
        metadata: &Metadata,
    ) -> Vec<FailedEntry> {
        let span = self.span(context, topic, Some(entries.len()));
        let sending = async {
            let native = self.current();
            let mut receipts = Vec::with_capacity(entries.len());
            for entry in &entries {
                let both = (metadata, &entry.metadata);
                receipts.push(self.hand_over(&native, context, topic, &entry.data, both).await);
            }
            let mut failed = Vec::new();
            for (entry, receipt) in entries.into_iter().zip(receipts) {
                let delivered = match receipt {
                    Ok(receipt) => self.delivered(&native, topic, receipt, &span).await,
                    Err(error) => Err(error),
                };
                if let Err(error) = delivered {
                    failed.push(FailedEntry { entry_id: entry.entry_id, error });
                }
            }
            failed
        };
        let failed = sending.instrument(span.clone()).await;
        if let Some(first) = failed.first() {
            record(&span, &first.error);
        }
        failed
    }

    /// Gives a message to librdkafka, which copies it; waits while it has no room.
    async fn hand_over(
        &self,
        native: &Ended,
        context: &CallContext,
        topic: &str,
        data: &[u8],
        (request, own): (&Metadata, &Metadata),
    ) -> Result<oneshot::Receiver<Result<(), KafkaError>>> {
        check_topic(topic)?;
        let Some(producer) = native.native() else { return Err(Error::internal("the producer has ended")) };
        let outgoing = Outgoing::new(context, request, own, &self.cluster.settings.headers)?;
        let (receipt, delivered) = oneshot::channel();
        let mut record = BaseRecord::<str, [u8], Box<Receipt>>::with_opaque_to(topic, Box::new(receipt))
            .payload(data)
            .headers(outgoing.headers);
        record.key = outgoing.key;
        record.partition = outgoing.partition;
        let give_up = Instant::now() + ROOM_LIMIT;
        loop {
            let (refusal, back) = match producer.send(record) {
                Ok(()) => return Ok(delivered),
                Err(refused) => refused,
            };
            let is_full = refusal.rdkafka_error_code() == Some(Code::QueueFull);
            if !is_full || Instant::now() >= give_up {
                return Err(self.failure(native, &refusal));
            }
            record = back;
            tokio::time::sleep(ROOM_PAUSE).await;
        }
    }

    async fn delivered(
        &self,
        native: &Arc<Ended>,
        topic: &str,
        receipt: oneshot::Receiver<Result<(), KafkaError>>,
        span: &Span,
    ) -> Result<()> {
        match receipt.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(refusal)) => {
                if let Some(code) = refusal.rdkafka_error_code() {
                    span.record("error.type", error::type_name(code));
                }
                self.replace_if_fatal(native);
                let failure = self.failure(native, &refusal);
                let has_waited = refusal.rdkafka_error_code() == Some(Code::MessageTimedOut);
                match has_waited && failure.field().is_none() {
                    true => Err(wrong_topic(native, topic).await.unwrap_or(failure)),
                    false => Err(failure),
                }
            }
            Err(_) => Err(Error::unavailable("the producer has ended")),
        }
    }

    /// A message that found no broker says so, and not only that it took too long.
    fn failure(&self, native: &Ended, refusal: &KafkaError) -> Error {
        let waited = matches!(
            refusal.rdkafka_error_code(),
            Some(Code::MessageTimedOut | Code::QueueFull | Code::PurgeQueue | Code::PurgeInflight)
        );
        match native.health().and_then(|health| health.trouble()) {
            Some(trouble) if waited => trouble,
            _ => error::error(FAILED, refusal),
        }
    }

    /// A producer that cannot promise its order any more refuses everything from then on: the next call gets a new one.
    fn replace_if_fatal(&self, failed: &Arc<Ended>) {
        let is_fatal = failed.native().is_some_and(|native| native.client().fatal_error().is_some());
        if !is_fatal {
            return;
        }
        let mut current = self.native.lock().unwrap_or_else(PoisonError::into_inner);
        if Arc::ptr_eq(&current, failed)
            && let Ok(native) = make(&self.cluster)
        {
            tracing::warn!("the kafka producer failed for good and is replaced");
            *current = Arc::new(native);
        }
    }

    /// Whether the brokers answer.
    pub(crate) async fn ping(&self, topic: Option<String>) -> Result<()> {
        let native = self.current();
        let asked = native.clone();
        let answer = tokio::task::spawn_blocking(move || {
            let Some(producer) = asked.native() else { return Err(KafkaError::Canceled) };
            producer.client().fetch_metadata(topic.as_deref(), REACH).map(drop)
        });
        match answer.await {
            Ok(Ok(())) => {
                if let Some(health) = native.health() {
                    health.worked();
                }
                Ok(())
            }
            Ok(Err(refusal)) => {
                let trouble = native.health().and_then(|health| health.trouble());
                Err(trouble.unwrap_or_else(|| {
                    Error::unavailable(format!("the brokers do not answer: {refusal}")).with_field("brokers")
                }))
            }
            Err(_) => Err(Error::internal("the check of the brokers ended abnormally")),
        }
    }

    /// An unsampled call does not even pay for collecting the fields.
    fn span(&self, context: &CallContext, topic: &str, count: Option<usize>) -> Span {
        if !context.is_sampled() {
            return Span::none();
        }
        tracing::info_span!(
            "kafka publish",
            otel.name = format!("send {topic}"),
            otel.kind = "producer",
            otel.status_code = Empty,
            messaging.system = "kafka",
            messaging.operation.name = "send",
            messaging.operation.type = "send",
            messaging.destination.name = topic,
            messaging.batch.message_count = count,
            server.address = self.cluster.settings.brokers.as_str(),
            error.type = Empty,
        )
    }
}

static NONE: Metadata = Metadata::new();

fn record(span: &Span, error: &Error) {
    span.record("otel.status_code", "error");
    if error.kind() == ErrorKind::INVALID {
        span.record("error.type", error.kind().name());
    }
}

/// librdkafka takes these names and then waits for a topic that cannot be.
fn check_topic(topic: &str) -> Result<()> {
    let is_named = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let is_valid =
        (1..=249).contains(&topic.len()) && topic.bytes().all(is_named) && topic != "." && topic != "..";
    if is_valid {
        return Ok(());
    }
    Err(Error::invalid(format!("'{topic}' is not the name of a topic")).with_field("topic"))
}

/// What is wrong with the topic of a message that waited in vain although the brokers answer.
async fn wrong_topic(native: &Arc<Ended>, topic: &str) -> Option<Error> {
    let (asked, name) = (native.clone(), topic.to_owned());
    let looked = tokio::task::spawn_blocking(move || {
        let found = asked.native()?.client().fetch_metadata(Some(&name), REACH).ok()?;
        found.topics().first()?.error().map(Code::from)
    });
    let code = looked.await.ok()??;
    let what = match code {
        Code::UnknownTopic | Code::UnknownTopicOrPartition => {
            format!("there is no topic {topic}, and the brokers make none by themselves")
        }
        _ => format!("topic {topic}"),
    };
    Some(error::from_code(&format!("{FAILED}: {what}"), code))
}

fn make(cluster: &Cluster) -> Result<Ended> {
    let native = Native::from_config_and_context(&cluster.producer_config(), cluster.observer());
    native.map(|native| Ended(Some(native))).map_err(|error| creation_error(&error))
}

/// Waits for the first answer of a broker, or for the first report that there will be none.
async fn reach(native: &Arc<Ended>, limit: Duration) -> Result<()> {
    let Some(health) = native.health() else { return Ok(()) };
    let asked = native.clone();
    let mut answer = tokio::task::spawn_blocking(move || {
        let started = std::time::Instant::now();
        while started.elapsed() < limit {
            let Some(producer) = asked.native() else { return false };
            let slice = Duration::from_millis(500);
            if producer.client().fetch_cluster_id(slice).is_some() {
                return true;
            }
            if asked.health().is_some_and(|health| health.trouble().is_some()) {
                return false;
            }
        }
        false
    });
    let reached = tokio::select! {
        reached = &mut answer => reached.unwrap_or(false),
        () = health.news.notified() => false,
    };
    if reached {
        health.worked();
        return Ok(());
    }
    Err(health
        .trouble()
        .unwrap_or_else(|| Error::new(ErrorKind::TIMEOUT, "the brokers do not answer").with_field("brokers")))
}
