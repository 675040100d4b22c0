//! Calls from one application to another, through their runtimes.
//!
//! A call comes in as an [`InvokeRequest`]. `target.rs` says what its id stands for; `local.rs` brings it to the runtime's own
//! application, `peer.rs` to the runtime of another one (whose end is `callee.rs`), `endpoint.rs` to a service outside. Where
//! other runtimes are is the business of a [`resolve::Resolve`]. gRPC calls of services that nobody here knows pass through
//! `proxy/`. `policies.rs` repeats what fails, `access/` says who may call.

pub mod access;
mod callee;
mod deadline;
mod endpoint;
mod error;
mod frames;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod headers;
mod host;
mod local;
mod mdns;
mod method;
mod peer;
mod policies;
mod proxy;
mod request;
pub mod resolve;
mod target;

use std::sync::Arc;
use std::time::Instant;

use arc_swap::{ArcSwap, ArcSwapOption};
use mecha_app_channel::AppChannel;
use mecha_identity::Mtls;
use mecha_observability::{Metrics, Propagated};
use mecha_proto::common::v1 as common;
use mecha_proto::internals::v1 as internals;
use mecha_resiliency::{Error, Failure, run};
use tonic::{Code, Status};

use access::{AccessList, Asked, Identity};
use endpoint::Endpoints;
use peer::{Peers, is_dialing};
use resolve::{AppName, Resolve};

pub use callee::{Called, SERVICE};
pub use endpoint::{Endpoint, EndpointError};
pub use error::{InvokeError, PolicyEnd};
pub use headers::{to_grpc, to_http};
pub use host::Host;
pub use mdns::Mdns;
pub use mecha_app_channel::{BodyStream, BoxError};
pub use mecha_proto::common::v1::http_extension::Verb;
pub use mecha_proto::internals::v1::Status as InternalStatus;
pub use policies::{NoPolicies, Policies};
pub use request::{Answer, InvokeRequest, Origin, RequestBody, collect, method};

/// What stands for a namespace that is not set.
const DEFAULT_NAMESPACE: &str = "default";

/// What invocation needs of its runtime.
pub struct InvocationConfig {
    /// The own application's id.
    pub app_id: String,
    /// Its namespace; empty when none is set.
    pub namespace: String,
    /// The way to it; `None` when it takes no calls.
    pub channel: Option<Arc<AppChannel>>,
    /// The way to others.
    pub resolver: Arc<dyn Resolve>,
    /// Services outside.
    pub endpoints: Vec<Endpoint>,
    /// The machine.
    pub host: Host,
    /// Largest body that must be held whole, in bytes.
    pub max_body_size: usize,
    /// What is tried again, and how long it may take.
    pub policies: Arc<dyn Policies>,
    /// Who may call; `None` is everybody.
    pub access: Option<AccessList>,
    /// How runtimes prove to each other who they are; `None` is not at all.
    pub mtls: Option<Arc<Mtls>>,
    /// Where calls are counted.
    pub metrics: Arc<Metrics>,
}

/// Service invocation of one runtime.
pub struct Invocation {
    app_id: String,
    namespace: String,
    channel: Option<Arc<AppChannel>>,
    resolver: Arc<dyn Resolve>,
    peers: Peers,
    /// Replaced as a whole when what is declared changes.
    endpoints: ArcSwap<Endpoints>,
    host: Host,
    max_body_size: usize,
    policies: Arc<dyn Policies>,
    access: ArcSwapOption<AccessList>,
    metrics: Arc<Metrics>,
}

impl Invocation {
    /// Prepares everything; no connection is made before the first call.
    ///
    /// # Errors
    /// [`EndpointError`] of an endpoint that cannot be used.
    pub fn new(config: InvocationConfig) -> Result<Self, EndpointError> {
        let namespace =
            if config.namespace.is_empty() { DEFAULT_NAMESPACE.to_owned() } else { config.namespace };
        Ok(Self {
            app_id: config.app_id,
            namespace,
            channel: config.channel,
            resolver: config.resolver,
            peers: Peers::new(config.max_body_size, config.mtls),
            endpoints: ArcSwap::from_pointee(Endpoints::new(config.endpoints)?),
            host: config.host,
            max_body_size: config.max_body_size,
            policies: config.policies,
            access: ArcSwapOption::from_pointee(config.access),
            metrics: config.metrics,
        })
    }

    /// Puts services outside in place of those that were; calls in flight stay with the old ones.
    ///
    /// # Errors
    /// [`EndpointError`] of one that cannot be used; then everything stays as it was.
    pub fn replace_endpoints(&self, endpoints: Vec<Endpoint>) -> Result<(), EndpointError> {
        let next = self.endpoints.load().with(endpoints)?;
        self.endpoints.store(Arc::new(next));
        Ok(())
    }

    /// Says who may call from now on; `None` is everybody.
    pub fn replace_access(&self, access: Option<AccessList>) {
        self.access.store(access.map(Arc::new));
    }

    /// Whether an operation of the own application may be called.
    fn check_access(&self, asked: Asked<'_>) -> Result<(), Status> {
        let access = self.access.load();
        let Some(access) = access.as_deref() else { return Ok(()) };
        let (decision, result) = access.check(asked);
        let nobody = Identity::default();
        let Identity { app_id, trust_domain, namespace } = asked.caller.unwrap_or(&nobody);
        self.metrics.invocation.access(decision, app_id, trust_domain, namespace);
        result.map_err(|denied| {
            tracing::debug!("{denied}");
            Status::permission_denied(denied)
        })
    }

    /// The names of the services outside.
    pub fn endpoint_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.endpoints.load().names().map(str::to_owned).collect();
        names.sort_unstable();
        names
    }

    /// Where other runtimes are.
    pub fn resolver(&self) -> &Arc<dyn Resolve> {
        &self.resolver
    }

    /// Largest body that must be held whole, in bytes.
    pub fn max_body_size(&self) -> usize {
        self.max_body_size
    }

    /// Calls a method of whatever `id` stands for. Dropping the call, or the answer's body, cancels it all the way down.
    ///
    /// # Errors
    /// [`InvokeError`] when there is no answer; an answer with a status that is no success is none of these.
    pub async fn invoke(
        &self,
        id: &str,
        mut request: InvokeRequest,
        trace: &Propagated,
    ) -> Result<Answer, InvokeError> {
        let normalised = method::normalise(&request.method);
        request.method =
            normalised.map_err(|reason| Status::invalid_argument(format!("invalid method: {reason}")))?;
        let policy = self.policies.of(id, &|| self.endpoint(id, &request.method));
        match policy {
            None => self.once(id, request, trace).await,
            // In a box, so that calls without a policy need not make room for this.
            Some(policy) => Box::pin(self.guarded(&policy, id, request, trace)).await,
        }
    }

    /// What has a circuit breaker of its own, as Dapr names it.
    fn endpoint(&self, id: &str, method: &str) -> String {
        if target::is_url(id) {
            return format!("{id}/{method}");
        }
        let endpoints = self.endpoints.load();
        format!("{id}:{}", endpoints.base_url(id).unwrap_or(method))
    }

    /// One call, whatever its id stands for.
    async fn once(
        &self,
        id: &str,
        mut request: InvokeRequest,
        trace: &Propagated,
    ) -> Result<Answer, InvokeError> {
        let endpoints = self.endpoints.load_full();
        if target::is_url(id) || endpoints.has(id) {
            return self.counted(id, endpoints.call(id, request, trace)).await;
        }
        let app = target::app_name(id, &self.namespace)?;
        headers::identify(&mut request.headers, &self.app_id, &self.namespace, &app.id);
        if app.id == self.app_id && app.namespace == self.namespace {
            return self.local(request, trace).await;
        }
        self.host.forward(&mut request.headers);
        self.remote(&app, request, trace).await
    }

    /// Calls the runtime of another application. A body that was sent is not sent again, unless it is there whole.
    async fn remote(
        &self,
        app: &AppName,
        request: InvokeRequest,
        trace: &Propagated,
    ) -> Result<Answer, InvokeError> {
        let (head, body) = self.head(app, request);
        let body = match body {
            RequestBody::Whole(bytes) => bytes,
            RequestBody::Stream(_) => {
                let address = self.resolver.resolve(app).await?;
                let answer = self.peers.stream(app, &address, head, body.outgoing(), trace);
                let answer = self.counted(&app.id, answer).await;
                return answer.map_err(|status| match status.code() {
                    Code::Unimplemented => InvokeError::NoStreams(app.id.clone()),
                    _ => self.gave_no_answer(app, &address, status),
                });
            }
        };
        let Some(policy) = self.policies.between_runtimes(&app.id) else {
            return self.sent(app, head, body, trace).await.map_err(|unsent| unsent.error);
        };
        let attempts = run(&policy, |number| {
            let sent = self.sent(app, head.clone(), body.clone(), trace);
            async move { sent.await.map_err(|unsent| Unsent { retries: number - 1, ..unsent }) }
        });
        attempts.await.map_err(|error| match error {
            Error::Failed(unsent) => unsent.told(&app.id),
            Error::TimedOut(_) => PolicyEnd::TimedOut.into(),
            Error::Rejected(rejection) => PolicyEnd::Rejected(rejection).into(),
        })
    }

    /// One call of another runtime.
    async fn sent(
        &self,
        app: &AppName,
        head: internals::InternalInvokeRequest,
        body: bytes::Bytes,
        trace: &Propagated,
    ) -> Result<Answer, Unsent> {
        let address = self.resolver.resolve(app).await.map_err(InvokeError::from)?;
        let answer = self.counted(&app.id, self.call(app, &address, head, body, trace)).await;
        Ok(answer.map_err(|status| self.gave_no_answer(app, &address, status))?)
    }

    /// Counts a call and its answer.
    async fn counted<E>(
        &self,
        app_id: &str,
        call: impl Future<Output = Result<Answer, E>>,
    ) -> Result<Answer, E> {
        let started = Instant::now();
        let metrics = &self.metrics.invocation;
        metrics.request_sent(app_id);
        let answer = call.await?;
        metrics.response_received(app_id, answer.status.code, started.elapsed());
        Ok(answer)
    }

    /// One call whose body can be sent again: a runtime that knows no streams gets it as one message.
    async fn call(
        &self,
        app: &AppName,
        address: &str,
        head: internals::InternalInvokeRequest,
        body: bytes::Bytes,
        trace: &Propagated,
    ) -> Result<Answer, Status> {
        let whole = RequestBody::Whole(body.clone()).outgoing();
        match self.peers.stream(app, address, head.clone(), whole, trace).await {
            Err(status) if status.code() == Code::Unimplemented => {
                tracing::warn!(
                    "App {} does not support streaming-based service invocation (most likely because it's using an older version of Dapr); falling back to unary calls",
                    app.id
                );
                let mut head = head;
                if let Some(data) = head.message.as_mut().and_then(|message| message.data.as_mut()) {
                    data.value = body.into();
                }
                self.peers.unary(app, address, head, trace).await
            }
            answered => answered,
        }
    }

    /// Forgets an address where nobody, or somebody else, is. A call that breaks off says nothing of that: as a rule its own caller
    /// went away, who must not make others lose sight of the callee.
    fn forget_if_gone(&self, app: &AppName, address: &str, status: &Status) {
        if is_dialing(status) || status.code() == Code::Unauthenticated {
            self.resolver.forget(app, address);
        }
    }

    fn gave_no_answer(&self, app: &AppName, address: &str, status: Status) -> InvokeError {
        self.forget_if_gone(app, address, &status);
        status.into()
    }

    /// A call without its body, as it goes to another runtime.
    fn head(&self, app: &AppName, request: InvokeRequest) -> (internals::InternalInvokeRequest, RequestBody) {
        let mut metadata = headers::to_metadata(&request.headers, request.origin);
        headers::add_destination(&mut metadata, &app.id);
        let extension = common::HttpExtension {
            verb: request::verb(request.verb.as_ref()).into(),
            querystring: request.query,
        };
        let message = common::InvokeRequest {
            method: request.method,
            data: Some(local::any(request.type_url, bytes::Bytes::new())),
            content_type: request.content_type,
            http_extension: request.verb.is_some().then_some(extension),
        };
        let head = internals::InternalInvokeRequest {
            ver: internals::ApiVersion::V1.into(),
            metadata,
            message: Some(message),
            actor: None,
        };
        (head, request.body)
    }
}

/// Whether the other runtime may be there again soon, or elsewhere.
fn is_away(code: Code) -> bool {
    matches!(code, Code::Unavailable | Code::Unauthenticated)
}

/// A call that another runtime did not answer.
struct Unsent {
    error: InvokeError,
    /// How many there were before it.
    retries: u32,
}

impl Unsent {
    fn told(self, app_id: &str) -> InvokeError {
        match self.error {
            InvokeError::Rpc(status) if is_away(status.code()) => {
                InvokeError::Retried { target: app_id.to_owned(), retries: self.retries, status }
            }
            other => other,
        }
    }
}

impl From<InvokeError> for Unsent {
    fn from(error: InvokeError) -> Self {
        Self { error, retries: 0 }
    }
}

impl Failure for Unsent {
    fn is_permanent(&self) -> bool {
        !is_away(self.error.code())
    }
}
