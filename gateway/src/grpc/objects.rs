//! The service of object stores: Mecha's own, let in, traced and measured as the methods of the Dapr service are.

use std::time::Instant;

use mecha_proto::objects::v1 as pb;
use mecha_proto::objects::v1::objects_server::Objects;
use tonic::{Code, Request, Response, Status, Streaming};

use super::service::{DaprService, Method};
use crate::api::objects::grpc as objects;

const PART: &str = "v1alpha1/objects";

/// A method of `mecha.objects.v1.Objects`.
macro_rules! method {
    ($name:literal) => {
        &Method { name: concat!("/mecha.objects.v1.Objects/", $name), part: PART }
    };
}

impl DaprService {
    /// Measures a method with a stream, whose messages nobody counts.
    fn measured<T>(
        &self,
        method: &'static Method,
        started: Instant,
        result: Result<Response<T>, Status>,
    ) -> Result<Response<T>, Status> {
        let code = result.as_ref().map_or_else(Status::code, |_| Code::Ok);
        self.runtime.metrics().grpc.observe(method.name, code, None, started.elapsed());
        result
    }
}

#[tonic::async_trait]
impl Objects for DaprService {
    type GetStream = objects::Down;

    async fn put(
        &self,
        request: Request<Streaming<pb::PutRequest>>,
    ) -> Result<Response<pb::PutResponse>, Status> {
        let (method, started) = (method!("Put"), Instant::now());
        let (metadata, _, stream) = request.into_parts();
        let result = self.answer(method, &metadata, stream, objects::put).await;
        self.measured(method, started, result)
    }

    async fn get(&self, request: Request<pb::GetRequest>) -> Result<Response<objects::Down>, Status> {
        let (method, started) = (method!("Get"), Instant::now());
        let (metadata, _, message) = request.into_parts();
        let result = self.answer(method, &metadata, message, objects::get).await;
        self.measured(method, started, result)
    }

    async fn head(&self, request: Request<pb::HeadRequest>) -> Result<Response<pb::HeadResponse>, Status> {
        self.serve(method!("Head"), request, objects::head).await
    }

    async fn delete(
        &self,
        request: Request<pb::DeleteRequest>,
    ) -> Result<Response<pb::DeleteResponse>, Status> {
        self.serve(method!("Delete"), request, objects::delete).await
    }

    async fn list(&self, request: Request<pb::ListRequest>) -> Result<Response<pb::ListResponse>, Status> {
        self.serve(method!("List"), request, objects::list).await
    }

    async fn copy(&self, request: Request<pb::CopyRequest>) -> Result<Response<pb::CopyResponse>, Status> {
        self.serve(method!("Copy"), request, objects::copy).await
    }

    async fn presign(
        &self,
        request: Request<pb::PresignRequest>,
    ) -> Result<Response<pb::PresignResponse>, Status> {
        self.serve(method!("Presign"), request, objects::presign).await
    }
}
