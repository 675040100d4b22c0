//! A plugin as its author declares it: a name, a version and the component types it opens.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use abi_stable::std_types::RString;

use crate::binding::{self, InputBinding, InputBindingObject, OutputBinding, OutputBindingObject};
use crate::component::{Capability, ComponentSpec, ComponentType, PluginDescription};
use crate::configuration::{self, ConfigurationStore, ConfigurationStoreObject};
use crate::conversation::{self, Conversation, ConversationObject};
use crate::crypto::{self, Crypto, CryptoObject};
use crate::instance::ComponentScope;
use crate::lock::{self, LockStore, LockStoreObject};
use crate::middleware::{self, Middleware, MiddlewareObject};
use crate::name_resolution::{self, NameResolution, NameResolutionObject};
use crate::object::{self, ObjectStore, ObjectStoreObject};
use crate::pubsub::{self, PubSub, PubSubObject};
use crate::secret::{self, SecretStore, SecretStoreObject};
use crate::state::{self, StateStore, StateStoreObject};
use crate::{Error, Result};

pub(crate) type Opening<T> = Pin<Box<dyn Future<Output = Result<T>> + Send>>;
type Open<T> = Box<dyn Fn(ComponentSpec, Arc<ComponentScope>) -> Opening<T> + Send + Sync>;

/// The component types of one capability, each with what opens it.
pub(crate) struct Openers<T>(Vec<(ComponentType, Open<T>)>);

impl<T> Openers<T> {
    fn add(&mut self, component: ComponentType, open: Open<T>) {
        self.0.push((component, open));
    }

    pub(crate) fn open(&self, spec: ComponentSpec, scope: Arc<ComponentScope>) -> Result<Opening<T>> {
        let found = self
            .0
            .iter()
            .find(|(offered, _)| offered.type_name == spec.type_name && offered.version == spec.version);
        match found {
            Some((_, open)) => Ok(open(spec, scope)),
            None => {
                Err(Error::unsupported(format!("the plugin offers no {}/{}", spec.type_name, spec.version)))
            }
        }
    }
}

/// Declares a plugin. Every opener is an async function from [`ComponentSpec`] to the author's type.
///
/// ```
/// use mecha_plugin_api::{ComponentSpec, Plugin, Result};
/// # use mecha_plugin_api::{CallContext, Metadata, secret::{Secret, SecretStore}};
/// # struct Fixed;
/// # impl SecretStore for Fixed {
/// #     async fn get(&self, _: &CallContext, _: &str, _: Metadata) -> Result<Metadata> { Ok(Metadata::new()) }
/// #     async fn bulk_get(&self, _: &CallContext, _: Metadata) -> Result<Vec<Secret>> { Ok(Vec::new()) }
/// # }
/// async fn open(_spec: ComponentSpec) -> Result<Fixed> {
///     Ok(Fixed)
/// }
///
/// let plugin = Plugin::new("fixed", "1.0.0").secret_store("secretstores.fixed", open);
/// assert_eq!(plugin.describe().components.len(), 1);
/// ```
pub struct Plugin {
    name: RString,
    version: RString,
    pub(crate) state_stores: Openers<StateStoreObject>,
    pub(crate) secret_stores: Openers<SecretStoreObject>,
    pub(crate) output_bindings: Openers<OutputBindingObject>,
    pub(crate) input_bindings: Openers<InputBindingObject>,
    pub(crate) pubsubs: Openers<PubSubObject>,
    pub(crate) configuration_stores: Openers<ConfigurationStoreObject>,
    pub(crate) lock_stores: Openers<LockStoreObject>,
    pub(crate) cryptos: Openers<CryptoObject>,
    pub(crate) conversations: Openers<ConversationObject>,
    pub(crate) object_stores: Openers<ObjectStoreObject>,
    pub(crate) name_resolutions: Openers<NameResolutionObject>,
    pub(crate) middlewares: Openers<MiddlewareObject>,
}

macro_rules! opener {
    ($(#[$doc:meta])* $method:ident, $field:ident, $capability:ident, $trait:ident, $object:path) => {
        $(#[$doc])*
        #[must_use]
        pub fn $method<C, F>(mut self, type_name: &str, open: impl Fn(ComponentSpec) -> F + Send + Sync + 'static) -> Self
        where
            C: $trait,
            F: Future<Output = Result<C>> + Send + 'static,
        {
            let component = component_type(Capability::$capability, type_name);
            self.$field.add(component, Box::new(move |spec, scope| {
                let opening = open(spec);
                Box::pin(async move { Ok($object(opening.await?, scope)) })
            }));
            self
        }
    };
}

impl Plugin {
    /// A plugin that offers nothing yet.
    pub fn new(name: &str, version: &str) -> Self {
        Self {
            name: name.into(),
            version: version.into(),
            state_stores: Openers(Vec::new()),
            secret_stores: Openers(Vec::new()),
            output_bindings: Openers(Vec::new()),
            input_bindings: Openers(Vec::new()),
            pubsubs: Openers(Vec::new()),
            configuration_stores: Openers(Vec::new()),
            lock_stores: Openers(Vec::new()),
            cryptos: Openers(Vec::new()),
            conversations: Openers(Vec::new()),
            object_stores: Openers(Vec::new()),
            name_resolutions: Openers(Vec::new()),
            middlewares: Openers(Vec::new()),
        }
    }

    opener!(
        /// Offers a state store type, e.g. `state.redis`.
        state_store, state_stores, STATE_STORE, StateStore, state::object
    );
    opener!(
        /// Offers a secret store type, e.g. `secretstores.local.file`.
        secret_store, secret_stores, SECRET_STORE, SecretStore, secret::object
    );
    opener!(
        /// Offers an output binding type, e.g. `bindings.http`.
        output_binding, output_bindings, OUTPUT_BINDING, OutputBinding, binding::output_object
    );
    opener!(
        /// Offers an input binding type, e.g. `bindings.cron`.
        input_binding, input_bindings, INPUT_BINDING, InputBinding, binding::input_object
    );
    opener!(
        /// Offers a pub/sub type, e.g. `pubsub.redis`.
        pubsub, pubsubs, PUBSUB, PubSub, pubsub::object
    );
    opener!(
        /// Offers a configuration store type, e.g. `configuration.redis`.
        configuration_store, configuration_stores, CONFIGURATION_STORE, ConfigurationStore, configuration::object
    );
    opener!(
        /// Offers a lock store type, e.g. `lock.redis`.
        lock_store, lock_stores, LOCK_STORE, LockStore, lock::object
    );
    opener!(
        /// Offers a cryptography type, e.g. `crypto.dapr.localstorage`.
        crypto, cryptos, CRYPTO, Crypto, crypto::object
    );
    opener!(
        /// Offers a conversation type, e.g. `conversation.echo`.
        conversation, conversations, CONVERSATION, Conversation, conversation::object
    );
    opener!(
        /// Offers an object store type, e.g. `objects.aws.s3`.
        object_store, object_stores, OBJECT_STORE, ObjectStore, object::object
    );
    opener!(
        /// Offers a name resolution type, e.g. `nameresolution.sqlite`.
        name_resolution, name_resolutions, NAME_RESOLUTION, NameResolution, name_resolution::object
    );
    opener!(
        /// Offers an HTTP middleware type, e.g. `middleware.http.bearer`.
        middleware, middlewares, MIDDLEWARE, Middleware, middleware::object
    );

    /// What the plugin offers, as the host sees it.
    pub fn describe(&self) -> PluginDescription {
        let mut components = Vec::new();
        components.extend(self.state_stores.0.iter().map(|(component, _)| component.clone()));
        components.extend(self.secret_stores.0.iter().map(|(component, _)| component.clone()));
        components.extend(self.output_bindings.0.iter().map(|(component, _)| component.clone()));
        components.extend(self.input_bindings.0.iter().map(|(component, _)| component.clone()));
        components.extend(self.pubsubs.0.iter().map(|(component, _)| component.clone()));
        components.extend(self.configuration_stores.0.iter().map(|(component, _)| component.clone()));
        components.extend(self.lock_stores.0.iter().map(|(component, _)| component.clone()));
        components.extend(self.cryptos.0.iter().map(|(component, _)| component.clone()));
        components.extend(self.conversations.0.iter().map(|(component, _)| component.clone()));
        components.extend(self.object_stores.0.iter().map(|(component, _)| component.clone()));
        components.extend(self.name_resolutions.0.iter().map(|(component, _)| component.clone()));
        components.extend(self.middlewares.0.iter().map(|(component, _)| component.clone()));
        PluginDescription {
            name: self.name.clone(),
            version: self.version.clone(),
            components: components.into(),
        }
    }
}

fn component_type(capability: Capability, type_name: &str) -> ComponentType {
    ComponentType { capability, type_name: type_name.into(), version: "v1".into() }
}
