//! What the runtime shows of components and plugins: the span and the measurement of each call, and the log line of each
//! step in a plugin's life. `component.rs` and `lifecycle.rs` say what happened; how it looks is decided here.

mod calls;
mod plugins;
mod sink;

pub(crate) use calls::{Observer, Operation};
pub(crate) use plugins::PluginObserver;

use std::sync::Arc;
use std::time::Duration;

use mecha_observability::metrics::ComponentKind;
use mecha_observability::{Logger, Metrics, Telemetry};
use mecha_plugin_host::{Generation, PluginSink};

use crate::definition::Definition;

/// Makes the observers of one runtime.
pub(crate) struct ObserverSource {
    telemetry: Telemetry,
    metrics: Arc<Metrics>,
    logger: Logger,
    slow_poll: Duration,
}

impl ObserverSource {
    pub(crate) fn new(
        telemetry: Telemetry,
        metrics: Arc<Metrics>,
        logger: Logger,
        slow_poll: Duration,
    ) -> Self {
        Self { telemetry, metrics, logger, slow_poll }
    }

    pub(crate) fn component(&self, definition: &Definition, kind: Option<ComponentKind>) -> Observer {
        Observer::new(self, definition, kind)
    }

    pub(crate) fn plugins(&self) -> PluginObserver {
        PluginObserver::new(self.metrics.clone())
    }

    pub(crate) fn sink(&self) -> Arc<dyn PluginSink> {
        Arc::new(sink::Sink { telemetry: self.telemetry.clone(), logger: self.logger.clone() })
    }
}

/// The plugin file's name without its ending: the label under which a plugin is measured.
fn stem(generation: &Generation) -> &str {
    let file = &generation.identity().file;
    file.strip_suffix(".so").unwrap_or(file)
}
