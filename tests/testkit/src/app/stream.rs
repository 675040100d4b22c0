//! The application over streams that it opens.

use anyhow::{Context, Result, bail};
use mecha_proto::runtime::v1 as pb;
use mecha_proto::runtime::v1::subscribe_topic_events_request_alpha1::SubscribeTopicEventsRequestType as Up;
use mecha_proto::runtime::v1::subscribe_topic_events_response_alpha1::SubscribeTopicEventsResponseType as Down;
use mecha_proto::runtime::v1::topic_event_response::TopicEventResponseStatus as Word;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;

use super::{Shared, Wish, grpc};
use crate::Mecha;

/// Opens a stream and returns when the subscription stands.
pub(super) async fn open(mecha: &Mecha, wish: Wish, shared: Shared) -> Result<JoinHandle<()>> {
    let (up, requests) = mpsc::channel(64);
    let initial = pb::SubscribeTopicEventsRequestInitialAlpha1 {
        pubsub_name: wish.pubsub,
        topic: wish.topic,
        metadata: wish.metadata.into_iter().collect(),
        dead_letter_topic: wish.dead_letter,
    };
    up.send(message(Up::InitialRequest(initial))).await?;
    let answered = mecha.grpc().await?.subscribe_topic_events_alpha1(ReceiverStream::new(requests)).await;
    let mut events = answered?.into_inner();
    let first = events.message().await?.context("the stream ended at once")?;
    if !matches!(first.subscribe_topic_events_response_type, Some(Down::InitialResponse(_))) {
        bail!("the first message is {first:?}");
    }
    Ok(tokio::spawn(async move {
        while let Ok(Some(message)) = events.message().await {
            let Some(Down::EventMessage(event)) = message.subscribe_topic_events_response_type else {
                return;
            };
            answer(event, &shared, &up).await;
        }
    }))
}

async fn answer(
    event: pb::TopicEventRequest,
    shared: &Shared,
    up: &mpsc::Sender<pb::SubscribeTopicEventsRequestAlpha1>,
) {
    let id = event.id.clone();
    let status = grpc::word(shared.take(grpc::seen(event, Default::default()))).unwrap_or(Word::Retry).into();
    let processed = pb::SubscribeTopicEventsRequestProcessedAlpha1 {
        id,
        status: Some(pb::TopicEventResponse { status }),
    };
    // The stream may be over by now.
    let _ = up.send(message(Up::EventProcessed(processed))).await;
}

fn message(up: Up) -> pb::SubscribeTopicEventsRequestAlpha1 {
    pb::SubscribeTopicEventsRequestAlpha1 { subscribe_topic_events_request_type: Some(up) }
}
