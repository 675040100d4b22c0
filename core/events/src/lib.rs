//! CloudEvents, routing rules, topic scopes and subscriptions as pure values: nothing here knows a broker, a socket or a clock.
//!
//! **Out.** A publish request goes through [`PublishMetadata::read`] (which also says whether it wants an envelope at all) and
//! [`Envelope::for_publish`]; [`TopicScopes`] says whether the application may publish there.
//!
//! **In.** A subscription is a [`SubscriptionSpec`], whatever it comes from. A message of its topic becomes an [`Event`];
//! [`Event::has_expired`] and the subscription's [`Rules`] say whether and where it goes, [`Event::body`],
//! [`Event::topic_event`] and [`BulkEnvelope`] are what the application gets over HTTP, over gRPC and in bulk.

pub mod content_type;
pub mod envelope;
pub mod event;
mod field;
mod json;
mod metadata;
pub mod routing;
pub mod scopes;
pub mod subscription;
mod time;
mod tree;

pub use envelope::{Envelope, EnvelopeError, Publish, Trace};
pub use event::{Body, BulkEntry, BulkEnvelope, DataError, Event, EventError, Message, TopicEvent};
pub use field::BULK_TYPE;
pub use metadata::{MetadataError, Overrides, PublishMetadata, raw_payload};
pub use routing::{RoutingError, Rule, RuleCompiler, RuleError, Rules};
pub use scopes::TopicScopes;
pub use subscription::{
    Bulk, Origin, Parts, Programmatic, SubscriptionError, SubscriptionSpec, read_programmatic,
};
