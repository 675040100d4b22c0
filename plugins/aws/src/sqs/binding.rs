//! `bindings.aws.sqs`: one queue, to send to and to read from.

use std::sync::Arc;

use mecha_plugin_api::binding::{InputBinding, InvokeRequest, InvokeResponse, OutputBinding};
use mecha_plugin_api::source::Subscription;
use mecha_plugin_api::{CallContext, ComponentSpec, Error, ErrorKind, Metadata, Result};
use tokio::sync::OnceCell;
use tracing::Instrument as _;

use super::client::SqsClient;
use super::feed::Feed;
use super::outgoing::{self, Rules};
use super::sender::Sender;
use super::source::SqsSource;
use crate::client::Shared;
use crate::error::Failure;
use crate::span;

const CREATE: &str = "create";
const QUEUE: &str = "queueName";

/// An open `bindings.aws.sqs` component.
pub(crate) struct SqsBinding {
    client: SqsClient,
    queue: String,
    /// The message group of messages that name none.
    group: String,
    sender: OnceCell<Arc<Sender>>,
}

impl SqsBinding {
    /// Opens the component: the queue must exist. A service that cannot be reached now may come up later.
    pub(crate) async fn open(spec: ComponentSpec, shared: Shared) -> Result<Self> {
        let queue = spec.required(QUEUE)?.to_owned();
        let client = SqsClient::open(&spec, &shared).await?;
        let group = client.settings.group.clone().unwrap_or_else(|| format!("{}:{}", spec.app_id, spec.name));
        let opened = Self { client, queue, group, sender: OnceCell::new() };
        match opened.sender().await {
            Err(failure) if is_passing(failure.kind()) => {
                tracing::warn!(component = %spec.name, "sqs cannot be asked for the queue now: {failure}");
            }
            Err(failure) => return Err(opened.queue_error(failure)),
            Ok(_) => {}
        }
        Ok(opened)
    }

    async fn sender(&self) -> Result<&Arc<Sender>, Failure> {
        let made = self
            .sender
            .get_or_try_init(|| async { Ok(Arc::new(Sender::new(self.client.queue(&self.queue).await?))) });
        made.await
    }

    /// Starts reading from the queue.
    pub(crate) async fn source(&self) -> Result<SqsSource> {
        self.client.forget(&self.queue);
        let queue = self.client.queue(&self.queue).await.map_err(|failure| self.queue_error(failure))?;
        Ok(SqsSource::start(Feed::new(queue, self.queue.clone(), self.client.settings.receiving)))
    }

    fn queue_error(&self, failure: Failure) -> Error {
        let is_missing = failure.kind() == ErrorKind::NOT_FOUND;
        let error = failure.into_error(&format!("queue {}", self.queue));
        if is_missing { error.with_field(QUEUE) } else { error }
    }

    async fn send(&self, context: &CallContext, request: InvokeRequest) -> Result<()> {
        let sender = self.sender().await.map_err(|failure| self.queue_error(failure))?;
        let queue = sender.queue();
        let content_based = queue.is_content_based().await;
        let rules = Rules { fifo: queue.is_fifo(), content_based, group: &self.group };
        let message = outgoing::message(context, &request.data, &request.metadata, &Metadata::new(), rules)?;
        let span = span::send(context, &self.queue, 1);
        let sent = sender.send(message).instrument(span.clone()).await;
        span::record(&span, sent.as_ref().err());
        sent.map_err(|failure| self.queue_error(failure))
    }
}

impl OutputBinding for SqsBinding {
    fn operations(&self) -> Vec<&'static str> {
        vec![CREATE]
    }

    async fn invoke(&self, context: &CallContext, request: InvokeRequest) -> Result<InvokeResponse> {
        if request.operation.as_str() != CREATE {
            let message = format!("invalid operation type: {}. expected {CREATE}", request.operation);
            return Err(Error::unsupported(message));
        }
        self.send(context, request).await?;
        Ok(InvokeResponse::default())
    }

    async fn ping(&self, _context: &CallContext) -> Result<()> {
        let sender = self.sender().await.map_err(|failure| self.queue_error(failure))?;
        sender.queue().ping().await.map_err(|failure| self.queue_error(failure))
    }
}

impl InputBinding for SqsBinding {
    async fn read(&self, _context: &CallContext) -> Result<Subscription> {
        Ok(Subscription::new(self.source().await?))
    }

    async fn ping(&self, context: &CallContext) -> Result<()> {
        OutputBinding::ping(self, context).await
    }
}

/// Whether a failure says nothing about the component's metadata.
pub(super) fn is_passing(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::UNAVAILABLE | ErrorKind::TIMEOUT | ErrorKind::THROTTLED)
}
