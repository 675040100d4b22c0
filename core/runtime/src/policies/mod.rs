//! The policies of Resiliency resources where they are needed: at components, in both directions, and at calls of applications.
//!
//! [`Policies`] holds all of them and gives each component its own, [`ComponentPolicies`], which change under the calls when the
//! resources do. `calls.rs` runs a component's operation under one, `apps.rs` gives those of applications; `observe.rs` counts and
//! logs; `convert.rs` hands resources over.

mod apps;
mod calls;
mod convert;
mod observe;
mod slot;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use arc_swap::ArcSwap;
use mecha_observability::Metrics;
use mecha_resiliency::{BuiltIn, ComponentType, Direction, Policy, Registry, Report};
use mecha_resources::Resiliency;
use mecha_resources::selection::Selectable;

pub use calls::PolicyFailure;
pub(crate) use calls::{run, run_once};
pub(crate) use slot::Slot;

/// The policies of one runtime.
pub(crate) struct Policies {
    registry: Registry,
    metrics: Arc<Metrics>,
    /// Every component that is in use. Locked while policies change, so that none keeps an old one.
    components: Mutex<Vec<Weak<ComponentPolicies>>>,
    /// Whether a resource holds; most runtimes have none, and then nobody looks any further.
    is_any: AtomicBool,
    /// The built-in retries of calls of other runtimes.
    between_runtimes: ArcSwap<Policy>,
}

/// The policies of one component.
#[derive(Default)]
pub(crate) struct ComponentPolicies {
    /// Name and kind; `None` for what Dapr has no policies for.
    of: Option<(String, ComponentType)>,
    /// What comes from it to the application.
    pub(crate) inbound: Slot,
    /// Calls of it.
    pub(crate) outbound: Slot,
}

impl Policies {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        let registry = Registry::new(Arc::new(observe::Observed::new(metrics.clone())));
        let between_runtimes = ArcSwap::from_pointee(registry.built_in(BuiltIn::ServiceRetries));
        Self {
            registry,
            metrics,
            components: Mutex::default(),
            is_any: AtomicBool::new(false),
            between_runtimes,
        }
    }

    /// Makes these resources hold, as far as they are for the application, and no others.
    pub(crate) fn apply(&self, app_id: &str, resources: &[Resiliency]) {
        let in_scope = resources.iter().filter(|resource| resource.is_in_scope(app_id));
        let specs: Vec<_> = in_scope.map(convert::spec).collect();
        let mut components = self.components.lock().unwrap_or_else(PoisonError::into_inner);
        let report = self.registry.apply(&specs);
        self.tell(&report);
        if report.is_changed {
            // Of all that hold: a resource that is refused may hold as it was before.
            self.is_any.store(!specs.is_empty(), Ordering::Relaxed);
            self.between_runtimes.store(Arc::new(self.registry.built_in(BuiltIn::ServiceRetries)));
            components.retain(|component| component.upgrade().inspect(|known| self.fill(known)).is_some());
        }
    }

    fn is_any(&self) -> bool {
        // Relaxed: a call that overlaps with a change may see either side of it.
        self.is_any.load(Ordering::Relaxed)
    }

    /// The policies of a component; `block` is the first part of its type.
    pub(crate) fn of(&self, name: &str, block: &str) -> Arc<ComponentPolicies> {
        let of = component_type(block).map(|kind| (name.to_owned(), kind));
        let component = Arc::new(ComponentPolicies { of, ..ComponentPolicies::default() });
        if component.of.is_some() {
            let mut components = self.components.lock().unwrap_or_else(PoisonError::into_inner);
            components.retain(|known| known.strong_count() > 0);
            components.push(Arc::downgrade(&component));
            self.fill(&component);
        }
        component
    }

    fn fill(&self, component: &ComponentPolicies) {
        let Some((name, kind)) = &component.of else { return };
        component.inbound.set(self.registry.component(name, *kind, Direction::Inbound));
        component.outbound.set(self.registry.component(name, *kind, Direction::Outbound));
    }

    fn tell(&self, report: &Report) {
        for resource in &report.loaded {
            tracing::info!("Loading Resiliency configuration: {}", resource.name);
            self.metrics.resiliency.loaded(&resource.name, &resource.namespace);
        }
        for refused in &report.refused {
            let name = &refused.resource.name;
            tracing::error!("Could not read resiliency policy {name}: {}", refused.error);
            if refused.is_previous_kept {
                tracing::warn!("what the Resiliency {name} said before goes on holding");
            }
        }
        for warning in &report.warnings {
            tracing::warn!("{warning}");
        }
    }
}

fn component_type(block: &str) -> Option<ComponentType> {
    match block {
        "bindings" => Some(ComponentType::Binding),
        "configuration" => Some(ComponentType::Configuration),
        "conversation" => Some(ComponentType::Conversation),
        "crypto" => Some(ComponentType::Crypto),
        "lock" => Some(ComponentType::Lock),
        "pubsub" => Some(ComponentType::Pubsub),
        "secretstores" => Some(ComponentType::Secretstore),
        "state" => Some(ComponentType::Statestore),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use mecha_observability::MetricsSettings;

    use super::*;

    fn policies() -> Policies {
        Policies::new(Arc::new(Metrics::new(&MetricsSettings::default()).unwrap()))
    }

    fn resource(name: &str, scopes: &[&str]) -> Resiliency {
        let mut resource = Resiliency { name: name.to_owned(), ..Resiliency::default() };
        resource.policies.timeouts.insert("DefaultTimeoutPolicy".into(), "2s".into());
        resource.scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        resource
    }

    #[test]
    fn components_follow_the_resources_wherever_they_came_first() {
        let policies = policies();
        let before = policies.of("store", "state");
        assert!(before.outbound.get().is_none() && before.inbound.get().is_none());
        policies.apply("app", &[resource("r", &[])]);
        let after = policies.of("other", "pubsub");
        for component in [&before, &after] {
            let timeout = component.outbound.get().unwrap().timeout().unwrap();
            assert_eq!(timeout.as_secs(), 2);
            assert!(component.inbound.get().is_some());
        }
        policies.apply("app", &[]);
        assert!(before.outbound.get().is_none() && after.outbound.get().is_none());
    }

    #[test]
    fn resources_of_other_applications_and_blocks_without_policies_are_left_out() {
        let policies = policies();
        let (store, object) = (policies.of("store", "state"), policies.of("store", "objects"));
        policies.apply("app", &[resource("r", &["other"])]);
        assert!(store.outbound.get().is_none());
        policies.apply("app", &[resource("r", &["other", "app"])]);
        assert!(store.outbound.get().is_some() && object.outbound.get().is_none());
    }

    #[test]
    fn components_that_are_gone_are_forgotten() {
        let policies = policies();
        for _ in 0..3 {
            drop(policies.of("store", "state"));
        }
        let _kept = policies.of("store", "state");
        assert_eq!(policies.components.lock().unwrap().len(), 1);
    }
}
