//! Conversations with a model: the trait that a plugin implements and its form at the boundary.

mod values;

use std::future::Future;
use std::sync::Arc;

use abi_stable::sabi_trait;
use abi_stable::std_types::RResult::RErr;
use abi_stable::std_types::{RBox, RString};

use crate::instance::{AbiFuture, ComponentScope, Shared};
use crate::{CallContext, Error, Result};

pub use values::{
    Choice, CompletionDetails, ConverseRequest, ConverseResponse, Message, Part, PromptDetails, Role, Tool,
    ToolCall, ToolResult, Usage,
};

/// A model, as a plugin implements it.
pub trait Conversation: Send + Sync + 'static {
    /// Says something to the model and gives what it answers.
    ///
    /// # Errors
    /// Any kind.
    fn converse(
        &self,
        context: &CallContext,
        request: ConverseRequest,
    ) -> impl Future<Output = Result<ConverseResponse>> + Send;

    /// Whether the back end answers.
    ///
    /// # Errors
    /// [`crate::ErrorKind::UNAVAILABLE`] when it does not.
    fn ping(&self, context: &CallContext) -> impl Future<Output = Result<()>> + Send {
        let _ = context;
        async { Ok(()) }
    }
}

/// [`Conversation`] at the boundary.
#[sabi_trait]
pub trait ConversationAbi: Send + Sync {
    /// See [`Conversation::converse`].
    fn converse(&self, context: CallContext, request: ConverseRequest) -> AbiFuture<ConverseResponse>;
    /// See [`Conversation::ping`].
    #[sabi(last_prefix_field)]
    fn ping(&self, context: CallContext) -> AbiFuture<()>;
}

/// An open model as it crosses the boundary.
pub type ConversationObject = ConversationAbi_TO<'static, RBox<()>>;

struct Adapter<C: Send + Sync + 'static>(Shared<C>);

pub(crate) fn object<C: Conversation>(conversation: C, scope: Arc<ComponentScope>) -> ConversationObject {
    ConversationAbi_TO::from_value(
        Adapter(Shared::new(conversation, scope)),
        abi_stable::sabi_trait::TD_Opaque,
    )
}

/// What a newer host gets from a library that was built before there were conversations.
pub(crate) fn unknown(type_name: &RString) -> AbiFuture<ConversationObject> {
    let error =
        Error::unsupported(format!("the plugin was built before conversations: it offers no {type_name}"));
    AbiFuture::new(std::future::ready(RErr(error)))
}

impl<C: Conversation> ConversationAbi for Adapter<C> {
    fn converse(&self, context: CallContext, request: ConverseRequest) -> AbiFuture<ConverseResponse> {
        self.0.call(context, |model, context| async move { model.converse(&context, request).await })
    }

    fn ping(&self, context: CallContext) -> AbiFuture<()> {
        self.0.call(context, |model, context| async move { model.ping(&context).await })
    }
}
