//! Brings the runtime's own `tracing` spans (plugin load, swap, drain) into the same exporters.

use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::{Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::registry::LookupSpan;

use super::Telemetry;

/// Targets of our own crates begin with this.
const OWN_TARGETS: &str = "mecha";

impl Telemetry {
    /// A layer that records the spans of our own crates from INFO up; none when nothing is recorded. Calls are not traced this
    /// way: a `tracing` span costs several times a [`crate::SpanRecord`].
    pub fn layer<S>(&self) -> Option<impl Layer<S> + Send + Sync + use<S>>
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        let pipeline = self.0.pipeline.as_ref()?;
        let provider = SdkTracerProvider::builder()
            .with_sampler(self.sampler())
            .with_resource(pipeline.resource.clone())
            .with_span_processor(pipeline.queue.clone())
            .build();
        let tracer = provider.tracer_with_scope(pipeline.scope.clone());
        // Filtered here and not by level alone: hyper, h2 and tonic open spans for every frame.
        let own = filter_fn(|metadata| {
            metadata.is_span()
                && *metadata.level() <= Level::INFO
                && metadata.target().starts_with(OWN_TARGETS)
        });
        let layer = tracing_opentelemetry::layer().with_tracer(tracer).with_tracked_inactivity(false);
        Some(layer.with_filter(own.with_max_level_hint(LevelFilter::INFO)))
    }
}
