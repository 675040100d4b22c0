//! The first half of the outbox: messages to the internal topic, markers into the transaction.

use std::collections::HashMap;
use std::sync::Arc;

use mecha_observability::{Propagated, names};
use mecha_plugin_api::Metadata;
use mecha_plugin_api::pubsub::PublishRequest;
use mecha_plugin_api::state::{Concurrency, Consistency, SetRequest, StateOperation, ValueKind};
use uuid::Uuid;

use super::event::Change;
use super::running::Outbox;
use super::{MARKER, OutboxError, OutboxSettings, is_truthy};
use crate::registry::Registry;
use crate::{Call, PubSub, StateStore};

/// The content type of events at the broker.
const CLOUD_EVENT: &str = "application/cloudevents+json";
/// Metadata of an operation that is not stored: its value is what is published for its key.
const PROJECTION: &str = "outbox.projection";
const CONTENT_TYPE: &str = "contentType";

/// One operation of a transaction on its way through the outbox.
pub struct OutboxChange {
    /// The operation, as the store would get it.
    pub operation: StateOperation,
    /// What the request itself, rather than its metadata, says of the value.
    pub content_type: Option<String>,
}

/// A value that may be published in place of the one that is stored.
struct Value {
    request: SetRequest,
    content_type: Option<String>,
}

impl Value {
    fn content_type(&self) -> &str {
        let of_request = self.content_type.as_deref();
        of_request.or_else(|| self.request.metadata.get(CONTENT_TYPE)).unwrap_or_default()
    }

    fn is_projection(&self) -> bool {
        self.request.metadata.get(PROJECTION).is_some_and(is_truthy)
    }
}

impl StateStore {
    /// Whether its transactions go through the outbox.
    pub fn has_outbox(&self) -> bool {
        self.outbox().is_some()
    }

    pub(crate) fn outbox(&self) -> Option<&OutboxSettings> {
        self.settings().outbox.as_ref()
    }
}

impl Outbox {
    /// Publishes what a transaction is about to store to the internal topic, and gives the operations that the transaction
    /// has to consist of: without projections, with markers.
    ///
    /// # Errors
    /// [`OutboxError`]; then the transaction must not take place.
    pub async fn announce(
        &self,
        call: &Call,
        store: &StateStore,
        changes: Vec<OutboxChange>,
    ) -> Result<Vec<StateOperation>, OutboxError> {
        let Some(settings) = store.outbox() else {
            return Ok(changes.into_iter().map(|change| change.operation).collect());
        };
        let (changes, projections) = sorted(changes);
        let topic = settings.internal_topic(&call.app);
        let (mut operations, mut markers) = (Vec::with_capacity(changes.len() * 2), Vec::new());
        for change in changes {
            let OutboxChange { operation: StateOperation::Upsert(request), content_type } = change else {
                operations.push(change.operation);
                continue;
            };
            let stored = Value { request, content_type };
            let shown = projections.get(stored.request.key.as_str()).unwrap_or(&stored);
            let id = format!("{MARKER}{}", Uuid::new_v4());
            let event = Change {
                id: &id,
                pubsub: &settings.internal_pubsub,
                app_id: &call.app.id,
                value: &shown.request.value,
                kind: shown.request.kind,
                content_type: shown.content_type(),
                metadata: &stored.request.metadata,
            };
            let event = event.event(&call.trace)?;
            let broker = allowed(&self.registry.load(), call, &settings.internal_pubsub, &topic)?;
            broker.publish(call, message(&topic, event, headers(&call.trace))).await?;
            operations.push(StateOperation::Upsert(stored.request));
            markers.push(marker(&id));
        }
        operations.append(&mut markers);
        Ok(operations)
    }
}

/// The operations that are stored, and those that only say what is published.
fn sorted(changes: Vec<OutboxChange>) -> (Vec<OutboxChange>, HashMap<String, Value>) {
    let (mut stored, mut projections) = (Vec::with_capacity(changes.len()), HashMap::new());
    for change in changes {
        match change {
            OutboxChange { operation: StateOperation::Upsert(request), content_type } => {
                let value = Value { request, content_type };
                if value.is_projection() {
                    projections.insert(value.request.key.to_string(), value);
                } else {
                    let Value { request, content_type } = value;
                    stored.push(OutboxChange { operation: StateOperation::Upsert(request), content_type });
                }
            }
            deletion => stored.push(deletion),
        }
    }
    (stored, projections)
}

/// The broker, if it is there and its scopes let the application publish to the topic.
pub(super) fn allowed(
    registry: &Registry,
    call: &Call,
    pubsub: &str,
    topic: &str,
) -> Result<Arc<PubSub>, OutboxError> {
    let broker = registry.pubsub(pubsub).map_err(|_| OutboxError::NotFound(pubsub.to_owned()))?;
    if !broker.may_publish(topic) {
        return Err(OutboxError::Forbidden { topic: topic.to_owned(), app_id: call.app.id.to_string() });
    }
    Ok(broker.clone())
}

pub(super) fn message(topic: &str, event: Vec<u8>, metadata: Metadata) -> PublishRequest {
    PublishRequest { topic: topic.into(), data: event.into(), content_type: CLOUD_EVENT.into(), metadata }
}

/// The trace goes to the broker's own headers too, as with every other message.
fn headers(trace: &Propagated) -> Metadata {
    let mut headers = Metadata::new();
    if trace.context.is_valid() {
        headers.insert(names::header::TRACEPARENT, trace.context.traceparent().as_str());
    }
    if let Some(state) = &trace.tracestate {
        headers.insert(names::header::TRACESTATE, &**state);
    }
    if let Some(baggage) = &trace.baggage {
        headers.insert(names::header::BAGGAGE, &**baggage);
    }
    headers
}

/// Dapr's marker: its value says nothing, and its key has no prefix.
fn marker(id: &str) -> StateOperation {
    StateOperation::Upsert(SetRequest {
        key: id.into(),
        value: b"0".to_vec().into(),
        kind: ValueKind::BYTES,
        etag: None.into(),
        concurrency: Concurrency::UNSPECIFIED,
        consistency: Consistency::UNSPECIFIED,
        metadata: Metadata::new(),
    })
}
