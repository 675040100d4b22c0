//! A component and the one path of every call to it: policies → open generation → span and metrics → deadline → plugin.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use mecha_plugin_api::{AbiFuture, AbiResult, CallContext, Error};
use mecha_plugin_host::{CapabilityObject, Generation};
use tokio::sync::watch;

use crate::call::{Call, CallError};
use crate::definition::Definition;
use crate::drain::{Draining, Open};
use crate::observe::{Observer, Operation};
use crate::policies::{self, ComponentPolicies};
use crate::poll::{Measured, Times};

/// A configured back end of one capability. Lives as long as its definition; what it runs on changes underneath.
pub struct Component<C: CapabilityObject, S = ()> {
    definition: Arc<Definition>,
    /// What the runtime itself reads from the component's metadata, e.g. a state store's key prefix. Set when it first
    /// opens, since secrets may stand in it; a changed definition makes a new component.
    settings: OnceLock<S>,
    observer: Observer,
    policies: Arc<ComponentPolicies>,
    slot: ArcSwapOption<Open<C>>,
    /// What took its place when its definition changed: who found this one just before is served by that one.
    successor: OnceLock<Arc<Self>>,
    /// Counts the moves between generations; who reads from a source of the component moves along.
    moves: watch::Sender<u64>,
}

impl<C: CapabilityObject, S> Component<C, S> {
    pub(crate) fn new(
        definition: Arc<Definition>,
        observer: Observer,
        policies: Arc<ComponentPolicies>,
    ) -> Self {
        let (settings, slot, moves) = (OnceLock::new(), ArcSwapOption::empty(), watch::Sender::new(0));
        Self { definition, settings, observer, policies, slot, successor: OnceLock::new(), moves }
    }

    /// The name that applications use.
    pub fn name(&self) -> &str {
        &self.definition.resource.name
    }

    /// The component type, e.g. `state.redis`.
    pub fn type_name(&self) -> &str {
        &self.definition.resource.component_type
    }

    /// The component version, e.g. `v1`.
    pub fn version(&self) -> &str {
        self.definition.resource.version_or_default()
    }

    pub(crate) fn definition(&self) -> &Arc<Definition> {
        &self.definition
    }

    /// Keeps the settings of the first opening.
    pub(crate) fn set_settings(&self, settings: S) {
        // Later openings of the same definition read the same metadata.
        let _ = self.settings.set(settings);
    }

    /// The settings. Only for components from the registry: they were opened, so the settings are set.
    pub(crate) fn settings(&self) -> &S {
        self.serving()
            .settings
            .get()
            .expect("invariant: `open_on` sets the settings before a component enters the registry")
    }

    /// The settings, once it was open.
    pub(crate) fn opened_settings(&self) -> Option<&S> {
        self.serving().settings.get()
    }

    /// The generation that serves it now.
    pub fn generation(&self) -> Option<Arc<Generation>> {
        self.slot.load().as_ref().map(|open| open.generation.clone())
    }

    /// Reads something of the open object that needs no call, e.g. its features.
    pub(crate) fn read<R>(&self, read: impl FnOnce(&C) -> R) -> Option<R> {
        self.hold().map(|open| read(&open.object))
    }

    pub(crate) fn observer(&self) -> &Observer {
        &self.observer
    }

    /// What Resiliency resources say of it.
    pub(crate) fn policies(&self) -> &ComponentPolicies {
        &self.policies
    }

    /// Moves calls to `open`; gives what they ran on before.
    pub(crate) fn move_to(&self, open: Option<Arc<Open<C>>>) -> Option<Draining> {
        let before = self.slot.swap(open).map(Open::release);
        self.moves.send_modify(|moves| *moves += 1);
        before
    }

    /// Told whenever calls move to another generation, or to none.
    pub(crate) fn moves(&self) -> watch::Receiver<u64> {
        self.moves.subscribe()
    }

    /// What it runs on now; the generation is not retired while this is held. A component that was replaced gives what its
    /// successor runs on: a call may have looked it up just before.
    pub(crate) fn hold(&self) -> Option<Arc<Open<C>>> {
        // Its own first: a successor is named before the slot is emptied.
        self.slot.load_full().or_else(|| self.successor()?.hold())
    }

    /// What took its place.
    pub(crate) fn successor(&self) -> Option<&Arc<Self>> {
        self.successor.get()
    }

    /// Names what takes its place, once for all; who reads from it is told. Named before this one closes.
    pub(crate) fn succeed_by(&self, successor: Arc<Self>) {
        if self.successor.set(successor).is_ok() {
            self.moves.send_modify(|moves| *moves += 1);
        }
    }

    /// This one, or the last of its successors.
    fn serving(&self) -> &Self {
        self.successor().map_or(self, |successor| successor.serving())
    }

    /// The one path of a capability call that policies may repeat.
    pub(crate) async fn call<R: Clone, T>(
        &self,
        call: &Call,
        operation: Operation<'_>,
        request: R,
        start: impl Fn(&C, CallContext, R) -> AbiFuture<T>,
    ) -> Result<T, CallError> {
        let Some(policy) = self.policies.outbound.get() else {
            return self.attempt(call, operation, |object, context| start(object, context, request)).await;
        };
        // In a box, so that calls without a policy need not make room for this.
        Box::pin(policies::run(&policy, self.name(), call.deadline, |number| {
            let (request, start) = (request.clone(), &start);
            self.attempt(call, operation.attempt(number), move |object, context| {
                start(object, context, request)
            })
        }))
        .await
    }

    /// The same for what can be done only once, since its request goes away with it.
    pub(crate) async fn call_once<T>(
        &self,
        call: &Call,
        operation: Operation<'_>,
        start: impl FnOnce(&C, CallContext) -> AbiFuture<T>,
    ) -> Result<T, CallError> {
        let Some(policy) = self.policies.outbound.get() else {
            return self.attempt(call, operation, start).await;
        };
        Box::pin(policies::run_once(&policy, self.name(), || self.attempt(call, operation, start))).await
    }

    async fn attempt<T>(
        &self,
        call: &Call,
        operation: Operation<'_>,
        start: impl FnOnce(&C, CallContext) -> AbiFuture<T>,
    ) -> Result<T, CallError> {
        // This reference is what keeps the generation from being retired under the call.
        let Some(open) = self.hold() else { return Err(self.gone()) };
        self.call_on(&open, call, operation, start).await
    }

    pub(crate) fn gone(&self) -> CallError {
        CallError::Gone { component: self.name().to_owned() }
    }

    /// The same on what the caller holds, for what outlives the call: a source that was opened.
    pub(crate) async fn call_on<T>(
        &self,
        open: &Open<C>,
        call: &Call,
        operation: Operation<'_>,
        start: impl FnOnce(&C, CallContext) -> AbiFuture<T>,
    ) -> Result<T, CallError> {
        // The plugin's tokio shares no cooperative budget with ours, so the host pays for it here.
        tokio::task::coop::consume_budget().await;
        let _in_flight = open.plugin.enter();
        let started = Instant::now();
        let span = self.observer.start(call, operation, &open.generation);
        let future = start(&open.object, call.context(span.id()));
        let (result, times) = within(call.deadline, Measured::new(future, started)).await;
        let result = match result {
            Some(answer) => answer.into_result().map_err(|error| self.failed(error)),
            None => Err(CallError::Timeout { component: self.name().to_owned() }),
        };
        self.observer.finish(span, operation, &open.plugin, result.as_ref().err(), &times);
        result
    }

    fn failed(&self, error: Error) -> CallError {
        CallError::Plugin { component: self.name().to_owned(), error }
    }
}

/// `None` in place of the answer when the deadline came first; the dropped future cancels the call in the plugin.
async fn within<T>(
    deadline: Option<Instant>,
    future: Measured<AbiFuture<T>>,
) -> (Option<AbiResult<T>>, Times) {
    let Some(deadline) = deadline else {
        let (answer, times) = future.await;
        return (Some(answer), times);
    };
    let started = Instant::now();
    match tokio::time::timeout_at(deadline.into(), future).await {
        Ok((answer, times)) => (Some(answer), times),
        Err(_) => (None, Times { elapsed: started.elapsed(), longest_poll: Duration::ZERO }),
    }
}
