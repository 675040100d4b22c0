//! Models as the runtime calls them.

use mecha_observability::metrics::Operation as Measure;
use mecha_plugin_api::conversation::{ConversationObject, ConverseRequest, ConverseResponse};

use crate::call::{Call, CallError};
use crate::component::Component;
use crate::observe::Operation;

/// A model.
pub type Conversation = Component<ConversationObject>;

const CONVERSE: Operation<'static> = Operation::new("converse", Measure::Converse);

impl Conversation {
    /// Says something to the model and gives what it answers.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn converse(
        &self,
        call: &Call,
        request: ConverseRequest,
    ) -> Result<ConverseResponse, CallError> {
        self.call(call, CONVERSE, request, |model, context, request| model.converse(context, request)).await
    }
}
