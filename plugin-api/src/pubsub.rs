//! Publish/subscribe: the trait that a plugin implements and its form at the boundary.

use std::future::Future;
use std::sync::Arc;

use abi_stable::StableAbi;
use abi_stable::sabi_trait;
use abi_stable::std_types::{RBox, ROption, RString, RVec};

use crate::instance::{AbiFuture, ComponentScope, Shared};
use crate::source::{SourceObject, Subscription};
use crate::{Buf, CallContext, Error, Metadata, Result};

/// What a broker can do beyond publish and subscribe. A set of bits.
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PubSubFeatures(pub u32);

impl PubSubFeatures {
    /// The broker expires messages by itself (`ttlInSeconds`).
    pub const MESSAGE_TTL: Self = Self(1);
    /// Topics may be patterns.
    pub const SUBSCRIBE_WILDCARDS: Self = Self(1 << 1);
    /// [`PubSub::bulk_publish`] is one request to the broker.
    pub const BULK_PUBLISH: Self = Self(1 << 2);
    /// The broker can hold a message back (`delayInSeconds`).
    pub const DELAYED_DELIVERY: Self = Self(1 << 3);

    /// Both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether every bit of `other` is set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// One message to publish.
#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct PublishRequest {
    /// The topic.
    pub topic: RString,
    /// The message, as it goes to the broker.
    pub data: Buf,
    /// Media type of the data; empty when unknown.
    pub content_type: RString,
    /// Request metadata; `traceparent`, `tracestate` and `baggage` go out as headers where the broker has them.
    pub metadata: Metadata,
}

/// One message of a bulk publish.
#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct BulkEntry {
    /// The caller's number for this entry.
    pub entry_id: RString,
    /// The message.
    pub data: Buf,
    /// Media type of the data.
    pub content_type: RString,
    /// The entry's own metadata.
    pub metadata: Metadata,
}

/// An entry that was not published.
#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct FailedEntry {
    /// [`BulkEntry::entry_id`].
    pub entry_id: RString,
    /// Why.
    pub error: Error,
}

/// What to read.
#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct SubscribeRequest {
    /// The topic.
    pub topic: RString,
    /// The subscription's metadata.
    pub metadata: Metadata,
    /// How many messages may be out unsettled at once; 0 = as the broker likes.
    pub max_in_flight: u32,
}

/// A broker, as a plugin implements it.
pub trait PubSub: Send + Sync + 'static {
    /// What the broker can do.
    fn features(&self) -> PubSubFeatures {
        PubSubFeatures::default()
    }

    /// Publishes one message; returns when the broker has it.
    ///
    /// # Errors
    /// Any kind.
    fn publish(
        &self,
        context: &CallContext,
        request: PublishRequest,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Publishes several messages to one topic and tells which failed. The default publishes one after the other.
    ///
    /// # Errors
    /// Only when nothing could be published at all.
    fn bulk_publish(
        &self,
        context: &CallContext,
        topic: &str,
        entries: Vec<BulkEntry>,
        metadata: Metadata,
    ) -> impl Future<Output = Result<Vec<FailedEntry>>> + Send {
        async move {
            let mut failed = Vec::new();
            for entry in entries {
                let mut all = metadata.clone();
                for (key, value) in entry.metadata.iter() {
                    all.insert(key, value);
                }
                let (topic, content_type) = (topic.into(), entry.content_type);
                let request = PublishRequest { topic, data: entry.data, content_type, metadata: all };
                if let Err(error) = self.publish(context, request).await {
                    failed.push(FailedEntry { entry_id: entry.entry_id, error });
                }
            }
            Ok(failed)
        }
    }

    /// Starts reading a topic; the host pulls from the source and settles with the application's answer.
    ///
    /// # Errors
    /// Any kind.
    fn subscribe(
        &self,
        context: &CallContext,
        request: SubscribeRequest,
    ) -> impl Future<Output = Result<Subscription>> + Send;

    /// How many messages wait for this consumer, where the broker tells.
    ///
    /// # Errors
    /// Any kind.
    fn backlog(
        &self,
        context: &CallContext,
        topic: &str,
    ) -> impl Future<Output = Result<Option<u64>>> + Send {
        let _ = (context, topic);
        async { Ok(None) }
    }

    /// Whether the back end answers.
    ///
    /// # Errors
    /// [`crate::ErrorKind::UNAVAILABLE`] when it does not.
    fn ping(&self, context: &CallContext) -> impl Future<Output = Result<()>> + Send {
        let _ = context;
        async { Ok(()) }
    }
}

/// [`PubSub`] at the boundary.
#[sabi_trait]
pub trait PubSubAbi: Send + Sync {
    /// See [`PubSub::features`].
    fn features(&self) -> PubSubFeatures;
    /// See [`PubSub::publish`].
    fn publish(&self, context: CallContext, request: PublishRequest) -> AbiFuture<()>;
    /// See [`PubSub::bulk_publish`].
    fn bulk_publish(
        &self,
        context: CallContext,
        topic: RString,
        entries: RVec<BulkEntry>,
        metadata: Metadata,
    ) -> AbiFuture<RVec<FailedEntry>>;
    /// See [`PubSub::subscribe`].
    fn subscribe(&self, context: CallContext, request: SubscribeRequest) -> AbiFuture<SourceObject>;
    /// See [`PubSub::backlog`].
    fn backlog(&self, context: CallContext, topic: RString) -> AbiFuture<ROption<u64>>;
    /// See [`PubSub::ping`].
    #[sabi(last_prefix_field)]
    fn ping(&self, context: CallContext) -> AbiFuture<()>;
}

/// An open broker as it crosses the boundary.
pub type PubSubObject = PubSubAbi_TO<'static, RBox<()>>;

struct Adapter<P: Send + Sync + 'static>(Shared<P>);

pub(crate) fn object<P: PubSub>(pubsub: P, scope: Arc<ComponentScope>) -> PubSubObject {
    PubSubAbi_TO::from_value(Adapter(Shared::new(pubsub, scope)), abi_stable::sabi_trait::TD_Opaque)
}

impl<P: PubSub> PubSubAbi for Adapter<P> {
    fn features(&self) -> PubSubFeatures {
        self.0.with(|pubsub| pubsub.features()).unwrap_or_default()
    }

    fn publish(&self, context: CallContext, request: PublishRequest) -> AbiFuture<()> {
        self.0.call(context, |pubsub, context| async move { pubsub.publish(&context, request).await })
    }

    fn bulk_publish(
        &self,
        context: CallContext,
        topic: RString,
        entries: RVec<BulkEntry>,
        metadata: Metadata,
    ) -> AbiFuture<RVec<FailedEntry>> {
        self.0.call(context, |pubsub, context| async move {
            pubsub.bulk_publish(&context, &topic, entries.into(), metadata).await.map(RVec::from)
        })
    }

    fn subscribe(&self, context: CallContext, request: SubscribeRequest) -> AbiFuture<SourceObject> {
        let scope = self.0.scope();
        self.0.call(context, |pubsub, context| async move {
            Ok(pubsub.subscribe(&context, request).await?.into_object(scope))
        })
    }

    fn backlog(&self, context: CallContext, topic: RString) -> AbiFuture<ROption<u64>> {
        self.0.call(context, |pubsub, context| async move {
            pubsub.backlog(&context, &topic).await.map(ROption::from)
        })
    }

    fn ping(&self, context: CallContext) -> AbiFuture<()> {
        self.0.call(context, |pubsub, context| async move { pubsub.ping(&context).await })
    }
}
