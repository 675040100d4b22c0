//! Output and input bindings: the traits that a plugin implements and their form at the boundary.

use std::future::Future;
use std::sync::Arc;

use abi_stable::StableAbi;
use abi_stable::sabi_trait;
use abi_stable::std_types::{RBox, RString, RVec};

use crate::instance::{AbiFuture, ComponentScope, Shared};
use crate::source::{SourceObject, Subscription};
use crate::{Buf, CallContext, Metadata, Result};

/// A request to an output binding.
#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct InvokeRequest {
    /// One of [`OutputBinding::operations`].
    pub operation: RString,
    /// The payload.
    pub data: Buf,
    /// Request metadata; `traceparent` and `tracestate` of the call are among it.
    pub metadata: Metadata,
}

/// The answer of an output binding.
#[repr(C)]
#[derive(StableAbi, Clone, Debug, Default)]
pub struct InvokeResponse {
    /// The payload; empty when there is none.
    pub data: Buf,
    /// Media type of the payload; empty when unknown.
    pub content_type: RString,
    /// Response metadata.
    pub metadata: Metadata,
}

/// An output binding, as a plugin implements it.
pub trait OutputBinding: Send + Sync + 'static {
    /// The operations that [`OutputBinding::invoke`] takes.
    fn operations(&self) -> Vec<&str>;

    /// Performs one operation.
    ///
    /// # Errors
    /// [`crate::ErrorKind::UNSUPPORTED`] for an unknown operation, or any kind.
    fn invoke(
        &self,
        context: &CallContext,
        request: InvokeRequest,
    ) -> impl Future<Output = Result<InvokeResponse>> + Send;

    /// Whether the back end answers.
    ///
    /// # Errors
    /// [`crate::ErrorKind::UNAVAILABLE`] when it does not.
    fn ping(&self, context: &CallContext) -> impl Future<Output = Result<()>> + Send {
        let _ = context;
        async { Ok(()) }
    }
}

/// An input binding, as a plugin implements it.
///
/// A type that is an output as well may decline to be an input: where a component's metadata names nothing to read, it opens
/// with [`crate::ErrorKind::UNSUPPORTED`], and the component serves as an output only.
pub trait InputBinding: Send + Sync + 'static {
    /// Starts reading; the host pulls from the source and settles with the application's answer.
    ///
    /// # Errors
    /// Any kind.
    fn read(&self, context: &CallContext) -> impl Future<Output = Result<Subscription>> + Send;

    /// Whether the back end answers.
    ///
    /// # Errors
    /// [`crate::ErrorKind::UNAVAILABLE`] when it does not.
    fn ping(&self, context: &CallContext) -> impl Future<Output = Result<()>> + Send {
        let _ = context;
        async { Ok(()) }
    }
}

/// [`OutputBinding`] at the boundary.
#[sabi_trait]
pub trait OutputBindingAbi: Send + Sync {
    /// See [`OutputBinding::operations`].
    fn operations(&self) -> RVec<RString>;
    /// See [`OutputBinding::invoke`].
    fn invoke(&self, context: CallContext, request: InvokeRequest) -> AbiFuture<InvokeResponse>;
    /// See [`OutputBinding::ping`].
    #[sabi(last_prefix_field)]
    fn ping(&self, context: CallContext) -> AbiFuture<()>;
}

/// [`InputBinding`] at the boundary.
#[sabi_trait]
pub trait InputBindingAbi: Send + Sync {
    /// See [`InputBinding::read`].
    fn read(&self, context: CallContext) -> AbiFuture<SourceObject>;
    /// See [`InputBinding::ping`].
    #[sabi(last_prefix_field)]
    fn ping(&self, context: CallContext) -> AbiFuture<()>;
}

/// An open output binding as it crosses the boundary.
pub type OutputBindingObject = OutputBindingAbi_TO<'static, RBox<()>>;
/// An open input binding as it crosses the boundary.
pub type InputBindingObject = InputBindingAbi_TO<'static, RBox<()>>;

struct Adapter<B: Send + Sync + 'static>(Shared<B>);

pub(crate) fn output_object<B: OutputBinding>(binding: B, scope: Arc<ComponentScope>) -> OutputBindingObject {
    OutputBindingAbi_TO::from_value(Adapter(Shared::new(binding, scope)), abi_stable::sabi_trait::TD_Opaque)
}

pub(crate) fn input_object<B: InputBinding>(binding: B, scope: Arc<ComponentScope>) -> InputBindingObject {
    InputBindingAbi_TO::from_value(Adapter(Shared::new(binding, scope)), abi_stable::sabi_trait::TD_Opaque)
}

impl<B: OutputBinding> OutputBindingAbi for Adapter<B> {
    fn operations(&self) -> RVec<RString> {
        self.0
            .with(|binding| binding.operations().into_iter().map(RString::from).collect())
            .unwrap_or_default()
    }

    fn invoke(&self, context: CallContext, request: InvokeRequest) -> AbiFuture<InvokeResponse> {
        self.0.call(context, |binding, context| async move { binding.invoke(&context, request).await })
    }

    fn ping(&self, context: CallContext) -> AbiFuture<()> {
        self.0.call(context, |binding, context| async move { binding.ping(&context).await })
    }
}

impl<B: InputBinding> InputBindingAbi for Adapter<B> {
    fn read(&self, context: CallContext) -> AbiFuture<SourceObject> {
        let scope = self.0.scope();
        self.0.call(context, |binding, context| async move {
            Ok(binding.read(&context).await?.into_object(scope))
        })
    }

    fn ping(&self, context: CallContext) -> AbiFuture<()> {
        self.0.call(context, |binding, context| async move { binding.ping(&context).await })
    }
}
