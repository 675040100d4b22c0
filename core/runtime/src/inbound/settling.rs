//! Telling a source what became of its deliveries, as many at a time as there are.

use std::sync::Arc;

use mecha_plugin_api::CallContext;
use mecha_plugin_api::source::{Settlement, SourceObject};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Most settlements in one call.
const AT_ONCE: usize = 256;

/// Where deliveries report to.
#[derive(Clone)]
pub(crate) struct Settling(mpsc::UnboundedSender<Report>);

enum Report {
    Settled(Settlement),
    /// Whom to tell when the source knows everything before.
    Known(oneshot::Sender<()>),
}

impl Settling {
    /// Starts settling. Ends when every clone is gone and everything was told. What waits is bounded by what is in flight.
    pub(crate) fn start(
        source: Arc<SourceObject>,
        context: CallContext,
        name: String,
    ) -> (Self, JoinHandle<()>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), tokio::spawn(run(source, context, name, receiver)))
    }

    pub(crate) fn settle(&self, settlements: impl IntoIterator<Item = Settlement>) {
        for settlement in settlements {
            // The receiver lives until the last sender is gone.
            let _ = self.0.send(Report::Settled(settlement));
        }
    }

    /// Returns when the source was told.
    pub(crate) async fn settle_now(&self, settlements: impl IntoIterator<Item = Settlement>) {
        self.settle(settlements);
        let (sender, known) = oneshot::channel();
        let _ = self.0.send(Report::Known(sender));
        // An error means that the telling ended: nobody pulls any more then.
        let _ = known.await;
    }
}

async fn run(
    source: Arc<SourceObject>,
    context: CallContext,
    name: String,
    mut receiver: mpsc::UnboundedReceiver<Report>,
) {
    let mut batch = Vec::with_capacity(AT_ONCE);
    while receiver.recv_many(&mut batch, AT_ONCE).await > 0 {
        let (mut settlements, mut waiting) = (Vec::with_capacity(batch.len()), Vec::new());
        for report in batch.drain(..) {
            match report {
                Report::Settled(settlement) => settlements.push(settlement),
                Report::Known(sender) => waiting.push(sender),
            }
        }
        if !settlements.is_empty()
            && let Err(error) = source.settle(context.clone(), settlements.into()).await.into_result()
        {
            // They count as not settled: the broker delivers them again, nothing is lost.
            tracing::warn!(source = %name, "cannot settle messages, they will come again: {error}");
        }
        for sender in waiting {
            // Who waited may have gone.
            let _ = sender.send(());
        }
    }
}
