//! The capabilities as the host sees them: one object type each, opened and pinged the same way.

use mecha_plugin_api::binding::{InputBindingObject, OutputBindingObject};
use mecha_plugin_api::configuration::ConfigurationStoreObject;
use mecha_plugin_api::conversation::ConversationObject;
use mecha_plugin_api::crypto::CryptoObject;
use mecha_plugin_api::lock::LockStoreObject;
use mecha_plugin_api::middleware::MiddlewareObject;
use mecha_plugin_api::module::PluginObject;
use mecha_plugin_api::name_resolution::NameResolutionObject;
use mecha_plugin_api::object::ObjectStoreObject;
use mecha_plugin_api::pubsub::PubSubObject;
use mecha_plugin_api::secret::SecretStoreObject;
use mecha_plugin_api::state::StateStoreObject;
use mecha_plugin_api::{AbiFuture, CallContext, Capability, ComponentSpec};

/// An open component of one capability, whatever carrier it runs on.
pub trait CapabilityObject: Sized + Send + Sync + 'static {
    /// Which capability.
    const CAPABILITY: Capability;

    /// Opens a component on a running instance.
    fn open(plugin: &PluginObject, spec: ComponentSpec) -> AbiFuture<Self>;

    /// Asks whether the back end answers.
    fn ping(&self, context: CallContext) -> AbiFuture<()>;
}

macro_rules! capability {
    ($object:ty, $capability:ident, $open:ident) => {
        impl CapabilityObject for $object {
            const CAPABILITY: Capability = Capability::$capability;

            fn open(plugin: &PluginObject, spec: ComponentSpec) -> AbiFuture<Self> {
                plugin.$open(spec)
            }

            fn ping(&self, context: CallContext) -> AbiFuture<()> {
                <$object>::ping(self, context)
            }
        }
    };
}

capability!(StateStoreObject, STATE_STORE, open_state_store);
capability!(SecretStoreObject, SECRET_STORE, open_secret_store);
capability!(OutputBindingObject, OUTPUT_BINDING, open_output_binding);
capability!(InputBindingObject, INPUT_BINDING, open_input_binding);
capability!(PubSubObject, PUBSUB, open_pubsub);
capability!(ConfigurationStoreObject, CONFIGURATION_STORE, open_configuration_store);
capability!(LockStoreObject, LOCK_STORE, open_lock_store);
capability!(CryptoObject, CRYPTO, open_crypto);
capability!(ConversationObject, CONVERSATION, open_conversation);
capability!(ObjectStoreObject, OBJECT_STORE, open_object_store);
capability!(NameResolutionObject, NAME_RESOLUTION, open_name_resolution);
capability!(MiddlewareObject, MIDDLEWARE, open_middleware);
