//! Policies of calls by gRPC: as messages (`InvokeService`), and passing through.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Mutex;

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{Method, Request, Version};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use mecha_proto::Any;
use mecha_proto::common::v1::http_extension::Verb;
use mecha_proto::common::v1::{HttpExtension, InvokeRequest};
use mecha_proto::runtime::v1::InvokeServiceRequest;
use tonic::{Code, Status};

use super::*;

type Frames = futures_util::stream::BoxStream<'static, Result<Frame<Bytes>, std::io::Error>>;

#[tokio::test]
async fn invoke_service_is_tried_again_whatever_the_code() {
    let mut policies = quickly(5);
    policies["retries"]["p"]["matching"] = json!({"httpStatusCodes": "599", "gRPCStatusCodes": "16"});
    policies["timeouts"] = json!({"p": "300ms"});
    let flaky = flaky(&[500, 404, 200, 0, 0, 0, 0, 0, 0], |id| of_app(id, &policies)).await;
    let mut client = flaky.caller.grpc().await.unwrap();
    let call = || InvokeServiceRequest {
        id: flaky.id.clone(),
        message: Some(InvokeRequest {
            method: "flaky".to_owned(),
            data: Some(Any { type_url: String::new(), value: b"data".to_vec() }),
            content_type: "text/plain".to_owned(),
            http_extension: Some(HttpExtension { verb: Verb::Post.into(), querystring: String::new() }),
        }),
    };
    let answer = client.invoke_service(call()).await.unwrap().into_inner();
    assert_eq!(answer.data.unwrap().value, b"3");
    assert!(flaky.app.asked_at("/flaky").iter().all(|asked| asked.body == "data"));
    let late = client.invoke_service(call()).await.unwrap_err();
    assert_eq!((late.code(), late.message()), (Code::DeadlineExceeded, "context deadline exceeded"));
    assert_eq!(flaky.calls(), 9);
}

#[tokio::test]
async fn invoke_service_is_stopped_by_an_open_breaker() {
    let policies = json!({"circuitBreakers": {"p": {"timeout": "300s", "trip": "consecutiveFailures > 0"}}});
    let flaky = flaky(&[500], |id| of_app(id, &policies)).await;
    let mut client = flaky.caller.grpc().await.unwrap();
    let call = || InvokeServiceRequest {
        id: flaky.id.clone(),
        message: Some(InvokeRequest {
            method: "flaky".to_owned(),
            http_extension: Some(HttpExtension { verb: Verb::Get.into(), querystring: String::new() }),
            ..InvokeRequest::default()
        }),
    };
    let failed = client.invoke_service(call()).await.unwrap_err();
    assert_eq!(failed.metadata().get("dapr-http-status").unwrap(), "500");
    let open = client.invoke_service(call()).await.unwrap_err();
    assert_eq!((open.code(), open.message()), (Code::Unknown, "circuit breaker is open"));
    assert_eq!(flaky.calls(), 1);
}

/// What an application does with a call of an unknown service.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// It fails before its first message.
    Fail(Code),
    /// It sends a message, then fails.
    FailLate(Code),
    /// It sends back what comes.
    Echo,
    Hang,
}

struct Passing {
    caller: Mecha,
    _callee: Mecha,
    id: String,
    /// The first bytes of each call.
    calls: Arc<Mutex<Vec<Bytes>>>,
}

async fn passing(acts: &[Act], policies: &Value) -> Passing {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let calls = Arc::new(Mutex::new(Vec::new()));
    let acts = Arc::new(Mutex::new(VecDeque::from(acts.to_vec())));
    let seen = calls.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acts, seen) = (acts.clone(), seen.clone());
            let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                let (acts, seen) = (acts.clone(), seen.clone());
                async move {
                    if !request.uri().path().starts_with("/test.") {
                        return Ok(refused(Code::Unimplemented));
                    }
                    let act = acts.lock().unwrap().pop_front().unwrap_or(Act::Echo);
                    Ok::<_, Infallible>(answered(act, request, &seen).await)
                }
            });
            tokio::spawn(async move {
                let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    let id = unique("callee");
    let callee = runtime(&id).flag("--app-port", port.to_string()).flag("--app-protocol", "grpc");
    let _callee = callee.flag("--disable-init-endpoints", "config,subscribe").start().await.unwrap();
    let caller = runtime(&unique("caller")).resources(&of_app(&id, policies)).start().await.unwrap();
    Passing { caller, _callee, id, calls }
}

fn refused(code: Code) -> http::Response<StreamBody<Frames>> {
    let mut response = http::Response::new(StreamBody::new(futures_util::stream::empty().boxed()));
    response.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
    Status::new(code, "as it was told").add_header(response.headers_mut()).unwrap();
    response
}

fn trailers(code: Code) -> Frame<Bytes> {
    let mut trailers = http::HeaderMap::new();
    Status::new(code, "as it was told").add_header(&mut trailers).unwrap();
    Frame::trailers(trailers)
}

async fn answered(
    act: Act,
    request: Request<Incoming>,
    seen: &Mutex<Vec<Bytes>>,
) -> http::Response<StreamBody<Frames>> {
    let mut body = request.into_body();
    let first = body.frame().await.and_then(|frame| frame.ok()?.into_data().ok()).unwrap_or_default();
    seen.lock().unwrap().push(first.clone());
    let frames: Frames = match act {
        Act::Fail(code) => return refused(code),
        Act::Hang => std::future::pending().await,
        Act::FailLate(code) => {
            futures_util::stream::iter([Ok(Frame::data(first)), Ok(trailers(code))]).boxed()
        }
        Act::Echo => {
            let rest = futures_util::stream::unfold(Some(body), |body| async move {
                let mut body = body?;
                match body.frame().await {
                    Some(Ok(frame)) => Some((Ok(frame), Some(body))),
                    Some(Err(_)) => None,
                    None => Some((Ok(trailers(Code::Ok)), None)),
                }
            });
            futures_util::stream::once(async { Ok(Frame::data(first)) }).chain(rest).boxed()
        }
    };
    let mut response = http::Response::new(StreamBody::new(frames));
    response.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
    response
}

fn message(text: &str) -> Bytes {
    let length = u32::try_from(text.len()).unwrap().to_be_bytes();
    Bytes::from([&[0][..], &length, text.as_bytes()].concat())
}

type Call = http::Response<Incoming>;

impl Passing {
    async fn begin(&self, frames: Frames, is_stream: bool) -> Call {
        let client: Client<HttpConnector, StreamBody<Frames>> =
            Client::builder(TokioExecutor::new()).http2_only(true).build_http();
        let mut request = Request::builder()
            .method(Method::POST)
            .version(Version::HTTP_2)
            .uri(format!("{}/test.Flaky/Call", self.caller.grpc_endpoint()))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("dapr-app-id", &self.id);
        if is_stream {
            request = request.header("dapr-stream", "true");
        }
        client.request(request.body(StreamBody::new(frames)).unwrap()).await.unwrap()
    }

    /// One message there, and what came back.
    async fn unary(&self) -> (Code, Bytes) {
        let frames = futures_util::stream::once(async { Ok(Frame::data(message("one"))) }).boxed();
        ended(self.begin(frames, false).await).await
    }

    fn calls(&self) -> usize {
        self.calls.lock().unwrap().len()
    }
}

async fn ended(call: Call) -> (Code, Bytes) {
    let (head, body) = call.into_parts();
    let body = tokio::time::timeout(SOON, body.collect()).await.unwrap().unwrap();
    let trailers = body.trailers().cloned().unwrap_or(head.headers);
    let status = Status::from_header_map(&trailers).map_or(Code::Ok, |status| status.code());
    (status, body.to_bytes())
}

#[tokio::test]
async fn a_call_of_one_message_is_tried_again_until_it_succeeds() {
    let acts = [Act::Fail(Code::Internal), Act::Fail(Code::Unavailable), Act::Echo];
    let passing = passing(&acts, &quickly(5)).await;
    assert_eq!(passing.unary().await, (Code::Ok, message("one")));
    assert_eq!(*passing.calls.lock().unwrap(), vec![message("one"); 3]);
}

#[tokio::test]
async fn grpc_codes_that_do_not_match_are_told_at_once() {
    let mut policies = quickly(5);
    policies["retries"]["p"]["matching"] = json!({"gRPCStatusCodes": "13-14"});
    let acts = [Act::Fail(Code::Internal), Act::Fail(Code::NotFound)];
    let passing = passing(&acts, &policies).await;
    assert_eq!(passing.unary().await, (Code::NotFound, Bytes::new()));
    assert_eq!(passing.calls(), 2);
}

#[tokio::test]
async fn what_was_answered_in_part_is_not_asked_for_again() {
    let passing = passing(&[Act::FailLate(Code::Unavailable)], &quickly(5)).await;
    assert_eq!(passing.unary().await, (Code::Unavailable, message("one")));
    assert_eq!(passing.calls(), 1);
}

#[tokio::test]
async fn a_call_of_several_messages_is_made_once() {
    for is_stream in [false, true] {
        let passing = passing(&[Act::FailLate(Code::Unavailable), Act::Echo], &quickly(5)).await;
        let (feed, pieces) = tokio::sync::mpsc::channel::<Bytes>(4);
        let frames = futures_util::stream::unfold(pieces, |mut pieces| async move {
            let piece = pieces.recv().await?;
            Some((Ok(Frame::data(piece)), pieces))
        });
        feed.send(message("one")).await.unwrap();
        let call = passing.begin(frames.boxed(), is_stream).await;
        // It may be gone already.
        let _ = feed.send(message("two")).await;
        drop(feed);
        assert_eq!(ended(call).await.0, Code::Unavailable);
        assert_eq!(passing.calls(), 1);
    }
}

#[tokio::test]
async fn a_stream_goes_on_for_longer_than_the_timeout_and_another_call_does_not() {
    let policies = json!({"timeouts": {"p": "300ms"}});
    let passing = passing(&[Act::Echo, Act::Hang], &policies).await;
    let (feed, pieces) = tokio::sync::mpsc::channel::<Bytes>(1);
    let frames = futures_util::stream::unfold(pieces, |mut pieces| async move {
        let piece = pieces.recv().await?;
        Some((Ok(Frame::data(piece)), pieces))
    });
    feed.send(message("one")).await.unwrap();
    let mut stream = passing.begin(frames.boxed(), true).await;
    assert_eq!(stream.frame().await.unwrap().unwrap().into_data().unwrap(), message("one"));
    // The other call's timeout passes meanwhile.
    assert_eq!(passing.unary().await, (Code::DeadlineExceeded, Bytes::new()));
    feed.send(message("two")).await.unwrap();
    assert_eq!(stream.frame().await.unwrap().unwrap().into_data().unwrap(), message("two"));
    drop(feed);
    assert_eq!(ended(stream).await.0, Code::Ok);
}

#[tokio::test]
async fn a_breaker_opens_for_calls_that_pass_through() {
    let policies = json!({"circuitBreakers": {"p": {"timeout": "300s", "trip": "consecutiveFailures > 1"}}});
    let passing = passing(&[Act::Fail(Code::Internal); 9], &policies).await;
    for _ in 0..2 {
        assert_eq!(passing.unary().await.0, Code::Internal);
    }
    for _ in 0..5 {
        assert_eq!(passing.unary().await.0, Code::Unknown);
    }
    assert_eq!(passing.calls(), 2);
}
