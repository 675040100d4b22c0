//! From a declared resource to the components that serve it, by the type's first part.

use std::sync::Arc;

use mecha_plugin_api::Capability;
use mecha_plugin_api::binding::OutputBindingObject;
use mecha_plugin_api::secret::SecretStoreObject;
use mecha_plugin_api::state::StateStoreObject;

use crate::component::Component;
use crate::definition::Definition;
use crate::managed::Managed;
use crate::observe::ObserverSource;
use crate::{output_binding, secret, state};

/// Makes the components of a definition; empty when no building block serves its type.
pub(crate) fn components(definition: &Arc<Definition>, observers: &ObserverSource) -> Vec<Arc<dyn Managed>> {
    let block = definition.resource.component_type.split('.').next().unwrap_or_default();
    match block {
        "state" => {
            let observer = observers.component(definition, Capability::STATE_STORE, &state::OPERATIONS);
            vec![Arc::new(Component::<StateStoreObject, _>::new(definition.clone(), observer))]
        }
        "secretstores" => {
            let observer = observers.component(definition, Capability::SECRET_STORE, &secret::OPERATIONS);
            vec![Arc::new(Component::<SecretStoreObject, ()>::new(definition.clone(), observer))]
        }
        "bindings" => {
            let observer = observers.component(definition, Capability::OUTPUT_BINDING, &output_binding::OPERATIONS);
            vec![Arc::new(Component::<OutputBindingObject, ()>::new(definition.clone(), observer))]
        }
        _ => Vec::new(),
    }
}
