//! What policies do, as metrics and as log lines; the texts are Dapr's.

use std::sync::Arc;

use mecha_observability::Metrics;
use mecha_observability::metrics::PolicySite;
use mecha_resiliency::{Event, Kind, Labels, Observer, Site, State};

/// Counts and logs.
pub(super) struct Observed {
    metrics: Arc<Metrics>,
}

impl Observed {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics }
    }
}

impl Observer for Observed {
    fn on_event(&self, site: &Site, event: Event<'_>) {
        let operation = &site.operation;
        match event {
            Event::Applied { policy, state } => self.count(site, policy, state, true),
            Event::Activated { policy, state } => self.count(site, policy, state, false),
            // One line an operation; without end it would be one a pause.
            Event::Retrying { attempt: 1, pause } => {
                tracing::warn!(
                    "Error processing operation {operation}. Retrying in {}…",
                    mecha_resources::duration::format(pause)
                );
            }
            Event::Recovered { attempts } => {
                tracing::info!("Recovered processing operation {operation} after {attempts} attempts");
            }
            Event::Changed { breaker, change } => {
                tracing::info!(
                    "Circuit breaker \"{breaker}\" changed state from {} to {}",
                    change.from,
                    change.to
                );
            }
            Event::TimedOut { limit } => tracing::debug!("{operation} took longer than {limit:?}"),
            Event::Rejected { breaker, rejection } => {
                tracing::debug!("{operation} was turned away by circuit breaker {breaker}: {rejection}");
            }
            Event::Attempt { .. } | Event::Retrying { .. } => {}
        }
    }
}

impl Observed {
    fn count(&self, site: &Site, policy: Kind, state: Option<State>, is_applied: bool) {
        let Some(labels) = &site.labels else { return };
        let state = state.map_or("", State::label);
        let metrics = &self.metrics.resiliency;
        if is_applied {
            metrics.applied(place(labels), policy.label(), state);
        } else {
            metrics.activated(place(labels), policy.label(), state);
        }
    }
}

fn place(labels: &Labels) -> PolicySite<'_> {
    PolicySite {
        name: &labels.name,
        namespace: &labels.namespace,
        direction: labels.direction.label(),
        target: &labels.target,
    }
}
