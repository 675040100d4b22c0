//! Output bindings as the runtime calls them.

use mecha_plugin_api::binding::{InvokeRequest, InvokeResponse, OutputBindingObject};

use crate::call::{Call, CallError};
use crate::component::Component;
use crate::observe::Operation;

/// An output binding.
pub type OutputBinding = Component<OutputBindingObject>;

impl OutputBinding {
    /// The operations that it takes.
    pub fn operations(&self) -> Vec<String> {
        let operations = self.read(|binding| binding.operations()).unwrap_or_default();
        operations.into_iter().map(String::from).collect()
    }

    /// Performs one operation.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn invoke(&self, call: &Call, request: InvokeRequest) -> Result<InvokeResponse, CallError> {
        let name = request.operation.clone();
        self.call(call, Operation::named(&name), request, |binding, context, request| {
            binding.invoke(context, request)
        })
        .await
    }
}
