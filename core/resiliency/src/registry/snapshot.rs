//! All policies at one moment, and which of them applies to a target.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use super::{
    bounded::Bounded,
    names::{BuiltIn, ComponentType},
    part::ActorScope,
};
use crate::{
    breaker::{Breaker, BreakerSettings},
    event::{Direction, Labels, Observer, Site},
    policy::{Policy, Watch},
    retry::Retry,
};

/// The breakers of a target, by what they are for.
pub(super) type Breakers = Bounded<Arc<Breaker>>;

/// All policies at one moment. Breakers live on in the snapshots that follow as long as what they are made from stays the same.
pub struct Snapshot {
    pub(super) name: Arc<str>,
    pub(super) namespace: Arc<str>,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) built_ins: HashMap<BuiltIn, Arc<Retry>>,
    pub(super) apps: HashMap<String, App>,
    pub(super) default_apps: DefaultApps,
    pub(super) actors: HashMap<String, Actor>,
    pub(super) default_actors: DefaultActors,
    pub(super) components: HashMap<String, Directions>,
    pub(super) default_components: DefaultComponents,
    pub(super) component_breakers: Arc<Breakers>,
}

/// Policies with their names looked up.
#[derive(Clone, Default)]
pub(super) struct Resolved {
    pub(super) timeout: Option<Duration>,
    pub(super) retry: Option<Arc<Retry>>,
    pub(super) breaker: Option<Arc<BreakerSettings>>,
}

pub(super) struct App {
    pub(super) policies: Resolved,
    pub(super) breakers: Arc<Breakers>,
}

/// The applications that no resource names.
pub(super) struct DefaultApps {
    pub(super) policies: Resolved,
    pub(super) breakers: Arc<Bounded<Arc<Breakers>>>,
}

pub(super) struct Actor {
    pub(super) policies: Resolved,
    pub(super) scope: ActorScope,
    pub(super) breakers: Arc<Breakers>,
}

/// The actor types that no resource names; a type has one breaker.
pub(super) struct DefaultActors {
    pub(super) policies: Resolved,
    pub(super) breakers: Arc<Breakers>,
}

#[derive(Clone, Default)]
pub(super) struct Directions {
    pub(super) inbound: Resolved,
    pub(super) outbound: Resolved,
}

/// The components that no resource names.
#[derive(Default)]
pub(super) struct DefaultComponents(pub(super) Vec<(ComponentType, Directions)>);

/// Endpoints of an application that no resource names whose breakers are kept.
const DEFAULT_ENDPOINTS: usize = 100;

impl Snapshot {
    /// What applies to the invocation of an application. The endpoint is what has a breaker of its own: `<app id>:<method>`.
    #[must_use]
    pub fn app(&self, id: &str, endpoint: &str) -> Policy {
        let named = self.apps.get(id);
        let policies = named.map_or(&self.default_apps.policies, |app| &app.policies);
        if policies.is_empty() {
            return Policy::none();
        }
        let breaker = policies.breaker.as_ref().map(|settings| {
            let breakers = match named {
                Some(app) => app.breakers.clone(),
                None => self.default_apps.of(id),
            };
            kept_or_new(&breakers, endpoint, settings, endpoint)
        });
        let operation = format!("endpoint[{id}, {endpoint}]");
        self.policy(policies, breaker, operation, format!("app_{id}"), Direction::Outbound)
    }

    /// What applies to the call of an actor before its turn: retries and the breaker.
    #[must_use]
    pub fn actor_before_lock(&self, actor_type: &str, id: &str) -> Policy {
        let named = self.actors.get(actor_type);
        let policies = named.map_or(&self.default_actors.policies, |actor| &actor.policies);
        let policies = Resolved { timeout: None, ..policies.clone() };
        if policies.is_empty() {
            return Policy::none();
        }
        let breaker = policies.breaker.as_ref().map(|settings| {
            let (breakers, key) = match named {
                Some(Actor { scope: ActorScope::Id, breakers, .. }) => {
                    (breakers, format!("{actor_type}-{id}"))
                }
                Some(Actor { scope: ActorScope::Type, breakers, .. }) => (breakers, actor_type.to_owned()),
                None => (&self.default_actors.breakers, actor_type.to_owned()),
            };
            kept_or_new(breakers, &key, settings, &key)
        });
        self.actor_policy(&policies, breaker, actor_type, id)
    }

    /// What applies to the call of an actor in its turn: the timeout.
    #[must_use]
    pub fn actor_after_lock(&self, actor_type: &str, id: &str) -> Policy {
        let named = self.actors.get(actor_type);
        let policies = named.map_or(&self.default_actors.policies, |actor| &actor.policies);
        let policies = Resolved { timeout: policies.timeout, ..Resolved::default() };
        if policies.is_empty() {
            return Policy::none();
        }
        self.actor_policy(&policies, None, actor_type, id)
    }

    /// What applies to the call of a component. To be asked for components that exist, for the breakers of a name are kept.
    ///
    /// Both directions share a breaker when they name the same policy.
    #[must_use]
    pub fn component(&self, name: &str, component: ComponentType, direction: Direction) -> Policy {
        let named = self.components.get(name);
        let Some(policies) = named.or_else(|| self.default_components.of(component)) else {
            return Policy::none();
        };
        let (policies, word) = match direction {
            Direction::Inbound => (&policies.inbound, "input"),
            Direction::Outbound => (&policies.outbound, "output"),
        };
        if policies.is_empty() {
            return Policy::none();
        }
        let breaker = policies.breaker.as_ref().map(|settings| {
            // With a dash alone, two pairs of names could make one key.
            let key = format!("{}\0{name}", settings.name);
            let breaker_name = format!("{}-{name}", settings.name);
            kept_or_new(&self.component_breakers, &key, settings, &breaker_name)
        });
        let operation = format!("component[{name}] {word}");
        self.policy(policies, breaker, operation, format!("{}_{name}", component.label()), direction)
    }

    /// A built-in policy. It has no metrics.
    #[must_use]
    pub fn built_in(&self, built_in: BuiltIn) -> Policy {
        let retry = self.built_ins.get(&built_in).cloned().unwrap_or_else(|| Arc::new(built_in.retry()));
        let site = Site { operation: built_in.name().to_owned(), labels: None };
        Policy::none().with_retry(retry).observed(site, self.observer.clone())
    }

    /// Whether a resource names an application, so that the built-in retries of its invocations do not apply.
    #[must_use]
    pub fn names_app(&self, id: &str) -> bool {
        self.apps.contains_key(id)
    }

    /// Whether a resource names an actor type.
    #[must_use]
    pub fn names_actor(&self, actor_type: &str) -> bool {
        self.actors.contains_key(actor_type)
    }

    /// Whether a resource names a component.
    #[must_use]
    pub fn names_component(&self, name: &str) -> bool {
        self.components.contains_key(name)
    }

    fn actor_policy(
        &self,
        policies: &Resolved,
        breaker: Option<Arc<Breaker>>,
        actor_type: &str,
        id: &str,
    ) -> Policy {
        let operation = format!("actor[{actor_type}, {id}]");
        self.policy(policies, breaker, operation, format!("actor_{actor_type}"), Direction::Outbound)
    }

    fn policy(
        &self,
        policies: &Resolved,
        breaker: Option<Arc<Breaker>>,
        operation: String,
        target: String,
        direction: Direction,
    ) -> Policy {
        let (name, namespace) = (self.name.clone(), self.namespace.clone());
        let labels = Some(Labels { name, namespace, direction, target });
        let watch = Watch { site: Site { operation, labels }, observer: self.observer.clone() };
        Policy {
            timeout: policies.timeout,
            retry: policies.retry.clone(),
            breaker,
            watch: Some(Arc::new(watch)),
        }
    }
}

impl Resolved {
    pub(super) fn is_empty(&self) -> bool {
        self.timeout.is_none() && self.retry.is_none() && self.breaker.is_none()
    }
}

impl DefaultApps {
    fn of(&self, id: &str) -> Arc<Breakers> {
        self.breakers.get_or_make(id, |_| true, || Arc::new(Bounded::new(DEFAULT_ENDPOINTS)))
    }
}

impl DefaultComponents {
    fn of(&self, component: ComponentType) -> Option<&Directions> {
        self.0.iter().find(|(known, _)| *known == component).map(|(_, directions)| directions)
    }
}

/// The breaker of a key. One of other settings gives way to a new one: this is what a changed policy does to its breakers.
fn kept_or_new(breakers: &Breakers, key: &str, settings: &Arc<BreakerSettings>, name: &str) -> Arc<Breaker> {
    let fits = |breaker: &Arc<Breaker>| breaker.settings() == settings;
    breakers.get_or_make(key, fits, || Arc::new(Breaker::new(name, settings.clone())))
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").field("name", &self.name).field("namespace", &self.namespace).finish()
    }
}
