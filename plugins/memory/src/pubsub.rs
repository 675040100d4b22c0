//! `pubsub.in-memory`: publishing, subscribing, and the instances of a component that share its topics.

mod bus;
mod handover;
mod queue;
mod settings;
mod source;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use mecha_plugin_api::pubsub::{PubSub, PubSubFeatures, PublishRequest, SubscribeRequest};
use mecha_plugin_api::source::Subscription;
use mecha_plugin_api::{Buf, CallContext, ComponentSpec, Error, ErrorKind, Result};
use tracing::{Instrument, Span};

use self::bus::{Bus, InstanceId};
use self::handover::Address;
use self::queue::Message;
use self::settings::Settings;
use self::source::MemorySource;

/// Up to this length a message is copied, so that the request it came in can be freed while it waits.
const COPIED_UP_TO: usize = 4096;

type ComponentKey = (String, String);

/// The topics of every component that this copy of the plugin has open, by application and component name: an instance that
/// replaces another one finds what that one was given.
#[derive(Default)]
pub(crate) struct Buses(Mutex<HashMap<ComponentKey, Weak<Bus>>>);

impl Buses {
    /// The component's topics, and whether they are new.
    fn of(&self, spec: &ComponentSpec, settings: &Settings) -> (Arc<Bus>, bool) {
        let mut buses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        buses.retain(|_, bus| bus.strong_count() > 0);
        let key = (spec.app_id.to_string(), spec.name.to_string());
        if let Some(bus) = buses.get(&key).and_then(Weak::upgrade) {
            return (bus, false);
        }
        let bus = Arc::new(Bus::new(settings.limits));
        buses.insert(key, Arc::downgrade(&bus));
        (bus, true)
    }
}

/// The broker of one component.
pub(crate) struct MemoryPubSub {
    bus: Arc<Bus>,
    instance: InstanceId,
    settings: Settings,
}

impl MemoryPubSub {
    pub(crate) async fn open(spec: ComponentSpec, buses: Arc<Buses>) -> Result<Self> {
        let address = Address::of(&spec);
        Self::open_at(address, spec, buses).await
    }

    async fn open_at(address: Address, spec: ComponentSpec, buses: Arc<Buses>) -> Result<Self> {
        let settings = Settings::new(&spec)?;
        let (bus, is_new) = buses.of(&spec, &settings);
        let instance = bus.enter(settings.limits);
        let opened = Self { bus, instance, settings };
        if is_new {
            handover::start(opened.bus.clone(), address).await;
        }
        Ok(opened)
    }

    async fn put(&self, request: PublishRequest) -> Result<()> {
        let message = Message {
            data: owned(request.data),
            content_type: request.content_type,
            metadata: request.metadata,
        };
        let publishing = self.bus.publish(&request.topic, Arc::new(message));
        match tokio::time::timeout(self.settings.publish_timeout, publishing).await {
            Ok(()) => Ok(()),
            Err(_) => Err(Error::new(
                ErrorKind::THROTTLED,
                format!(
                    "a queue of topic {} is full and was not read for {:?}",
                    request.topic, self.settings.publish_timeout
                ),
            )),
        }
    }
}

impl Drop for MemoryPubSub {
    fn drop(&mut self) {
        self.bus.leave();
    }
}

impl PubSub for MemoryPubSub {
    fn features(&self) -> PubSubFeatures {
        PubSubFeatures::SUBSCRIBE_WILDCARDS
    }

    async fn publish(&self, context: &CallContext, request: PublishRequest) -> Result<()> {
        let span = span(context, &request.topic);
        let result = self.put(request).instrument(span.clone()).await;
        if let Err(error) = &result {
            span.record("otel.status_code", "ERROR");
            span.record("otel.status_description", error.message());
        }
        result
    }

    async fn subscribe(&self, _context: &CallContext, request: SubscribeRequest) -> Result<Subscription> {
        let consumer = self.settings.consumer_of(&request.metadata);
        let is_strict = self.settings.is_strict_for(&request.metadata)?;
        let membership = self.bus.subscribe(self.instance, &request.topic, consumer.as_deref(), is_strict);
        Ok(Subscription::new(MemorySource::new(self.bus.clone(), membership, request.max_in_flight)))
    }

    async fn backlog(&self, _context: &CallContext, topic: &str) -> Result<Option<u64>> {
        Ok(Some(self.bus.backlog(topic) as u64))
    }
}

fn owned(data: Buf) -> Bytes {
    if data.len() <= COPIED_UP_TO { Bytes::copy_from_slice(&data) } else { data.into_bytes() }
}

/// An unsampled call makes no span at all.
fn span(context: &CallContext, topic: &str) -> Span {
    if !context.is_sampled() {
        return Span::none();
    }
    tracing::debug_span!(
        "memory",
        otel.name = "memory publish",
        otel.status_code = tracing::field::Empty,
        otel.status_description = tracing::field::Empty,
        messaging.system = "memory",
        messaging.operation.name = "publish",
        messaging.destination.name = topic,
    )
}
