//! Each step of a plugin's life, as a log line and a measurement.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mecha_observability::Metrics;
use mecha_observability::metrics::{GenerationState, InitFailure};
use mecha_plugin_host::{Generation, Refusal};

use super::stem;
use crate::definition::Definition;
use crate::lifecycle::OpenError;

/// Observes plugins and the components' moves between their generations.
#[derive(Clone)]
pub(crate) struct PluginObserver {
    metrics: Arc<Metrics>,
    /// How many generations of each plugin are active, draining and retired.
    generations: Arc<Mutex<HashMap<String, [usize; 3]>>>,
}

const STATES: [GenerationState; 3] =
    [GenerationState::Active, GenerationState::Draining, GenerationState::Retired];

impl PluginObserver {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics, generations: Arc::default() }
    }

    fn moved(&self, generation: &Generation, from: Option<GenerationState>, to: GenerationState) {
        let plugin = stem(generation);
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = generations.entry(plugin.to_owned()).or_default();
        let handle = self.metrics.plugins.resolve(plugin);
        for (state, count) in STATES.into_iter().zip(counts) {
            let leaves = usize::from(from == Some(state));
            *count = count.saturating_sub(leaves) + usize::from(state == to);
            handle.set_generations(state, *count);
        }
    }

    pub(crate) fn loaded(&self, generation: &Generation, replaces: Option<&Generation>) {
        let plugin = generation.identity();
        let types: Vec<_> =
            generation.description().components.iter().map(|offered| offered.type_name.as_str()).collect();
        tracing::info!(
            plugin = %plugin.name,
            version = %plugin.version,
            file = %plugin.file,
            sha256 = %plugin.sha256,
            generation = plugin.generation,
            replaces = replaces.map(Generation::id),
            types = %types.join(" "),
            "plugin loaded"
        );
        self.moved(generation, None, GenerationState::Active);
    }

    pub(crate) fn removed(&self, generation: &Generation) {
        let plugin = generation.identity();
        tracing::info!(plugin = %plugin.name, file = %plugin.file, generation = plugin.generation, "plugin file removed");
    }

    pub(crate) fn refused(&self, path: &Path, reason: &Refusal, keeps: Option<&Generation>) {
        self.metrics.plugins.refused(reason.kind());
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        match keeps {
            Some(kept) => {
                tracing::error!("plugin {file} refused: {reason}; generation {} stays in service", kept.id())
            }
            None => tracing::error!("plugin {file} refused: {reason}"),
        }
    }

    pub(crate) fn opened(
        &self,
        definition: &Definition,
        generation: &Generation,
        old: Option<&Generation>,
        took: Duration,
    ) {
        let (name, milliseconds) = (definition.log_name(), took.as_secs_f64() * 1e3);
        self.metrics.runtime.component_initialised(&definition.resource.component_type);
        if old.is_some() {
            self.metrics.plugins.resolve(stem(generation)).swapped(true);
        }
        let (plugin, generation) = (&generation.identity().file, generation.id());
        match old {
            None => tracing::info!(%plugin, generation, milliseconds, "Component loaded: {name}"),
            Some(old) => {
                let from = old.id();
                tracing::info!(%plugin, generation, from, milliseconds, "Component updated: {name}");
            }
        }
    }

    pub(crate) fn failed(
        &self,
        definition: &Definition,
        generation: &Generation,
        old: Option<&Generation>,
        error: &OpenError,
    ) {
        let name = definition.log_name();
        let resource = &definition.resource;
        self.metrics.runtime.component_init_failed(
            &resource.component_type,
            &resource.name,
            InitFailure::Init,
        );
        if old.is_some() {
            self.metrics.plugins.resolve(stem(generation)).swapped(false);
        }
        let stays = old.map(|old| format!("; generation {} of its plugin stays in service", old.id()));
        tracing::error!(
            plugin = %generation.identity().file,
            generation = generation.id(),
            "Failed to init component {name}: [INIT_COMPONENT_FAILURE]: initialization error occurred for {name}: {error}{}",
            stays.unwrap_or_default()
        );
    }

    /// No building block serves a component's type.
    pub(crate) fn unserved(&self, definition: &Definition) {
        tracing::warn!(
            component = %definition.log_name(),
            origin = %definition.origin,
            "no building block serves this component type; it is ignored"
        );
    }

    /// A component is declared no more.
    pub(crate) fn undeclared(&self, definition: &Definition) {
        tracing::info!("Component removed: {}", definition.log_name());
    }

    pub(crate) fn waiting(&self, definition: &Definition, known: &[&Generation]) {
        let found: Vec<_> = known.iter().map(|generation| generation.identity().file.as_str()).collect();
        let found = if found.is_empty() { "none".to_owned() } else { found.join(" ") };
        tracing::warn!(
            "component {} waits: no plugin offers its type (plugins found: {found}); it starts when one is put into the plugins directory",
            definition.log_name()
        );
    }

    /// A generation takes no new calls.
    pub(crate) fn draining(&self, generation: &Generation) {
        self.moved(generation, Some(GenerationState::Active), GenerationState::Draining);
    }

    /// A component was declared.
    pub(crate) fn declared(&self) {
        self.metrics.runtime.component_loaded();
    }

    pub(crate) fn retired(&self, generation: &Generation, finished: bool, took: Duration) {
        self.moved(generation, Some(GenerationState::Draining), GenerationState::Retired);
        let plugin = generation.identity();
        let milliseconds = took.as_secs_f64() * 1e3;
        if finished {
            tracing::info!(file = %plugin.file, generation = plugin.generation, milliseconds, "plugin generation retired");
        } else {
            tracing::warn!(file = %plugin.file, generation = plugin.generation, milliseconds,
                "plugin generation retired at the drain deadline with calls in flight; they were cut off");
        }
    }
}
