//! Calls from one application to another, through their runtimes.
//!
//! A call comes in as an [`InvokeRequest`]. `target.rs` says what its id stands for; `local.rs` brings it to the runtime's own
//! application, `peer.rs` to the runtime of another one (whose end is `callee.rs`), `endpoint.rs` to a service outside. Where
//! other runtimes are is the business of a [`resolve::Resolve`]. gRPC calls of services that nobody here knows pass through
//! `proxy.rs`.

mod callee;
mod endpoint;
mod error;
mod frames;
mod headers;
mod host;
mod local;
mod mdns;
mod method;
mod peer;
mod proxy;
mod request;
pub mod resolve;
mod target;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use mecha_app_channel::AppChannel;
use mecha_observability::Propagated;
use mecha_proto::common::v1 as common;
use mecha_proto::internals::v1 as internals;
use tonic::{Code, Status};

use endpoint::Endpoints;
use peer::Peers;
use resolve::{AppName, Resolve};

pub use callee::SERVICE;
pub use endpoint::{Endpoint, EndpointError};
pub use error::InvokeError;
pub use headers::{to_grpc, to_http};
pub use host::Host;
pub use mdns::Mdns;
pub use mecha_app_channel::{BodyStream, BoxError};
pub use mecha_proto::common::v1::http_extension::Verb;
pub use mecha_proto::internals::v1::Status as InternalStatus;
pub use request::{Answer, InvokeRequest, Origin, RequestBody, collect, method};

/// Calls of a peer after the first, where no policy says otherwise: Dapr's built-in one.
const RETRIES: u32 = 3;
const RETRY_PAUSE: Duration = Duration::from_secs(1);
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
            peers: Peers::new(config.max_body_size),
            endpoints: ArcSwap::from_pointee(Endpoints::new(config.endpoints)?),
            host: config.host,
            max_body_size: config.max_body_size,
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
        let endpoints = self.endpoints.load_full();
        if target::is_url(id) || endpoints.has(id) {
            return endpoints.call(id, request, trace).await;
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
        let replayed = match body {
            RequestBody::Whole(bytes) => bytes,
            RequestBody::Stream(_) => {
                let address = self.resolver.resolve(app).await?;
                let answer = self.peers.stream(&address, head, body.outgoing(), trace).await;
                return answer.map_err(|status| self.gave_no_answer(app, &address, status));
            }
        };
        let mut retries = 0;
        loop {
            let address = self.resolver.resolve(app).await?;
            let status = match self.call(app, &address, head.clone(), replayed.clone(), trace).await {
                Ok(answer) => return Ok(answer),
                Err(status) => status,
            };
            if !matches!(status.code(), Code::Unavailable | Code::Unauthenticated) {
                return Err(status.into());
            }
            self.resolver.forget(app, &address);
            if retries == RETRIES {
                return Err(InvokeError::Retried {
                    target: app.id.clone(),
                    retries,
                    status: Box::new(status),
                });
            }
            retries += 1;
            tokio::time::sleep(RETRY_PAUSE).await;
        }
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
        match self.peers.stream(address, head.clone(), whole, trace).await {
            Err(status) if status.code() == Code::Unimplemented => {
                tracing::warn!(
                    "App {} does not support streaming-based service invocation (most likely because it's using an older version of Dapr); falling back to unary calls",
                    app.id
                );
                let mut head = head;
                if let Some(data) = head.message.as_mut().and_then(|message| message.data.as_mut()) {
                    data.value = body.into();
                }
                self.peers.unary(address, head, trace).await
            }
            answered => answered,
        }
    }

    fn gave_no_answer(&self, app: &AppName, address: &str, status: Status) -> InvokeError {
        match status.code() {
            Code::Unimplemented => InvokeError::NoStreams(app.id.clone()),
            Code::Unavailable | Code::Unauthenticated => {
                self.resolver.forget(app, address);
                status.into()
            }
            _ => status.into(),
        }
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
