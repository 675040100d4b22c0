//! The semantics of publishing: scopes, the envelope, the broker; the same for both protocols.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use mecha_events::{Envelope, Publish, PublishMetadata, Trace, raw_payload};
use mecha_observability::{ActiveSpan, Propagated, SpanKind, names};
use mecha_plugin_api::pubsub::{BulkEntry, PubSubFeatures, PublishRequest};
use mecha_plugin_api::{Buf, Metadata};
use mecha_runtime::{Call, PubSub, Runtime};

use super::error::{Fault, Place};
use crate::error::ApiError;

const CLOUD_EVENT: &str = "application/cloudevents+json";
const RAW_PAYLOAD: &str = "rawPayload";

/// One event to publish.
pub(super) struct Event {
    pub(super) data: Bytes,
    pub(super) content_type: String,
    pub(super) metadata: Metadata,
}

/// One of several events to publish.
pub(super) struct Entry {
    pub(super) entry_id: String,
    pub(super) event: Event,
}

/// An entry that was not published.
pub(super) struct Failed {
    pub(super) entry_id: String,
    pub(super) reason: String,
}

/// Why a bulk was not published, or not all of it.
pub(super) struct BulkFailure {
    pub(super) error: Box<ApiError>,
    pub(super) failed: Vec<Failed>,
}

impl From<ApiError> for BulkFailure {
    fn from(error: ApiError) -> Self {
        Self { error: error.into(), failed: Vec::new() }
    }
}

/// A broker and a topic that this application may publish to.
pub(super) struct Target<'a> {
    call: &'a Call,
    pubsub: &'a str,
    topic: &'a str,
    broker: Arc<PubSub>,
    /// No envelope; a request says so for all its entries.
    raw: bool,
}

impl<'a> Target<'a> {
    pub(super) fn find(
        runtime: &Runtime,
        call: &'a Call,
        pubsub: &'a str,
        topic: &'a str,
        metadata: &Metadata,
    ) -> Result<Self, ApiError> {
        let place = Place { app_id: &call.app.id, pubsub, topic, metadata };
        if pubsub.is_empty() {
            return Err(place.error(&Fault::NameEmpty));
        }
        let broker = runtime.registry().pubsub(pubsub).cloned();
        let broker = broker.map_err(|_| place.error(&Fault::NotFound))?;
        if topic.is_empty() {
            return Err(place.error(&Fault::TopicEmpty));
        }
        let raw = raw_payload(metadata.iter());
        let raw = raw.map_err(|error| place.error(&Fault::Metadata(error.to_string())))?;
        Ok(Self { call, pubsub, topic, broker, raw })
    }

    /// Whether the application may publish there; asked once the request was found whole, as in Dapr.
    fn allowed(&self, metadata: &Metadata) -> Result<(), ApiError> {
        match self.broker.may_publish(self.topic) {
            true => Ok(()),
            false => Err(self.fault(&Fault::Forbidden, metadata)),
        }
    }

    pub(super) async fn publish(&self, event: Event) -> Result<(), ApiError> {
        let metadata = event.metadata.clone();
        let fault = |fault| self.fault(&fault, &metadata);
        let (data, content_type) = self.wrapped(&event, &self.call.trace).map_err(fault)?;
        self.allowed(&metadata)?;
        let request = PublishRequest {
            topic: self.topic.into(),
            data: Buf::from(data),
            content_type: content_type.into(),
            metadata: with_trace(event.metadata, &self.call.trace),
        };
        let published = self.broker.publish(self.call, request).await;
        published.map_err(|error| self.fault(&Fault::Broker(error.to_string()), &metadata))
    }

    /// Publishes several events. Each is in the trace as a span of its own.
    pub(super) async fn bulk_publish(
        &self,
        entries: Vec<Entry>,
        metadata: Metadata,
        runtime: &Runtime,
    ) -> Result<(), BulkFailure> {
        let (mut wrapped, mut spans) = (Vec::with_capacity(entries.len()), Vec::new());
        let mut ids = HashSet::with_capacity(entries.len());
        for entry in entries {
            self.check_id(&mut ids, &entry.entry_id, &metadata)?;
            let (trace, span) = self.child(runtime);
            spans.extend(span);
            wrapped.push(self.bulk_entry(entry, &trace, &metadata)?);
        }
        self.allowed(&metadata)?;
        let published = self.broker.bulk_publish(self.call, self.topic, wrapped, metadata.clone()).await;
        let ended = self.outcome(published, ids, &metadata);
        for mut span in spans {
            if let Err(failure) = &ended {
                span.fail(failure.error.message.clone());
            }
            span.end();
        }
        ended
    }

    /// Every entry has an id, and no two the same.
    pub(super) fn check_id(
        &self,
        ids: &mut HashSet<String>,
        id: &str,
        metadata: &Metadata,
    ) -> Result<(), ApiError> {
        if id.is_empty() || !ids.insert(id.to_owned()) {
            let reason = "entryId is duplicated or not present for entry".to_owned();
            return Err(self.fault(&Fault::Entries(reason), metadata));
        }
        Ok(())
    }

    fn bulk_entry(
        &self,
        entry: Entry,
        trace: &Propagated,
        metadata: &Metadata,
    ) -> Result<BulkEntry, ApiError> {
        let wrapped = self.wrapped(&entry.event, trace);
        let (data, content_type) = wrapped.map_err(|fault| self.fault(&fault, metadata))?;
        Ok(BulkEntry {
            entry_id: entry.entry_id.into(),
            data: Buf::from(data),
            content_type: content_type.into(),
            metadata: with_trace(entry.event.metadata, trace),
        })
    }

    fn outcome(
        &self,
        published: Result<Vec<mecha_plugin_api::pubsub::FailedEntry>, mecha_runtime::CallError>,
        ids: HashSet<String>,
        metadata: &Metadata,
    ) -> Result<(), BulkFailure> {
        let (failed, reason) = match published {
            Ok(failed) if failed.is_empty() => return Ok(()),
            Ok(failed) => {
                let failed: Vec<_> = failed
                    .into_iter()
                    .map(|failed| Failed {
                        entry_id: failed.entry_id.into(),
                        reason: failed.error.message().to_owned(),
                    })
                    .collect();
                let reasons: Vec<_> = failed.iter().map(|failed| failed.reason.as_str()).collect();
                let reason = reasons.join("\n");
                (failed, reason)
            }
            Err(error) => {
                let reason = error.to_string();
                let failed = ids.into_iter().map(|entry_id| Failed { entry_id, reason: reason.clone() });
                (failed.collect(), reason.clone())
            }
        };
        Err(BulkFailure { error: self.fault(&Fault::Broker(reason), metadata).into(), failed })
    }

    /// The event as it goes to the broker, and its content type there.
    fn wrapped(&self, event: &Event, trace: &Propagated) -> Result<(Bytes, String), Fault> {
        if self.raw {
            return Ok((event.data.clone(), event.content_type.clone()));
        }
        // What an entry of a bulk says of it does not count.
        let metadata = event.metadata.iter().filter(|(key, _)| *key != RAW_PAYLOAD);
        let metadata = PublishMetadata::read(metadata).map_err(|error| Fault::Metadata(error.to_string()))?;
        let parent = trace.context.is_valid().then(|| trace.context.traceparent());
        let envelope = Envelope::for_publish(&Publish {
            pubsub: self.pubsub,
            topic: self.topic,
            app_id: &self.call.app.id,
            content_type: &event.content_type,
            data: &event.data,
            trace: Trace {
                parent: parent.as_ref().map_or("", |parent| parent.as_str()),
                state: trace.tracestate.as_deref().unwrap_or_default(),
                baggage: trace.baggage.as_deref().unwrap_or_default(),
            },
            metadata,
            native_ttl: self.broker.features().has(PubSubFeatures::MESSAGE_TTL),
            now: SystemTime::now(),
        });
        let envelope = envelope.map_err(|error| Fault::Envelope(error.to_string()))?;
        Ok((envelope.into_bytes().into(), CLOUD_EVENT.to_owned()))
    }

    fn child(&self, runtime: &Runtime) -> (Propagated, Option<ActiveSpan>) {
        let parent = self.call.trace.context;
        if self.raw {
            return (self.call.trace.clone(), None);
        }
        let name = || format!("{} publish", self.topic);
        let span = runtime.telemetry().child_span(parent, SpanKind::Producer, name);
        let context = span.as_ref().map_or(parent, ActiveSpan::context);
        (Propagated { context, ..self.call.trace.clone() }, span)
    }

    pub(super) fn fault(&self, fault: &Fault, metadata: &Metadata) -> ApiError {
        let place = Place { app_id: &self.call.app.id, pubsub: self.pubsub, topic: self.topic, metadata };
        place.error(fault)
    }
}

/// The trace goes to the broker's own headers as well, so that raw payloads carry it too.
fn with_trace(mut metadata: Metadata, trace: &Propagated) -> Metadata {
    let mut add = |key: &str, value: &str| {
        if metadata.get(key).is_none() {
            metadata.insert(key, value);
        }
    };
    if trace.context.is_valid() {
        add(names::header::TRACEPARENT, trace.context.traceparent().as_str());
    }
    if let Some(tracestate) = &trace.tracestate {
        add(names::header::TRACESTATE, tracestate);
    }
    if let Some(baggage) = &trace.baggage {
        add(names::header::BAGGAGE, baggage);
    }
    metadata
}
