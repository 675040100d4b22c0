//! HTTP middleware: what stands around the HTTP API or around calls to the application; the trait that a plugin implements and
//! its form at the boundary.
//!
//! A request passes [`Middleware::request`] of each middleware, outermost first; each lets it go on, as it came or changed, or
//! answers itself. The answer passes [`Middleware::answer`] of those that asked for it, innermost first.

mod headers;
mod values;

use std::future::Future;
use std::sync::Arc;

use abi_stable::sabi_trait;
use abi_stable::std_types::RResult::RErr;
use abi_stable::std_types::{RBox, RString};

use crate::instance::{AbiFuture, ComponentScope, Shared};
use crate::{Buf, CallContext, Error, Result};

pub use headers::{Header, Headers};
pub use values::{Decision, HttpAnswer, HttpRequest, Needs, Passed};

/// A middleware, as a plugin implements it.
pub trait Middleware: Send + Sync + 'static {
    /// What it needs to see. The same for the whole life of the component; bodies that nobody needs are passed on while they
    /// arrive and are never held.
    fn needs(&self) -> Needs {
        Needs::HEAD
    }

    /// Decides about a request.
    ///
    /// # Errors
    /// Any kind; then the caller gets status 500 and the request goes no further.
    fn request(
        &self,
        context: &CallContext,
        request: HttpRequest,
    ) -> impl Future<Output = Result<Decision>> + Send;

    /// Changes the answer to a request that it let pass; `state` is what [`Passed::state`] said. Called only when
    /// [`Needs::ANSWER`] is among its needs, and on the same version of the plugin that saw the request.
    ///
    /// # Errors
    /// Any kind; then the caller gets status 500.
    fn answer(
        &self,
        context: &CallContext,
        state: Buf,
        answer: HttpAnswer,
    ) -> impl Future<Output = Result<HttpAnswer>> + Send {
        let _ = (context, state);
        async { Ok(answer) }
    }

    /// Whether the back end answers.
    ///
    /// # Errors
    /// [`crate::ErrorKind::UNAVAILABLE`] when it does not.
    fn ping(&self, context: &CallContext) -> impl Future<Output = Result<()>> + Send {
        let _ = context;
        async { Ok(()) }
    }
}

/// [`Middleware`] at the boundary.
#[sabi_trait]
pub trait MiddlewareAbi: Send + Sync {
    /// See [`Middleware::needs`].
    fn needs(&self) -> Needs;
    /// See [`Middleware::request`].
    fn request(&self, context: CallContext, request: HttpRequest) -> AbiFuture<Decision>;
    /// See [`Middleware::answer`].
    fn answer(&self, context: CallContext, state: Buf, answer: HttpAnswer) -> AbiFuture<HttpAnswer>;
    /// See [`Middleware::ping`].
    #[sabi(last_prefix_field)]
    fn ping(&self, context: CallContext) -> AbiFuture<()>;
}

/// An open middleware as it crosses the boundary.
pub type MiddlewareObject = MiddlewareAbi_TO<'static, RBox<()>>;

struct Adapter<M: Send + Sync + 'static>(Shared<M>);

pub(crate) fn object<M: Middleware>(middleware: M, scope: Arc<ComponentScope>) -> MiddlewareObject {
    MiddlewareAbi_TO::from_value(Adapter(Shared::new(middleware, scope)), abi_stable::sabi_trait::TD_Opaque)
}

/// What a newer host gets from a library that was built before there was middleware.
pub(crate) fn unknown(type_name: &RString) -> AbiFuture<MiddlewareObject> {
    let error =
        Error::unsupported(format!("the plugin was built before middleware: it offers no {type_name}"));
    AbiFuture::new(std::future::ready(RErr(error)))
}

impl<M: Middleware> MiddlewareAbi for Adapter<M> {
    fn needs(&self) -> Needs {
        self.0.with(M::needs).unwrap_or(Needs::HEAD)
    }

    fn request(&self, context: CallContext, request: HttpRequest) -> AbiFuture<Decision> {
        self.0.call(context, |middleware, context| async move { middleware.request(&context, request).await })
    }

    fn answer(&self, context: CallContext, state: Buf, answer: HttpAnswer) -> AbiFuture<HttpAnswer> {
        self.0.call(
            context,
            |middleware, context| async move { middleware.answer(&context, state, answer).await },
        )
    }

    fn ping(&self, context: CallContext) -> AbiFuture<()> {
        self.0.call(context, |middleware, context| async move { middleware.ping(&context).await })
    }
}
