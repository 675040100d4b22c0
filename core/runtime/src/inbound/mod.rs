//! What comes in from back ends: messages of topics, events of input bindings.
//!
//! A [`Feed`] says how a source is opened and what is done with its deliveries. `pump.rs` keeps it running: it opens the source
//! on the component's current generation, pulls no more than the limit allows, and when the component moves to another
//! generation it opens there before it gives the old source up. `lanes.rs` keeps deliveries of one ordering key in order,
//! `settling.rs` tells the source what became of them.

mod flow;
mod lanes;
mod pump;
mod settling;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use mecha_plugin_api::source::{Delivery, Outcome, Settlement, SourceObject};
use mecha_plugin_api::{AbiFuture, CallContext};

pub(crate) use flow::{Flow, FlowEnd, FlowWatch};
pub(crate) use pump::{Pump, Tried};

/// A future behind a trait object.
pub(crate) type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// How deliveries are gathered before they are handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gathering {
    /// Most deliveries at once.
    pub(crate) max: u32,
    /// Longest wait for more, after the first.
    pub(crate) wait: Duration,
}

/// What is fed from a source: one subscription, one input binding.
pub(crate) trait Feed<C>: Send + Sync + 'static {
    /// For the log: which subscription or binding it is.
    fn name(&self) -> &str;

    /// Opens the source.
    fn open(&self, object: &C, context: CallContext) -> AbiFuture<SourceObject>;

    /// How many deliveries may be out at once.
    fn max_in_flight(&self) -> usize;

    /// Whether a source tells each thing once, to whoever reads at that time: it is asked a last time before it is left.
    fn is_told_once(&self) -> bool {
        false
    }

    /// Several deliveries at a time; `None` handles one by one.
    fn gathering(&self) -> Option<Gathering> {
        None
    }

    /// Handles deliveries and says what became of each. Never fails: a failure is an outcome.
    fn handle(&self, deliveries: Vec<Delivery>) -> Pending<'_, Vec<Settlement>>;
}

/// The settlement of a delivery without a wish for when it comes again.
pub(crate) fn settlement(id: u64, outcome: Outcome) -> Settlement {
    Settlement { id, outcome, delay_ns: 0 }
}
