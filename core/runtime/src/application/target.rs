//! Where events go: the application's HTTP or gRPC port, or a stream that it opened.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use mecha_app_channel::{AppChannel, AppError, Destination, EventStatus};
use mecha_events::{Body, DataError, Event, SubscriptionSpec, TopicEvent};
use mecha_plugin_api::source::Delivery;
use mecha_resiliency::{Code, Failure};
use tokio::sync::{mpsc, oneshot};

use super::insist::code;
use crate::Call;

/// Where a subscription's events go.
pub(crate) enum Target {
    /// To the application's port.
    App(Arc<AppChannel>),
    /// Down a stream that the application opened.
    Stream(mpsc::Sender<StreamEvent>),
}

/// An event on its way down a stream.
pub struct StreamEvent {
    /// The broker.
    pub pubsub: String,
    /// The topic.
    pub topic: String,
    /// The path that the routing rules chose.
    pub path: String,
    /// The event.
    pub event: TopicEvent<'static>,
    /// Told what became of it; dropped without a word it comes again.
    pub reply: oneshot::Sender<EventStatus>,
}

/// Why an event did not reach the application.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TargetError {
    /// The application failed on it.
    #[error(transparent)]
    App(#[from] AppError),
    /// It cannot be put into the protocol's message.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The stream is gone.
    #[error("the application closed its subscription's stream")]
    Closed,
}

/// Why an event is to come again.
#[derive(Debug, thiserror::Error)]
pub(super) enum Declined {
    /// The application asked for it.
    #[error("RETRY status returned from app")]
    Asked,
    /// It failed on it, or could not be reached.
    #[error(transparent)]
    Failed(#[from] TargetError),
}

impl Failure for Declined {
    fn is_permanent(&self) -> bool {
        // A stream that is gone does not come back, and data that fits no message never will.
        matches!(self, Self::Failed(TargetError::Closed | TargetError::Data(_)))
    }

    fn code(&self) -> Option<Code> {
        match self {
            Self::Failed(TargetError::App(error)) => code(error),
            Self::Asked | Self::Failed(_) => None,
        }
    }
}

impl Target {
    pub(crate) async fn deliver(
        &self,
        spec: &SubscriptionSpec,
        path: &str,
        delivery: &Delivery,
        event: &Event<'_>,
        call: &Call,
    ) -> Result<EventStatus, TargetError> {
        let destination = Destination { pubsub: &spec.pubsub, topic: &spec.topic, path };
        match self {
            Self::App(channel) => match &**channel {
                AppChannel::Http(app) => {
                    let body = body(event, delivery);
                    Ok(app.deliver(destination, body, delivery.metadata.iter(), &call.trace).await?)
                }
                AppChannel::Grpc(app) => {
                    let event = event.topic_event()?;
                    Ok(app.deliver(destination, event, delivery.metadata.iter(), &call.trace).await?)
                }
            },
            Self::Stream(stream) => {
                let (reply, replied) = oneshot::channel();
                let event = event.topic_event()?;
                let event = TopicEvent { data: Cow::Owned(event.data.into_owned()), ..event };
                let (pubsub, topic, path) = (spec.pubsub.clone(), spec.topic.clone(), path.to_owned());
                let event = StreamEvent { pubsub, topic, path, event, reply };
                stream.send(event).await.map_err(|_| TargetError::Closed)?;
                replied.await.map_err(|_| TargetError::Closed)
            }
        }
    }
}

fn body(event: &Event<'_>, delivery: &Delivery) -> Bytes {
    match event.body() {
        Body::AsReceived => delivery.data.clone().into_bytes(),
        Body::Json(envelope) => envelope.into(),
    }
}
