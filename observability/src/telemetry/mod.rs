//! The way of a span out of the process: begin → record → queue → exporters.
//!
//! [`Telemetry::begin`] gives a call its ids; [`Telemetry::server_span`] and [`Telemetry::child_span`] give a sampled call its
//! span. A finished span becomes the SDK's form (`convert`), passes the bounded queue (`queue`), and a thread of the SDK's
//! batch processor hands batches to every exporter (`exporters`): OTLP, Zipkin, the log. Nothing on that way waits for a
//! collector: what does not fit is dropped, counted, and told once per interval.

mod client;
mod convert;
mod exporters;
mod layer;
mod losses;
mod otlp;
mod queue;
mod resource;
mod settings;
mod stdout;
mod zipkin;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::InstrumentationScope;
use tokio::runtime::Handle;

use crate::context::TraceContext;
use crate::error::Error;
use crate::logs::Logger;
use crate::metrics::SpanMetrics;
use crate::sampling::{Sampler, SharedSampler};
use crate::span::{ActiveSpan, SpanKind, SpanRecord};

pub use settings::{BatchSettings, OtlpProtocol, OtlpSettings, TraceSettings};

use exporters::{Exporter, Exporters};
use losses::Losses;
use queue::SpanQueue;

/// Whose spans these are; becomes the resource of every span.
#[derive(Clone, Debug, Default)]
pub struct Service {
    /// The application id, which is the service name unless `OTEL_SERVICE_NAME` says otherwise.
    pub app_id: String,
    /// The runtime's version.
    pub version: String,
    /// The host's name.
    pub host: String,
    /// More attributes, `OTEL_RESOURCE_ATTRIBUTES` included.
    pub attributes: Vec<(String, String)>,
}

/// The tracing of one runtime: a value that is cheap to clone.
#[derive(Clone)]
pub struct Telemetry(Arc<Inner>);

struct Inner {
    sampler: SharedSampler,
    /// Nothing was set up to record with.
    began_off: bool,
    /// None when there is nobody to send spans to.
    pipeline: Option<Pipeline>,
}

struct Pipeline {
    queue: SpanQueue,
    resource: opentelemetry_sdk::Resource,
    scope: InstrumentationScope,
}

impl Telemetry {
    /// Sets the exporters up. They run on the runtime behind `handle`; no connection is made before the first span.
    pub fn build(
        settings: &TraceSettings,
        service: &Service,
        handle: &Handle,
        logger: &Logger,
        metrics: &SpanMetrics,
    ) -> Result<Self, Error> {
        let sampler = settings.sampler();
        let exporters = match sampler {
            Sampler::Off => Vec::new(),
            Sampler::Ratio { .. } => Exporter::all(settings, service, handle, logger)?,
        };
        if exporters.is_empty() {
            return Ok(Self::made(sampler, None));
        }
        let resource = resource::of(service);
        let losses = Arc::new(Losses::new(logger.clone(), metrics.clone()));
        let exporters = Exporters::new(exporters, &resource, handle.clone(), losses.clone());
        let queue = SpanQueue::new(exporters, &settings.batch, losses);
        let scope = InstrumentationScope::builder("mecha").with_version(service.version.clone()).build();
        Ok(Self::made(sampler, Some(Pipeline { queue, resource, scope })))
    }

    fn made(sampler: Sampler, pipeline: Option<Pipeline>) -> Self {
        let began_off = sampler == Sampler::Off;
        Self(Arc::new(Inner { sampler: SharedSampler::new(sampler), began_off, pipeline }))
    }

    /// No tracing at all: ids are passed on as they came.
    pub fn off() -> Self {
        Self::made(Sampler::Off, None)
    }

    /// The rule by which calls are recorded.
    pub fn sampler(&self) -> Sampler {
        self.0.sampler.get()
    }

    /// Another rule from the next call on; `false` when tracing was off at the start, so that there is nothing to record with.
    /// The runtime's own spans keep the rule of the start.
    pub fn resample(&self, sampler: Sampler) -> bool {
        let can = sampler == Sampler::Off || !self.0.began_off;
        if can {
            self.0.sampler.set(sampler);
        }
        can
    }

    /// Whether sampled calls are recorded at all: tracing is on and has an exporter.
    pub fn is_recording(&self) -> bool {
        self.0.pipeline.is_some()
    }

    /// The ids of a call that came with `incoming` ([`TraceContext::NONE`] when it came with none). This is the sampling
    /// decision; it allocates nothing.
    pub fn begin(&self, incoming: TraceContext) -> TraceContext {
        self.sampler().begin(incoming)
    }

    /// The span of a call that was begun with [`Telemetry::begin`]; none when the call is not recorded, and then `name` is
    /// not asked.
    pub fn server_span<N: Into<Cow<'static, str>>>(
        &self,
        context: TraceContext,
        incoming: TraceContext,
        kind: SpanKind,
        name: impl FnOnce() -> N,
    ) -> Option<ActiveSpan> {
        if !self.records(context) {
            return None;
        }
        let mut record = SpanRecord::starting(context, name(), kind);
        record.parent_span_id = incoming.span_id;
        record.parent_is_remote = incoming.is_valid();
        Some(ActiveSpan::new(record, self.clone()))
    }

    /// A span under `parent` with an id of its own; none when the call is not recorded, and then the parent's ids go on.
    pub fn child_span<N: Into<Cow<'static, str>>>(
        &self,
        parent: TraceContext,
        kind: SpanKind,
        name: impl FnOnce() -> N,
    ) -> Option<ActiveSpan> {
        if !self.records(parent) {
            return None;
        }
        let mut record = SpanRecord::starting(parent.new_child(), name(), kind);
        record.parent_span_id = parent.span_id;
        Some(ActiveSpan::new(record, self.clone()))
    }

    /// Takes a finished span. Returns at once whatever the collector does; a span of an unsampled trace is ignored.
    pub fn export(&self, span: SpanRecord) {
        if let Some(pipeline) = &self.0.pipeline
            && span.context.is_sampled()
        {
            pipeline.queue.push(convert::span_data(span, &pipeline.scope));
        }
    }

    /// Hands everything that waits to the exporters and waits for them until the deadline.
    pub async fn flush(&self, deadline: Duration) -> Result<(), Error> {
        match &self.0.pipeline {
            Some(pipeline) => pipeline.queue.flush(deadline).await,
            None => Ok(()),
        }
    }

    /// Flushes and ends the exporters, until the deadline at the latest. Spans that end afterwards are dropped and counted.
    pub async fn shutdown(&self, deadline: Duration) -> Result<(), Error> {
        match &self.0.pipeline {
            Some(pipeline) => pipeline.queue.shutdown(deadline).await,
            None => Ok(()),
        }
    }

    fn records(&self, context: TraceContext) -> bool {
        context.is_sampled() && self.is_recording()
    }
}

impl std::fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let recording = self.is_recording();
        f.debug_struct("Telemetry").field("sampler", &self.sampler()).field("recording", &recording).finish()
    }
}

#[cfg(test)]
mod tests;
