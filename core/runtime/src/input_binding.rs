//! Input bindings as the runtime reads from them.

use mecha_plugin_api::binding::InputBindingObject;
use mecha_resources::component::Resolved;

use crate::component::Component;

/// An input binding.
pub type InputBinding = Component<InputBindingObject, InputSettings>;

/// What the runtime reads from an input binding's metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputSettings {
    /// Path of the application that gets the events, when it is not the component's name.
    pub(crate) route: Option<String>,
    /// `direction` says that it is an input, so that the application need not be asked.
    pub(crate) is_input: Option<bool>,
}

impl InputSettings {
    pub(crate) fn read(resolved: &Resolved) -> Self {
        let property = |name: &str| {
            let found = resolved.properties.iter().find(|property| property.name.eq_ignore_ascii_case(name));
            found.map(|property| property.value.as_str()).filter(|value| !value.is_empty())
        };
        let direction = property("direction").map(str::to_lowercase);
        let is_input = direction.map(|direction| direction.split(',').any(|word| word.trim() == "input"));
        Self { route: property("route").map(str::to_owned), is_input }
    }
}
