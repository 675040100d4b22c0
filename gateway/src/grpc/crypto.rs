//! The two methods with a stream in each direction: let in, traced and measured when they are set up.

use std::time::Instant;

use mecha_proto::runtime::v1 as pb;
use mecha_runtime::{Call, Runtime};
use tonic::{Code, Request, Response, Status, Streaming};

use super::service::{DaprService, Method};
use crate::api::crypto::grpc::{self as crypto, Down};
use crate::error::ApiError;

const PART: &str = "v1alpha1/crypto";
const ENCRYPT: &Method = &Method { name: "/dapr.proto.runtime.v1.Dapr/EncryptAlpha1", part: PART };
const DECRYPT: &Method = &Method { name: "/dapr.proto.runtime.v1.Dapr/DecryptAlpha1", part: PART };

impl DaprService {
    pub(super) async fn encrypt(
        &self,
        request: Request<Streaming<pb::EncryptRequest>>,
    ) -> Result<Response<Down<pb::EncryptResponse>>, Status> {
        let runtime = &self.runtime;
        let encrypt = async |_: &Runtime, call: &Call, stream| crypto::encrypt(runtime, call, stream).await;
        self.through(ENCRYPT, request, encrypt).await
    }

    pub(super) async fn decrypt(
        &self,
        request: Request<Streaming<pb::DecryptRequest>>,
    ) -> Result<Response<Down<pb::DecryptResponse>>, Status> {
        let runtime = &self.runtime;
        let decrypt = async |_: &Runtime, call: &Call, stream| crypto::decrypt(runtime, call, stream).await;
        self.through(DECRYPT, request, decrypt).await
    }

    async fn through<Q, A>(
        &self,
        method: &'static Method,
        request: Request<Streaming<Q>>,
        answer: impl AsyncFnOnce(&Runtime, &Call, Streaming<Q>) -> Result<Down<A>, ApiError>,
    ) -> Result<Response<Down<A>>, Status> {
        let started = Instant::now();
        let (metadata, _, stream) = request.into_parts();
        let result = self.answer(method, &metadata, stream, answer).await;
        let code = result.as_ref().map_or_else(Status::code, |_| Code::Ok);
        self.runtime.metrics().grpc.observe(method.name, code, None, started.elapsed());
        result
    }
}
