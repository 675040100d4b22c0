//! The broker `pubsub.redis`: a topic is a stream, a subscription a consumer group on it, as in Dapr.
//!
//! A publish is one command (`pubsub/entry.rs`). A subscription reads ahead in the background (`pubsub/feed.rs`) into an
//! inbox (`pubsub/inbox.rs`) from which the host pulls (`pubsub/source.rs`); `pubsub/group.rs` has the commands.

mod entry;
mod feed;
mod group;
mod inbox;
mod metadata;
mod source;

use std::time::{SystemTime, UNIX_EPOCH};

use mecha_plugin_api::pubsub::{
    BulkEntry, FailedEntry, PubSub, PubSubFeatures, PublishRequest, SubscribeRequest,
};
use mecha_plugin_api::source::Subscription;
use mecha_plugin_api::{CallContext, ComponentSpec, Error, Metadata, Result};
use redis::{Pipeline, Value};

use self::feed::Feed;
use self::group::Group;
use self::metadata::StreamSettings;
pub(crate) use self::source::StreamSource;
use crate::client::{Client, Purpose};
use crate::error::Failure;
use crate::metadata::Settings;

const NOT_PUBLISHED: &str = "redis streams: error from publish";

/// An open `pubsub.redis` component.
pub(crate) struct RedisPubSub {
    client: Client,
    settings: StreamSettings,
    app_id: String,
}

impl RedisPubSub {
    /// Opens the component: the server must be reachable and take the credentials.
    pub(crate) async fn open(spec: ComponentSpec) -> Result<Self> {
        let settings = StreamSettings::read(&spec)?;
        let client = Client::open(Settings::read(&spec)?).await?;
        Ok(Self { client, settings, app_id: spec.app_id.into() })
    }

    fn group(&self, topic: &str) -> Group {
        Group {
            client: self.client.clone(),
            topic: topic.to_owned(),
            name: self.settings.consumer.clone(),
            context: CallContext::background(self.app_id.as_str()),
        }
    }

    /// Opens a subscription; the group is there when this returns.
    pub(crate) async fn source(&self, topic: &str, max_in_flight: u32) -> Result<StreamSource> {
        let group = self.group(topic);
        let created = group.create().await;
        created.map_err(|failure| failure.into_error(&format!("cannot subscribe to {topic}")))?;
        let limit = self.settings.in_flight(max_in_flight);
        Ok(StreamSource::start(Feed::new(group, self.settings.clone()), limit))
    }

    fn addition(
        &self,
        context: &CallContext,
        topic: &str,
        data: &[u8],
        request: &Metadata,
        own: &Metadata,
    ) -> redis::Cmd {
        let metadata = entry::metadata(context, request, own);
        entry::add(topic, self.settings.trim, now(), data, &metadata)
    }
}

impl PubSub for RedisPubSub {
    fn features(&self) -> PubSubFeatures {
        PubSubFeatures::BULK_PUBLISH
    }

    async fn publish(&self, context: &CallContext, request: PublishRequest) -> Result<()> {
        let PublishRequest { topic, data, metadata, .. } = request;
        let command = self.addition(context, &topic, &data, &metadata, &Metadata::new());
        let sent = self.client.command(context, Purpose::Write, "XADD", &command).await;
        sent.map(drop).map_err(|failure| failure.into_error(NOT_PUBLISHED))
    }

    async fn bulk_publish(
        &self,
        context: &CallContext,
        topic: &str,
        entries: Vec<BulkEntry>,
        metadata: Metadata,
    ) -> Result<Vec<FailedEntry>> {
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = Pipeline::with_capacity(entries.len());
        for entry in &entries {
            let command = self.addition(context, topic, &entry.data, &metadata, &entry.metadata);
            pipeline.add_command(command);
        }
        let sent = self.client.pipeline(context, Purpose::Write, "PIPELINE XADD", &pipeline).await;
        let answers = sent.map_err(|failure| failure.into_error(NOT_PUBLISHED))?;
        let failed = |(entry, answer): (BulkEntry, Value)| {
            let error = refusal(answer)?;
            Some(FailedEntry { entry_id: entry.entry_id, error })
        };
        Ok(entries.into_iter().zip(answers).filter_map(failed).collect())
    }

    async fn subscribe(&self, _context: &CallContext, request: SubscribeRequest) -> Result<Subscription> {
        Ok(Subscription::new(self.source(&request.topic, request.max_in_flight).await?))
    }

    async fn backlog(&self, _context: &CallContext, topic: &str) -> Result<Option<u64>> {
        self.group(topic).backlog().await.map_err(|failure| failure.into_error(""))
    }

    async fn ping(&self, context: &CallContext) -> Result<()> {
        self.client.ping(context).await
    }
}

fn refusal(answer: Value) -> Option<Error> {
    match answer {
        Value::ServerError(error) => Some(Failure::Refused(error).into_error(NOT_PUBLISHED)),
        _ => None,
    }
}

/// Milliseconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
