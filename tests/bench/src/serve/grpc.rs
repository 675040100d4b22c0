//! Bare tonic servers: GetState with a constant and SaveState that keeps nothing, with tonic's codec and service code as the
//! generator makes it.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::task::{Context, Poll};

use anyhow::Result;
use bytes::Bytes;
use http::{Request, Response};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use mecha_proto::runtime::v1::{GetStateRequest, GetStateResponse, SaveStateRequest};
use tokio::net::TcpListener;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Status};
use tonic_prost::ProstCodec;
use tower_service::Service;

use super::{accept, value};

/// With tonic's own server.
pub(super) async fn serve_with_tonic(listener: TcpListener, dapr: Dapr) -> Result<()> {
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    Ok(Server::builder().add_service(dapr).serve_with_incoming(incoming).await?)
}

/// With hyper's HTTP/2 server, one task a connection: less between the socket and the service.
pub(super) async fn serve_with_hyper(listener: TcpListener, dapr: Dapr) -> Result<()> {
    loop {
        let stream = accept(&listener).await?;
        let dapr = dapr.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| dapr.clone().call(request));
            // A client that goes away is no news.
            let _ = http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

/// The two methods that are measured. Written by hand because the generated trait has a method for each of the API's calls.
#[derive(Debug, Clone)]
pub(super) struct Dapr {
    answer: GetStateResponse,
}

impl Dapr {
    pub(super) fn new(etag: &str) -> Self {
        Self { answer: GetStateResponse { data: value(), etag: etag.to_owned(), ..Default::default() } }
    }
}

impl NamedService for Dapr {
    const NAME: &'static str = "dapr.proto.runtime.v1.Dapr";
}

impl<B> Service<Request<B>> for Dapr
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match request.uri().path() {
            // The second as an application has it behind a runtime, which answers calls of the first itself.
            "/dapr.proto.runtime.v1.Dapr/GetState" | "/bench.Application/GetState" => {
                let method = GetState(self.answer.clone());
                Box::pin(async move { Ok(Grpc::new(ProstCodec::default()).unary(method, request).await) })
            }
            "/dapr.proto.runtime.v1.Dapr/SaveState" => {
                Box::pin(async move { Ok(Grpc::new(ProstCodec::default()).unary(SaveState, request).await) })
            }
            _ => Box::pin(ready(Ok(Status::new(Code::Unimplemented, "not measured").into_http()))),
        }
    }
}

struct GetState(GetStateResponse);

impl UnaryService<GetStateRequest> for GetState {
    type Response = GetStateResponse;
    type Future = Ready<Result<tonic::Response<GetStateResponse>, Status>>;

    fn call(&mut self, _request: tonic::Request<GetStateRequest>) -> Self::Future {
        ready(Ok(tonic::Response::new(std::mem::take(&mut self.0))))
    }
}

struct SaveState;

impl UnaryService<SaveStateRequest> for SaveState {
    type Response = ();
    type Future = Ready<Result<tonic::Response<()>, Status>>;

    fn call(&mut self, _request: tonic::Request<SaveStateRequest>) -> Self::Future {
        ready(Ok(tonic::Response::new(())))
    }
}
