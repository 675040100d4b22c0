//! A process behind a socket: the connection to it, what it serves, and what every call to it carries.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use hyper_util::rt::TokioIo;
use mecha_plugin_api::{CallContext, ComponentSpec, Metadata};
use mecha_proto::components::v1::MetadataRequest;
use tokio::net::UnixStream;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient as Reflection;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};
use tonic_reflection::pb::v1alpha;
use tonic_reflection::pb::v1alpha::server_reflection_client::ServerReflectionClient as OldReflection;
use tower::service_fn;

/// One process may serve several components of a type: each call says which it is for.
const INSTANCE: &str = "x-component-instance";

/// A connection, made when it is first needed and again whenever it was lost, and the component that it is for.
#[derive(Clone)]
pub(crate) struct Peer {
    channel: Channel,
    component: Option<MetadataValue<tonic::metadata::Ascii>>,
}

impl Peer {
    /// The process behind `socket`.
    pub(crate) fn at(socket: &Path) -> Self {
        let socket = socket.to_path_buf();
        // The address is never looked at: the connector knows where to go.
        let endpoint = Endpoint::from(Uri::from_static("http://localhost"));
        let channel = endpoint.connect_with_connector_lazy(service_fn(move |_: Uri| connect(socket.clone())));
        Self { channel, component: None }
    }

    /// The same for one component, whose name goes with each call. A name that no header can hold is left out.
    pub(crate) fn of(mut self, spec: &ComponentSpec) -> Self {
        self.component = MetadataValue::try_from(spec.name.as_str()).ok();
        self
    }

    /// What the generated clients take.
    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// A request that is part of a call of the host.
    pub(crate) fn request<T>(&self, context: &CallContext, message: T) -> tonic::Request<T> {
        let mut request = self.opening(message);
        if let Some(traceparent) = context.traceparent().and_then(|text| MetadataValue::try_from(text).ok()) {
            request.metadata_mut().insert("traceparent", traceparent);
        }
        if let Some(timeout) = context.timeout() {
            request.set_timeout(timeout);
        }
        request
    }

    /// A request of its own.
    pub(crate) fn opening<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        if let Some(component) = &self.component {
            request.metadata_mut().insert(INSTANCE, component.clone());
        }
        request
    }

    /// The full names of the services that it has, by reflection, whose older version Dapr's own SDKs speak.
    pub(crate) async fn services(&self) -> Result<Vec<String>, tonic::Status> {
        match self.services_by_reflection().await {
            Err(status) if status.code() == tonic::Code::Unimplemented => {
                self.services_by_old_reflection().await
            }
            services => services,
        }
    }

    async fn services_by_reflection(&self) -> Result<Vec<String>, tonic::Status> {
        let message_request = Some(MessageRequest::ListServices(String::new()));
        let request = ServerReflectionRequest { host: String::new(), message_request };
        let mut answers = Reflection::new(self.channel())
            .server_reflection_info(tokio_stream::once(request))
            .await?
            .into_inner();
        let answer = answers.message().await?;
        match answer.and_then(|answer: ServerReflectionResponse| answer.message_response) {
            Some(MessageResponse::ListServicesResponse(list)) => {
                Ok(list.service.into_iter().map(|service| service.name).collect())
            }
            _ => Err(no_list()),
        }
    }

    async fn services_by_old_reflection(&self) -> Result<Vec<String>, tonic::Status> {
        use v1alpha::server_reflection_request::MessageRequest;
        use v1alpha::server_reflection_response::MessageResponse;
        let message_request = Some(MessageRequest::ListServices(String::new()));
        let request = v1alpha::ServerReflectionRequest { host: String::new(), message_request };
        let mut answers = OldReflection::new(self.channel())
            .server_reflection_info(tokio_stream::once(request))
            .await?
            .into_inner();
        match answers.message().await?.and_then(|answer| answer.message_response) {
            Some(MessageResponse::ListServicesResponse(list)) => {
                Ok(list.service.into_iter().map(|service| service.name).collect())
            }
            _ => Err(no_list()),
        }
    }
}

fn no_list() -> tonic::Status {
    tonic::Status::internal("its reflection service lists no services")
}

async fn connect(socket: PathBuf) -> io::Result<TokioIo<UnixStream>> {
    Ok(TokioIo::new(UnixStream::connect(socket).await?))
}

/// A component's metadata, as it is initialised with.
pub(crate) fn properties(spec: &ComponentSpec) -> Option<MetadataRequest> {
    Some(MetadataRequest { properties: map(&spec.metadata) })
}

/// Metadata as the protocol has it.
pub(crate) fn map(metadata: &Metadata) -> HashMap<String, String> {
    metadata.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}
