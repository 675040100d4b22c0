//! Puts the resources together: later ones replace what earlier ones name, then every name is looked up.

use std::{collections::HashMap, sync::Arc};

use super::{
    bounded::Bounded,
    names::{BuiltIn, ComponentType, DefaultFor},
    part::Part,
    snapshot::{Actor, App, DefaultActors, DefaultApps, DefaultComponents, Directions, Resolved, Snapshot},
};
use crate::{
    error::Warning,
    event::{Direction, Observer},
    spec::PolicyNames,
};

/// Applications and actor types that no resource names whose breakers are kept. Callers choose these names.
const DEFAULT_TARGETS: usize = 1000;
const COMPONENTS: usize = 10_000;

/// A snapshot of these resources, and what is odd about them. Breakers come from the snapshot before.
pub(super) fn build(
    (name, namespace): (Arc<str>, Arc<str>),
    parts: &[Arc<Part>],
    observer: Arc<dyn Observer>,
    previous: Option<&Snapshot>,
) -> (Snapshot, Vec<Warning>) {
    let mut all = Part::default();
    parts.iter().for_each(|part| all.add(part));
    let mut warnings: Vec<Warning> = parts.iter().flat_map(|part| part.warnings.clone()).collect();
    let mut names = Names { policies: &all, warnings: &mut warnings };
    let built_ins = BuiltIn::ALL
        .into_iter()
        .filter_map(|built_in| Some((built_in, all.retries.get(built_in.name())?.clone())));
    let snapshot = Snapshot {
        name,
        namespace,
        observer,
        built_ins: built_ins.collect(),
        apps: apps(&mut names, previous),
        default_apps: DefaultApps {
            policies: names.defaults(DefaultFor::Apps),
            breakers: previous.map_or_else(bounded, |previous| previous.default_apps.breakers.clone()),
        },
        actors: actors(&mut names, previous),
        default_actors: DefaultActors {
            policies: names.defaults(DefaultFor::Actors),
            breakers: previous.map_or_else(bounded, |previous| previous.default_actors.breakers.clone()),
        },
        components: components(&mut names),
        default_components: default_components(&names),
        component_breakers: previous.map_or_else(
            || Arc::new(Bounded::new(COMPONENTS)),
            |previous| previous.component_breakers.clone(),
        ),
    };
    (snapshot, warnings)
}

impl Part {
    fn add(&mut self, other: &Self) {
        fn extend<V: Clone>(all: &mut HashMap<String, V>, other: &HashMap<String, V>) {
            all.extend(other.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
        extend(&mut self.timeouts, &other.timeouts);
        extend(&mut self.retries, &other.retries);
        extend(&mut self.breakers, &other.breakers);
        extend(&mut self.apps, &other.apps);
        extend(&mut self.actors, &other.actors);
        extend(&mut self.components, &other.components);
    }
}

fn bounded<V: Clone>() -> Arc<Bounded<V>> {
    Arc::new(Bounded::new(DEFAULT_TARGETS))
}

fn apps(names: &mut Names<'_>, previous: Option<&Snapshot>) -> HashMap<String, App> {
    let all = names.policies;
    let apps = all.apps.iter().map(|(id, app)| {
        let policies = names.resolve(id, &app.names);
        let kept = previous.and_then(|previous| previous.apps.get(id)).map(|app| app.breakers.clone());
        let breakers = kept.unwrap_or_else(|| Arc::new(Bounded::new(app.cache_size)));
        breakers.resize(app.cache_size);
        (id.clone(), App { policies, breakers })
    });
    apps.collect()
}

fn actors(names: &mut Names<'_>, previous: Option<&Snapshot>) -> HashMap<String, Actor> {
    let all = names.policies;
    let actors = all.actors.iter().map(|(name, actor)| {
        let policies = names.resolve(name, &actor.names);
        let kept =
            previous.and_then(|previous| previous.actors.get(name)).map(|actor| actor.breakers.clone());
        let breakers = kept.unwrap_or_else(|| Arc::new(Bounded::new(actor.cache_size)));
        breakers.resize(actor.cache_size);
        (name.clone(), Actor { policies, scope: actor.scope, breakers })
    });
    actors.collect()
}

fn components(names: &mut Names<'_>) -> HashMap<String, Directions> {
    let all = names.policies;
    let components = all.components.iter().map(|(name, component)| {
        let inbound = names.resolve(name, &component.inbound);
        let outbound = names.resolve(name, &component.outbound);
        (name.clone(), Directions { inbound, outbound })
    });
    components.collect()
}

/// Empty when there are none, which is what callers see most.
fn default_components(names: &Names<'_>) -> DefaultComponents {
    let types = ComponentType::ALL.into_iter().map(|component| {
        let inbound = names.defaults(DefaultFor::Components(component, Direction::Inbound));
        let outbound = names.defaults(DefaultFor::Components(component, Direction::Outbound));
        (component, Directions { inbound, outbound })
    });
    DefaultComponents(
        types.filter(|(_, both)| !both.inbound.is_empty() || !both.outbound.is_empty()).collect(),
    )
}

/// Looks policies up.
struct Names<'a> {
    policies: &'a Part,
    warnings: &'a mut Vec<Warning>,
}

impl Names<'_> {
    fn resolve(&mut self, target: &str, names: &PolicyNames) -> Resolved {
        let timeout = self.find(target, &names.timeout, |all, name| all.timeouts.get(name).copied());
        let retry = self.find(target, &names.retry, |all, name| match all.retries.get(name) {
            Some(retry) => Some(retry.clone()),
            None => BuiltIn::named(name).map(|built_in| Arc::new(built_in.retry())),
        });
        let breaker = self.find(target, &names.circuit_breaker, |all, name| all.breakers.get(name).cloned());
        Resolved { timeout: timeout.filter(|timeout| !timeout.is_zero()), retry, breaker }
    }

    fn find<V>(&mut self, target: &str, name: &str, get: impl FnOnce(&Part, &str) -> Option<V>) -> Option<V> {
        if name.is_empty() {
            return None;
        }
        let found = get(self.policies, name);
        if found.is_none() {
            let (target, policy) = (target.to_owned(), name.to_owned());
            self.warnings.push(Warning::UnknownPolicy { target, policy });
        }
        found
    }

    fn defaults(&self, target: DefaultFor) -> Resolved {
        let all = self.policies;
        let first = |kind: &str, has: &dyn Fn(&str) -> bool| {
            target.names(kind).into_iter().find(|name| has(name)).unwrap_or_default()
        };
        let timeout = all.timeouts.get(&first("Timeout", &|name| all.timeouts.contains_key(name)));
        let retry = all.retries.get(&first("Retry", &|name| all.retries.contains_key(name)));
        let breaker = all.breakers.get(&first("CircuitBreaker", &|name| all.breakers.contains_key(name)));
        Resolved {
            timeout: timeout.copied().filter(|timeout| !timeout.is_zero()),
            retry: retry.cloned(),
            breaker: breaker.cloned(),
        }
    }
}
