//! `pubsub.sqlite`: topics that outlive the process, in tables of their own beside whatever else the file holds.

mod hub;
mod settings;
mod source;
mod topics;

use std::sync::Arc;
use std::time::Duration;

use mecha_plugin_api::pubsub::{
    BulkEntry, FailedEntry, PubSub, PubSubFeatures, PublishRequest, SubscribeRequest,
};
use mecha_plugin_api::source::Subscription;
use mecha_plugin_api::{CallContext, ComponentSpec, Error, Metadata, Result};
use rusqlite::Connection;
use tokio::task::AbortHandle;
use tracing::{Instrument, Span};

pub(crate) use self::hub::Hub;
use self::hub::{millis, now};
use self::settings::Settings;
pub(crate) use self::source::SqliteSource;
use self::topics::{NewMessage, Topics, metadata_text};
use crate::client::{Client, OpenFiles};
use crate::error::failed;

const TTL: &str = "ttlInSeconds";
const DELAY: &str = "delayInSeconds";

/// The broker of one component.
pub(crate) struct SqlitePubSub {
    client: Arc<Client>,
    topics: Arc<Topics>,
    hub: Arc<Hub>,
    settings: Settings,
    tasks: [AbortHandle; 2],
}

impl SqlitePubSub {
    pub(crate) async fn open(spec: ComponentSpec, files: Arc<OpenFiles>, hub: Arc<Hub>) -> Result<Self> {
        let settings = Settings::new(&spec)?;
        let topics = Arc::new(Topics::new(&settings.prefix));
        let prepare = {
            let topics = topics.clone();
            Box::new(move |connection: &mut Connection| topics.create(connection))
        };
        let client = Client::open(Arc::new(settings.database.clone()), prepare, files).await?;
        let client = Arc::new(client);
        let watch =
            hub::watch_file(Arc::downgrade(&client), topics.clone(), hub.clone(), settings.poll_interval);
        let clean_up = hub::clean_up(Arc::downgrade(&client), topics.clone(), settings.retention);
        let tasks = [tokio::spawn(watch).abort_handle(), tokio::spawn(clean_up).abort_handle()];
        Ok(Self { client, topics, hub, settings, tasks })
    }

    /// Queued at once; the result comes when it is on disk.
    fn put(&self, message: NewMessage) -> impl Future<Output = Result<()>> + use<> {
        let (topics, hub, topic) = (self.topics.clone(), self.hub.clone(), message.topic.clone());
        let written = self.client.write(true, move |connection| topics.publish(connection, &message, now()));
        async move {
            written.await?;
            hub.wake(&topic);
            Ok(())
        }
    }

    pub(crate) async fn source(&self, request: SubscribeRequest) -> Result<SqliteSource> {
        let is_strict = self.settings.is_strict_for(&request.metadata)?;
        let consumer = self.settings.consumer_of(&request.metadata);
        let (topics, topic) = (self.topics.clone(), request.topic.clone());
        let group =
            self.client.write(false, move |connection| topics.group(connection, &topic, &consumer)).await?;
        let (client, topics, hub) = (self.client.clone(), self.topics.clone(), self.hub.clone());
        Ok(SqliteSource::new(client, topics, hub, &self.settings, (request.topic, group, is_strict)))
    }

    /// An unsampled call makes no span at all.
    fn span(&self, context: &CallContext, topic: &str, messages: usize) -> Span {
        if !context.is_sampled() {
            return Span::none();
        }
        let span = tracing::info_span!(
            "sqlite",
            otel.name = "sqlite publish",
            otel.kind = "client",
            otel.status_code = tracing::field::Empty,
            otel.status_description = tracing::field::Empty,
            messaging.system = "sqlite",
            messaging.operation.name = "publish",
            messaging.destination.name = topic,
            messaging.batch.message_count = tracing::field::Empty,
        );
        if messages > 1 {
            span.record("messaging.batch.message_count", messages);
        }
        span
    }
}

impl Drop for SqlitePubSub {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl PubSub for SqlitePubSub {
    fn features(&self) -> PubSubFeatures {
        PubSubFeatures::MESSAGE_TTL.and(PubSubFeatures::BULK_PUBLISH).and(PubSubFeatures::DELAYED_DELIVERY)
    }

    async fn publish(&self, context: &CallContext, request: PublishRequest) -> Result<()> {
        let span = self.span(context, &request.topic, 1);
        let result = match message(request) {
            Ok(message) => self.put(message).instrument(span.clone()).await,
            Err(error) => Err(error),
        };
        if let Err(error) = &result {
            span.record("otel.status_code", "ERROR");
            span.record("otel.status_description", error.message());
        }
        result
    }

    async fn bulk_publish(
        &self,
        context: &CallContext,
        topic: &str,
        entries: Vec<BulkEntry>,
        metadata: Metadata,
    ) -> Result<Vec<FailedEntry>> {
        let span = self.span(context, topic, entries.len());
        // All are queued before the first is waited for, so that they share a transaction.
        let queued = entries.into_iter().map(|entry| {
            let mut all = metadata.clone();
            entry.metadata.iter().for_each(|(key, value)| all.insert(key, value));
            let (topic, content_type) = (topic.into(), entry.content_type);
            let request = PublishRequest { topic, data: entry.data, content_type, metadata: all };
            (entry.entry_id, message(request).map(|message| self.put(message)))
        });
        let queued: Vec<_> = queued.collect();
        let publishing = async move {
            let mut failed = Vec::new();
            for (entry_id, put) in queued {
                let result = match put {
                    Ok(put) => put.await,
                    Err(error) => Err(error),
                };
                failed.extend(result.err().map(|error| FailedEntry { entry_id, error }));
            }
            failed
        };
        Ok(publishing.instrument(span).await)
    }

    async fn subscribe(&self, _context: &CallContext, request: SubscribeRequest) -> Result<Subscription> {
        Ok(Subscription::new(self.source(request).await?))
    }

    async fn backlog(&self, _context: &CallContext, topic: &str) -> Result<Option<u64>> {
        let (topics, topic, group) = (self.topics.clone(), topic.to_owned(), self.settings.consumer.clone());
        let counted = self.client.read(move |connection| topics.backlog(connection, &topic, &group, now()));
        counted.await.map(Some)
    }

    async fn ping(&self, _context: &CallContext) -> Result<()> {
        let read = self.client.read(|connection| {
            connection.query_row("SELECT 1", [], |_| Ok(())).map_err(|error| failed(&error))
        });
        read.await
    }
}

fn message(request: PublishRequest) -> Result<NewMessage> {
    let now = now();
    let after = |field| Ok::<_, Error>(seconds(&request.metadata, field)?.map(|time| now + millis(time)));
    let (expires_at, visible_at) = (after(TTL)?, after(DELAY)?);
    Ok(NewMessage {
        metadata: metadata_text(&request.metadata)?,
        visible_at: visible_at.unwrap_or(0),
        expires_at,
        topic: request.topic.into_string(),
        data: request.data,
        content_type: request.content_type.into_string(),
    })
}

/// A positive number of seconds, if there is one.
fn seconds(metadata: &Metadata, field: &str) -> Result<Option<Duration>> {
    let Some(text) = metadata.get(field).filter(|text| !text.is_empty()) else { return Ok(None) };
    let seconds: i64 = text
        .parse()
        .map_err(|_| Error::invalid(format!("incorrect value for {field}: '{text}'")).with_field(field))?;
    Ok(u64::try_from(seconds).ok().filter(|&seconds| seconds > 0).map(Duration::from_secs))
}
