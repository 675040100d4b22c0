//! The Configuration while the process runs: what can change without a restart does, the rest is named.

use mecha_resources::Configuration;
use mecha_resources::configuration::load_configuration;
use mecha_runtime::Runtime;
use mecha_settings::Resolved;

use crate::telemetry;

/// The files that `--config` names, as they were read last.
pub(crate) struct Configurations<'a> {
    resolved: &'a Resolved,
    /// Why they cannot be used now, so that it is said once.
    problem: Option<String>,
}

impl<'a> Configurations<'a> {
    pub(crate) fn new(resolved: &'a Resolved) -> Self {
        Self { resolved, problem: None }
    }

    /// Takes in what changed; `true` when other components are denied now. Files that cannot be used leave what held.
    pub(crate) fn take_in(&mut self, runtime: &Runtime) -> bool {
        let files = &self.resolved.settings.resources.configurations;
        let read = load_configuration(files, &self.resolved.environment.lookup());
        let found = match read {
            Ok(found) => found,
            Err(error) => {
                self.report(error.to_string());
                return false;
            }
        };
        let before = runtime.configuration();
        if found == *before {
            self.problem = None;
            return false;
        }
        // Its sampling rate decides with settings and variables together.
        let traces = match telemetry::traces(self.resolved, &found) {
            Ok(traces) => traces,
            Err(error) => {
                self.report(format!("{error:#}"));
                return false;
            }
        };
        self.problem = None;
        let mut restarts = needing_restart(&before, &found);
        if !runtime.telemetry().resample(traces.sampler()) {
            restarts.push("tracing.samplingRate from 0");
        }
        let denies_otherwise = found.denied_components != before.denied_components;
        runtime.reconfigure(found);
        match restarts.is_empty() {
            true => tracing::info!("Configuration was read again"),
            false => tracing::warn!(
                "Configuration was read again; what changed in {} takes a restart",
                restarts.join(", ")
            ),
        }
        denies_otherwise
    }

    fn report(&mut self, problem: String) {
        if self.problem.as_ref() != Some(&problem) {
            tracing::error!("the Configuration cannot be used; what held before stays: {problem}");
        }
        self.problem = Some(problem);
    }
}

/// The sections that were changed and are read at the start only.
fn needing_restart(before: &Configuration, found: &Configuration) -> Vec<&'static str> {
    let exporters = |configuration: &Configuration| {
        let tracing = &configuration.tracing;
        (tracing.stdout, tracing.zipkin.clone(), tracing.otel.clone())
    };
    let sections = [
        ("tracing", exporters(found) != exporters(before)),
        ("metrics", found.metrics != before.metrics),
        ("nameResolution", found.name_resolution != before.name_resolution),
        ("features", found.features != before.features),
        ("logging.apiLogging", found.api_logging != before.api_logging),
    ];
    sections.into_iter().filter_map(|(name, changed)| changed.then_some(name)).collect()
}
