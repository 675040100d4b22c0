//! Keeps every component on the generation that should serve it. One change at a time: nothing here overlaps.
//!
//! A new generation opens its components first; only when one is ready do calls move to it, and only when the last call
//! on the old one is out is that one closed. A component that does not open on the new generation stays on the old one.

use std::collections::HashMap;
use std::hash::RandomState;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use mecha_plugin_api::{Capability, Error, ErrorKind};
use mecha_plugin_host::{Change, Generation};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::App;
use crate::definition::{Definition, ResolveError};
use crate::drain::Draining;
use crate::factory::Factory;
use crate::managed::Managed;
use crate::observe::PluginObserver;
use crate::registry::Registry;

/// What the lifecycle works on.
pub(crate) struct Lifecycle {
    app: Arc<App>,
    env: Arc<HashMap<String, String>>,
    observer: PluginObserver,
    drain_deadline: Duration,
    registry: Arc<ArcSwap<Registry>>,
    /// Told of every new snapshot.
    changed: watch::Sender<()>,
    /// In the order of their definitions, secret stores first: the others may refer to them.
    components: Vec<Slot>,
    /// Every generation that is not retired, the one to prefer first.
    generations: Vec<Tracked>,
    retiring: TaskTracker,
    /// Removed without a successor: one of their name that comes later takes over whoever still reads from them.
    orphans: Vec<Weak<dyn Managed>>,
    /// Makes digests of secrets comparable within this process only.
    digests: RandomState,
}

struct Slot {
    component: Arc<dyn Managed>,
    /// The generation on which it last failed to open, so that one failure is reported once.
    failed_on: Option<u64>,
    /// What it waits for was said already.
    waiting_reported: bool,
    /// Of the secrets that it opened with.
    secrets: Option<u64>,
}

struct Tracked {
    generation: Arc<Generation>,
    /// Whether components may be opened on it: not so once its file was replaced or removed.
    wanted: bool,
    /// Components that left it and may still have calls in flight.
    draining: Vec<Draining>,
}

/// Why a component did not open.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OpenError {
    /// A reference in its metadata could not be followed.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// The plugin refused.
    #[error("{0}")]
    Plugin(Error),
}

/// A declared component that did not open.
pub(crate) struct Failure {
    pub(crate) component: Arc<dyn Managed>,
    pub(crate) error: OpenError,
}

impl Lifecycle {
    pub(crate) fn new(
        app: Arc<App>,
        env: Arc<HashMap<String, String>>,
        observer: PluginObserver,
        drain_deadline: Duration,
        registry: Arc<ArcSwap<Registry>>,
        changed: watch::Sender<()>,
    ) -> Self {
        let (components, generations, retiring) = (Vec::new(), Vec::new(), TaskTracker::new());
        Self {
            app,
            env,
            observer,
            drain_deadline,
            registry,
            changed,
            components,
            generations,
            retiring,
            orphans: Vec::new(),
            digests: RandomState::new(),
        }
    }

    /// Declares components; they open at the next [`Lifecycle::apply`].
    pub(crate) fn declare(&mut self, components: Vec<Arc<dyn Managed>>) {
        if !components.is_empty() {
            self.observer.declared();
        }
        let slots = components.into_iter().map(|component| Slot {
            component,
            failed_on: None,
            waiting_reported: false,
            secrets: None,
        });
        self.components.extend(slots);
        self.components.sort_by_key(|slot| slot.component.capability() != Capability::SECRET_STORE);
    }

    /// Takes in what the plugin host found, moves components accordingly and retires what nothing runs on any more.
    /// Gives the components that failed to open; they were logged.
    pub(crate) async fn apply(&mut self, changes: Vec<Change>) -> Vec<Failure> {
        for change in changes {
            self.take_in(change);
        }
        let mut failures = Vec::new();
        for index in 0..self.components.len() {
            failures.extend(self.settle(index).await);
        }
        self.publish();
        self.retire_unused();
        failures
    }

    /// Takes in what is declared now. What did not change stays as it is; a changed component opens anew first, and only then
    /// does the old one go; one that does not open leaves the old one serving.
    pub(crate) async fn redeclare(&mut self, declared: Vec<Arc<Definition>>, factory: &Factory) {
        let before = self.definitions();
        for old in &before {
            if !declared.iter().any(|new| new.resource.name == old.resource.name) {
                self.observer.undeclared(old);
                self.remove(old);
            }
        }
        for new in declared {
            let old = before.iter().find(|old| old.resource.name == new.resource.name);
            if old.is_some_and(|old| old.resource == new.resource) {
                continue;
            }
            match old {
                Some(old) => self.replace(old, &new, factory).await,
                None => drop(self.try_declare(&new, factory).await),
            }
        }
        self.publish();
        self.retire_unused();
    }

    /// Opens what is declared in place of `old`, which stays when that fails.
    async fn replace(&mut self, old: &Arc<Definition>, new: &Arc<Definition>, factory: &Factory) {
        let opened = self.try_declare(new, factory).await;
        self.remove(if opened { old } else { new });
    }

    /// Reads every secret again that a component refers to, and opens those anew whose secrets changed. Secret stores open
    /// anew first: one may have read its file when it opened.
    pub(crate) async fn refresh_secrets(&mut self, factory: &Factory) {
        for definition in self.definitions() {
            if self.holds_secrets(&definition) || self.has_stale_secrets(&definition).await {
                let Definition { resource, origin } = &*definition;
                let again = Definition { resource: resource.clone(), origin: origin.clone() };
                self.replace(&definition, &Arc::new(again), factory).await;
            }
        }
        self.publish();
        self.retire_unused();
    }

    fn slots_of(&self, definition: &Arc<Definition>) -> impl Iterator<Item = &Slot> {
        self.components.iter().filter(move |slot| Arc::ptr_eq(slot.component.definition(), definition))
    }

    fn holds_secrets(&self, definition: &Arc<Definition>) -> bool {
        let is_store = |slot: &Slot| {
            slot.component.capability() == Capability::SECRET_STORE && slot.component.current().is_some()
        };
        self.slots_of(definition).any(is_store)
    }

    async fn has_stale_secrets(&self, definition: &Arc<Definition>) -> bool {
        if definition.resource.secret_refs().is_empty() {
            return false;
        }
        match definition.resolve(&self.app, &self.registry.load_full(), &self.env).await {
            // One that failed to open has no digest, and is tried again.
            Ok(resolved) => {
                let digest = Some(definition.secrets_digest(&resolved, &self.digests));
                self.slots_of(definition).any(|slot| slot.secrets != digest)
            }
            Err(error) => {
                let component = definition.log_name();
                tracing::error!("secrets of {component} cannot be read again; those it has stay: {error}");
                false
            }
        }
    }

    /// Every declared component once.
    fn definitions(&self) -> Vec<Arc<Definition>> {
        let mut definitions: Vec<Arc<Definition>> = Vec::new();
        for slot in &self.components {
            let definition = slot.component.definition();
            if !definitions.iter().any(|known| Arc::ptr_eq(known, definition)) {
                definitions.push(definition.clone());
            }
        }
        definitions
    }

    /// Declares a component and opens it; `false` when it failed to open. One that waits for its plugin has not failed.
    async fn try_declare(&mut self, definition: &Arc<Definition>, factory: &Factory) -> bool {
        let components = factory.components(definition);
        if components.is_empty() {
            self.observer.unserved(definition);
        }
        self.declare(components);
        let mut opened = true;
        for index in 0..self.components.len() {
            if Arc::ptr_eq(self.components[index].component.definition(), definition) {
                opened &= self.settle(index).await.is_none();
            }
        }
        opened
    }

    /// Closes a component after its last call and forgets it.
    fn remove(&mut self, definition: &Arc<Definition>) {
        let of_definition = |slot: &mut Slot| Arc::ptr_eq(slot.component.definition(), definition);
        let removed: Vec<Slot> = self.components.extract_if(.., of_definition).collect();
        for slot in removed {
            self.hand_over(&slot.component);
            if let Some(current) = slot.component.current() {
                let draining = slot.component.close();
                self.left(&current, draining);
            }
        }
    }

    /// Names what takes the place of a component that is about to close.
    fn hand_over(&mut self, old: &Arc<dyn Managed>) {
        let takes_over = |slot: &&Slot| {
            is_heir(slot.component.as_ref(), old.as_ref()) && slot.component.current().is_some()
        };
        match self.components.iter().rev().find(takes_over) {
            Some(heir) => old.succeed_by(heir.component.clone()),
            None => self.orphans.push(Arc::downgrade(old)),
        }
    }

    /// Lets a component that has just opened take over from those of its name that went before it.
    fn adopt(&mut self, heir: &Arc<dyn Managed>) {
        self.orphans.retain(|orphan| {
            let Some(orphan) = orphan.upgrade() else { return false };
            let inherits = is_heir(heir.as_ref(), orphan.as_ref());
            if inherits {
                orphan.succeed_by(heir.clone());
            }
            !inherits
        });
    }

    /// Components that wait for a plugin, as `NAME (TYPE/VERSION)`.
    pub(crate) fn waiting(&self) -> Vec<String> {
        let waiting = self.components.iter().filter(|slot| !self.is_served(slot.component.definition()));
        waiting.map(|slot| slot.component.definition().log_name()).collect()
    }

    fn take_in(&mut self, change: Change) {
        match change {
            Change::Loaded { generation, replaces } => {
                self.observer.loaded(&generation, replaces.as_deref());
                self.unwant(|known| replaces.as_ref().is_some_and(|old| old.id() == known.id()));
                self.generations.push(Tracked { generation, wanted: true, draining: Vec::new() });
                self.generations.sort_by(|a, b| a.generation.precedence(&b.generation));
            }
            Change::Removed { generation } => {
                self.observer.removed(&generation);
                // Also an older generation of the same file that still serves a component.
                self.unwant(|known| known.path() == generation.path());
                for slot in &mut self.components {
                    slot.failed_on = None;
                }
                self.close_where(|current| current.path() == generation.path());
            }
            Change::Refused { path, reason, keeps } => {
                self.observer.refused(&path, &reason, keeps.as_deref())
            }
        }
    }

    fn unwant(&mut self, which: impl Fn(&Generation) -> bool) {
        for tracked in self.generations.iter_mut().filter(|tracked| which(&tracked.generation)) {
            tracked.wanted = false;
        }
    }

    fn close_where(&mut self, which: impl Fn(&Generation) -> bool) {
        for index in 0..self.components.len() {
            let component = self.components[index].component.clone();
            let Some(current) = component.current().filter(|current| which(current)) else { continue };
            self.left(&current, component.close());
            self.components[index].waiting_reported = false;
        }
    }

    /// Brings one component to the generation that should serve it.
    async fn settle(&mut self, index: usize) -> Option<Failure> {
        let component = self.components[index].component.clone();
        let current = component.current();
        let Some(wanted) = self.preferred(component.as_ref()) else {
            // The new version of its plugin may have dropped the type: the old one serves on only while nothing better
            // is known, which is when the new version failed as a whole.
            if let Some(current) = current {
                self.left(&current, component.close());
            }
            self.report_waiting(index);
            return None;
        };
        let is_there = current.as_ref().is_some_and(|current| current.id() == wanted.id());
        if is_there || self.components[index].failed_on == Some(wanted.id()) {
            return None;
        }
        self.open(index, &wanted, current).await
    }

    fn preferred(&self, component: &dyn Managed) -> Option<Arc<Generation>> {
        let resource = &component.definition().resource;
        let offers = |generation: &Generation| {
            generation.offers(component.capability(), &resource.component_type, resource.version_or_default())
        };
        let found = self.generations.iter().find(|tracked| tracked.wanted && offers(&tracked.generation));
        found.map(|tracked| tracked.generation.clone())
    }

    async fn open(
        &mut self,
        index: usize,
        wanted: &Arc<Generation>,
        old: Option<Arc<Generation>>,
    ) -> Option<Failure> {
        let component = self.components[index].component.clone();
        let started = Instant::now();
        match self.try_open(component.as_ref(), wanted).await {
            Ok((draining, secrets)) => {
                let slot = &mut self.components[index];
                (slot.failed_on, slot.waiting_reported, slot.secrets) = (None, false, secrets);
                self.adopt(&component);
                self.observer.opened(component.definition(), wanted, old.as_deref(), started.elapsed());
                if let Some(old) = old {
                    self.left(&old, draining);
                }
                // Seen at once: the next component may need this one's secrets.
                self.publish();
                None
            }
            Err(error) => {
                self.components[index].failed_on = Some(wanted.id());
                if declines(component.as_ref(), &error) {
                    tracing::debug!(
                        component = component.definition().log_name(),
                        "serves as an output only"
                    );
                    return None;
                }
                self.observer.failed(component.definition(), wanted, old.as_deref(), &error);
                Some(Failure { component, error })
            }
        }
    }

    async fn try_open(
        &self,
        component: &dyn Managed,
        generation: &Arc<Generation>,
    ) -> Result<(Option<Draining>, Option<u64>), OpenError> {
        let definition = component.definition();
        let resolved = definition.resolve(&self.app, &self.registry.load_full(), &self.env).await?;
        let has_secrets = !definition.resource.secret_refs().is_empty();
        let secrets = has_secrets.then(|| definition.secrets_digest(&resolved, &self.digests));
        let opened = component.open_on(&self.app, &resolved, generation.clone()).await;
        Ok((opened.map_err(OpenError::Plugin)?, secrets))
    }

    /// Whether any component of a definition is open: a binding may be an output, an input or both.
    fn is_served(&self, definition: &Arc<Definition>) -> bool {
        self.components.iter().any(|slot| {
            Arc::ptr_eq(slot.component.definition(), definition) && slot.component.current().is_some()
        })
    }

    fn is_offered(&self, definition: &Arc<Definition>) -> bool {
        let same = |slot: &&Slot| Arc::ptr_eq(slot.component.definition(), definition);
        self.components.iter().filter(same).any(|slot| self.preferred(slot.component.as_ref()).is_some())
    }

    fn report_waiting(&mut self, index: usize) {
        if self.is_offered(self.components[index].component.definition()) {
            return;
        }
        let known: Vec<_> =
            self.generations.iter().filter(|known| known.wanted).map(|known| &*known.generation).collect();
        let slot = &mut self.components[index];
        if !std::mem::replace(&mut slot.waiting_reported, true) {
            self.observer.waiting(slot.component.definition(), &known);
        }
    }

    /// Replaces the snapshot that calls look into.
    fn publish(&self) {
        let mut registry = Registry::default();
        for slot in &self.components {
            slot.component.clone().register(&mut registry);
        }
        self.registry.store(Arc::new(registry));
        self.changed.send_replace(());
    }

    /// Remembers that a component left `old`, maybe with calls still in flight.
    fn left(&mut self, old: &Generation, draining: Option<Draining>) {
        if let Some(tracked) = self.generations.iter_mut().find(|tracked| tracked.generation.id() == old.id())
        {
            tracked.draining.extend(draining);
        }
    }

    /// Retires what was replaced or removed and serves no component; waits for its last calls beside the loop.
    fn retire_unused(&mut self) {
        let serving: Vec<u64> =
            self.components.iter().filter_map(|slot| Some(slot.component.current()?.id())).collect();
        let unused = |tracked: &mut Tracked| !tracked.wanted && !serving.contains(&tracked.generation.id());
        for tracked in self.generations.extract_if(.., unused) {
            let (deadline, observer) = (self.drain_deadline, self.observer.clone());
            self.retiring.spawn(retire(tracked, deadline, observer));
        }
    }

    /// Closes every component and retires every generation; for the end of the process.
    pub(crate) async fn shut_down(mut self) {
        self.close_where(|_| true);
        self.unwant(|_| true);
        self.publish();
        self.retire_unused();
        self.retiring.close();
        self.retiring.wait().await;
    }
}

fn is_heir(new: &dyn Managed, old: &dyn Managed) -> bool {
    new.capability() == old.capability() && new.definition().resource.name == old.definition().resource.name
}

/// Whether a binding said that it names nothing to read, which is no failure.
fn declines(component: &dyn Managed, error: &OpenError) -> bool {
    let is_unsupported = matches!(error, OpenError::Plugin(error) if error.kind() == ErrorKind::UNSUPPORTED);
    is_unsupported && component.capability() == Capability::INPUT_BINDING
}

async fn retire(tracked: Tracked, deadline: Duration, observer: PluginObserver) {
    let Tracked { generation, draining, .. } = tracked;
    generation.start_draining();
    observer.draining(&generation);
    let started = Instant::now();
    let mut finished = true;
    for component in draining {
        finished &= component.finished(deadline.saturating_sub(started.elapsed())).await;
    }
    generation.retire(deadline.saturating_sub(started.elapsed()).max(Duration::from_secs(1))).await;
    observer.retired(&generation, finished, started.elapsed());
}
