//! A policy: a timeout, retries and a breaker as they apply to one operation.

use std::{fmt, sync::Arc, time::Duration};

use crate::{
    breaker::Breaker,
    event::{Event, Kind, Observer, Site},
    retry::Retry,
};

/// What applies to one operation. It is cheap to clone, and good for any number of operations of the same target.
#[derive(Clone, Default)]
pub struct Policy {
    pub(crate) timeout: Option<Duration>,
    pub(crate) retry: Option<Arc<Retry>>,
    pub(crate) breaker: Option<Arc<Breaker>>,
    pub(crate) watch: Option<Arc<Watch>>,
}

/// Who hears of an operation, and what it is.
pub(crate) struct Watch {
    pub(crate) site: Site,
    pub(crate) observer: Arc<dyn Observer>,
}

impl Policy {
    /// The policy that does nothing.
    #[must_use]
    pub const fn none() -> Self {
        Self { timeout: None, retry: None, breaker: None, watch: None }
    }

    /// With a timeout for each attempt; zero is none.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout).filter(|timeout| !timeout.is_zero());
        self
    }

    /// With retries.
    #[must_use]
    pub fn with_retry(mut self, retry: impl Into<Arc<Retry>>) -> Self {
        self.retry = Some(retry.into());
        self
    }

    /// With a breaker.
    #[must_use]
    pub fn with_breaker(mut self, breaker: impl Into<Arc<Breaker>>) -> Self {
        self.breaker = Some(breaker.into());
        self
    }

    /// With somebody who hears of it.
    #[must_use]
    pub fn observed(mut self, site: Site, observer: Arc<dyn Observer>) -> Self {
        self.watch = Some(Arc::new(Watch { site, observer }));
        self
    }

    /// The same without retries: for an operation that cannot be done again, such as one whose body streams through.
    #[must_use]
    pub fn without_retry(mut self) -> Self {
        self.retry = None;
        self
    }

    /// Whether it does nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.timeout.is_none() && self.retry.is_none() && self.breaker.is_none()
    }

    /// Whether there may be a second attempt, so that a body must be kept for it.
    #[must_use]
    pub fn has_retries(&self) -> bool {
        self.retry.as_ref().is_some_and(|retry| retry.max_retries != Some(0))
    }

    /// How long an attempt may take.
    #[must_use]
    pub fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// The retries.
    #[must_use]
    pub fn retry(&self) -> Option<&Retry> {
        self.retry.as_deref()
    }

    /// The breaker.
    #[must_use]
    pub fn breaker(&self) -> Option<&Arc<Breaker>> {
        self.breaker.as_ref()
    }

    /// Where it is at work.
    #[must_use]
    pub fn site(&self) -> Option<&Site> {
        self.watch.as_ref().map(|watch| &watch.site)
    }

    pub(crate) fn tell(&self, event: Event<'_>) {
        if let Some(watch) = &self.watch
            && (watch.site.labels.is_some() || !event.is_counted())
        {
            watch.observer.on_event(&watch.site, event);
        }
    }

    /// Tells which policies apply to an operation that begins.
    pub(crate) fn tell_applied(&self) {
        if self.watch.is_none() {
            return;
        }
        if self.timeout.is_some() {
            self.tell(Event::Applied { policy: Kind::Timeout, state: None });
        }
        if self.retry.is_some() {
            self.tell(Event::Applied { policy: Kind::Retry, state: None });
        }
        if let Some(breaker) = &self.breaker {
            let (state, change) = breaker.state();
            if let Some(change) = change {
                self.tell(Event::Changed { breaker: breaker.name(), change });
            }
            self.tell(Event::Applied { policy: Kind::CircuitBreaker, state: Some(state) });
        }
    }
}

impl Event<'_> {
    fn is_counted(&self) -> bool {
        matches!(self, Self::Applied { .. } | Self::Activated { .. })
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("timeout", &self.timeout)
            .field("retry", &self.retry)
            .field("breaker", &self.breaker)
            .field("site", &self.site())
            .finish()
    }
}
