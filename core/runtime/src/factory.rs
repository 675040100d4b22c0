//! From a declared resource to the components that serve it, by the type's first part.

use std::sync::Arc;

use mecha_observability::metrics::ComponentKind;
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

use crate::component::Component;
use crate::definition::Definition;
use crate::managed::{Managed, Registered};
use crate::observe::ObserverSource;
use crate::policies::Policies;

/// Makes components, with everything that they have in common.
pub(crate) struct Factory {
    pub(crate) observers: ObserverSource,
    pub(crate) policies: Arc<Policies>,
}

impl Factory {
    /// The components of a definition; empty when no building block serves its type. A binding may be both an output and
    /// an input: its plugin says which of the two it is.
    pub(crate) fn components(&self, definition: &Arc<Definition>) -> Vec<Arc<dyn Managed>> {
        let made = Made { definition, factory: self };
        match made.block() {
            "state" => vec![made.by::<StateStoreObject>(Some(ComponentKind::State))],
            "secretstores" => vec![made.by::<SecretStoreObject>(Some(ComponentKind::Secret))],
            "bindings" => vec![
                made.by::<OutputBindingObject>(Some(ComponentKind::OutputBinding)),
                made.by::<InputBindingObject>(Some(ComponentKind::InputBinding)),
            ],
            "pubsub" => vec![made.by::<PubSubObject>(None)],
            "configuration" => {
                vec![made.by::<ConfigurationStoreObject>(Some(ComponentKind::Configuration))]
            }
            "lock" => vec![made.by::<LockStoreObject>(None)],
            "crypto" => vec![made.by::<CryptoObject>(Some(ComponentKind::Crypto))],
            "conversation" => vec![made.by::<ConversationObject>(Some(ComponentKind::Conversation))],
            "objects" => vec![made.by::<ObjectStoreObject>(None)],
            "middleware" => vec![made.by::<MiddlewareObject>(None)],
            "nameresolution" => vec![made.by::<NameResolutionObject>(None)],
            _ => Vec::new(),
        }
    }
}

struct Made<'a> {
    definition: &'a Arc<Definition>,
    factory: &'a Factory,
}

impl Made<'_> {
    /// The building block, the first part of the type.
    fn block(&self) -> &str {
        self.definition.resource.component_type.split('.').next().unwrap_or_default()
    }

    fn by<C: Registered>(&self, kind: Option<ComponentKind>) -> Arc<dyn Managed> {
        let observer = self.factory.observers.component(self.definition, kind);
        let policies = self.factory.policies.of(&self.definition.resource.name, self.block());
        Arc::new(Component::<C, C::Settings>::new(self.definition.clone(), observer, policies))
    }
}
