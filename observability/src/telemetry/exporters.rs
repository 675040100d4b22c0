//! Hands each batch to every exporter of the runtime.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use tokio::runtime::Handle;

use super::Service;
use super::losses::{Losses, Reason};
use super::otlp;
use super::settings::TraceSettings;
use super::stdout::StdoutExporter;
use super::zipkin::ZipkinExporter;
use crate::error::Error;
use crate::logs::Logger;

/// One destination of spans.
#[derive(Debug)]
pub(super) enum Exporter {
    Otlp(opentelemetry_otlp::SpanExporter),
    Zipkin(ZipkinExporter),
    Stdout(StdoutExporter),
}

impl Exporter {
    /// All destinations that the settings name.
    pub(super) fn all(
        settings: &TraceSettings,
        service: &Service,
        handle: &Handle,
        logger: &Logger,
    ) -> Result<Vec<Self>, Error> {
        let mut exporters = Vec::new();
        if settings.stdout {
            exporters.push(Self::Stdout(StdoutExporter::new(logger.clone())));
        }
        if let Some(endpoint) = &settings.zipkin_endpoint {
            exporters.push(Self::Zipkin(ZipkinExporter::new(endpoint, &service.app_id)?));
        }
        if let Some(otlp) = &settings.otlp {
            exporters.push(Self::Otlp(otlp::exporter(otlp, handle)?));
        }
        Ok(exporters)
    }

    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        match self {
            Self::Otlp(exporter) => exporter.export(batch).await,
            Self::Zipkin(exporter) => exporter.export(&batch).await,
            Self::Stdout(exporter) => {
                exporter.export(&batch);
                Ok(())
            }
        }
    }

    fn set_resource(&mut self, resource: &Resource) {
        if let Self::Otlp(exporter) = self {
            exporter.set_resource(resource);
        }
    }
}

/// The exporters as the SDK's batch processor sees them: one.
#[derive(Debug)]
pub(super) struct Exporters {
    exporters: Vec<Arc<Exporter>>,
    waiting: Arc<AtomicUsize>,
    handle: Handle,
    losses: Arc<Losses>,
}

impl Exporters {
    pub(super) fn new(
        mut exporters: Vec<Exporter>,
        resource: &Resource,
        handle: Handle,
        losses: Arc<Losses>,
    ) -> Self {
        for exporter in &mut exporters {
            exporter.set_resource(resource);
        }
        let exporters = exporters.into_iter().map(Arc::new).collect();
        Self { exporters, waiting: Arc::default(), handle, losses }
    }

    /// Spans that wait for their turn; counted up by the queue, down here.
    pub(super) fn waiting(&self) -> Arc<AtomicUsize> {
        self.waiting.clone()
    }

    /// The batch processor's thread has no reactor, so each exporter runs as a task of the runtime, beside the others.
    fn start(&self, batch: Vec<SpanData>) -> Vec<tokio::task::JoinHandle<OTelSdkResult>> {
        let start = |exporter: &Arc<Exporter>| {
            let (exporter, batch) = (exporter.clone(), batch.clone());
            self.handle.spawn(async move { exporter.export(batch).await })
        };
        self.exporters.iter().map(start).collect()
    }
}

impl SpanExporter for Exporters {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        self.waiting.fetch_sub(spans, Ordering::Relaxed);
        let mut outcome = Ok(());
        for task in self.start(batch) {
            let ended =
                task.await.unwrap_or_else(|error| Err(OTelSdkError::InternalFailure(error.to_string())));
            if let Err(error) = ended {
                self.losses.lost(spans, Reason::ExportFailed, &error.to_string());
                outcome = Err(error);
            } else {
                self.losses.exported(spans);
            }
        }
        outcome
    }
}
