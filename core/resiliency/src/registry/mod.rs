//! All policies of a runtime: made from resources, exchanged while calls go on.
//!
//! [`Registry::apply`] takes all resources that hold now. `part` reads each, `build` puts them together and looks names up,
//! and the resulting [`Snapshot`] answers for every target with a [`Policy`]. `names` has the names with a meaning of their own,
//! `bounded` the cache that breakers are kept in.

mod bounded;
mod build;
mod names;
mod part;
mod snapshot;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::{ArcSwap, Guard};

pub use names::{BuiltIn, ComponentType};
pub use snapshot::Snapshot;

use crate::{
    breaker::TripCompiler,
    error::{PolicyError, Warning},
    event::{Direction, Observer},
    policy::Policy,
    spec,
};
use part::Part;

/// All policies of a runtime.
pub struct Registry {
    current: ArcSwap<Snapshot>,
    observer: Arc<dyn Observer>,
    compiler: TripCompiler,
    /// The resources that hold, in their order.
    resources: Mutex<Vec<Resource>>,
}

#[derive(Clone)]
struct Resource {
    spec: Arc<spec::Resiliency>,
    part: Arc<Part>,
}

/// What became of resources.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Whether anything is different now.
    pub is_changed: bool,
    /// The resources that hold now for the first time or with new content, for the log and `dapr_resiliency_loaded`.
    pub loaded: Vec<ResourceName>,
    /// Those that cannot be used.
    pub refused: Vec<Refused>,
    /// What is odd in those that hold, told when something is different.
    pub warnings: Vec<Warning>,
}

/// A resource's name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ResourceName {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
}

/// A resource that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Which.
    pub resource: ResourceName,
    /// Why.
    pub error: PolicyError,
    /// Whether what held under its name goes on holding.
    pub is_previous_kept: bool,
}

impl Registry {
    /// A registry with the built-in policies alone.
    #[must_use]
    pub fn new(observer: Arc<dyn Observer>) -> Self {
        let (snapshot, _) = build::build(("".into(), "".into()), &[], observer.clone(), None);
        Self {
            current: ArcSwap::from_pointee(snapshot),
            observer,
            compiler: TripCompiler::default(),
            resources: Mutex::default(),
        }
    }

    /// Makes these resources, and no others, hold. Of two that say something of the same policy or target the later counts.
    ///
    /// A resource with a mistake is refused as a whole; if one of its name holds already, that one goes on. Breakers whose policy
    /// stays the same keep their state. When nothing is different, nothing happens.
    pub fn apply(&self, specs: &[spec::Resiliency]) -> Report {
        let mut held = self.resources.lock().unwrap_or_else(PoisonError::into_inner);
        let mut report = Report::default();
        let resources: Vec<Resource> =
            specs.iter().filter_map(|spec| self.read(spec, &held, &mut report)).collect();
        let same = |(new, old): (&Resource, &Resource)| new.spec == old.spec;
        report.is_changed = resources.len() != held.len() || !resources.iter().zip(held.iter()).all(same);
        if !report.is_changed {
            return report;
        }
        let label = resources.last().map_or(("", ""), |last| (&last.spec.name, &last.spec.namespace));
        let parts: Vec<Arc<Part>> = resources.iter().map(|resource| resource.part.clone()).collect();
        let previous = self.current.load_full();
        let (snapshot, warnings) =
            build::build((label.0.into(), label.1.into()), &parts, self.observer.clone(), Some(&previous));
        report.warnings = warnings;
        self.current.store(Arc::new(snapshot));
        *held = resources;
        report
    }

    /// The policies as they are now. Hold it for the time of one call at most.
    #[must_use]
    pub fn current(&self) -> Guard<Arc<Snapshot>> {
        self.current.load()
    }

    /// [`Snapshot::app`] of now.
    #[must_use]
    pub fn app(&self, id: &str, endpoint: &str) -> Policy {
        self.current.load().app(id, endpoint)
    }

    /// [`Snapshot::component`] of now.
    #[must_use]
    pub fn component(&self, name: &str, component: ComponentType, direction: Direction) -> Policy {
        self.current.load().component(name, component, direction)
    }

    /// [`Snapshot::built_in`] of now.
    #[must_use]
    pub fn built_in(&self, built_in: BuiltIn) -> Policy {
        self.current.load().built_in(built_in)
    }

    fn read(&self, spec: &spec::Resiliency, held: &[Resource], report: &mut Report) -> Option<Resource> {
        if let Some(same) = held.iter().find(|resource| *resource.spec == *spec) {
            return Some(same.clone());
        }
        let name = ResourceName { name: spec.name.clone(), namespace: spec.namespace.clone() };
        match Part::read(spec, &self.compiler) {
            Ok(part) => {
                report.loaded.push(name);
                Some(Resource { spec: Arc::new(spec.clone()), part: Arc::new(part) })
            }
            Err(error) => {
                let kept = only_of_name(held, &name);
                report.refused.push(Refused { resource: name, error, is_previous_kept: kept.is_some() });
                kept
            }
        }
    }
}

/// Names need not be unique; of several, nobody can say which one the broken resource was.
fn only_of_name(held: &[Resource], name: &ResourceName) -> Option<Resource> {
    let mut of_name = held
        .iter()
        .filter(|resource| resource.spec.name == name.name && resource.spec.namespace == name.namespace);
    of_name.next().filter(|_| of_name.next().is_none()).cloned()
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("current", &self.current).finish()
    }
}

#[cfg(test)]
mod tests;
