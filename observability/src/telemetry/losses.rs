//! Counts what became of spans and tells about losses without flooding the log.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use crate::logs::{LogLevel, LogRecord, Logger};
use crate::metrics::SpanMetrics;

/// At most one line about losses in this time.
const INTERVAL: Duration = Duration::from_secs(30);

/// Why spans were lost.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reason {
    /// The queue was full.
    QueueFull,
    /// An exporter could not deliver.
    ExportFailed,
    /// Tracing had been shut down.
    ShutDown,
}

/// The counters and the log of one runtime's spans.
pub(super) struct Losses {
    logger: Logger,
    metrics: SpanMetrics,
    report: Mutex<Report>,
}

#[derive(Default)]
struct Report {
    last: Option<Instant>,
    unreported: u64,
}

impl Losses {
    pub(super) fn new(logger: Logger, metrics: SpanMetrics) -> Self {
        Self { logger, metrics, report: Mutex::default() }
    }

    pub(super) fn exported(&self, spans: usize) {
        self.metrics.exported.inc_by(spans as u64);
    }

    pub(super) fn lost(&self, spans: usize, reason: Reason, detail: &str) {
        let (counter, message) = match reason {
            Reason::QueueFull => {
                (&self.metrics.queue_full, "spans dropped, the queue to the trace exporter is full")
            }
            Reason::ExportFailed => {
                (&self.metrics.export_failed, "spans lost, the trace exporter cannot deliver")
            }
            Reason::ShutDown => (&self.metrics.shut_down, "spans dropped after shutdown"),
        };
        counter.inc_by(spans as u64);
        let Some(total) = self.due(spans as u64) else { return };
        let mut record = LogRecord::new(LogLevel::Warn, "mecha_runtime::trace", message);
        record.fields = vec![("spans".into(), total.to_string().into())];
        if !detail.is_empty() {
            record.fields.push(("error".into(), detail.to_owned().into()));
        }
        self.logger.write(&record);
    }

    /// How many spans to report now, if a report is due.
    fn due(&self, spans: u64) -> Option<u64> {
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        report.unreported += spans;
        if report.last.is_some_and(|last| last.elapsed() < INTERVAL) {
            return None;
        }
        report.last = Some(Instant::now());
        Some(std::mem::take(&mut report.unreported))
    }
}

impl std::fmt::Debug for Losses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Losses").finish_non_exhaustive()
    }
}
