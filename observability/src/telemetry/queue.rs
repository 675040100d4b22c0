//! The bounded queue in front of the exporters.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, Span, SpanData, SpanProcessor};

use super::exporters::Exporters;
use super::losses::{Losses, Reason};
use super::settings::BatchSettings;
use crate::error::Error;

/// The SDK's batch processor behind a count of our own: the SDK drops silently when its queue is full, we drop before that
/// and say so.
#[derive(Clone, Debug)]
pub(super) struct SpanQueue(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    batches: BatchSpanProcessor,
    /// Spans handed to the processor that no exporter has taken yet.
    waiting: Arc<AtomicUsize>,
    capacity: usize,
    closed: AtomicBool,
    losses: Arc<Losses>,
}

impl SpanQueue {
    pub(super) fn new(exporters: Exporters, settings: &BatchSettings, losses: Arc<Losses>) -> Self {
        let waiting = exporters.waiting();
        // Every value is set, so that the SDK's own look at the process environment decides nothing.
        let config = BatchConfigBuilder::default()
            .with_max_queue_size(settings.queue_size)
            .with_max_export_batch_size(settings.batch_size.min(settings.queue_size))
            .with_scheduled_delay(settings.delay)
            .build();
        let batches = BatchSpanProcessor::new(exporters, config);
        let capacity = settings.queue_size;
        Self(Arc::new(Inner { batches, waiting, capacity, closed: AtomicBool::new(false), losses }))
    }

    /// Takes a span or drops it; never waits.
    pub(super) fn push(&self, span: SpanData) {
        if self.0.closed.load(Ordering::Relaxed) {
            return self.0.losses.lost(1, Reason::ShutDown, "");
        }
        if self.0.waiting.fetch_add(1, Ordering::Relaxed) >= self.0.capacity {
            self.0.waiting.fetch_sub(1, Ordering::Relaxed);
            return self.0.losses.lost(1, Reason::QueueFull, "");
        }
        self.0.batches.on_end(span);
    }

    pub(super) async fn flush(&self, deadline: Duration) -> Result<(), Error> {
        self.blocking(deadline, |inner, _| inner.batches.force_flush()).await
    }

    pub(super) async fn shutdown(&self, deadline: Duration) -> Result<(), Error> {
        if self.0.closed.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        self.blocking(deadline, |inner, deadline| inner.batches.shutdown_with_timeout(deadline)).await
    }

    /// The processor's calls block on its thread, which in turn needs this runtime to send: they must not hold a worker.
    async fn blocking(
        &self,
        deadline: Duration,
        call: impl FnOnce(&Inner, Duration) -> OTelSdkResult + Send + 'static,
    ) -> Result<(), Error> {
        let inner = self.0.clone();
        let task = tokio::task::spawn_blocking(move || call(&inner, deadline));
        match tokio::time::timeout(deadline, task).await {
            Ok(Ok(result)) => result.map_err(|error| Error::Flush(error.to_string())),
            Ok(Err(error)) => Err(Error::Flush(error.to_string())),
            Err(_) => Err(Error::Flush(format!("not done within {deadline:?}"))),
        }
    }
}

/// Spans of the SDK's own tracer take the same way. The provider only lends the queue: [`super::Telemetry`] ends it.
impl SpanProcessor for SpanQueue {
    fn on_start(&self, _span: &mut Span, _cx: &Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() {
            self.push(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.batches.force_flush()
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}
