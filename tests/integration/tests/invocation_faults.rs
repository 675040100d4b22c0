//! Calls that go wrong on purpose: whom nobody knows, who goes away in the middle, who lies, who sends what is no HTTP. The answers
//! are Dapr's, and afterwards both runtimes hold no more connections and memory than before.

#[path = "support/configuration.rs"]
mod configuration;
#[path = "support/raw_http.rs"]
mod raw_http;

use std::time::Duration;

use bytes::Bytes;
use configuration::{configuration, path};
use http::Request;
use http_body_util::Full;
use mecha_proto::common::v1::http_extension::Verb;
use mecha_proto::common::v1::{HttpExtension, InvokeRequest};
use mecha_proto::runtime::v1::InvokeServiceRequest;
use mecha_testkit::{Asked, HttpClient, Mecha, MechaBuilder, Reply, Scripted, ScriptedApp, eventually};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

const SOON: Duration = Duration::from_secs(30);
/// Connections that may stay open for the next call.
const KEPT: usize = 12;
/// Memory that an allocator may keep.
const GROWTH: u64 = 48 << 20;

/// Tests run beside each other on one network: each has names of its own.
fn unique(name: &str) -> String {
    format!("{name}-{}-{:x}", std::process::id(), rand::random::<u32>())
}

fn runtime(id: &str) -> MechaBuilder {
    Mecha::builder().app_id(id).flag("--dapr-internal-grpc-listen-address", "127.0.0.1")
}

struct Pair {
    caller: Mecha,
    callee: Mecha,
    app: ScriptedApp,
    caller_id: String,
    id: String,
    /// What both had before: open descriptors and memory.
    before: [(usize, u64); 2],
    /// Answers at `/held` do not end as long as it is there.
    _release: watch::Sender<bool>,
}

async fn pair() -> Pair {
    let (_release, released) = watch::channel(false);
    let app = ScriptedApp::start(move |asked: Asked| {
        let released = released.clone();
        async move {
            match asked.path.as_str() {
                "/held" => Scripted::held("beginning", released),
                "/silent" => std::future::pending().await,
                _ => Scripted::ok(asked.body),
            }
        }
    })
    .await
    .unwrap();
    let (id, caller_id) = (unique("callee"), unique("caller"));
    let callee = runtime(&id).flag("--app-port", app.port().to_string());
    let callee = callee.flag("--disable-init-endpoints", "config,subscribe").start().await.unwrap();
    let caller = runtime(&caller_id).start().await.unwrap();
    let mut pair = Pair { caller, callee, app, caller_id, id, before: [(0, 0); 2], _release };
    assert_eq!(pair.get("warm").await.text(), "");
    pair.before = [held(&pair.caller), held(&pair.callee)];
    pair
}

fn held(mecha: &Mecha) -> (usize, u64) {
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", mecha.pid())).unwrap().count();
    (descriptors, mecha.rss_bytes().unwrap())
}

impl Pair {
    fn url(&self, method: &str) -> String {
        self.caller.http_url(&self.path(method))
    }

    fn path(&self, method: &str) -> String {
        format!("/v1.0/invoke/{}/method/{method}", self.id)
    }

    async fn get(&self, method: &str) -> Reply {
        self.caller.http().get(&self.url(method)).await.unwrap()
    }

    /// Both work, and hold what they held before.
    async fn assert_nothing_leaked(&self) {
        let after = self.get("after").await;
        assert_eq!(after.status, 200, "{}", after.text());
        eventually(SOON, || async {
            for (mecha, (descriptors, memory)) in [&self.caller, &self.callee].into_iter().zip(self.before) {
                let now = held(mecha);
                anyhow::ensure!(now.0 <= descriptors + KEPT, "{} descriptors, {descriptors} before", now.0);
                anyhow::ensure!(now.1 <= memory + GROWTH, "{} bytes, {memory} before", now.1);
            }
            Ok(())
        })
        .await
        .unwrap();
    }
}

fn error_of(reply: &Reply) -> (u16, String, String) {
    let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    (reply.status.as_u16(), text("errorCode"), text("message"))
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_that_nobody_has() {
    let pair = pair().await;
    let mut asking = tokio::task::JoinSet::new();
    for number in 0..300 {
        let id = format!("{}-{number}", unique("nobody"));
        let url = pair.caller.http_url(&format!("/v1.0/invoke/{id}/method/m"));
        asking.spawn(async move { (id, HttpClient::new().get(&url).await.unwrap()) });
    }
    while let Some(asked) = asking.join_next().await {
        let (id, reply) = asked.unwrap();
        let expected = format!("failed to invoke, id: {id}, err: couldn't find service: {id}");
        assert_eq!(error_of(&reply), (500, "ERR_DIRECT_INVOKE".to_owned(), expected));
    }
    let none = pair.caller.http().get(&pair.caller.http_url("/v1.0/invoke/x")).await.unwrap();
    assert_eq!(error_of(&none).1, "ERR_DIRECT_INVOKE");
    pair.assert_nothing_leaked().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_that_go_away_in_the_middle() {
    let pair = pair().await;
    // With the answer half sent, and without a word of it.
    for method in ["held", "silent"] {
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let url = pair.url(method);
            calls.spawn(async move { HttpClient::new().get(&url).await });
        }
        pair.app.wait_for(&format!("/{method}"), 20, SOON).await.unwrap();
        // The application's own ends of these calls stay open for as long as the test: what is counted are the runtimes'.
        calls.shutdown().await;
    }
    pair.assert_nothing_leaked().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_goes_away_in_the_middle() {
    let pair = pair().await;
    let call = |method: &str| {
        let url = pair.url(method);
        tokio::spawn(async move { HttpClient::new().get(&url).await })
    };
    let (silent, held) = (call("silent"), call("held"));
    for path in ["/silent", "/held"] {
        pair.app.wait_one(path, SOON).await.unwrap();
    }
    let Pair { app, caller, callee, before, .. } = pair;
    app.kill().await;
    let reply = tokio::time::timeout(SOON, silent).await.unwrap().unwrap().unwrap();
    let (status, code, message) = error_of(&reply);
    assert_eq!((status, code.as_str()), (500, "ERR_DIRECT_INVOKE"));
    assert!(message.contains("code = Internal desc = error invoking app channel"), "{message}");
    // Its answer had begun: it breaks off, or never came.
    let held = tokio::time::timeout(SOON, held).await.unwrap().unwrap();
    assert!(held.is_err() || held.as_ref().is_ok_and(|reply| reply.status == 500), "{held:?}");
    eventually(SOON, || async {
        for (mecha, before) in [&caller, &callee].into_iter().zip(before) {
            let now = self::held(mecha).0;
            anyhow::ensure!(now <= before.0 + KEPT, "{now} descriptors, {} before", before.0);
        }
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runtime_that_goes_away_in_the_middle() {
    let mut pair = pair().await;
    let calls: Vec<_> = ["silent", "held"]
        .map(|method| {
            let url = pair.url(method);
            tokio::spawn(async move { HttpClient::new().get(&url).await })
        })
        .into();
    for path in ["/silent", "/held"] {
        pair.app.wait_one(path, SOON).await.unwrap();
    }
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(pair.callee.pid().cast_signed()).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    pair.callee.wait_exit(SOON).await.unwrap();
    let [silent, held]: [_; 2] = calls.try_into().unwrap();
    let reply = tokio::time::timeout(SOON, silent).await.unwrap().unwrap().unwrap();
    let (status, code, message) = error_of(&reply);
    assert_eq!((status, code.as_str()), (500, "ERR_DIRECT_INVOKE"));
    let is_told = ["code = Unavailable", "couldn't find service"].iter().any(|text| message.contains(text));
    assert!(is_told, "{message}");
    // Its answer had begun: it breaks off, or never came.
    let held = tokio::time::timeout(SOON, held).await.unwrap().unwrap();
    assert!(held.is_err() || held.as_ref().is_ok_and(|reply| reply.status == 500), "{held:?}");
    eventually(SOON, || async {
        let descriptors = self::held(&pair.caller).0;
        anyhow::ensure!(descriptors <= pair.before[0].0 + KEPT, "{descriptors}");
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_cannot_say_who_they_are() {
    let pair = pair().await;
    let spoofed = [
        ("Dapr-Caller-App-Id", "admin"),
        ("dapr-caller-app-id", "admin"),
        ("DAPR-CALLER-NAMESPACE", "kube-system"),
        ("dapr-callee-app-id", "other"),
    ];
    let target = pair.path("spoofed");
    let request = raw_http::request("POST", target.as_bytes(), &spoofed, b"x");
    let reply = raw_http::exchange(&pair.caller.http_addr(), &request, "POST").await.unwrap().unwrap();
    assert_eq!((reply.status, reply.text().as_str()), (200, "x"));

    let mut grpc = pair.caller.grpc().await.unwrap();
    let mut request = tonic::Request::new(InvokeServiceRequest {
        id: pair.id.clone(),
        message: Some(InvokeRequest {
            method: "spoofed".to_owned(),
            http_extension: Some(HttpExtension { verb: Verb::Post.into(), querystring: String::new() }),
            ..InvokeRequest::default()
        }),
    });
    for (name, value) in &spoofed {
        let name: tonic::metadata::AsciiMetadataKey = name.to_ascii_lowercase().parse().unwrap();
        request.metadata_mut().append(name, value.parse().unwrap());
    }
    grpc.invoke_service(request).await.unwrap();

    let asked = pair.app.wait_for("/spoofed", 2, SOON).await.unwrap();
    let own = Request::post(pair.callee.http_url(&pair.path("own"))).header("dapr-caller-app-id", "admin");
    pair.callee.http().send(own.body(Full::<Bytes>::default()).unwrap()).await.unwrap();
    let own = pair.app.wait_one("/own", SOON).await.unwrap();
    for (asked, caller) in [(&asked[0], &pair.caller_id), (&asked[1], &pair.caller_id), (&own, &pair.id)] {
        for (name, expected) in [
            ("dapr-caller-app-id", caller.as_str()),
            ("dapr-caller-namespace", "default"),
            ("dapr-callee-app-id", pair.id.as_str()),
        ] {
            let all: Vec<_> = asked.headers.get_all(name).iter().collect();
            assert_eq!(all, [expected], "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn baggage_that_is_none() {
    let pair = pair().await;
    for baggage in ["novalue", "a=b,,c", "=x", "a b=c"] {
        let request = Request::get(pair.url("baggage")).header("baggage", baggage);
        let reply = pair.caller.http().send(request.body(Full::<Bytes>::default()).unwrap()).await.unwrap();
        assert_eq!(reply.status, 400, "{baggage}: {}", reply.text());
        assert!(reply.text().starts_with("invalid baggage header"), "{}", reply.text());
    }
    assert!(pair.app.asked_at("/baggage").is_empty());
    let request = Request::get(pair.url("baggage")).header("baggage", "a=1,b=2;p=x");
    pair.caller.http().send(request.body(Full::<Bytes>::default()).unwrap()).await.unwrap();
    assert!(pair.app.wait_one("/baggage", SOON).await.unwrap().header("baggage").contains("b=2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn header_bombs() {
    let pair = pair().await;
    let addr = pair.caller.http_addr();
    let target = pair.path("bomb");
    let large = "x".repeat(1 << 20);
    let names: Vec<String> = (0..10_000).map(|number| format!("x-{number}")).collect();
    let many: Vec<_> = names.iter().map(|name| (name.as_str(), "1")).collect();
    for _ in 0..20 {
        for headers in [&[("x-large", large.as_str())][..], &many] {
            let request = raw_http::request("GET", target.as_bytes(), headers, b"");
            let reply = raw_http::exchange(&addr, &request, "GET").await.unwrap();
            // It may close before all of it was sent; then there is nobody to tell.
            assert!(reply.as_ref().is_none_or(|reply| reply.status == 431), "{reply:?}");
        }
    }
    assert!(pair.app.asked_at("/bomb").is_empty());
    pair.assert_nothing_leaked().await;
}

/// Whatever follows a request of two meanings must not become a request of its own.
#[tokio::test(flavor = "multi_thread")]
async fn requests_of_two_meanings() {
    let pair = pair().await;
    let (target, hidden) = (pair.path("plain"), pair.path("smuggled"));
    let smuggled = format!("GET {hidden} HTTP/1.1\r\nhost: x\r\n\r\n");
    let head = format!("POST {target} HTTP/1.1\r\nhost: x\r\n");
    let length = smuggled.len() + 5;
    let forms = [
        format!("{head}content-length: {length}\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}"),
        format!("{head}transfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n0\r\n\r\n{smuggled}"),
        format!("{head}content-length: 0\r\ncontent-length: {length}\r\n\r\n{smuggled}"),
        format!("{head}content-length: 0, {length}\r\n\r\n{smuggled}"),
        format!("{head}content-length: +0\r\n\r\n{smuggled}"),
        format!("{head}transfer-encoding: xchunked\r\n\r\n0\r\n\r\n{smuggled}"),
        format!("{head}transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n{smuggled}"),
        format!("{head}transfer-encoding : chunked\r\n\r\n0\r\n\r\n{smuggled}"),
        format!("{head}x: y\r\n transfer-encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}"),
        format!("{head}transfer-encoding: chunked\r\n\r\n-1\r\n\r\n{smuggled}"),
        format!("{head}transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n\r\n{smuggled}"),
        format!("{head}transfer-encoding: chunked\r\n\r\n0x0\r\n\r\n{smuggled}"),
    ];
    for form in &forms {
        let mut connection = raw_http::Connection::open(&pair.caller.http_addr()).await.unwrap();
        connection.send(form.as_bytes()).await.unwrap();
        // It may be closed already.
        let _ = connection.finish().await;
        let answer = connection.read_to_end().await.unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let head = form.lines().skip(2).take(2).collect::<Vec<_>>().join(" | ");
        assert!(answer.matches("HTTP/1.1 ").count() <= 1, "{head}: {answer}");
        assert!(pair.app.asked_at("/smuggled").is_empty(), "{head}: {answer}");
    }
    pair.assert_nothing_leaked().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_that_stop_in_the_middle_of_a_request() {
    let pair = pair().await;
    let target = pair.path("half");
    let mut halves = Vec::new();
    for number in 0..50 {
        let mut stream = TcpStream::connect(pair.caller.http_addr()).await.unwrap();
        let head = format!("POST {target} HTTP/1.1\r\nhost: x\r\n");
        let half = match number % 3 {
            0 => head,
            1 => format!("{head}content-length: 1000\r\n\r\nhalf"),
            _ => format!("{head}transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n"),
        };
        stream.write_all(half.as_bytes()).await.unwrap();
        halves.push(stream);
    }
    drop(halves);
    pair.assert_nothing_leaked().await;
    // A body that broke off is empty here.
    let bodies: Vec<_> = pair.app.asked_at("/half").into_iter().map(|asked| asked.body).collect();
    assert!(bodies.iter().all(Bytes::is_empty), "half of a body came as a whole one: {bodies:?}");
}

/// Peers that take a connection and say nothing, hang up, or speak something else.
#[tokio::test(flavor = "multi_thread")]
async fn peers_that_are_only_half_there() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (silent, hangs_up, garbage) = (listener, bound().await, bound().await);
    let address = |listener: &TcpListener| listener.local_addr().unwrap().to_string();
    let addresses = json!({
        "silent": address(&silent),
        "hangs-up": address(&hangs_up),
        "garbage": address(&garbage),
    });
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = silent.accept().await {
            held.push(stream);
        }
    });
    tokio::spawn(async move { while hangs_up.accept().await.is_ok() {} });
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = garbage.accept().await {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let spec = json!({"nameResolution": {"component": "static", "configuration": addresses}});
    let file = configuration(&spec);
    let names = json!({"timeout": "p"});
    let resource = json!({
        "apiVersion": "dapr.io/v1alpha1",
        "kind": "Resiliency",
        "metadata": {"name": "res"},
        "spec": {
            "policies": {"timeouts": {"p": "1s"}},
            "targets": {"apps": {"silent": names, "hangs-up": names, "garbage": names}},
        },
    });
    let caller = runtime(&unique("caller")).flag("--config", path(&file)).resources(&resource.to_string());
    let caller = caller.start().await.unwrap();
    let before = held(&caller).0;
    for (id, expected) in [
        ("silent", "context deadline exceeded"),
        ("hangs-up", "code = Unavailable"),
        ("garbage", "code = Unavailable"),
    ] {
        let mut asking = tokio::task::JoinSet::new();
        for _ in 0..30 {
            let url = caller.http_url(&format!("/v1.0/invoke/{id}/method/m"));
            asking.spawn(async move { HttpClient::new().get(&url).await.unwrap() });
        }
        while let Some(reply) = asking.join_next().await {
            let (status, code, message) = error_of(&reply.unwrap());
            assert_eq!((status, code.as_str()), (500, "ERR_DIRECT_INVOKE"), "{id}");
            assert!(message.contains(expected), "{id}: {message}");
        }
    }
    eventually(SOON, || async {
        let now = held(&caller).0;
        anyhow::ensure!(now <= before + KEPT, "{now} descriptors, {before} before");
        Ok(())
    })
    .await
    .unwrap();
}

async fn bound() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}
