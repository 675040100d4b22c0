//! Message sources: how messages, events and changes come out of a plugin. The host pulls, and settles what it took.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use abi_stable::StableAbi;
use abi_stable::sabi_trait;
use abi_stable::std_types::{RBox, RString, RVec};

use crate::instance::{AbiFuture, ComponentScope, Shared};
use crate::{Buf, CallContext, Metadata, Result};

/// A message that the host took and has to settle.
#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct Delivery {
    /// The source's own number for this message, used to settle it.
    pub id: u64,
    /// How often the broker has delivered it before, if it knows; 0 for the first time.
    pub redelivered: u32,
    /// What must be handled in order: the host works on one delivery of a key at a time (a Kafka partition, an SQS message
    /// group). Empty for what may be handled in any order. When a delivery of a key is settled with [`Outcome::RETRY`], the
    /// host settles the later ones of that key that it holds in the same way and in the same call, without having worked on
    /// them; the source delivers them again after it.
    pub ordering_key: RString,
    /// Topic, queue or binding name.
    pub topic: RString,
    /// The message.
    pub data: Buf,
    /// Media type of the data; empty when unknown.
    pub content_type: RString,
    /// The broker's metadata and the message's headers, `traceparent`, `tracestate` and `baggage` among them.
    pub metadata: Metadata,
}

/// What became of a delivery.
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outcome(pub u8);

impl Outcome {
    /// Done: the broker may forget it.
    pub const ACK: Self = Self(0);
    /// To be delivered again.
    pub const RETRY: Self = Self(1);
    /// Never again: the broker's own dead-letter policy applies, if it has one.
    pub const REJECT: Self = Self(2);
}

/// The settlement of one delivery.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settlement {
    /// [`Delivery::id`].
    pub id: u64,
    /// What became of it.
    pub outcome: Outcome,
    /// With [`Outcome::RETRY`]: how long to wait before the next delivery, in nanoseconds; 0 = as the broker likes.
    pub delay_ns: u64,
}

/// Where messages come from. One consumer task of the host calls it, one call at a time, except that
/// [`Source::settle`] may run beside [`Source::next`].
pub trait Source: Send + Sync + 'static {
    /// Up to `max` messages; waits at most `wait` for the first. An empty batch only says that time passed.
    ///
    /// # Errors
    /// Any kind; a retriable one makes the host call again after a pause.
    fn next(
        &self,
        context: &CallContext,
        max: u32,
        wait: Duration,
    ) -> impl Future<Output = Result<Vec<Delivery>>> + Send;

    /// Settles deliveries. Only an [`Outcome::ACK`] that returned without an error may be forgotten by the broker.
    ///
    /// # Errors
    /// Any kind; the messages then count as not settled.
    fn settle(
        &self,
        context: &CallContext,
        settlements: Vec<Settlement>,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Leaves the group, gives back what is not settled. Called once, last.
    ///
    /// # Errors
    /// Any kind; the source is dropped all the same.
    fn close(&self, context: &CallContext) -> impl Future<Output = Result<()>> + Send {
        let _ = context;
        async { Ok(()) }
    }
}

/// [`Source`] at the boundary.
#[sabi_trait]
pub trait SourceAbi: Send + Sync {
    /// See [`Source::next`].
    fn next(&self, context: CallContext, max: u32, wait_ns: u64) -> AbiFuture<RVec<Delivery>>;
    /// See [`Source::settle`].
    fn settle(&self, context: CallContext, settlements: RVec<Settlement>) -> AbiFuture<()>;
    /// See [`Source::close`].
    #[sabi(last_prefix_field)]
    fn close(&self, context: CallContext) -> AbiFuture<()>;
}

/// An open source as it crosses the boundary.
pub type SourceObject = SourceAbi_TO<'static, RBox<()>>;

/// A source that a plugin has opened, on its way to the host.
pub struct Subscription(Box<dyn FnOnce(Arc<ComponentScope>) -> SourceObject + Send>);

impl Subscription {
    /// Wraps a source.
    pub fn new(source: impl Source) -> Self {
        Self(Box::new(move |scope| {
            let adapter = Adapter(Shared::new(source, scope));
            SourceAbi_TO::from_value(adapter, abi_stable::sabi_trait::TD_Opaque)
        }))
    }

    pub(crate) fn into_object(self, scope: Arc<ComponentScope>) -> SourceObject {
        (self.0)(scope)
    }
}

struct Adapter<S: Send + Sync + 'static>(Shared<S>);

impl<S: Source> SourceAbi for Adapter<S> {
    fn next(&self, context: CallContext, max: u32, wait_ns: u64) -> AbiFuture<RVec<Delivery>> {
        self.0.call(context, move |source, context| async move {
            source.next(&context, max, Duration::from_nanos(wait_ns)).await.map(RVec::from)
        })
    }

    fn settle(&self, context: CallContext, settlements: RVec<Settlement>) -> AbiFuture<()> {
        self.0
            .call(context, |source, context| async move { source.settle(&context, settlements.into()).await })
    }

    fn close(&self, context: CallContext) -> AbiFuture<()> {
        self.0.call(context, |source, context| async move { source.close(&context).await })
    }
}
