//! The broker `pubsub.kafka`: topics are Kafka's, a subscription is a member of the component's consumer group.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use mecha_plugin_api::pubsub::{
    BulkEntry, FailedEntry, PubSub, PubSubFeatures, PublishRequest, SubscribeRequest,
};
use mecha_plugin_api::source::Subscription;
use mecha_plugin_api::{CallContext, ComponentSpec, Error, Result};

use crate::client::Cluster;
use crate::consumer::{Feed, GroupSource, Lookout};
use crate::metadata::{Defaults, Settings};
use crate::producer::Producer;

/// An open `pubsub.kafka` component.
pub(crate) struct KafkaPubSub {
    cluster: Cluster,
    producer: Producer,
    lookout: Lookout,
    feeds: Mutex<Vec<Weak<Feed>>>,
}

impl KafkaPubSub {
    /// Opens the component: a broker must be reachable and take the credentials.
    pub(crate) async fn open(spec: ComponentSpec) -> Result<Self> {
        let cluster = Cluster::prepare(Settings::read(&spec, Defaults { retries: true })?).await?;
        Ok(Self {
            producer: Producer::open(cluster.clone()).await?,
            lookout: Lookout::new(cluster.clone()),
            feeds: Mutex::default(),
            cluster,
        })
    }

    /// Opens a subscription; the group is joined when this returns.
    pub(crate) async fn source(&self, request: &SubscribeRequest) -> Result<GroupSource> {
        check_schema(request)?;
        let limit = match request.max_in_flight {
            0 => self.cluster.settings.queue_depth,
            wanted => wanted,
        };
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let topics = vec![request.topic.to_string()];
        let feed = Arc::new(Feed::new(self.cluster.clone(), topics, limit));
        let watched = Arc::downgrade(&feed);
        let source = GroupSource::open(feed).await?;
        let mut feeds = self.feeds.lock().unwrap_or_else(PoisonError::into_inner);
        feeds.retain(|feed| feed.strong_count() > 0);
        feeds.push(watched);
        Ok(source)
    }

    fn feeds(&self) -> Vec<Arc<Feed>> {
        let feeds = self.feeds.lock().unwrap_or_else(PoisonError::into_inner);
        feeds.iter().filter_map(Weak::upgrade).filter(|feed| !feed.is_stopping()).collect()
    }
}

/// Messages in Avro need the schema registry.
fn check_schema(request: &SubscribeRequest) -> Result<()> {
    match request.metadata.get("valueSchemaType").unwrap_or_default().to_ascii_lowercase().as_str() {
        "" | "none" => Ok(()),
        kind => Err(Error::invalid(format!("'{kind}' is not supported")).with_field("valueSchemaType")),
    }
}

impl PubSub for KafkaPubSub {
    fn features(&self) -> PubSubFeatures {
        PubSubFeatures::BULK_PUBLISH
    }

    async fn publish(&self, context: &CallContext, request: PublishRequest) -> Result<()> {
        self.producer.publish(context, &request.topic, &request.data, &request.metadata).await
    }

    async fn bulk_publish(
        &self,
        context: &CallContext,
        topic: &str,
        entries: Vec<BulkEntry>,
        metadata: mecha_plugin_api::Metadata,
    ) -> Result<Vec<FailedEntry>> {
        Ok(self.producer.publish_all(context, topic, entries, &metadata).await)
    }

    async fn subscribe(&self, _context: &CallContext, request: SubscribeRequest) -> Result<Subscription> {
        Ok(Subscription::new(self.source(&request).await?))
    }

    async fn backlog(&self, _context: &CallContext, topic: &str) -> Result<Option<u64>> {
        self.lookout.backlog(topic).await.map(Some)
    }

    /// The brokers must answer, and no subscription may be in trouble.
    async fn ping(&self, _context: &CallContext) -> Result<()> {
        let feeds = self.feeds();
        let topic = feeds.first().and_then(|feed| feed.topics.first().cloned());
        self.producer.ping(topic).await?;
        feeds.iter().find_map(|feed| feed.trouble()).map_or(Ok(()), Err)
    }
}
