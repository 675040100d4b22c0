//! Polls a plugin's future and measures how long each poll keeps the worker.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// A call into a plugin. Reads the clock once a poll, and gives the time of the last reading with the result.
pub(crate) struct Measured<F> {
    future: F,
    started: Instant,
    polled: bool,
    longest: Duration,
}

/// A finished call's times.
pub(crate) struct Times {
    pub(crate) elapsed: Duration,
    /// The longest single poll: time in which a worker could do nothing else.
    pub(crate) longest_poll: Duration,
}

impl<F: Future + Unpin> Measured<F> {
    /// `started` counts as the start of the first poll.
    pub(crate) fn new(future: F, started: Instant) -> Self {
        Self { future, started, polled: false, longest: Duration::ZERO }
    }
}

impl<F: Future + Unpin> Future for Measured<F> {
    type Output = (F::Output, Times);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let begun = if self.polled { Instant::now() } else { self.started };
        self.polled = true;
        let polled = Pin::new(&mut self.future).poll(cx);
        let ended = Instant::now();
        self.longest = self.longest.max(ended - begun);
        polled.map(|output| (output, Times { elapsed: ended - self.started, longest_poll: self.longest }))
    }
}
