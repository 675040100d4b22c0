//! Calls from one application to another, through two runtimes that find each other over mDNS.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{Method, Request, Version};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use mecha_proto::Any;
use mecha_proto::common::v1::http_extension::Verb;
use mecha_proto::common::v1::{HttpExtension, InvokeRequest};
use mecha_proto::runtime::v1::InvokeServiceRequest;
use mecha_testkit::{Asked, HttpClient, Mecha, MechaBuilder, Reply, Scripted, ScriptedApp, eventually};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

const SOON: Duration = Duration::from_secs(10);

/// A caller without an application, and a callee with one.
struct Pair {
    caller: Mecha,
    callee: Mecha,
    app: ScriptedApp,
    id: String,
}

/// Tests run beside each other on one network: each has names of its own.
fn unique(name: &str) -> String {
    format!("{name}-{}-{:x}", std::process::id(), rand::random::<u32>())
}

fn runtime(id: &str) -> MechaBuilder {
    Mecha::builder().app_id(id).flag("--dapr-internal-grpc-listen-address", "127.0.0.1")
}

async fn pair<F>(answer: impl Fn(Asked) -> F + Send + Sync + 'static) -> Pair
where
    F: Future<Output = Scripted> + Send + 'static,
{
    let app = ScriptedApp::start(answer).await.unwrap();
    let id = unique("callee");
    let callee = runtime(&id).flag("--app-port", app.port().to_string()).start().await.unwrap();
    let caller = runtime(&unique("caller")).start().await.unwrap();
    Pair { caller, callee, app, id }
}

async fn echo(asked: Asked) -> Scripted {
    match asked.path.as_str() {
        "/dapr/config" | "/dapr/subscribe" => Scripted::status(404),
        path => match path.strip_prefix("/status/") {
            Some(status) => Scripted::status(status.parse().unwrap()).with_body("told so"),
            None => Scripted::ok(asked.body),
        },
    }
}

impl Pair {
    fn url(&self, method: &str) -> String {
        self.caller.http_url(&format!("/v1.0/invoke/{}/method/{method}", self.id))
    }

    async fn send(&self, request: http::request::Builder, body: &'static str) -> Reply {
        self.caller.http().send(request.body(Full::new(Bytes::from(body))).unwrap()).await.unwrap()
    }
}

fn error_of(reply: &Reply) -> (u16, String, String) {
    let body: Value = serde_json::from_slice(&reply.body).unwrap();
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    (reply.status.as_u16(), text("errorCode"), text("message"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_verb_path_query_header_and_status_arrives() {
    let pair = pair(echo).await;
    for verb in ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"] {
        let request = Request::builder().method(verb).uri(pair.url(&format!("verbs/{verb}?a=1&b=%20x%2F")));
        let body = if matches!(verb, "POST" | "PUT" | "PATCH" | "DELETE") { "payload" } else { "" };
        let reply = pair.send(request.header("content-type", "text/plain"), body).await;
        assert_eq!(reply.status, 200, "{verb}: {}", reply.text());
        let asked = pair.app.wait_one(&format!("/verbs/{verb}"), SOON).await.unwrap();
        assert_eq!((asked.method.as_str(), asked.body.as_ref()), (verb, body.as_bytes()));
        assert_eq!(asked.query, "a=1&b=%20x%2F");
        assert_eq!(asked.header("content-type"), "text/plain");
        assert!(!asked.headers.contains_key("transfer-encoding"), "{verb}: {:?}", asked.headers);
        if verb != "HEAD" {
            assert_eq!(reply.text(), body);
        }
    }

    let reserved = "a%20b/c+d/%7Bid%7D/e:f@g,h;i=j&k$l!m'n(o)*/%C3%BC";
    pair.send(Request::builder().uri(pair.url(reserved)), "").await;
    pair.app.wait_one(&format!("/{reserved}"), SOON).await.unwrap();

    for status in [201, 204, 301, 304, 400, 404, 418, 500, 503] {
        let reply = pair.send(Request::builder().uri(pair.url(&format!("status/{status}"))), "").await;
        assert_eq!(reply.status, status);
        if status >= 400 {
            assert_eq!(reply.text(), "told so");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_go_both_ways_and_callers_cannot_lie_about_themselves() {
    let pair = pair(|asked| async move {
        Scripted::ok(asked.body)
            .header("x-answer", "1")
            .header("x-answer", "2")
            .header("connection", "x-mine")
            .header("x-mine", "3")
    })
    .await;
    let request = Request::builder()
        .uri(pair.url("headers"))
        .header("x-two", "a")
        .header("x-two", "b")
        .header("connection", "x-hop")
        .header("x-hop", "1")
        .header("dapr-caller-app-id", "liar")
        .header("dapr-callee-app-id", "liar")
        .header("x-forwarded-for", "192.0.2.1");
    let reply = pair.send(request, "").await;
    let answered: Vec<_> = reply.headers.get_all("x-answer").iter().collect();
    assert_eq!(answered, ["1", "2"]);
    assert!(!reply.headers.contains_key("x-mine"));
    assert!(reply.headers.contains_key("traceparent"));

    let asked = pair.app.wait_one("/headers", SOON).await.unwrap();
    let all =
        |name: &str| asked.headers.get_all(name).iter().map(|v| v.to_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(all("x-two"), ["a", "b"]);
    assert!(all("x-hop").is_empty() && all("destination-app-id").is_empty());
    assert!(asked.header("dapr-caller-app-id").starts_with("caller-"), "{:?}", asked.headers);
    assert_eq!(all("dapr-callee-app-id"), [pair.id.as_str()]);
    assert_eq!(all("dapr-caller-namespace"), ["default"]);
    assert_eq!(all("x-forwarded-for")[0], "192.0.2.1");
    assert_eq!(all("x-forwarded-for").len(), 2);
    assert!(all("forwarded")[0].contains(";host="));
    let trace = |header: &str| header.split('-').nth(1).unwrap_or_default().to_owned();
    assert_eq!(trace(asked.header("traceparent")), trace(reply.headers["traceparent"].to_str().unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_kilobytes_of_headers_go_through() {
    let app = ScriptedApp::start(|asked: Asked| async move {
        asked
            .headers
            .iter()
            .filter(|(name, _)| name.as_str().starts_with("x-large"))
            .fold(Scripted::ok("large"), |reply, (name, value)| {
                reply.header(name.as_str(), value.to_str().unwrap())
            })
    })
    .await
    .unwrap();
    let id = unique("callee");
    let callee = runtime(&id).flag("--app-port", app.port().to_string());
    let _callee = callee.flag("--disable-init-endpoints", "config,subscribe").start().await.unwrap();
    let caller = runtime(&unique("caller")).flag("--dapr-http-read-buffer-size", "128");
    let caller = caller.start().await.unwrap();
    let mut request = Request::builder().uri(caller.http_url(&format!("/v1.0/invoke/{id}/method/headers")));
    let value = |number: usize| number.to_string().repeat(4096);
    for number in 0..8 {
        request = request.header(format!("x-large-{number}"), value(number).repeat(2));
    }
    let reply = caller.http().send(request.body(Full::new(Bytes::new())).unwrap()).await.unwrap();
    assert_eq!((reply.status.as_u16(), reply.text().as_str()), (200, "large"));
    for number in 0..8 {
        assert_eq!(reply.headers[format!("x-large-{number}")], value(number).repeat(2));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_is_named_by_header_and_basic_auth_too_and_may_be_the_own_application() {
    let pair = pair(echo).await;
    let named = |path: &str| Request::builder().method("POST").uri(pair.caller.http_url(path));
    let reply = pair.send(named("/by/header").header("dapr-app-id", &pair.id), "x").await;
    assert_eq!((reply.status.as_u16(), reply.text().as_str()), (200, "x"));
    let asked = pair.app.wait_one("/by/header", SOON).await.unwrap();
    assert!(!asked.headers.contains_key("dapr-app-id"));

    let basic = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, format!("dapr-app-id:{}", pair.id));
    let reply = pair.send(named("/by/auth").header("authorization", format!("Basic {basic}")), "x").await;
    assert_eq!(reply.status, 200);

    let own = pair.callee.http_url(&format!("/v1.0/invoke/{}/method/own", pair.id));
    let reply = pair.callee.http().post(&own, "{}").await.unwrap();
    assert_eq!((reply.status.as_u16(), reply.text().as_str()), (200, "{}"));
    let asked = pair.app.wait_one("/own", SOON).await.unwrap();
    assert_eq!(asked.header("dapr-caller-app-id"), pair.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_be_reached_is_named_in_dapr_s_words() {
    let pair = pair(echo).await;
    let http = pair.caller.http();
    let unknown = http.get(&pair.caller.http_url("/v1.0/invoke/nope/method/m")).await.unwrap();
    let expected = "failed to invoke, id: nope, err: couldn't find service: nope";
    assert_eq!(error_of(&unknown), (500, "ERR_DIRECT_INVOKE".into(), expected.into()));

    let dots = http.get(&pair.caller.http_url("/v1.0/invoke/a.b.c/method/m")).await.unwrap();
    assert!(error_of(&dots).2.ends_with("err: invalid app id a.b.c"));
    let none = http.get(&pair.caller.http_url("/v1.0/invoke/a")).await.unwrap();
    assert_eq!(error_of(&none).0, 404);
    let control = http.get(&pair.url("a%0Ab")).await.unwrap();
    assert!(error_of(&control).2.contains("code = InvalidArgument desc = invalid method"));

    // The callee's application is gone, its runtime is not.
    let Pair { caller, callee, app, id } = pair;
    app.kill().await;
    let url = caller.http_url(&format!("/v1.0/invoke/{id}/method/m"));
    let reply = caller.http().get(&url).await.unwrap();
    let (status, _, message) = error_of(&reply);
    assert_eq!(status, 500);
    assert!(message.contains("code = Internal desc = error invoking app channel"), "{message}");

    // Now the runtime is gone as well; it said goodbye.
    let mut callee = callee;
    callee.terminate(SOON).await.unwrap();
    let (status, _, message) = error_of(&caller.http().get(&url).await.unwrap());
    assert_eq!(status, 500);
    assert!(message.contains("couldn't find service") || message.contains("after 3 retries"), "{message}");
}

type Pieces = StreamBody<futures_util::stream::BoxStream<'static, Result<Frame<Bytes>, std::io::Error>>>;

/// A request whose body the test feeds piece by piece.
fn fed(method: Method, url: &str, pieces: mpsc::Receiver<Bytes>) -> Request<Pieces> {
    let pieces = futures_util::stream::unfold(pieces, |mut pieces| async move {
        let piece = pieces.recv().await?;
        Some((Ok(Frame::data(piece)), pieces))
    });
    Request::builder().method(method).uri(url).body(StreamBody::new(pieces.boxed())).unwrap()
}

fn streaming_client() -> Client<hyper_util::client::legacy::connect::HttpConnector, Pieces> {
    Client::builder(TokioExecutor::new()).build_http()
}

/// An application that answers each piece of a request before the next one comes.
async fn streaming_app() -> (u16, watch::Receiver<u64>, watch::Receiver<u32>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (bytes, counted) = watch::channel(0_u64);
    let (broken, breaks) = watch::channel(0_u32);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (bytes, broken) = (bytes.clone(), broken.clone());
            let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
                let (bytes, broken) = (bytes.clone(), broken.clone());
                async move {
                    let (sender, receiver) = mpsc::channel::<Bytes>(1);
                    tokio::spawn(async move {
                        let mut body = request.into_body();
                        while let Some(frame) = body.frame().await {
                            let Ok(frame) = frame else {
                                broken.send_modify(|count| *count += 1);
                                break;
                            };
                            let Ok(data) = frame.into_data() else { continue };
                            bytes.send_modify(|count| *count += data.len() as u64);
                            if sender.send(data).await.is_err() {
                                broken.send_modify(|count| *count += 1);
                                break;
                            }
                        }
                    });
                    let pieces = futures_util::stream::unfold(receiver, |mut pieces| async move {
                        let piece = pieces.recv().await?;
                        Some((Ok::<_, std::io::Error>(Frame::data(piece)), pieces))
                    });
                    Ok::<_, std::convert::Infallible>(http::Response::new(StreamBody::new(pieces)))
                }
            });
            let io = hyper_util::rt::TokioIo::new(stream);
            tokio::spawn(async move {
                let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
            });
        }
    });
    (port, counted, breaks)
}

async fn streaming_pair() -> (Mecha, Mecha, String, watch::Receiver<u64>, watch::Receiver<u32>) {
    let (port, counted, breaks) = streaming_app().await;
    let id = unique("callee");
    let disabled = ("--disable-init-endpoints", "config,subscribe");
    let callee = runtime(&id).flag("--app-port", port.to_string()).flag(disabled.0, disabled.1);
    let callee = callee.start().await.unwrap();
    let caller = runtime(&unique("caller")).start().await.unwrap();
    let url = caller.http_url(&format!("/v1.0/invoke/{id}/method/stream"));
    (caller, callee, url, counted, breaks)
}

#[tokio::test(flavor = "multi_thread")]
async fn pieces_go_through_one_by_one_in_lock_step() {
    let (_caller, _callee, url, _, _) = streaming_pair().await;
    let (feed, pieces) = mpsc::channel(1);
    let answer = tokio::spawn(streaming_client().request(fed(Method::POST, &url, pieces)));
    feed.send(Bytes::from_static(b"first")).await.unwrap();
    let mut answer = answer.await.unwrap().unwrap();
    for piece in ["first", "second", "third"] {
        if piece != "first" {
            feed.send(Bytes::from(piece)).await.unwrap();
        }
        let frame = tokio::time::timeout(SOON, answer.frame()).await.unwrap().unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), piece);
    }
    drop(feed);
    assert!(tokio::time::timeout(SOON, answer.frame()).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_body_goes_through_both_ways_in_bounded_memory() {
    const PIECE: usize = 64 * 1024;
    const PIECES: usize = 16 * 1024;
    let (caller, callee, url, _, _) = streaming_pair().await;
    let (before_caller, before_callee) = (caller.rss_bytes().unwrap(), callee.rss_bytes().unwrap());
    let (feed, pieces) = mpsc::channel(1);
    tokio::spawn(async move {
        for number in 0..PIECES {
            let piece = Bytes::from(vec![number as u8; PIECE]);
            if feed.send(piece).await.is_err() {
                return;
            }
        }
    });
    let mut answer = streaming_client().request(fed(Method::PUT, &url, pieces)).await.unwrap();
    assert_eq!(answer.status(), 200);
    let (mut received, mut most) = (0_usize, 0);
    while let Some(frame) = answer.frame().await {
        let mut data = frame.unwrap().into_data().unwrap();
        while !data.is_empty() {
            // A test that looks at a gibibyte byte by byte takes longer than the gibibyte.
            let same = data.split_to(data.len().min(PIECE - received % PIECE));
            assert!(same == [(received / PIECE) as u8; PIECE][..same.len()], "at {received}");
            received += same.len();
        }
        let grown = |mecha: &Mecha, before: u64| mecha.rss_bytes().unwrap().saturating_sub(before);
        most = most.max(grown(&caller, before_caller)).max(grown(&callee, before_callee));
    }
    assert_eq!(received, PIECE * PIECES);
    assert!(most < 32 << 20, "grew by {} MiB", most >> 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_away_is_seen_by_the_application() {
    let (caller, _callee, url, counted, mut breaks) = streaming_pair().await;
    let stream = tokio::net::TcpStream::connect(caller.http_addr()).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let (feed, pieces) = mpsc::channel(1);
    let mut request = fed(Method::POST, &url, pieces);
    request.headers_mut().insert("host", caller.http_addr().parse().unwrap());
    let request = tokio::spawn(async move { sender.send_request(request).await });
    feed.send(Bytes::from_static(b"begun")).await.unwrap();
    let mut answer = request.await.unwrap().unwrap();
    assert!(answer.frame().await.is_some());
    assert_eq!(*counted.borrow(), 5);
    // The connection breaks with the request's body half sent.
    connection.abort();
    tokio::time::timeout(SOON, breaks.wait_for(|count| *count > 0)).await.unwrap().unwrap();
    drop(feed);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_flushed_as_they_come() {
    let (ends, end) = watch::channel(false);
    let pair = pair(move |asked| {
        let end = end.clone();
        async move {
            if asked.path == "/events" { Scripted::held("data: 1\n\n", end) } else { Scripted::status(404) }
        }
    })
    .await;
    let request = Request::builder().uri(pair.url("events")).header("accept", "text/event-stream");
    let request = request.body(Full::<Bytes>::default()).unwrap();
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let mut answer = client.request(request).await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    assert_eq!(answer.headers()["cache-control"], "no-cache");
    let frame = tokio::time::timeout(SOON, answer.frame()).await.unwrap().unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "data: 1\n\n");
    ends.send_replace(true);
    assert!(answer.body_mut().collect().await.unwrap().to_bytes().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_is_not_taken_for_whole() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // Who only looks whether something listens sends nothing.
            if stream.read(&mut [0; 4096]).await.is_ok_and(|read| read > 0) {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf").await;
            }
        }
    });
    let id = unique("callee");
    let callee = runtime(&id).flag("--app-port", port.to_string());
    let _callee = callee.flag("--disable-init-endpoints", "config,subscribe").start().await.unwrap();
    let caller = runtime(&unique("caller")).start().await.unwrap();
    let url = caller.http_url(&format!("/v1.0/invoke/{id}/method/broken"));
    // Whether the head is still on its way when the body breaks off is chance; the failure is not.
    caller.http().get(&url).await.unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn invoke_service_calls_over_grpc() {
    let pair = pair(echo).await;
    let mut client = pair.caller.grpc().await.unwrap();
    let call = |method: &str, verb: Option<Verb>| InvokeServiceRequest {
        id: pair.id.clone(),
        message: Some(InvokeRequest {
            method: method.to_owned(),
            data: Some(Any { type_url: String::new(), value: b"data".to_vec() }),
            content_type: "text/plain".to_owned(),
            http_extension: verb
                .map(|verb| HttpExtension { verb: verb.into(), querystring: "q=1".to_owned() }),
        }),
    };
    let mut request = tonic::Request::new(call("rpc", Some(Verb::Put)));
    request.metadata_mut().insert("x-mine", "1".parse().unwrap());
    let answer = client.invoke_service(request).await.unwrap();
    assert_eq!(answer.metadata().get("dapr-http-status").unwrap(), "200");
    assert_eq!(answer.into_inner().data.unwrap().value, b"data");
    let asked = pair.app.wait_one("/rpc", SOON).await.unwrap();
    assert_eq!((asked.method, asked.query.as_str()), (Method::PUT, "q=1"));
    assert_eq!(asked.headers["x-mine"], "1");
    assert_eq!(asked.headers["content-type"], "text/plain");

    let refused = client.invoke_service(call("status/404", Some(Verb::Get))).await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (tonic::Code::NotFound, "Not Found"));
    let no_verb = client.invoke_service(call("rpc", None)).await.unwrap_err();
    assert!(no_verb.message().contains("missing HTTP extension field"), "{no_verb:?}");
    let unknown = InvokeServiceRequest { id: "nope".to_owned(), ..call("m", Some(Verb::Get)) };
    let unknown = client.invoke_service(unknown).await.unwrap_err();
    assert_eq!(unknown.code(), tonic::Code::Internal);
    assert_eq!(unknown.message(), "failed to invoke, id: nope, err: couldn't find service: nope");
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_and_urls_are_called_directly() {
    let outside = ScriptedApp::start(echo).await.unwrap();
    let endpoint = json!({
        "apiVersion": "dapr.io/v1alpha1",
        "kind": "HTTPEndpoint",
        "metadata": {"name": "outside"},
        "spec": {
            "baseUrl": format!("http://127.0.0.1:{}/base", outside.port()),
            "headers": [{"name": "x-given", "value": "1"}],
        },
    });
    let caller = runtime(&unique("caller")).resources(&endpoint.to_string()).start().await.unwrap();
    let http = caller.http();
    let reply = http.post(&caller.http_url("/v1.0/invoke/outside/method/named?a=1"), "{}").await.unwrap();
    assert_eq!((reply.status.as_u16(), reply.text().as_str()), (200, "{}"));
    let asked = outside.wait_one("/base/named", SOON).await.unwrap();
    assert_eq!((asked.header("x-given"), asked.query.as_str()), ("1", "a=1"));
    assert_eq!(asked.header("host"), format!("127.0.0.1:{}", outside.port()));

    for url in
        [format!("http://127.0.0.1:{}", outside.port()), format!("http%3A%2F%2F127.0.0.1:{}", outside.port())]
    {
        let reply =
            http.get(&caller.http_url(&format!("/v1.0/invoke/{url}/method/status/418"))).await.unwrap();
        assert_eq!((reply.status.as_u16(), reply.text().as_str()), (418, "told so"));
    }
    let metadata: Value =
        serde_json::from_slice(&http.get(&caller.http_url("/v1.0/metadata")).await.unwrap().body).unwrap();
    assert_eq!(metadata["httpEndpoints"], json!([{"name": "outside"}]));
    let mut grpc = caller.grpc().await.unwrap();
    let metadata = grpc.get_metadata(mecha_proto::runtime::v1::GetMetadataRequest::default()).await.unwrap();
    assert_eq!(metadata.into_inner().http_endpoints[0].name, "outside");
    let closed = http.get(&caller.http_url("/v1.0/invoke/http://127.0.0.1:1/method/m")).await.unwrap();
    assert_eq!(error_of(&closed).1, "ERR_DIRECT_INVOKE");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_runtimes_of_one_application_take_turns() {
    let id = unique("callee");
    let (one, two) = (ScriptedApp::start(echo).await.unwrap(), ScriptedApp::start(echo).await.unwrap());
    let _first = runtime(&id).flag("--app-port", one.port().to_string()).start().await.unwrap();
    let _second = runtime(&id).flag("--app-port", two.port().to_string()).start().await.unwrap();
    let caller = runtime(&unique("caller")).start().await.unwrap();
    let url = caller.http_url(&format!("/v1.0/invoke/{id}/method/turn"));
    eventually(SOON, || async {
        assert_eq!(HttpClient::new().get(&url).await?.status, 200);
        anyhow::ensure!(!one.asked_at("/turn").is_empty() && !two.asked_at("/turn").is_empty());
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(Version::HTTP_11, one.asked_at("/turn")[0].version);
}

/// Counts when it is dropped.
struct Counted(watch::Sender<u32>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count += 1);
    }
}

/// An application with a gRPC service that nobody knows: it sends every message back as it comes, then trailers. It tells
/// how many calls ended.
async fn grpc_app() -> (u16, watch::Receiver<Vec<http::HeaderMap>>, watch::Receiver<u32>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (seen, all) = watch::channel(Vec::new());
    let (ended, ends) = watch::channel(0_u32);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (seen, ended) = (seen.clone(), ended.clone());
            let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
                seen.send_modify(|seen| seen.push(request.headers().clone()));
                let refuses = request.uri().path().ends_with("/Refuse");
                let ended = ended.clone();
                async move {
                    let mut response = http::Response::builder().header("content-type", "application/grpc");
                    if refuses {
                        response = response.header("grpc-status", "9").header("grpc-message", "not now");
                    }
                    let body = (!refuses).then(|| (request.into_body(), Counted(ended)));
                    let frames = futures_util::stream::unfold(body, |body| async move {
                        let (mut body, counted) = body?;
                        match body.frame().await {
                            Some(Ok(frame)) => Some((Ok(frame), Some((body, counted)))),
                            Some(Err(error)) => Some((Err(error), None)),
                            None => {
                                let mut trailers = http::HeaderMap::new();
                                trailers.insert("grpc-status", "0".parse().unwrap());
                                trailers.insert("x-last", "1".parse().unwrap());
                                Some((Ok(Frame::trailers(trailers)), None))
                            }
                        }
                    });
                    Ok::<_, std::convert::Infallible>(response.body(StreamBody::new(frames)).unwrap())
                }
            });
            let io = hyper_util::rt::TokioIo::new(stream);
            tokio::spawn(async move {
                let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(io, service).await;
            });
        }
    });
    (port, all, ends)
}

fn message(text: &str) -> Bytes {
    let length = u32::try_from(text.len()).unwrap().to_be_bytes();
    Bytes::from([&[0][..], &length, text.as_bytes()].concat())
}

fn grpc_call(url: &str, id: Option<&str>, pieces: mpsc::Receiver<Bytes>) -> Request<Pieces> {
    let mut request = fed(Method::POST, url, pieces);
    *request.version_mut() = Version::HTTP_2;
    let headers = request.headers_mut();
    headers.insert("content-type", "application/grpc".parse().unwrap());
    headers.insert("te", "trailers".parse().unwrap());
    headers.insert("x-mine", "1".parse().unwrap());
    headers.insert("dapr-caller-app-id", "liar".parse().unwrap());
    if let Some(id) = id {
        headers.insert("dapr-app-id", id.parse().unwrap());
    }
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn any_grpc_service_is_reached_through_both_runtimes() {
    let (port, mut seen, mut ends) = grpc_app().await;
    let id = unique("callee");
    let callee = runtime(&id).flag("--app-port", port.to_string()).flag("--app-protocol", "grpc");
    let callee = callee.env("APP_API_TOKEN", "app-secret").start().await.unwrap();
    let caller = runtime(&unique("caller")).start().await.unwrap();
    let client: Client<_, Pieces> = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    let url = |mecha: &Mecha, method: &str| format!("{}/test.Echo/{method}", mecha.grpc_endpoint());
    let before = seen.borrow_and_update().len();

    // Through both, in lock step, to the trailers.
    let (feed, pieces) = mpsc::channel(1);
    feed.send(message("one")).await.unwrap();
    let mut answer = client.request(grpc_call(&url(&caller, "Bidi"), Some(&id), pieces)).await.unwrap();
    let large = "x".repeat(70_000);
    for text in ["one", "two", &large, "three"] {
        if text != "one" {
            feed.send(message(text)).await.unwrap();
        }
        let (expected, mut read) = (message(text), Vec::new());
        while read.len() < expected.len() {
            let frame = tokio::time::timeout(SOON, answer.frame()).await.unwrap().unwrap().unwrap();
            read.extend(frame.into_data().unwrap());
        }
        assert_eq!(read, expected);
    }
    drop(feed);
    let last = tokio::time::timeout(SOON, answer.frame()).await.unwrap().unwrap().unwrap();
    assert_eq!(last.into_trailers().unwrap()["x-last"], "1");
    let headers = seen.borrow()[before].clone();
    assert_eq!(
        (&headers["x-mine"], &headers["dapr-api-token"]),
        (&"1".parse().unwrap(), &"app-secret".parse().unwrap())
    );
    assert!(headers["dapr-caller-app-id"].to_str().unwrap().starts_with("caller-"), "{headers:?}");
    assert_eq!(headers["dapr-callee-app-id"], id.as_str());
    assert!(headers.contains_key("traceparent") && headers.contains_key("grpc-trace-bin"));

    // The application's error, through its own runtime alone.
    let status = |response: &http::Response<hyper::body::Incoming>| {
        let status = tonic::Status::from_header_map(response.headers()).unwrap();
        (status.code(), status.message().to_owned())
    };
    let (_feed, pieces) = mpsc::channel(1);
    let refused = client.request(grpc_call(&url(&callee, "Refuse"), Some(&id), pieces)).await.unwrap();
    assert_eq!(status(&refused), (tonic::Code::FailedPrecondition, "not now".to_owned()));

    // A call that its caller resets.
    let (feed, pieces) = mpsc::channel(1);
    feed.send(message("one")).await.unwrap();
    let request = grpc_call(&url(&caller, "Bidi"), Some(&id), pieces).map(|body| {
        let gone = futures_util::stream::once(async { Err(std::io::Error::other("gone")) });
        StreamBody::new(futures_util::StreamExt::boxed(body.chain(gone)))
    });
    let answer = client.request(request).await.unwrap();
    let ended = *ends.borrow_and_update();
    drop(feed);
    tokio::time::timeout(SOON, ends.wait_for(|count| *count > ended)).await.unwrap().unwrap();
    answer.into_body().collect().await.unwrap_err();

    // Targets that are none.
    for (id, text) in [
        (None, "failed to proxy request: required metadata dapr-callee-app-id or dapr-app-id not found"),
        (Some("nope"), "timeout waiting for address for app id nope"),
    ] {
        let (_feed, pieces) = mpsc::channel(1);
        let mut request = grpc_call(&url(&caller, "Bidi"), id, pieces);
        request.headers_mut().remove("dapr-caller-app-id");
        let refused = client.request(request).await.unwrap();
        assert_eq!(status(&refused), (tonic::Code::Unknown, text.to_owned()));
    }
}
