//! `pubsub.aws.sqs`: a topic is a queue, and its subscribers share it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_sqs::types::QueueAttributeName;
use mecha_plugin_api::pubsub::{
    BulkEntry, FailedEntry, PubSub, PubSubFeatures, PublishRequest, SubscribeRequest,
};
use mecha_plugin_api::source::Subscription;
use mecha_plugin_api::{CallContext, ComponentSpec, Error, ErrorKind, Metadata, RString, Result};
use tracing::Instrument as _;

use super::binding::is_passing;
use super::client::SqsClient;
use super::feed::Feed;
use super::outgoing::{self, Outgoing, Rules};
use super::queue::Queue;
use super::sender::Sender;
use super::settings::DeadLetters;
use super::source::SqsSource;
use crate::client::Shared;
use crate::error::Failure;
use crate::span;

/// An open `pubsub.aws.sqs` component.
pub(crate) struct SqsPubSub {
    client: SqsClient,
    /// Leads the message group of messages that name none.
    publisher: String,
    senders: Mutex<HashMap<String, Arc<Sender>>>,
}

impl SqsPubSub {
    /// Opens the component: the credentials must be known. A service that cannot be reached now may come up later.
    pub(crate) async fn open(spec: ComponentSpec, shared: Shared) -> Result<Self> {
        let client = SqsClient::open(&spec, &shared).await?;
        match client.ping().await {
            Err(failure) if is_passing(failure.kind()) => {
                tracing::warn!(component = %spec.name, "sqs cannot be reached now: {failure}");
            }
            Err(failure) => return Err(failure.into_error("sqs refuses the component")),
            Ok(()) => {}
        }
        let publisher = format!("{}:{}", spec.app_id, spec.name);
        Ok(Self { client, publisher, senders: Mutex::default() })
    }

    async fn sender(&self, topic: &str) -> Result<Arc<Sender>> {
        let name = self.client.settings.queue_of(topic)?;
        if let Some(sender) = self.senders().get(&name) {
            return Ok(sender.clone());
        }
        let queue = self.client.queue_or_new(&name).await.map_err(|failure| topic_error(topic, failure))?;
        Ok(self.senders().entry(name).or_insert_with(|| Arc::new(Sender::new(queue))).clone())
    }

    /// The messages of a request, made as their queue wants them.
    async fn messages(
        &self,
        context: &CallContext,
        sender: &Sender,
        entries: impl Iterator<Item = (&[u8], &Metadata)>,
        request: &Metadata,
    ) -> Vec<Result<Outgoing>> {
        let queue = sender.queue();
        let content_based = queue.is_content_based().await;
        let group = self.client.settings.group.clone();
        let group = group.unwrap_or_else(|| format!("{}:{}", self.publisher, queue.name));
        let rules = Rules { fifo: queue.is_fifo(), content_based, group: &group };
        entries.map(|(data, own)| outgoing::message(context, data, request, own, rules)).collect()
    }

    /// A queue that is gone is looked up anew next time.
    fn failed(&self, topic: &str, sender: &Sender, failure: Failure) -> Error {
        if failure.kind() == ErrorKind::NOT_FOUND {
            self.client.forget(&sender.queue().name);
            self.senders().remove(&sender.queue().name);
        }
        topic_error(topic, failure)
    }

    /// Points the queue's dead-letter policy at the component's dead-letter queue.
    async fn set_dead_letters(&self, queue: &Queue, dead: &DeadLetters) -> Result<(), Failure> {
        let target = self.client.queue_or_new(&dead.queue).await?;
        let Some(arn) = target.attribute(QueueAttributeName::QueueArn).await? else {
            return Err(Failure::new(ErrorKind::INTERNAL, "sqs tells no arn of the dead-letter queue"));
        };
        let policy = serde_json::json!({ "deadLetterTargetArn": arn, "maxReceiveCount": dead.max_receives });
        let current = queue.attribute(QueueAttributeName::RedrivePolicy).await?.unwrap_or_default();
        let is_same = serde_json::from_str::<serde_json::Value>(&current).is_ok_and(|current| {
            let count = current["maxReceiveCount"]
                .as_i64()
                .or_else(|| current["maxReceiveCount"].as_str()?.parse().ok());
            current["deadLetterTargetArn"] == policy["deadLetterTargetArn"]
                && count == Some(i64::from(dead.max_receives))
        });
        if is_same {
            return Ok(());
        }
        queue.set_attribute(QueueAttributeName::RedrivePolicy, &policy.to_string()).await
    }

    /// Opens a subscription; its queue is there when this returns.
    pub(crate) async fn source(&self, request: &SubscribeRequest) -> Result<SqsSource> {
        let settings = &self.client.settings;
        let topic = request.topic.as_str();
        let mut receiving = settings.receiving.with(&request.metadata)?;
        if request.max_in_flight > 0 {
            receiving.max = receiving.max.min(request.max_in_flight as usize);
        }
        let name = settings.queue_of(topic)?;
        self.client.forget(&name);
        let queue = self.client.queue_or_new(&name).await.map_err(|failure| topic_error(topic, failure))?;
        if let Some(dead) = settings.dead_letters.as_ref().filter(|_| settings.creates_queues) {
            self.set_dead_letters(&queue, dead).await.map_err(|failure| {
                failure.into_error("cannot set the dead-letter policy").with_field("sqsDeadLettersQueueName")
            })?;
        }
        Ok(SqsSource::start(Feed::new(queue, topic.to_owned(), receiving)))
    }

    /// How many messages a topic's queue holds, hidden ones included.
    #[cfg(test)]
    pub(crate) async fn held(&self, topic: &str) -> u64 {
        let name = self.client.settings.queue_of(topic).unwrap();
        let queue = self.client.queue(&name).await.unwrap();
        let mut held = 0;
        for counted in ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"] {
            held += queue.attribute(counted.into()).await.unwrap().unwrap().parse::<u64>().unwrap();
        }
        held
    }

    /// Deletes a topic's queue, as somebody else would.
    #[cfg(test)]
    pub(crate) async fn delete_queue(&self, topic: &str) {
        let name = self.client.settings.queue_of(topic).unwrap();
        self.client.queue(&name).await.unwrap().drop_for_test().await;
    }

    fn senders(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Sender>>> {
        self.senders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PubSub for SqsPubSub {
    fn features(&self) -> PubSubFeatures {
        PubSubFeatures::BULK_PUBLISH.and(PubSubFeatures::DELAYED_DELIVERY)
    }

    async fn publish(&self, context: &CallContext, request: PublishRequest) -> Result<()> {
        let sender = self.sender(&request.topic).await?;
        let entry = std::iter::once((&request.data[..], &request.metadata));
        let made = self.messages(context, &sender, entry, &Metadata::new()).await.pop();
        let message = made.unwrap_or_else(|| Err(Error::internal("there is no message")))?;
        let span = span::send(context, &sender.queue().name, 1);
        let sent = sender.send(message).instrument(span.clone()).await;
        span::record(&span, sent.as_ref().err());
        sent.map_err(|failure| self.failed(&request.topic, &sender, failure))
    }

    async fn bulk_publish(
        &self,
        context: &CallContext,
        topic: &str,
        entries: Vec<BulkEntry>,
        metadata: Metadata,
    ) -> Result<Vec<FailedEntry>> {
        let sender = self.sender(topic).await?;
        let bodies = entries.iter().map(|entry| (&entry.data[..], &entry.metadata));
        let made = self.messages(context, &sender, bodies, &metadata).await;
        let (mut ids, mut messages, mut failed) = (Vec::<RString>::new(), Vec::new(), Vec::new());
        for (entry, message) in entries.into_iter().zip(made) {
            match message {
                Ok(message) => {
                    ids.push(entry.entry_id);
                    messages.push(message);
                }
                Err(error) => failed.push(FailedEntry { entry_id: entry.entry_id, error }),
            }
        }
        let span = span::send(context, &sender.queue().name, messages.len());
        let sent = sender.send_all(messages).instrument(span.clone()).await;
        span::record(&span, sent.iter().find_map(|result| result.as_ref().err()));
        for (entry_id, result) in ids.into_iter().zip(sent) {
            if let Err(failure) = result {
                failed.push(FailedEntry { entry_id, error: self.failed(topic, &sender, failure) });
            }
        }
        Ok(failed)
    }

    async fn subscribe(&self, _context: &CallContext, request: SubscribeRequest) -> Result<Subscription> {
        Ok(Subscription::new(self.source(&request).await?))
    }

    async fn backlog(&self, _context: &CallContext, topic: &str) -> Result<Option<u64>> {
        let name = self.client.settings.queue_of(topic)?;
        let count = async {
            let queue = self.client.queue(&name).await?;
            queue.attribute(QueueAttributeName::ApproximateNumberOfMessages).await
        };
        let count = count.await.map_err(|failure| topic_error(topic, failure))?;
        Ok(count.and_then(|count| count.parse().ok()))
    }

    async fn ping(&self, _context: &CallContext) -> Result<()> {
        self.client.ping().await.map_err(|failure| failure.into_error("sqs"))
    }
}

fn topic_error(topic: &str, failure: Failure) -> Error {
    failure.into_error(&format!("topic {topic}"))
}
