//! What a component holds while it is open, counted by reference: the last call out says that it is drained.

use std::sync::Arc;
use std::time::Duration;

use mecha_observability::metrics::PluginHandle;
use mecha_plugin_host::Generation;
use tokio::sync::Notify;

/// An open component on one generation. Every call holds one reference for as long as it runs.
pub(crate) struct Open<C> {
    pub(crate) object: C,
    pub(crate) generation: Arc<Generation>,
    pub(crate) plugin: PluginHandle,
    // Dropped after the object: when it says "drained", the object is closed.
    _drained: SignalOnDrop,
}

struct SignalOnDrop(Arc<Notify>);

impl Drop for SignalOnDrop {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl<C> Open<C> {
    pub(crate) fn new(object: C, generation: Arc<Generation>, plugin: PluginHandle) -> Arc<Self> {
        Arc::new(Self { object, generation, plugin, _drained: SignalOnDrop(Arc::new(Notify::new())) })
    }

    /// Gives up the registry's own reference; what remains are calls in flight.
    pub(crate) fn release(self: Arc<Self>) -> Draining {
        Draining(self._drained.0.clone())
    }
}

/// A replaced or removed component whose last calls are still running.
pub(crate) struct Draining(Arc<Notify>);

impl Draining {
    /// Waits for the last call; `false` when `deadline` came first.
    pub(crate) async fn finished(self, deadline: Duration) -> bool {
        tokio::time::timeout(deadline, self.0.notified()).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct NoGeneration;

    #[tokio::test]
    async fn drained_when_the_last_call_is_out_and_the_object_is_closed() {
        let notify = Arc::new(Notify::new());
        let signal = SignalOnDrop(notify.clone());
        let held = Arc::new((NoGeneration, signal));
        let call = held.clone();
        let draining = Draining(notify);
        drop(held);
        let waiting = tokio::spawn(draining.finished(Duration::from_secs(60)));
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(call);
        assert!(waiting.await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn gives_up_at_the_deadline() {
        let notify = Arc::new(Notify::new());
        let _held = SignalOnDrop(notify.clone());
        assert!(!Draining(notify).finished(Duration::from_secs(1)).await);
    }
}
