//! Another application's calls, over gRPC: as messages (`OnInvoke`), or passed through untouched.

use http::uri::PathAndQuery;
use http::{HeaderMap, Request, Response, Uri};
use mecha_observability::Propagated;
use mecha_proto::common::v1 as common;
use tonic::body::Body;
use tonic::metadata::MetadataMap;

use super::GrpcApp;
use crate::body::{BodyStream, placed};
use crate::error::{AppError, chain};

/// The runtime's token, and under the same name the application's.
const TOKEN: &str = "dapr-api-token";

impl GrpcApp {
    /// Calls `OnInvoke` with the caller's metadata; the runtime's own goes before it.
    ///
    /// # Errors
    /// The application's status, or that of a call that did not reach it.
    pub async fn invoke(
        &self,
        message: common::InvokeRequest,
        metadata: HeaderMap,
        trace: &Propagated,
    ) -> Result<tonic::Response<common::InvokeResponse>, tonic::Status> {
        let mut request = self.request(message, trace);
        let own = std::mem::take(request.metadata_mut()).into_headers();
        let mut all = metadata;
        for (name, value) in own {
            if let Some(name) = name {
                all.insert(name, value);
            }
        }
        *request.metadata_mut() = MetadataMap::from_headers(all);
        let _place = self.0.place().await;
        self.callback().on_invoke(request).await
    }

    /// Passes any gRPC call through: neither messages nor trailers are looked at. The answer's body takes the call's place
    /// until it is read or dropped.
    ///
    /// # Errors
    /// [`AppError`] when there is no answer at all.
    pub async fn pass(&self, mut request: Request<Body>) -> Result<Response<BodyStream>, AppError> {
        request.headers_mut().remove(TOKEN);
        if let Some(token) = self.0.headers(&Propagated::default()).remove(TOKEN) {
            request.headers_mut().insert(TOKEN, token);
        }
        let path = request.uri().path_and_query().cloned();
        let mut parts = self.0.origin.clone().into_parts();
        parts.path_and_query = Some(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
        *request.uri_mut() = Uri::from_parts(parts).map_err(|error| AppError::Address(error.to_string()))?;
        *request.version_mut() = http::Version::HTTP_2;
        let place = self.0.owned_place().await;
        let answer = self.0.client.request(request).await;
        let answer = answer.map_err(|error| AppError::Unreachable(chain(&error)))?;
        Ok(answer.map(|body| placed(body, place)))
    }
}
