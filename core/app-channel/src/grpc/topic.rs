//! Events of topics over gRPC.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use mecha_events::{BULK_TYPE, Parts, TopicEvent};
use mecha_observability::Propagated;
use mecha_proto::runtime::v1 as pb;
use mecha_proto::runtime::v1::app_callback_alpha_client::AppCallbackAlphaClient;
use mecha_proto::runtime::v1::topic_event_bulk_request_entry::Event as BulkForm;
use mecha_resources::subscription::BulkSubscribe;
use tonic::metadata::MetadataMap;
use uuid::Uuid;

use super::GrpcApp;
use crate::EventStatus;
use crate::error::AppError;
use crate::metadata as headers_of;
use crate::metadata::PUBSUB_NAME;

/// Which subscription an event is for.
#[derive(Debug, Clone, Copy)]
pub struct Destination<'a> {
    /// The broker.
    pub pubsub: &'a str,
    /// The topic.
    pub topic: &'a str,
    /// The path that the routing rules chose.
    pub path: &'a str,
}

/// One event of several.
#[derive(Debug)]
pub struct BulkMessage<'a> {
    /// The number that the application answers with.
    pub entry_id: &'a str,
    /// The event; `None` hands the message over as it is.
    pub event: Option<TopicEvent<'a>>,
    /// The message.
    pub data: Bytes,
    /// Its content type.
    pub content_type: &'a str,
    /// The broker's metadata.
    pub metadata: HashMap<String, String>,
}

impl GrpcApp {
    /// The topics that the application wants; none when it does not have the method.
    ///
    /// # Errors
    /// [`AppError`].
    pub async fn topic_subscriptions(&self) -> Result<Vec<Parts>, AppError> {
        let request = self.request((), &Propagated::default());
        match self.callback().list_topic_subscriptions(request).await.map_err(AppError::from) {
            Ok(answer) => Ok(answer.into_inner().subscriptions.into_iter().map(parts).collect()),
            Err(error) if error.is_unimplemented() => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Delivers one event.
    ///
    /// # Errors
    /// [`AppError`]; then the event is to be delivered again.
    pub async fn deliver<'a>(
        &self,
        destination: Destination<'_>,
        event: TopicEvent<'_>,
        metadata: impl IntoIterator<Item = (&'a str, &'a str)>,
        trace: &Propagated,
    ) -> Result<EventStatus, AppError> {
        let _place = self.0.place().await;
        let mut request = self.request(message(destination, event), trace);
        let mut headers = std::mem::take(request.metadata_mut()).into_headers();
        headers_of::add(&mut headers, [(PUBSUB_NAME, destination.pubsub)]);
        // The event says its content type; gRPC's own is another.
        let metadata = metadata.into_iter().filter(|(name, _)| !name.eq_ignore_ascii_case("content-type"));
        headers_of::add(&mut headers, metadata);
        *request.metadata_mut() = MetadataMap::from_headers(headers);
        match self.callback().on_topic_event(request).await.map_err(AppError::from) {
            Ok(answer) => Ok(EventStatus::of_grpc(answer.into_inner().status)),
            Err(error) if error.is_unimplemented() => {
                tracing::error!(
                    "non-retriable error returned from app while processing pub/sub event: {error}"
                );
                Ok(EventStatus::Drop)
            }
            Err(error) => Err(error),
        }
    }

    /// Delivers several events and gives the application's word on each, by entry. The method's earlier name is tried when the
    /// application lacks the later one.
    ///
    /// # Errors
    /// [`AppError`]; then all events are to be delivered again.
    pub async fn deliver_bulk(
        &self,
        destination: Destination<'_>,
        messages: Vec<BulkMessage<'_>>,
        trace: &Propagated,
    ) -> Result<HashMap<String, EventStatus>, AppError> {
        let events = bulk(destination, messages);
        let _place = self.0.place().await;
        let request = self.request(events.clone(), trace);
        let answer = match self.callback().on_bulk_topic_event(request).await.map_err(AppError::from) {
            Err(error) if error.is_unimplemented() => self.deliver_bulk_alpha(events, trace).await?,
            answered => answered?.into_inner(),
        };
        let status =
            |entry: pb::TopicEventBulkResponseEntry| (entry.entry_id, EventStatus::of_grpc(entry.status));
        Ok(answer.statuses.into_iter().map(status).collect())
    }

    async fn deliver_bulk_alpha(
        &self,
        events: pb::TopicEventBulkRequest,
        trace: &Propagated,
    ) -> Result<pb::TopicEventBulkResponse, AppError> {
        let (client, origin) = self.parts();
        let mut earlier = AppCallbackAlphaClient::with_origin(client, origin)
            .max_decoding_message_size(self.0.max_body_size)
            .max_encoding_message_size(usize::MAX);
        #[expect(deprecated, reason = "applications built with an earlier SDK have only this name")]
        let answer = earlier.on_bulk_topic_event_alpha1(self.request(events, trace)).await?;
        Ok(answer.into_inner())
    }
}

fn message(destination: Destination<'_>, event: TopicEvent<'_>) -> pb::TopicEventRequest {
    pb::TopicEventRequest {
        id: event.id,
        source: event.source,
        r#type: event.event_type,
        spec_version: event.spec_version,
        data_content_type: event.data_content_type,
        data: event.data.into_owned().into(),
        topic: destination.topic.to_owned(),
        pubsub_name: destination.pubsub.to_owned(),
        path: destination.path.to_owned(),
        extensions: Some(event.extensions),
    }
}

fn bulk(destination: Destination<'_>, messages: Vec<BulkMessage<'_>>) -> pb::TopicEventBulkRequest {
    let entry = |message: BulkMessage<'_>| pb::TopicEventBulkRequestEntry {
        entry_id: message.entry_id.to_owned(),
        event: Some(message.event.map_or(BulkForm::Bytes(message.data), |event| {
            BulkForm::CloudEvent(pb::TopicEventCeRequest {
                id: event.id,
                source: event.source,
                r#type: event.event_type,
                spec_version: event.spec_version,
                data_content_type: event.data_content_type,
                data: event.data.into_owned().into(),
                extensions: Some(event.extensions),
            })
        })),
        content_type: message.content_type.to_owned(),
        metadata: message.metadata,
    };
    pb::TopicEventBulkRequest {
        id: Uuid::new_v4().to_string(),
        entries: messages.into_iter().map(entry).collect(),
        metadata: [(PUBSUB_NAME.to_owned(), destination.pubsub.to_owned())].into(),
        topic: destination.topic.to_owned(),
        pubsub_name: destination.pubsub.to_owned(),
        r#type: BULK_TYPE.to_owned(),
        path: destination.path.to_owned(),
    }
}

/// A wish for a topic, as the parts of a subscription.
fn parts(wish: pb::TopicSubscription) -> Parts {
    let routes = wish.routes.unwrap_or_default();
    let bulk = wish.bulk_subscribe.unwrap_or_default();
    // Zero and less mean Dapr's defaults.
    let positive = |number: i32| u32::try_from(number).ok().filter(|number| *number > 0);
    Parts {
        pubsub: wish.pubsub_name,
        topic: wish.topic,
        metadata: wish.metadata.into_iter().collect(),
        dead_letter_topic: wish.dead_letter_topic,
        rules: routes.rules.into_iter().map(|rule| (rule.r#match, rule.path)).collect(),
        default_route: routes.default,
        bulk: BulkSubscribe {
            enabled: bulk.enabled,
            max_messages: positive(bulk.max_messages_count),
            max_await: positive(bulk.max_await_duration_ms)
                .map(|millis| Duration::from_millis(millis.into())),
        },
    }
}

impl EventStatus {
    /// What a status number means: an unknown one is a wish for another delivery.
    pub fn of_grpc(status: i32) -> Self {
        use pb::topic_event_response::TopicEventResponseStatus as Status;
        match Status::try_from(status) {
            Ok(Status::Success) => Self::Success,
            Ok(Status::Drop) => Self::Drop,
            Ok(Status::Retry) => Self::Retry,
            Err(_) => {
                tracing::warn!(
                    status,
                    "unknown status returned by the application; the event is delivered again"
                );
                Self::Retry
            }
        }
    }
}
