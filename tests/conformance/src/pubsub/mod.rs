//! Brokers: what every one of them must do, and that replacing its plugin loses nothing.

mod checks;
mod consumer;
mod replace;

use mecha_plugin_api::pubsub::PubSubObject;

use crate::row::Row;
use crate::subject::{Subject, unique};

pub(crate) use checks::all;
pub(crate) use replace::replacing_it_loses_nothing;

use consumer::Component;

/// A broker under test.
struct Broker<'a>(&'a Subject<'a>);

impl Broker<'_> {
    fn row(&self) -> &Row {
        self.0.row
    }

    /// A topic that nothing was published to.
    fn topic(&self) -> String {
        unique("topic")
    }

    /// The component, opened for a consumer group.
    async fn open(&self, consumer: &str) -> Result<Component, String> {
        let object: PubSubObject = self.0.open_with(&[("consumerID", consumer)]).await?;
        Ok(Component::new(object, self.row()))
    }
}
