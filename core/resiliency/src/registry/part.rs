//! One resource, read: its policies as values, its targets as names of policies.

use std::{collections::HashMap, sync::Arc, time::Duration};

use super::names::BuiltIn;
use crate::{
    breaker::{BreakerSettings, TripCompiler},
    duration,
    error::{PolicyError, Warning},
    retry::Retry,
    spec,
};

/// Fewest retries of a built-in policy that a resource replaces.
const MIN_BUILT_IN_RETRIES: u64 = 3;
const APP_CACHE: usize = 100;
const ACTOR_CACHE: usize = 5000;

/// What a resource adds to the others.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub(super) timeouts: HashMap<String, Duration>,
    pub(super) retries: HashMap<String, Arc<Retry>>,
    pub(super) breakers: HashMap<String, Arc<BreakerSettings>>,
    pub(super) apps: HashMap<String, App>,
    pub(super) actors: HashMap<String, Actor>,
    pub(super) components: HashMap<String, spec::ComponentPolicies>,
    pub(super) warnings: Vec<Warning>,
}

#[derive(Debug, Clone)]
pub(super) struct App {
    pub(super) names: spec::PolicyNames,
    pub(super) cache_size: usize,
}

#[derive(Debug, Clone)]
pub(super) struct Actor {
    pub(super) names: spec::PolicyNames,
    pub(super) scope: ActorScope,
    pub(super) cache_size: usize,
}

/// What shares a circuit breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ActorScope {
    /// All actors of a type.
    Type,
    /// Nothing: every actor has its own. Dapr treats its word `both` the same way.
    Id,
}

impl Part {
    pub(super) fn read(spec: &spec::Resiliency, compiler: &TripCompiler) -> Result<Self, PolicyError> {
        let mut part = Self::default();
        part.read_policies(&spec.policies, compiler)?;
        part.read_targets(&spec.targets)?;
        Ok(part)
    }

    fn read_policies(&mut self, spec: &spec::Policies, compiler: &TripCompiler) -> Result<(), PolicyError> {
        for (name, text) in &spec.timeouts {
            let timeout = duration::parse(text)
                .ok_or_else(|| PolicyError::Timeout { name: name.clone(), text: text.clone() })?;
            self.timeouts.insert(name.clone(), timeout);
        }
        for (name, spec) in &spec.retries {
            let retry =
                Retry::parse(spec).map_err(|reason| PolicyError::Retry { name: name.clone(), reason })?;
            self.add_retry(name, retry);
        }
        for (name, spec) in &spec.circuit_breakers {
            let breaker = BreakerSettings::parse(name, spec, compiler)
                .map_err(|reason| PolicyError::CircuitBreaker { name: name.clone(), reason })?;
            if let Some(trip) = breaker.trip.as_ref().filter(|trip| !trip.gives_boolean()) {
                let condition = trip.condition().to_owned();
                self.warnings.push(Warning::NeverTrips { breaker: name.clone(), condition });
            }
            self.breakers.insert(name.clone(), Arc::new(breaker));
        }
        Ok(())
    }

    fn add_retry(&mut self, name: &str, mut retry: Retry) {
        if let Some(built_in) = BuiltIn::named(name) {
            if built_in.is_protected() {
                self.warnings.push(Warning::Protected(name.to_owned()));
                return;
            }
            // Without end is -1 in a resource, which Dapr takes for too few as well.
            if retry.max_retries.is_none_or(|retries| retries < MIN_BUILT_IN_RETRIES) {
                self.warnings.push(Warning::TooFewRetries(name.to_owned()));
                retry.max_retries = Some(MIN_BUILT_IN_RETRIES);
            }
        }
        self.retries.insert(name.to_owned(), Arc::new(retry));
    }

    fn read_targets(&mut self, spec: &spec::Targets) -> Result<(), PolicyError> {
        for (id, app) in &spec.apps {
            let cache_size = cache_size(id, app.circuit_breaker_cache_size, APP_CACHE)?;
            self.apps.insert(id.clone(), App { names: app.names.clone(), cache_size });
        }
        for (name, actor) in &spec.actors {
            let scope = scope(actor)?;
            let cache_size = cache_size(name, actor.circuit_breaker_cache_size, ACTOR_CACHE)?;
            self.actors.insert(name.clone(), Actor { names: actor.names.clone(), scope, cache_size });
        }
        self.components = spec.components.iter().map(|(name, spec)| (name.clone(), spec.clone())).collect();
        Ok(())
    }
}

/// It is looked at only where there is a circuit breaker, as in Dapr.
fn scope(actor: &spec::ActorPolicies) -> Result<ActorScope, PolicyError> {
    if actor.names.circuit_breaker.is_empty() {
        return Ok(ActorScope::Type);
    }
    match actor.circuit_breaker_scope.as_str() {
        "" => Err(PolicyError::NoScope),
        "type" => Ok(ActorScope::Type),
        "id" | "both" => Ok(ActorScope::Id),
        other => Err(PolicyError::Scope(other.to_owned())),
    }
}

fn cache_size(target: &str, size: Option<i64>, default: usize) -> Result<usize, PolicyError> {
    match size.unwrap_or(0) {
        0 => Ok(default),
        size => usize::try_from(size).map_err(|_| PolicyError::CacheSize { target: target.to_owned(), size }),
    }
}
