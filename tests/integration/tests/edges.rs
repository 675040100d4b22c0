//! The ways to the API beside its two ports: the public port, Unix domain sockets, and pages of a browser.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, HOST, ORIGIN,
};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use mecha_backends::free_port;
use mecha_proto::runtime::v1::GetMetadataRequest;
use mecha_proto::runtime::v1::dapr_client::DaprClient;
use mecha_testkit::{HttpClient, Mecha, MechaBuilder, Reply, Signal, eventually};
use tempfile::TempDir;
use tokio::net::{TcpStream, UnixStream};
use tonic::transport::Endpoint;

#[path = "support/configuration.rs"]
mod configuration;

const SOON: Duration = Duration::from_secs(20);
const TOKEN: &str = "s3cr3t-token";
const READY: &str = "dapr initialized";

// The public port

struct Public {
    mecha: Mecha,
    port: u16,
}

impl Public {
    async fn start(builder: MechaBuilder) -> Self {
        let port = free_port().unwrap();
        let builder = builder.flag("--dapr-public-port", port.to_string());
        let builder = builder.flag("--dapr-public-listen-address", "127.0.0.1");
        Self { mecha: builder.start().await.unwrap(), port }
    }

    async fn call(&self, method: Method, path: &str) -> Reply {
        let request = Request::builder().method(method).uri(format!("http://127.0.0.1:{}{path}", self.port));
        self.mecha.http().send(request.body(Full::default()).unwrap()).await.unwrap()
    }
}

#[tokio::test]
async fn the_public_port_tells_health_and_metadata_to_anybody() {
    let builder = Mecha::builder().app_id("orders").env("DAPR_API_TOKEN", TOKEN);
    let public = Public::start(builder).await;
    for path in ["/v1.0/healthz", "/v1.0/healthz/outbound", "/v1.0/healthz/"] {
        assert_eq!(public.call(Method::GET, path).await.status, 204, "{path}");
    }
    let reply = public.call(Method::GET, "/v1.0/metadata").await;
    assert_eq!((reply.status.as_u16(), &reply.json().unwrap()["id"]), (200, &"orders".into()));
    // Only the public port is open to all.
    let reply = public.mecha.http().get(&public.mecha.http_url("/v1.0/metadata")).await.unwrap();
    assert_eq!(reply.status, 401);
}

#[tokio::test]
async fn the_public_port_has_nothing_else() {
    let builder = Mecha::builder().plugin("memory").component("store", "state.in-memory");
    let public = Public::start(builder).await;
    let paths = [
        (Method::GET, "/v1.0/state/store/key"),
        (Method::POST, "/v1.0/state/store"),
        (Method::DELETE, "/v1.0/state/store/key"),
        (Method::PUT, "/v1.0/metadata/key"),
        (Method::POST, "/v1.0/metadata"),
        (Method::POST, "/v1.0/shutdown"),
        (Method::GET, "/v1.0/secrets/store/key"),
        (Method::GET, "/v1.0/invoke/other/method/x"),
        (Method::GET, "/v1.0/metadata/../state/store/key"),
        (Method::GET, "/"),
    ];
    for (method, path) in paths {
        let reply = public.call(method.clone(), path).await;
        let said = (reply.status.as_u16(), reply.text());
        assert_eq!(said, (404, "404 page not found\n".to_owned()), "{method} {path}");
    }
    // The same paths exist on the other port, which is still up after the request for its end.
    let reply = public.mecha.http().get(&public.mecha.http_url("/v1.0/state/store/key")).await.unwrap();
    assert_eq!(reply.status, 204);
}

#[tokio::test]
async fn what_the_configuration_denies_the_public_port_does_not_have_either() {
    let denied = serde_json::json!({"name": "metadata", "version": "v1.0", "protocol": "http"});
    let file = configuration::configuration(&serde_json::json!({"api": {"denied": [denied]}}));
    let builder = Mecha::builder().flag("--config", configuration::path(&file));
    let public = Public::start(builder).await;
    assert_eq!(public.call(Method::GET, "/v1.0/metadata").await.status, 404);
    assert_eq!(public.call(Method::GET, "/v1.0/healthz").await.status, 204);
}

#[tokio::test]
async fn a_public_port_that_is_taken_ends_the_start() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let builder = Mecha::builder().flag("--dapr-public-port", &port);
    let mut mecha = builder.flag("--dapr-public-listen-address", "127.0.0.1").spawn().await.unwrap();
    assert_eq!(mecha.wait_exit(SOON).await.unwrap(), 1);
    mecha.logs().wait_for("--dapr-public-port", SOON).await.unwrap();
    assert_eq!(mecha.logs().matching(&format!("cannot listen on 127.0.0.1:{port}")).len(), 1);
}

// Unix domain sockets

/// A folder of sockets, and the paths that daprd gives them for the application `app`.
struct Sockets(TempDir);

impl Sockets {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, api: &str) -> std::path::PathBuf {
        self.0.path().join(format!("dapr-app-{api}.socket"))
    }

    async fn start(&self, builder: MechaBuilder) -> Mecha {
        let folder = self.0.path().to_str().unwrap();
        let mecha = builder.flag("--unix-domain-socket", folder).spawn().await.unwrap();
        mecha.logs().wait_for(READY, SOON).await.unwrap();
        mecha
    }
}

/// One request on a connection of its own.
async fn over_socket(path: &Path, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes)> {
    let stream = UnixStream::connect(path).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let answer = sender.send_request(request).await?;
    let (head, body) = answer.into_parts();
    let body = body.collect().await?.to_bytes();
    connection.abort();
    Ok((head.status, body))
}

fn get(path: &str) -> Request<Full<Bytes>> {
    Request::get(path).header(HOST, "localhost").body(Full::default()).unwrap()
}

async fn grpc_id(path: &Path) -> Result<String> {
    let channel = Endpoint::from_shared(format!("unix:{}", path.display()))?.connect().await?;
    Ok(DaprClient::new(channel).get_metadata(GetMetadataRequest {}).await?.into_inner().id)
}

#[tokio::test]
async fn sockets_stand_in_for_both_ports_and_go_at_the_end() {
    let sockets = Sockets::new();
    let builder = Mecha::builder().plugin("memory").component("store", "state.in-memory");
    let mut mecha = sockets.start(builder).await;

    let body = Full::from(r#"[{"key":"k","value":1}]"#);
    let save = Request::post("/v1.0/state/store").header(HOST, "localhost").body(body).unwrap();
    assert_eq!(over_socket(&sockets.path("http"), save).await.unwrap().0, 204);
    let (status, body) = over_socket(&sockets.path("http"), get("/v1.0/state/store/k")).await.unwrap();
    assert_eq!((status.as_u16(), &body[..]), (200, &b"1"[..]));
    assert_eq!(grpc_id(&sockets.path("grpc")).await.unwrap(), "app");

    // Nothing listens where the ports would be.
    let grpc = mecha.grpc_endpoint().replace("http://", "");
    for addr in [mecha.http_addr(), grpc] {
        assert!(TcpStream::connect(&addr).await.is_err(), "{addr} is open");
    }
    assert!(mecha.metrics().await.is_ok(), "metrics have their port still");

    assert_eq!(mecha.terminate(SOON).await.unwrap(), 0);
    let left: Vec<_> =
        std::fs::read_dir(sockets.0.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.is_empty(), "{left:?} were left behind");
}

#[tokio::test]
async fn sockets_ask_for_the_token_too() {
    let sockets = Sockets::new();
    let _mecha = sockets.start(Mecha::builder().env("DAPR_API_TOKEN", TOKEN)).await;
    let path = sockets.path("http");
    assert_eq!(over_socket(&path, get("/v1.0/metadata")).await.unwrap().0, 401);
    let mut request = get("/v1.0/metadata");
    request.headers_mut().insert("dapr-api-token", TOKEN.parse().unwrap());
    assert_eq!(over_socket(&path, request).await.unwrap().0, 200);
    assert!(grpc_id(&sockets.path("grpc")).await.is_err());
}

#[tokio::test]
async fn sockets_that_a_killed_process_left_are_taken_over() {
    let sockets = Sockets::new();
    let mut killed = sockets.start(Mecha::builder()).await;
    killed.signal(Signal::KILL).unwrap();
    killed.wait_exit(SOON).await.unwrap();
    assert!(sockets.path("http").exists() && sockets.path("grpc").exists());

    let _mecha = sockets.start(Mecha::builder()).await;
    eventually(SOON, || async {
        let (status, _) = over_socket(&sockets.path("http"), get("/v1.0/healthz")).await?;
        ensure!(status == StatusCode::NO_CONTENT, "healthz answers {status}");
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(grpc_id(&sockets.path("grpc")).await.unwrap(), "app");
}

#[tokio::test]
async fn a_second_process_does_not_take_the_sockets_of_one_that_runs() {
    let sockets = Sockets::new();
    let _first = sockets.start(Mecha::builder()).await;
    let folder = sockets.0.path().to_str().unwrap();
    let mut second = Mecha::builder().flag("--unix-domain-socket", folder).spawn().await.unwrap();
    assert_eq!(second.wait_exit(SOON).await.unwrap(), 1);
    second.logs().wait_for("--unix-domain-socket", SOON).await.unwrap();
    let (status, _) = over_socket(&sockets.path("http"), get("/v1.0/healthz")).await.unwrap();
    assert_eq!(status, 204);
}

#[tokio::test]
async fn a_folder_that_is_missing_ends_the_start() {
    let builder = Mecha::builder().flag("--unix-domain-socket", "/no/such/folder");
    let mut mecha = builder.spawn().await.unwrap();
    assert_eq!(mecha.wait_exit(SOON).await.unwrap(), 1);
    mecha.logs().wait_for("/no/such/folder/dapr-app-http.socket", SOON).await.unwrap();
}

// Pages of a browser

async fn allowing(origins: &str) -> Mecha {
    let builder = Mecha::builder().plugin("memory").component("store", "state.in-memory");
    builder.env("DAPR_API_TOKEN", TOKEN).flag("--allowed-origins", origins).start().await.unwrap()
}

/// What a browser asks before it lets a page of `origin` send a request that no form could send.
async fn preflight(mecha: &Mecha, origin: &str) -> Reply {
    let request = Request::options(mecha.http_url("/v1.0/state/store"))
        .header(ORIGIN, origin)
        .header(ACCESS_CONTROL_REQUEST_METHOD, "PUT")
        .header(ACCESS_CONTROL_REQUEST_HEADERS, "content-type, dapr-api-token");
    mecha.http().send(request.body(Full::default()).unwrap()).await.unwrap()
}

async fn simple(mecha: &Mecha, origin: Option<&str>) -> Reply {
    let mut request = Request::get(mecha.http_url("/v1.0/metadata")).header("dapr-api-token", TOKEN);
    if let Some(origin) = origin {
        request = request.header(ORIGIN, origin);
    }
    mecha.http().send(request.body(Full::default()).unwrap()).await.unwrap()
}

/// A permission as a browser reads it, of what [`preflight`] asked for.
fn permits(reply: &Reply, allowed_origin: &str) -> Result<()> {
    ensure!(reply.status == StatusCode::OK, "the answer is {}", reply.status);
    ensure!(reply.body.is_empty(), "the answer has a body: {}", reply.text());
    let origin = reply.headers.get(ACCESS_CONTROL_ALLOW_ORIGIN).context("no origin is allowed")?;
    ensure!(origin == allowed_origin, "{origin:?} is allowed");
    let list = |name: http::HeaderName| {
        let list = reply.header(name.as_str()).to_ascii_lowercase();
        list.split(',').map(|entry| entry.trim().to_owned()).collect::<Vec<_>>()
    };
    let methods = list(ACCESS_CONTROL_ALLOW_METHODS);
    ensure!(methods.iter().any(|method| method == "put"), "methods are {methods:?}");
    let headers = list(ACCESS_CONTROL_ALLOW_HEADERS);
    for wanted in ["content-type", "dapr-api-token"] {
        ensure!(headers.iter().any(|header| header == wanted), "headers are {headers:?}");
    }
    Ok(())
}

fn allowed_origin(reply: &Reply) -> Option<&str> {
    reply.headers.get(ACCESS_CONTROL_ALLOW_ORIGIN).map(|value| value.to_str().unwrap())
}

#[tokio::test]
async fn a_star_lets_every_page_in() {
    let mecha = allowing("*").await;
    permits(&preflight(&mecha, "https://anywhere.example").await, "*").unwrap();
    let reply = simple(&mecha, Some("https://anywhere.example")).await;
    assert_eq!((reply.status.as_u16(), allowed_origin(&reply)), (200, Some("*")));
    // A page may read why it failed.
    let request = Request::get(mecha.http_url("/v1.0/metadata")).header(ORIGIN, "https://anywhere.example");
    let reply = mecha.http().send(request.body(Full::default()).unwrap()).await.unwrap();
    assert_eq!((reply.status.as_u16(), allowed_origin(&reply)), (401, Some("*")));
}

#[tokio::test]
async fn only_origins_of_the_list_are_let_in() {
    let mecha = allowing("https://shop.example,https://*.corp.example, http://localhost:3000").await;
    for origin in [
        "https://shop.example",
        "https://SHOP.example",
        "https://a.corp.example",
        "https://a.b.corp.example",
        "http://localhost:3000",
    ] {
        permits(&preflight(&mecha, origin).await, origin).with_context(|| origin.to_owned()).unwrap();
        let reply = simple(&mecha, Some(origin)).await;
        assert_eq!((reply.status.as_u16(), allowed_origin(&reply)), (200, Some(origin)));
        // A cache must not give one page the answer to another's.
        assert!(reply.header("vary").to_ascii_lowercase().contains("origin"), "{:?}", reply.headers);
    }
    for origin in [
        "https://other.example",
        "http://shop.example",
        "https://shop.example:8443",
        "https://shop.example.evil",
        "https://corp.example",
        "https://a.corp.example.evil",
        "http://localhost:3001",
        "null",
    ] {
        let reply = preflight(&mecha, origin).await;
        assert_eq!((reply.status.as_u16(), allowed_origin(&reply)), (200, None), "{origin}");
        // The browser keeps the answer from the page; the request itself is answered as any other.
        let reply = simple(&mecha, Some(origin)).await;
        assert_eq!((reply.status.as_u16(), allowed_origin(&reply)), (200, None), "{origin}");
    }
    let reply = simple(&mecha, None).await;
    assert_eq!((reply.status.as_u16(), allowed_origin(&reply)), (200, None));
}

#[tokio::test]
async fn without_a_list_no_page_is_let_in() {
    for origins in [None, Some("")] {
        let builder = Mecha::builder().env("DAPR_API_TOKEN", TOKEN);
        let builder = origins.map_or(builder.clone(), |origins| builder.flag("--allowed-origins", origins));
        let mecha = builder.start().await.unwrap();
        let reply = preflight(&mecha, "https://shop.example").await;
        assert_eq!((reply.status.as_u16(), allowed_origin(&reply)), (401, None));
        let reply = simple(&mecha, Some("https://shop.example")).await;
        assert_eq!((reply.status.as_u16(), allowed_origin(&reply)), (200, None));
        assert!(reply.headers.get("vary").is_none(), "{:?}", reply.headers);
    }
}

/// An OPTIONS that asks for no permission is a request like any other; here one without a token.
#[tokio::test]
async fn an_options_request_that_is_no_preflight_is_not_answered_for() {
    let mecha = allowing("*").await;
    let request = Request::options(mecha.http_url("/v1.0/state/store")).header(ORIGIN, "https://a.example");
    let reply = mecha.http().send(request.body(Full::default()).unwrap()).await.unwrap();
    assert_eq!(reply.status, 401);
}

#[tokio::test]
async fn the_public_port_lets_no_page_in() {
    let public = Public::start(Mecha::builder().flag("--allowed-origins", "*")).await;
    let request = Request::get(format!("http://127.0.0.1:{}/v1.0/metadata", public.port));
    let request = request.header(ORIGIN, "https://a.example").body(Full::default()).unwrap();
    let reply = HttpClient::new().send(request).await.unwrap();
    assert_eq!((reply.status.as_u16(), allowed_origin(&reply)), (200, None));
}

#[tokio::test]
async fn what_is_no_origin_ends_the_start_and_is_named() {
    for (origins, wrong) in
        [("https://a.example,localhost:3000", "localhost:3000"), ("shop.example", "shop.example")]
    {
        let mut mecha = Mecha::builder().flag("--allowed-origins", origins).spawn().await.unwrap();
        assert_eq!(mecha.wait_exit(SOON).await.unwrap(), 1);
        let line = mecha.logs().wait_for("--allowed-origins", SOON).await.unwrap();
        assert!(line.contains(wrong) && line.contains("is not an origin"), "{line}");
    }
}
