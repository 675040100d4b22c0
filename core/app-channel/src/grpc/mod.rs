//! The application over gRPC.

mod binding;
mod invoke;
mod topic;

use http::Uri;
use mecha_observability::{Propagated, names};
use mecha_proto::runtime::v1::app_callback_client::AppCallbackClient;
use mecha_proto::runtime::v1::app_callback_health_check_client::AppCallbackHealthCheckClient;
use tonic::Request;
use tonic::body::Body;
use tonic::metadata::{MetadataMap, MetadataValue};

use crate::config::AppChannelConfig;
use crate::error::AppError;
use crate::transport::{HttpClient, Transport};

pub use topic::{BulkMessage, Destination};

/// An application that speaks gRPC.
pub struct GrpcApp(Transport<Body>);

impl GrpcApp {
    pub(crate) fn new(config: &AppChannelConfig) -> Result<Self, AppError> {
        Transport::new(config).map(Self)
    }

    fn parts(&self) -> (HttpClient<Body>, Uri) {
        (self.0.client.clone(), self.0.origin.clone())
    }

    fn callback(&self) -> AppCallbackClient<HttpClient<Body>> {
        let (client, origin) = self.parts();
        let size = self.0.max_body_size;
        AppCallbackClient::with_origin(client, origin)
            .max_decoding_message_size(size)
            .max_encoding_message_size(usize::MAX)
    }

    fn request<T>(&self, message: T, trace: &Propagated) -> Request<T> {
        let mut request = Request::new(message);
        *request.metadata_mut() = MetadataMap::from_headers(self.0.headers(trace));
        if trace.context.is_valid() {
            let ids = MetadataValue::from_bytes(&trace.context.to_binary());
            request.metadata_mut().insert_bin(names::header::GRPC_TRACE_BIN, ids);
        }
        request
    }

    pub(crate) async fn probe(&self) -> Result<(), AppError> {
        let (client, origin) = self.parts();
        let request = self.request((), &Propagated::default());
        AppCallbackHealthCheckClient::with_origin(client, origin).health_check(request).await?;
        Ok(())
    }
}
