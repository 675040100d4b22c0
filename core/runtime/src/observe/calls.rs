//! The client span and the measurement of one capability call.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use mecha_observability::metrics::{
    ComponentHandle, ComponentKind, Operation as Measure, PluginHandle, PubSubHandle,
};
use mecha_observability::{ActiveSpan, Metrics, SpanKind, Telemetry, TraceContext, names};
use mecha_plugin_api::ErrorKind;
use mecha_plugin_host::Generation;

use super::ObserverSource;
use crate::call::{Call, CallError};
use crate::definition::Definition;
use crate::poll::Times;

/// One operation of a capability: its name, and how it is measured.
#[derive(Clone, Copy)]
pub(crate) struct Operation<'a> {
    name: &'a str,
    /// Dapr's label; `None` where the caller names the operation, as with output bindings.
    measure: Option<Measure>,
    /// Which of the attempts that a policy makes; the first is 1.
    attempt: u32,
}

impl<'a> Operation<'a> {
    pub(crate) const fn new(name: &'a str, measure: Measure) -> Self {
        Self { name, measure: Some(measure), attempt: 1 }
    }

    /// An operation that the caller names.
    pub(crate) const fn named(name: &'a str) -> Self {
        Self { name, measure: None, attempt: 1 }
    }

    /// Another attempt of it.
    pub(crate) const fn attempt(self, number: u32) -> Self {
        Self { attempt: number, ..self }
    }
}

/// Observes the calls of one component; everything that can be looked up was looked up when it was made.
pub(crate) struct Observer {
    telemetry: Telemetry,
    metrics: Arc<Metrics>,
    /// `None` for building blocks that Dapr does not measure by operation.
    handle: Option<ComponentHandle>,
    /// What passes through a broker; empty for every other component.
    pubsub: PubSubHandle,
    component: String,
    component_type: String,
    slow_poll: Duration,
}

/// A call's span, when the call is recorded, and the ids that go on to the plugin.
pub(crate) struct CallSpan {
    span: Option<ActiveSpan>,
    context: TraceContext,
}

impl CallSpan {
    /// The span that the plugin's own spans hang under.
    pub(crate) fn id(&self) -> [u8; 8] {
        self.context.span_id
    }
}

impl Observer {
    pub(crate) fn new(source: &ObserverSource, definition: &Definition, kind: Option<ComponentKind>) -> Self {
        let resource = &definition.resource;
        Self {
            telemetry: source.telemetry.clone(),
            metrics: source.metrics.clone(),
            handle: kind.map(|kind| source.metrics.components.resolve(&resource.name, kind)),
            pubsub: source.metrics.pubsub.resolve(&resource.name),
            component: resource.name.clone(),
            component_type: resource.component_type.clone(),
            slow_poll: source.slow_poll,
        }
    }

    /// The measurements of what passes through a broker.
    pub(crate) fn pubsub(&self) -> &PubSubHandle {
        &self.pubsub
    }

    /// The measurements of an input binding's events.
    pub(crate) fn component(&self) -> Option<&ComponentHandle> {
        self.handle.as_ref()
    }

    /// The measurements of the plugin that a component opens on.
    pub(crate) fn plugin(&self, generation: &Generation) -> PluginHandle {
        self.metrics.plugins.resolve(super::stem(generation))
    }

    /// Opens the call's span if the call is recorded; otherwise nothing is made.
    pub(crate) fn start(&self, call: &Call, operation: Operation<'_>, generation: &Generation) -> CallSpan {
        let parent = call.trace.context;
        let name = || names::span::component_call(&self.component_type, operation.name);
        let mut span = self.telemetry.child_span::<Cow<'static, str>>(parent, SpanKind::Client, name);
        if let Some(span) = &mut span {
            let plugin = generation.identity();
            span.set_attribute(names::attribute::COMPONENT_NAME, self.component.clone());
            span.set_attribute(names::attribute::COMPONENT_TYPE, self.component_type.clone());
            if operation.attempt > 1 {
                span.set_attribute(names::attribute::ATTEMPT, i64::from(operation.attempt));
            }
            span.set_attribute(names::attribute::PLUGIN_FILE, plugin.file.clone());
            span.set_attribute(names::attribute::PLUGIN_VERSION, plugin.version.clone());
            span.set_attribute(
                names::attribute::PLUGIN_GENERATION,
                i64::try_from(plugin.generation).unwrap_or(i64::MAX),
            );
        }
        let context = span.as_ref().map_or(parent, ActiveSpan::context);
        CallSpan { span, context }
    }

    /// Records how the call went.
    pub(crate) fn finish(
        &self,
        call: CallSpan,
        operation: Operation<'_>,
        plugin: &PluginHandle,
        error: Option<&CallError>,
        times: &Times,
    ) {
        match (&self.handle, operation.measure) {
            (Some(handle), Some(measure)) => handle.record(measure, error.is_none(), times.elapsed),
            (Some(handle), None) => handle.record_named(operation.name, error.is_none(), times.elapsed),
            (None, _) => {}
        }
        if let Some(mut span) = call.span {
            if let Some(error) = error {
                span.fail(error.to_string());
                span.set_attribute(names::attribute::ERROR_TYPE, error_type(error));
            }
            span.end();
        }
        plugin.polled(times.longest_poll);
        if times.longest_poll > self.slow_poll {
            self.report_slow_poll(operation, times.longest_poll);
        }
        if let Some(CallError::Plugin { error, .. }) = error.filter(|error| is_panic(error)) {
            plugin.panicked();
            tracing::error!(component = %self.component, operation = operation.name, "{error}");
        }
    }

    #[cold]
    fn report_slow_poll(&self, operation: Operation<'_>, took: Duration) {
        tracing::warn!(
            component = %self.component,
            operation = operation.name,
            milliseconds = took.as_secs_f64() * 1e3,
            "a plugin kept a worker busy in one poll; its blocking work belongs into spawn_blocking"
        );
    }
}

fn is_panic(error: &CallError) -> bool {
    matches!(error, CallError::Plugin { error, .. } if error.kind() == ErrorKind::PANIC)
}

fn error_type(error: &CallError) -> &'static str {
    match error {
        CallError::Gone { .. } => "gone",
        CallError::Timeout { .. } => "timeout",
        CallError::Policy { .. } => "policy",
        CallError::Plugin { error, .. } => error.kind().name(),
    }
}
