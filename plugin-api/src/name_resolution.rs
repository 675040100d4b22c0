//! Name resolution: how runtimes say where they are and find one another; the trait that a plugin implements and its form at
//! the boundary.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use abi_stable::StableAbi;
use abi_stable::sabi_trait;
use abi_stable::std_types::RResult::RErr;
use abi_stable::std_types::{RBox, RString, RVec};

use crate::instance::{AbiFuture, ComponentScope, Shared};
use crate::{CallContext, Error, Metadata, Result};

/// A runtime as others are to find it.
#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct Registration {
    /// Its application.
    pub app_id: RString,
    /// The application's namespace; empty when none is set.
    pub namespace: RString,
    /// The host where the runtime takes calls of others, without a port or brackets.
    pub address: RString,
    /// The port where it takes them.
    pub port: u16,
    /// The port of its HTTP API; 0 = none.
    pub http_port: u16,
    /// The application's own port; 0 = none.
    pub app_port: u16,
    /// What else the host has to say.
    pub metadata: Metadata,
}

impl Registration {
    /// `address:port`, with brackets around an IPv6 address.
    pub fn endpoint(&self) -> String {
        endpoint(&self.address, self.port)
    }
}

/// `host:port`, with brackets around an IPv6 address.
pub fn endpoint(host: &str, port: u16) -> String {
    if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// Whom somebody looks for.
#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct ResolveRequest {
    /// The application.
    pub app_id: RString,
    /// Its namespace; empty when none is set.
    pub namespace: RString,
    /// The port of whoever asks, for resolvers that know names only: runtimes of one cluster mostly share it.
    pub port: u16,
    /// Request metadata.
    pub metadata: Metadata,
}

/// Where an application's runtimes are.
#[repr(C)]
#[derive(StableAbi, Clone, PartialEq, Debug, Default)]
pub struct Resolution {
    /// `host:port` of each; the host balances between them.
    pub addresses: RVec<RString>,
    /// How long the host may answer with these without asking again, in nanoseconds.
    pub valid_for_ns: u64,
}

impl Resolution {
    /// Addresses that hold for a while.
    pub fn new<A: Into<String>>(addresses: impl IntoIterator<Item = A>, valid_for: Duration) -> Self {
        Self {
            addresses: addresses.into_iter().map(|address| RString::from(address.into())).collect(),
            valid_for_ns: u64::try_from(valid_for.as_nanos()).unwrap_or(u64::MAX),
        }
    }

    /// How long the host may answer with these without asking again.
    pub fn valid_for(&self) -> Duration {
        Duration::from_nanos(self.valid_for_ns)
    }
}

/// A way of finding runtimes, as a plugin implements it.
pub trait NameResolution: Send + Sync + 'static {
    /// Says where this runtime is, and keeps saying so until [`NameResolution::unregister`] or until the resolver is dropped.
    /// While one version of a plugin replaces another, the new one registers what the old one has registered before.
    ///
    /// # Errors
    /// Any kind.
    fn register(
        &self,
        context: &CallContext,
        registration: Registration,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Where an application's runtimes are; at least one of them.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NOT_FOUND`] when nobody answers to the id, or any kind.
    fn resolve(
        &self,
        context: &CallContext,
        request: ResolveRequest,
    ) -> impl Future<Output = Result<Resolution>> + Send;

    /// Takes back what was registered; others do not find this runtime any more. One that has not registered has nothing to
    /// take back, which is no error.
    ///
    /// # Errors
    /// Any kind.
    fn unregister(&self, context: &CallContext) -> impl Future<Output = Result<()>> + Send;

    /// Whether the back end answers.
    ///
    /// # Errors
    /// [`crate::ErrorKind::UNAVAILABLE`] when it does not.
    fn ping(&self, context: &CallContext) -> impl Future<Output = Result<()>> + Send {
        let _ = context;
        async { Ok(()) }
    }
}

/// [`NameResolution`] at the boundary.
#[sabi_trait]
pub trait NameResolutionAbi: Send + Sync {
    /// See [`NameResolution::register`].
    fn register(&self, context: CallContext, registration: Registration) -> AbiFuture<()>;
    /// See [`NameResolution::resolve`].
    fn resolve(&self, context: CallContext, request: ResolveRequest) -> AbiFuture<Resolution>;
    /// See [`NameResolution::unregister`].
    fn unregister(&self, context: CallContext) -> AbiFuture<()>;
    /// See [`NameResolution::ping`].
    #[sabi(last_prefix_field)]
    fn ping(&self, context: CallContext) -> AbiFuture<()>;
}

/// An open resolver as it crosses the boundary.
pub type NameResolutionObject = NameResolutionAbi_TO<'static, RBox<()>>;

struct Adapter<N: Send + Sync + 'static>(Shared<N>);

pub(crate) fn object<N: NameResolution>(resolver: N, scope: Arc<ComponentScope>) -> NameResolutionObject {
    NameResolutionAbi_TO::from_value(Adapter(Shared::new(resolver, scope)), abi_stable::sabi_trait::TD_Opaque)
}

/// What a newer host gets from a library that was built before there was name resolution.
pub(crate) fn unknown(type_name: &RString) -> AbiFuture<NameResolutionObject> {
    let error =
        Error::unsupported(format!("the plugin was built before name resolution: it offers no {type_name}"));
    AbiFuture::new(std::future::ready(RErr(error)))
}

impl<N: NameResolution> NameResolutionAbi for Adapter<N> {
    fn register(&self, context: CallContext, registration: Registration) -> AbiFuture<()> {
        self.0
            .call(context, |resolver, context| async move { resolver.register(&context, registration).await })
    }

    fn resolve(&self, context: CallContext, request: ResolveRequest) -> AbiFuture<Resolution> {
        self.0.call(context, |resolver, context| async move { resolver.resolve(&context, request).await })
    }

    fn unregister(&self, context: CallContext) -> AbiFuture<()> {
        self.0.call(context, |resolver, context| async move { resolver.unregister(&context).await })
    }

    fn ping(&self, context: CallContext) -> AbiFuture<()> {
        self.0.call(context, |resolver, context| async move { resolver.ping(&context).await })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_address_gets_brackets_once() {
        assert_eq!(endpoint("10.0.0.1", 80), "10.0.0.1:80");
        assert_eq!(endpoint("::1", 80), "[::1]:80");
        assert_eq!(endpoint("[::1]", 80), "[::1]:80");
        assert_eq!(endpoint("host.local", 80), "host.local:80");
    }
}
