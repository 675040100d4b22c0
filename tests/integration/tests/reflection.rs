//! What tools ask a gRPC server first: which services it has, and whether it serves.

use mecha_testkit::Mecha;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, server_reflection_response};

const DAPR: &str = "dapr.proto.runtime.v1.Dapr";

async fn ask(mecha: &Mecha, question: MessageRequest) -> Result<MessageResponse, tonic::Status> {
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(question) };
    let mut client = ServerReflectionClient::new(mecha.grpc_channel().await.unwrap());
    let answers = client.server_reflection_info(OneRequest(Some(request))).await.unwrap();
    Ok(answers.into_inner().message().await?.unwrap().message_response.unwrap())
}

/// A stream of one request.
struct OneRequest(Option<ServerReflectionRequest>);

impl tonic::codegen::tokio_stream::Stream for OneRequest {
    type Item = ServerReflectionRequest;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Ready(self.0.take())
    }
}

#[tokio::test]
async fn the_service_describes_itself() {
    let mecha = Mecha::builder().start().await.unwrap();
    let answer = ask(&mecha, MessageRequest::ListServices(String::new())).await.unwrap();
    let MessageResponse::ListServicesResponse(list) = answer else { panic!("{answer:?}") };
    let names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
    assert!(names.contains(&DAPR), "{names:?}");

    for symbol in [DAPR, "dapr.proto.runtime.v1.GetStateRequest", "dapr.proto.common.v1.StateItem"] {
        let answer = ask(&mecha, MessageRequest::FileContainingSymbol(symbol.to_owned())).await.unwrap();
        let server_reflection_response::MessageResponse::FileDescriptorResponse(files) = answer else {
            panic!("{symbol}: {answer:?}")
        };
        assert!(!files.file_descriptor_proto.is_empty());
    }
    let answer = ask(&mecha, MessageRequest::FileContainingSymbol("no.such.Thing".to_owned())).await;
    assert_eq!(answer.unwrap_err().code(), tonic::Code::NotFound);
}

#[tokio::test]
async fn the_health_service_says_that_it_serves() {
    let mecha = Mecha::builder().start().await.unwrap();
    let mut client = HealthClient::new(mecha.grpc_channel().await.unwrap());
    let answer = client.check(HealthCheckRequest { service: String::new() }).await.unwrap().into_inner();
    assert_eq!(answer.status(), ServingStatus::Serving);
    let unknown = HealthCheckRequest { service: "no.such.Service".to_owned() };
    assert_eq!(client.check(unknown).await.unwrap_err().code(), tonic::Code::NotFound);
}
