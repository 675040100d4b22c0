//! Components of every capability behind one face, for the loop that moves them between generations.

use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use mecha_plugin_api::binding::{InputBindingObject, OutputBindingObject};
use mecha_plugin_api::configuration::ConfigurationStoreObject;
use mecha_plugin_api::conversation::ConversationObject;
use mecha_plugin_api::crypto::CryptoObject;
use mecha_plugin_api::lock::LockStoreObject;
use mecha_plugin_api::middleware::MiddlewareObject;
use mecha_plugin_api::name_resolution::NameResolutionObject;
use mecha_plugin_api::object::ObjectStoreObject;
use mecha_plugin_api::pubsub::PubSubObject;
use mecha_plugin_api::secret::SecretStoreObject;
use mecha_plugin_api::state::StateStoreObject;
use mecha_plugin_api::{CallContext, Capability, Error, ErrorKind};
use mecha_plugin_host::{CapabilityObject, Generation};
use mecha_resources::component::Resolved;

use crate::App;
use crate::component::Component;
use crate::definition::Definition;
use crate::drain::{Draining, Open};
use crate::input_binding::InputSettings;
use crate::lock_store::LockSettings;
use crate::pubsub::PubSubSettings;
use crate::registry::{ComponentSummary, Registry};
use crate::state::StateSettings;

type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A component that the lifecycle moves from generation to generation.
pub(crate) trait Managed: Any + Send + Sync {
    fn definition(&self) -> &Arc<Definition>;
    fn capability(&self) -> Capability;
    fn current(&self) -> Option<Arc<Generation>>;
    /// Opens it on `generation`; calls move there only when it is ready. Gives what they ran on before.
    fn open_on<'a>(
        &'a self,
        app: &'a App,
        resolved: &'a Resolved,
        generation: Arc<Generation>,
    ) -> Pending<'a, Result<Option<Draining>, Error>>;
    /// Asks its back end; `None` when it is not open.
    fn ping<'a>(&'a self, app: &'a App) -> Pending<'a, Option<Result<(), Error>>>;
    /// Names what takes its place, which has the same capability.
    fn succeed_by(&self, successor: Arc<dyn Managed>);
    /// Takes it out of service.
    fn close(&self) -> Option<Draining>;
    /// Puts it into a new snapshot.
    fn register(self: Arc<Self>, registry: &mut Registry);
}

/// What differs between capabilities when a component enters the registry.
pub(crate) trait Registered: CapabilityObject {
    type Settings: Send + Sync + 'static;
    /// Whether `/v1.0/metadata` lists it.
    const LISTED: bool = true;
    /// What the runtime reads from the component's metadata.
    fn settings(app: &App, definition: &Definition, resolved: &Resolved) -> Result<Self::Settings, Error>;
    /// Puts a component into a new snapshot whether it is open or not.
    fn declare(component: &Arc<Component<Self, Self::Settings>>, registry: &mut Registry) {
        let _ = (component, registry);
    }
    /// Puts an open component into a new snapshot.
    fn register(
        component: Arc<Component<Self, Self::Settings>>,
        registry: &mut Registry,
    ) -> Vec<&'static str>;
}

impl Registered for StateStoreObject {
    type Settings = StateSettings;

    fn settings(_app: &App, definition: &Definition, resolved: &Resolved) -> Result<StateSettings, Error> {
        StateSettings::read(definition, resolved)
    }

    fn register(
        component: Arc<Component<Self, StateSettings>>,
        registry: &mut Registry,
    ) -> Vec<&'static str> {
        let capabilities = component.capabilities();
        registry.state_stores.insert(component.name().into(), component);
        capabilities
    }
}

impl Registered for SecretStoreObject {
    type Settings = ();

    fn settings(_app: &App, _definition: &Definition, _resolved: &Resolved) -> Result<(), Error> {
        Ok(())
    }

    fn register(component: Arc<Component<Self>>, registry: &mut Registry) -> Vec<&'static str> {
        let capabilities = component.capabilities();
        registry.secret_stores.insert(component.name().into(), component);
        capabilities
    }
}

impl Registered for OutputBindingObject {
    type Settings = ();

    fn settings(_app: &App, _definition: &Definition, _resolved: &Resolved) -> Result<(), Error> {
        Ok(())
    }

    fn register(component: Arc<Component<Self>>, registry: &mut Registry) -> Vec<&'static str> {
        registry.output_bindings.insert(component.name().into(), component);
        vec!["OUTPUT_BINDING"]
    }
}

impl Registered for InputBindingObject {
    type Settings = InputSettings;

    fn settings(_app: &App, _definition: &Definition, resolved: &Resolved) -> Result<InputSettings, Error> {
        Ok(InputSettings::read(resolved))
    }

    fn register(
        component: Arc<Component<Self, InputSettings>>,
        registry: &mut Registry,
    ) -> Vec<&'static str> {
        registry.input_bindings.insert(component.name().into(), component);
        vec!["INPUT_BINDING"]
    }
}

impl Registered for PubSubObject {
    type Settings = PubSubSettings;

    fn settings(app: &App, _definition: &Definition, resolved: &Resolved) -> Result<PubSubSettings, Error> {
        Ok(PubSubSettings::read(app, resolved))
    }

    fn declare(component: &Arc<Component<Self, PubSubSettings>>, registry: &mut Registry) {
        registry.declared_pubsubs.insert(component.name().into(), component.clone());
    }

    fn register(
        component: Arc<Component<Self, PubSubSettings>>,
        registry: &mut Registry,
    ) -> Vec<&'static str> {
        let capabilities = component.capabilities();
        registry.pubsubs.insert(component.name().into(), component);
        capabilities
    }
}

impl Registered for ConfigurationStoreObject {
    type Settings = ();

    fn settings(_app: &App, _definition: &Definition, _resolved: &Resolved) -> Result<(), Error> {
        Ok(())
    }

    fn register(component: Arc<Component<Self>>, registry: &mut Registry) -> Vec<&'static str> {
        registry.configuration_stores.insert(component.name().into(), component);
        Vec::new()
    }
}

impl Registered for LockStoreObject {
    type Settings = LockSettings;

    fn settings(_app: &App, _definition: &Definition, resolved: &Resolved) -> Result<LockSettings, Error> {
        LockSettings::read(resolved)
    }

    fn register(component: Arc<Component<Self, LockSettings>>, registry: &mut Registry) -> Vec<&'static str> {
        registry.lock_stores.insert(component.name().into(), component);
        Vec::new()
    }
}

impl Registered for CryptoObject {
    type Settings = ();

    fn settings(_app: &App, _definition: &Definition, _resolved: &Resolved) -> Result<(), Error> {
        Ok(())
    }

    fn register(component: Arc<Component<Self>>, registry: &mut Registry) -> Vec<&'static str> {
        registry.crypto_stores.insert(component.name().into(), component);
        Vec::new()
    }
}

impl Registered for ConversationObject {
    type Settings = ();

    fn settings(_app: &App, _definition: &Definition, _resolved: &Resolved) -> Result<(), Error> {
        Ok(())
    }

    fn register(component: Arc<Component<Self>>, registry: &mut Registry) -> Vec<&'static str> {
        registry.conversations.insert(component.name().into(), component);
        Vec::new()
    }
}

impl Registered for ObjectStoreObject {
    type Settings = ();

    fn settings(_app: &App, _definition: &Definition, _resolved: &Resolved) -> Result<(), Error> {
        Ok(())
    }

    fn register(component: Arc<Component<Self>>, registry: &mut Registry) -> Vec<&'static str> {
        let capabilities = component.capabilities();
        registry.object_stores.insert(component.name().into(), component);
        capabilities
    }
}

impl Registered for NameResolutionObject {
    type Settings = ();
    // The Configuration declares it, not a component resource.
    const LISTED: bool = false;

    fn settings(_app: &App, _definition: &Definition, _resolved: &Resolved) -> Result<(), Error> {
        Ok(())
    }

    fn declare(component: &Arc<Component<Self>>, registry: &mut Registry) {
        registry.name_resolvers.insert(component.name().into(), component.clone());
    }

    fn register(_component: Arc<Component<Self>>, _registry: &mut Registry) -> Vec<&'static str> {
        Vec::new()
    }
}

impl Registered for MiddlewareObject {
    type Settings = ();

    fn settings(_app: &App, _definition: &Definition, _resolved: &Resolved) -> Result<(), Error> {
        Ok(())
    }

    fn declare(component: &Arc<Component<Self>>, registry: &mut Registry) {
        registry.middlewares.insert(component.name().into(), component.clone());
    }

    fn register(_component: Arc<Component<Self>>, _registry: &mut Registry) -> Vec<&'static str> {
        Vec::new()
    }
}

impl<C: Registered> Managed for Component<C, C::Settings> {
    fn definition(&self) -> &Arc<Definition> {
        self.definition()
    }

    fn capability(&self) -> Capability {
        C::CAPABILITY
    }

    fn current(&self) -> Option<Arc<Generation>> {
        self.generation()
    }

    fn open_on<'a>(
        &'a self,
        app: &'a App,
        resolved: &'a Resolved,
        generation: Arc<Generation>,
    ) -> Pending<'a, Result<Option<Draining>, Error>> {
        Box::pin(async move {
            self.set_settings(C::settings(app, self.definition(), resolved)?);
            let (spec, timeout) =
                (self.definition().spec(app, resolved), self.definition().resource.init_timeout);
            let opening = tokio::time::timeout(timeout, generation.open::<C>(spec));
            let late =
                |_| Error::new(ErrorKind::TIMEOUT, format!("init timed out after {}", seconds(timeout)));
            let object = opening.await.map_err(late)??;
            let plugin = self.observer().plugin(&generation);
            Ok(self.move_to(Some(Open::new(object, generation.clone(), plugin))))
        })
    }

    fn ping<'a>(&'a self, app: &'a App) -> Pending<'a, Option<Result<(), Error>>> {
        Box::pin(async move {
            let open = self.hold()?;
            let _in_flight = open.plugin.enter();
            Some(open.object.ping(CallContext::background(&*app.id)).await.into_result())
        })
    }

    fn succeed_by(&self, successor: Arc<dyn Managed>) {
        let successor: Arc<dyn Any + Send + Sync> = successor;
        // Another capability is no successor.
        if let Ok(successor) = successor.downcast::<Self>() {
            self.succeed_by(successor);
        }
    }

    fn close(&self) -> Option<Draining> {
        self.move_to(None)
    }

    fn register(self: Arc<Self>, registry: &mut Registry) {
        C::declare(&self, registry);
        if self.generation().is_none() {
            return;
        }
        let summary = ComponentSummary {
            name: self.name().to_owned(),
            type_name: self.type_name().to_owned(),
            version: self.version().to_owned(),
            capabilities: Vec::new(),
        };
        registry.open.push(self.clone());
        let capabilities = C::register(self, registry);
        if C::LISTED {
            registry.add_summary(ComponentSummary { capabilities, ..summary });
        }
    }
}

fn seconds(timeout: Duration) -> String {
    mecha_resources::duration::format(timeout)
}
