//! From a declared resource to the components that serve it, by the type's first part.

use std::sync::Arc;

use mecha_observability::metrics::ComponentKind;
use mecha_plugin_api::binding::OutputBindingObject;
use mecha_plugin_api::secret::SecretStoreObject;
use mecha_plugin_api::state::StateStoreObject;

use crate::component::Component;
use crate::definition::Definition;
use crate::managed::Managed;
use crate::observe::ObserverSource;

/// Makes the components of a definition; empty when no building block serves its type.
pub(crate) fn components(definition: &Arc<Definition>, observers: &ObserverSource) -> Vec<Arc<dyn Managed>> {
    let block = definition.resource.component_type.split('.').next().unwrap_or_default();
    match block {
        "state" => {
            let observer = observers.component(definition, ComponentKind::State);
            vec![Arc::new(Component::<StateStoreObject, _>::new(definition.clone(), observer))]
        }
        "secretstores" => {
            let observer = observers.component(definition, ComponentKind::Secret);
            vec![Arc::new(Component::<SecretStoreObject, ()>::new(definition.clone(), observer))]
        }
        "bindings" => {
            let observer = observers.component(definition, ComponentKind::OutputBinding);
            vec![Arc::new(Component::<OutputBindingObject, ()>::new(definition.clone(), observer))]
        }
        _ => Vec::new(),
    }
}
