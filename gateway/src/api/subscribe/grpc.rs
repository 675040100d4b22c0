//! A subscription's stream: events go down, the application's answers come up.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use http::StatusCode;
use mecha_proto::runtime::v1 as pb;
use mecha_proto::runtime::v1::subscribe_topic_events_request_alpha1::SubscribeTopicEventsRequestType as Up;
use mecha_proto::runtime::v1::subscribe_topic_events_response_alpha1::SubscribeTopicEventsResponseType as Down;
use mecha_runtime::{EventStatus, Runtime, StreamError, StreamEvent, StreamSubscription};
use tokio::sync::{mpsc, oneshot};
use tonic::{Code, Status, Streaming};

use crate::error::{ApiError, FullDetails};

type Message = Result<pb::SubscribeTopicEventsResponseAlpha1, Status>;

/// Sets the subscription up and gives what goes down the stream.
pub(crate) async fn subscribe(
    runtime: &Arc<Runtime>,
    mut requests: Streaming<pb::SubscribeTopicEventsRequestAlpha1>,
) -> Result<mpsc::Receiver<Message>, Status> {
    let first = requests.message().await?.and_then(|first| first.subscribe_topic_events_request_type);
    let Some(Up::InitialRequest(wish)) = first else {
        return Err(Status::unknown("initial request is required"));
    };
    if wish.pubsub_name.is_empty() {
        return Err(Status::unknown("pubsubName is required"));
    }
    if wish.topic.is_empty() {
        return Err(Status::unknown("topic is required"));
    }
    let subscription = runtime
        .subscribe_stream(&wish.pubsub_name, &wish.topic, wish.metadata, wish.dead_letter_topic)
        .map_err(|error| refused(&error))?;
    subscription.opened().await;
    let (down, stream) = mpsc::channel(16);
    let initial = Down::InitialResponse(pb::SubscribeTopicEventsResponseInitialAlpha1 {});
    // The receiver is in our hand.
    let _ = down.send(Ok(message(initial))).await;
    tokio::spawn(run(subscription, requests, down));
    Ok(stream)
}

/// As in Dapr only a broker that is not there, and the end of the process, are errors with a code of their own.
fn refused(error: &StreamError) -> Status {
    let message = error.to_string();
    let (http, grpc) = (StatusCode::NOT_FOUND, Code::InvalidArgument);
    match error {
        StreamError::NotFound(_) => ApiError::new("ERR_PUBSUB_NOT_FOUND", "pubsub", http, grpc, message)
            .with(FullDetails { reason: "DAPR_PUBSUB_NOT_FOUND", ..FullDetails::default() })
            .status(),
        StreamError::Closed => {
            let message = format!("failed deserializing metadata. Error: {message}");
            let resource = Some(("pubsub", String::new(), message.clone()));
            let reason = "DAPR_PUBSUB_METADATA_DESERIALIZATION";
            ApiError::new("ERR_PUBSUB_REQUEST_METADATA", "pubsub", StatusCode::BAD_REQUEST, grpc, message)
                .with(FullDetails { reason, resource, ..FullDetails::default() })
                .status()
        }
        StreamError::Invalid(_) | StreamError::Forbidden { .. } => Status::unknown(message),
    }
}

/// The events that the client has and has not answered yet, by id. Two of one id are answered in their order.
#[derive(Default)]
struct Unanswered(HashMap<String, VecDeque<oneshot::Sender<EventStatus>>>);

impl Unanswered {
    fn add(&mut self, id: String, reply: oneshot::Sender<EventStatus>) {
        self.0.entry(id).or_default().push_back(reply);
    }

    fn take(&mut self, id: &str) -> Option<oneshot::Sender<EventStatus>> {
        let waiting = self.0.get_mut(id)?;
        let reply = waiting.pop_front();
        if waiting.is_empty() {
            self.0.remove(id);
        }
        reply
    }
}

/// Ends with the stream; what was not answered by then comes again.
async fn run(
    mut subscription: StreamSubscription,
    mut requests: Streaming<pb::SubscribeTopicEventsRequestAlpha1>,
    down: mpsc::Sender<Message>,
) {
    let mut unanswered = Unanswered::default();
    // An event is taken only once there is room for it, so that answers are read however slowly the client takes events.
    let mut room = None;
    loop {
        tokio::select! {
            permit = down.reserve(), if room.is_none() => match permit {
                Ok(permit) => room = Some(permit),
                Err(_) => return,
            },
            event = subscription.event(), if room.is_some() => {
                let Some(event) = event else {
                    let _ = down.send(Err(Status::unknown("stream closed"))).await;
                    return;
                };
                let (event, reply) = described(event);
                unanswered.add(event.id.clone(), reply);
                if let Some(room) = room.take() {
                    room.send(Ok(message(Down::EventMessage(event))));
                }
            }
            answer = requests.message() => match answer.map(|answer| answer.and_then(|answer| answer.subscribe_topic_events_request_type)) {
                Ok(Some(Up::EventProcessed(processed))) => {
                    if let Some(reply) = unanswered.take(&processed.id) {
                        let status = processed.status.unwrap_or_default().status;
                        // Nobody waits any more when the subscription is about to end.
                        let _ = reply.send(EventStatus::of_grpc(status));
                    }
                }
                Ok(Some(Up::InitialRequest(_))) => {
                    drop(room);
                    let _ = down.send(Err(Status::unknown("duplicate initial request received"))).await;
                    return;
                }
                Ok(None) | Err(_) => return,
            },
        }
    }
}

fn described(stream: StreamEvent) -> (pb::TopicEventRequest, oneshot::Sender<EventStatus>) {
    let StreamEvent { pubsub, topic, path, event, reply } = stream;
    let request = pb::TopicEventRequest {
        id: event.id,
        source: event.source,
        r#type: event.event_type,
        spec_version: event.spec_version,
        data_content_type: event.data_content_type,
        data: event.data.into_owned().into(),
        topic,
        pubsub_name: pubsub,
        path,
        extensions: Some(event.extensions),
    };
    (request, reply)
}

fn message(down: Down) -> pb::SubscribeTopicEventsResponseAlpha1 {
    pb::SubscribeTopicEventsResponseAlpha1 { subscribe_topic_events_response_type: Some(down) }
}
