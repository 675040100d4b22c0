//! The entries of a stream as events, read by a consumer group as a subscription is.

use mecha_plugin_api::binding::InputBinding;
use mecha_plugin_api::pubsub::PubSub;
use mecha_plugin_api::source::Subscription;
use mecha_plugin_api::{CallContext, ComponentSpec, Error, Result};

use crate::pubsub::RedisPubSub;

const STREAM: &str = "stream";
/// As many events are with the application at once as the component says.
const NO_LIMIT_OF_ITS_OWN: u32 = 0;

/// An open `bindings.redis` that is read.
pub(crate) struct RedisInput {
    streams: RedisPubSub,
    stream: String,
}

impl RedisInput {
    /// Opens the component if it names a stream: the server must be reachable and take the credentials.
    pub(crate) async fn open(spec: ComponentSpec) -> Result<Self> {
        let Some(stream) = spec.text(STREAM) else {
            return Err(Error::unsupported("the component names no stream to read").with_field(STREAM));
        };
        let stream = stream.to_owned();
        Ok(Self { streams: RedisPubSub::open(spec).await?, stream })
    }
}

impl InputBinding for RedisInput {
    async fn read(&self, _context: &CallContext) -> Result<Subscription> {
        Ok(Subscription::new(self.streams.source(&self.stream, NO_LIMIT_OF_ITS_OWN).await?))
    }

    async fn ping(&self, context: &CallContext) -> Result<()> {
        self.streams.ping(context).await
    }
}
