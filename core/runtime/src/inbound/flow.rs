//! Whether feeds should run: for all of an application's at once, and for each by itself.

use tokio::sync::watch;

/// Whether feeds should run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// They should.
    On,
    /// Not now: what is out is finished, nothing new is taken.
    Paused,
    /// Never again.
    Off,
}

/// What one feed goes by: a flow that it shares with others, and maybe an end of its own.
#[derive(Clone)]
pub(crate) struct FlowWatch {
    shared: watch::Receiver<Flow>,
    own: Option<watch::Receiver<()>>,
}

/// Ends one feed when it is dropped.
pub(crate) struct FlowEnd(#[expect(dead_code, reason = "its end is the signal")] watch::Sender<()>);

impl FlowWatch {
    /// Goes by the shared flow alone.
    pub(crate) fn of(shared: watch::Receiver<Flow>) -> Self {
        Self { shared, own: None }
    }

    /// Goes by the shared flow until the other half is dropped.
    pub(crate) fn ending(shared: watch::Receiver<Flow>) -> (FlowEnd, Self) {
        let (end, own) = watch::channel(());
        (FlowEnd(end), Self { shared, own: Some(own) })
    }

    /// What holds now; [`Self::changed`] waits for something else. A flow that nobody turns any more is off.
    pub(crate) fn current(&mut self) -> Flow {
        match self.is_over() {
            true => Flow::Off,
            false => *self.shared.borrow_and_update(),
        }
    }

    /// Whether it is off for good.
    pub(crate) fn is_over(&self) -> bool {
        let has_ended = self.own.as_ref().is_some_and(|own| own.has_changed().is_err());
        has_ended || self.shared.has_changed().is_err() || *self.shared.borrow() == Flow::Off
    }

    /// Waits until it differs from what was seen last, and no longer once it is over.
    pub(crate) async fn changed(&mut self) {
        let Self { shared, own } = self;
        let ended = async {
            match own {
                // Nothing is ever sent: only the end wakes.
                Some(own) => while own.changed().await.is_ok() {},
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // An error means that the sender is gone, which is the end.
            _ = shared.changed() => {}
            () = ended => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn wakes(flow: &mut FlowWatch) -> bool {
        tokio::time::timeout(Duration::from_secs(5), flow.changed()).await.is_ok()
    }

    #[tokio::test]
    async fn a_feed_goes_by_the_shared_flow_and_by_its_own_end() {
        let all = watch::Sender::new(Flow::On);
        let (end, mut flow) = FlowWatch::ending(all.subscribe());
        let mut other = FlowWatch::of(all.subscribe());
        assert_eq!((flow.current(), other.current()), (Flow::On, Flow::On));
        all.send_replace(Flow::Paused);
        assert!(wakes(&mut flow).await && wakes(&mut other).await);
        assert_eq!((flow.current(), other.current()), (Flow::Paused, Flow::Paused));
        assert!(!flow.is_over());
        drop(end);
        assert!(wakes(&mut flow).await && wakes(&mut flow).await);
        assert!(flow.is_over() && !other.is_over());
        assert_eq!((flow.current(), other.current()), (Flow::Off, Flow::Paused));
        drop(all);
        assert!(wakes(&mut other).await);
        assert_eq!(other.current(), Flow::Off);
    }
}
