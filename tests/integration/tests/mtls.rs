//! Mutual TLS between runtimes: who is who, who is refused and why, and certificates that change while calls run.

#[path = "support/certificates.rs"]
mod certificates;
#[path = "support/configuration.rs"]
mod configuration;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use certificates::{DAY, Files, as_app, connect, own, without_certificate, without_tls};
use configuration::{configuration, path};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use mecha_backends::free_port;
use mecha_identity::Authority;
use mecha_proto::common::v1::{HttpExtension, InvokeRequest, http_extension::Verb};
use mecha_proto::runtime::v1::InvokeServiceRequest;
use mecha_testkit::{Asked, Mecha, MechaBuilder, Reply, Scripted, ScriptedApp, eventually, mecha_binary};
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tokio::process::Command;

const SOON: Duration = Duration::from_secs(30);

async fn echo(asked: Asked) -> Scripted {
    match asked.path.as_str() {
        "/dapr/config" | "/dapr/subscribe" => Scripted::status(404),
        _ => Scripted::ok(asked.body),
    }
}

/// A runtime that proves who it is with these files.
fn proven(app_id: &str, files: &Files) -> MechaBuilder {
    let file = |name: &str| files.path(name).display().to_string();
    plain(app_id)
        .switch("--enable-mtls")
        .env("DAPR_TRUST_ANCHORS_FILE", file("ca.crt"))
        .env("DAPR_CERT_CHAIN", file("tls.crt"))
        .env("DAPR_CERT_KEY", file("tls.key"))
}

fn plain(app_id: &str) -> MechaBuilder {
    Mecha::builder().app_id(app_id).flag("--dapr-internal-grpc-listen-address", "127.0.0.1")
}

/// Where everybody is: at the callee's port, whatever it is called.
fn found(names: &[&str], port: u16) -> NamedTempFile {
    let table = names.iter().map(|name| ((*name).to_owned(), json!(format!("127.0.0.1:{port}"))));
    let table: serde_json::Map<String, Value> = table.collect();
    configuration(&json!({"nameResolution": {"component": "static", "configuration": table}}))
}

/// Only one application may call.
fn only(caller: &str, trust_domain: &str) -> NamedTempFile {
    let policy = json!({"appId": caller, "defaultAction": "allow", "trustDomain": trust_domain,
                        "namespace": "default"});
    configuration(&json!({"accessControl": {"defaultAction": "deny", "policies": [policy]}}))
}

struct Callee {
    mecha: Mecha,
    app: ScriptedApp,
    port: u16,
}

async fn callee(files: &Files, configuration: &NamedTempFile) -> Callee {
    let app = ScriptedApp::start(echo).await.unwrap();
    let port = free_port().unwrap();
    let mecha = proven("callee", files)
        .flag("--app-port", app.port().to_string())
        .flag("--dapr-internal-grpc-port", port.to_string())
        .flag("--config", path(configuration));
    Callee { mecha: mecha.start().await.unwrap(), app, port }
}

async fn caller(files: &Files, app_id: &str, names: &[&str], port: u16) -> Mecha {
    proven(app_id, files).flag("--config", path(&found(names, port))).start().await.unwrap()
}

async fn call(caller: &Mecha, id: &str, method: &str) -> Reply {
    caller.http().post(&caller.http_url(&format!("/v1.0/invoke/{id}/method/{method}")), "{}").await.unwrap()
}

fn message(reply: &Reply) -> String {
    let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    body["message"].as_str().unwrap_or_default().to_owned()
}

/// The value of a counter that has no labels but those of every runtime.
async fn counted(mecha: &Mecha, metric: &str) -> f64 {
    let text = mecha.metrics().await.unwrap();
    let line = text.lines().find(|line| line.starts_with(&format!("{metric}{{")));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or_default()
}

fn nobody_in_particular() -> NamedTempFile {
    configuration(&json!({}))
}

/// The files are those of `mecha certs new`.
#[tokio::test(flavor = "multi_thread")]
async fn runtimes_that_prove_themselves_call_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let make = || async {
        let mut command = Command::new(mecha_binary().unwrap());
        command.args(["certs", "new", "--app-id", "caller", "--app-id", "callee", "--app-id", "stranger"]);
        let output = command.arg("--out").arg(folder.path()).output().await.unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(make().await.contains("a new authority") && make().await.contains("that was there"));
    let runtime = |app_id: &str| {
        let file = |name: String| folder.path().join(name).display().to_string();
        plain(app_id)
            .switch("--enable-mtls")
            .env("MECHA__MTLS__TRUST_ANCHORS", file("ca.crt".to_owned()))
            .env("MECHA__MTLS__TRUST_DOMAIN", "public")
            .env("DAPR_CERT_CHAIN", std::fs::read_to_string(file(format!("{app_id}/tls.crt"))).unwrap())
            .env("DAPR_CERT_KEY", file(format!("{app_id}/tls.key")))
    };
    let app = ScriptedApp::start(echo).await.unwrap();
    let port = free_port().unwrap();
    let rules = only("caller", "public");
    let callee = runtime("callee").flag("--app-port", app.port().to_string()).flag("--config", path(&rules));
    let callee = callee.flag("--dapr-internal-grpc-port", port.to_string()).start().await.unwrap();
    callee
        .logs()
        .wait_for("mTLS is enabled: this runtime is spiffe://public/ns/default/callee", SOON)
        .await
        .unwrap();
    let table = found(&["callee"], port);
    let caller = runtime("caller").flag("--config", path(&table)).start().await.unwrap();
    let stranger = runtime("stranger").flag("--config", path(&table)).start().await.unwrap();

    let reply = call(&caller, "callee", "over/http").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let asked = app.wait_one("/over/http", SOON).await.unwrap();
    assert_eq!(
        (asked.header("dapr-caller-app-id"), asked.header("dapr-caller-namespace")),
        ("caller", "default")
    );

    let call_over_grpc = InvokeServiceRequest {
        id: "callee".to_owned(),
        message: Some(InvokeRequest {
            method: "over/grpc".to_owned(),
            http_extension: Some(HttpExtension { verb: Verb::Post.into(), querystring: String::new() }),
            ..InvokeRequest::default()
        }),
    };
    let answer = caller.grpc().await.unwrap().invoke_service(call_over_grpc).await.unwrap();
    assert_eq!(answer.metadata().get("dapr-http-status").unwrap(), "200");

    let refused = call(&stranger, "callee", "m").await;
    let denied = "access control policy has denied access to id: spiffe://public/ns/default/stranger operation: m verb: POST";
    assert_eq!(
        (refused.status.as_u16(), message(&refused).contains(denied)),
        (403, true),
        "{}",
        refused.text()
    );
    assert_eq!(counted(&callee, "dapr_runtime_mtls_init_total").await, 1.0);
}

/// A gRPC application that says whom it heard of.
async fn grpc_app() -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service =
                hyper::service::service_fn(|request: http::Request<hyper::body::Incoming>| async move {
                    let caller = request.headers().get("dapr-caller-app-id").cloned();
                    let mut answer = http::Response::new(Full::<bytes::Bytes>::default());
                    let headers = answer.headers_mut();
                    headers.insert("content-type", "application/grpc".parse().unwrap());
                    headers.insert("grpc-status", "10".parse().unwrap());
                    headers.insert("grpc-message", caller.unwrap_or_else(|| "nobody".parse().unwrap()));
                    Ok::<_, std::convert::Infallible>(answer)
                });
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(server.serve_connection(TokioIo::new(stream), service));
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_pass_through_are_proven_as_well() {
    let ours = Authority::new().unwrap();
    let app = grpc_app().await;
    let port = free_port().unwrap();
    let files = Files::new(&[&ours], &ours, "callee", DAY);
    let callee = proven("callee", &files).flag("--app-port", app.to_string()).flag("--app-protocol", "grpc");
    let callee = callee.flag("--disable-init-endpoints", "config,subscribe");
    let _callee = callee.flag("--dapr-internal-grpc-port", port.to_string()).start().await.unwrap();
    let files = Files::new(&[&ours], &ours, "caller", DAY);
    let caller = caller(&files, "caller", &["callee", "other"], port).await;
    let client: Client<_, Full<bytes::Bytes>> =
        Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    for (id, code, text) in [
        ("callee", tonic::Code::Aborted, "caller"),
        ("other", tonic::Code::Unavailable, "unexpected SPIFFE ID: \"spiffe://public/ns/default/callee\""),
    ] {
        let request = http::Request::post(format!("{}/test.Service/Method", caller.grpc_endpoint()))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("dapr-app-id", id)
            .header("dapr-caller-app-id", "liar");
        let answer = client.request(request.body(Full::default()).unwrap()).await.unwrap();
        let status = tonic::Status::from_header_map(answer.headers()).unwrap();
        assert_eq!(status.code(), code, "{status}");
        assert!(status.message().contains(text), "{status}");
    }
    // A peer of its own making.
    let mut peer = as_app(&ours, "peer", &ours, port).await.unwrap();
    let said = [("dapr-callee-app-id", "callee"), ("dapr-caller-app-id", "caller")];
    let status = peer.post("/test.Service/Method", &said, b"").await;
    assert_eq!((status.code(), status.message()), (tonic::Code::Aborted, "peer"));
    let status = peer.post("/test.Service/Method", &[("dapr-callee-app-id", "caller")], b"").await;
    assert_eq!(status.code(), tonic::Code::PermissionDenied, "{status}");
    assert!(status.message().contains("do not pass through"), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_prove_itself_is_refused() {
    let (ours, others) = (Authority::new().unwrap(), Authority::new().unwrap());
    let files = Files::new(&[&ours], &ours, "callee", DAY);
    let callee = callee(&files, &nobody_in_particular()).await;
    let refused = |reason: &'static str| callee.mecha.logs().wait_for(reason, SOON);

    let answer = without_tls(callee.port).await.unwrap();
    // A TLS alert at most, and nothing of HTTP/2.
    assert!(answer.first().is_none_or(|first| *first == 21), "{answer:?}");
    refused("refused: the peer speaks no TLS").await.unwrap();

    let text = without_certificate(callee.port).await.unwrap_err().to_string();
    assert!(text.contains("CertificateRequired"), "{text}");
    refused("refused: the peer showed no certificate").await.unwrap();

    // Of another authority: a runtime, whose own caller is told why.
    let files = Files::new(&[&ours, &others], &others, "caller", DAY);
    let stranger = caller(&files, "caller", &["callee"], callee.port).await;
    let reply = call(&stranger, "callee", "m").await;
    let expected = "failed to invoke, id: callee, err: failed to invoke target callee after 3 retries. Error: rpc error: code = Unavailable desc = connection error: desc = \"transport: authentication handshake failed: remote error: tls: unknown certificate authority";
    assert_eq!(reply.status, 500);
    assert!(message(&reply).starts_with(expected), "{}", reply.text());
    refused("refused: certificate signed by unknown authority").await.unwrap();

    // One whose time ends.
    let late = own(&ours, "late", &ours, Duration::from_secs(2)).unwrap();
    eventually(SOON, || async {
        let text = connect(&late, callee.port).await.err().map(|error| error.to_string()).unwrap_or_default();
        anyhow::ensure!(text.contains("remote error: tls: expired certificate"), "{text}");
        Ok(())
    })
    .await
    .unwrap();
    refused("refused: certificate expired").await.unwrap();

    // A callee that does not trust the caller's authority, and one that is somebody else.
    let files = Files::new(&[&others], &others, "caller", DAY);
    let distrusting = caller(&files, "caller", &["callee"], callee.port).await;
    let text = message(&call(&distrusting, "callee", "m").await);
    assert!(text.contains("certificate signed by unknown authority"), "{text}");
    let files = Files::new(&[&ours], &ours, "caller", DAY);
    let misled = caller(&files, "caller", &["callee", "bank"], callee.port).await;
    assert_eq!(call(&misled, "callee", "m").await.status, 200);
    let text = message(&call(&misled, "bank", "m").await);
    assert!(text.contains("code = Unavailable"), "{text}");
    assert!(
        text.contains("unexpected SPIFFE ID: \"spiffe://public/ns/default/callee\"; the call is for bank"),
        "{text}"
    );
    assert_eq!(callee.app.asked_at("/m").len(), 1);
}

/// Who calls, its certificate says: neither headers nor another trust domain's rule.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_peer_says_of_itself_does_not_count() {
    let ours = Authority::new().unwrap();
    let files = Files::new(&[&ours], &ours, "callee", DAY);
    let callee = callee(&files, &only("friend", "public")).await;
    let mut liar = as_app(&ours, "liar", &ours, callee.port).await.unwrap();
    let said = [("dapr-caller-app-id", "friend"), ("dapr-caller-namespace", "default")];
    let status = liar.call_local("m", &said).await;
    assert_eq!(status.code(), tonic::Code::PermissionDenied);
    assert!(status.message().contains("id: spiffe://public/ns/default/liar "), "{status}");
    let mut friend = as_app(&ours, "friend", &ours, callee.port).await.unwrap();
    let status = friend.call_local("m", &[("dapr-caller-app-id", "liar"), ("x-mine", "1")]).await;
    assert_eq!(status.code(), tonic::Code::Ok, "{status}");
    let asked = callee.app.wait_one("/m", SOON).await.unwrap();
    assert_eq!((asked.header("dapr-caller-app-id"), asked.header("x-mine")), ("friend", "1"));

    let files = Files::new(&[&ours], &ours, "callee", DAY);
    let elsewhere = self::callee(&files, &only("friend", "elsewhere")).await;
    let mut friend = as_app(&ours, "friend", &ours, elsewhere.port).await.unwrap();
    assert_eq!(friend.call_local("m", &[("x-mine", "1")]).await.code(), tonic::Code::PermissionDenied);
}

/// What is done with the files of each, with its id.
type Change = Box<dyn Fn(&Files, &str)>;

/// From one authority to another, step by step, under calls.
#[tokio::test(flavor = "multi_thread")]
async fn certificates_change_while_calls_run() {
    const RENEWED: &str = "certificates were read again";
    let (old, new) = (Authority::new().unwrap(), Authority::new().unwrap());
    let of_callee = Files::new(&[&old], &old, "callee", DAY);
    let of_caller = Files::new(&[&old], &old, "caller", DAY);
    let callee = callee(&of_callee, &nobody_in_particular()).await;
    let caller = caller(&of_caller, "caller", &["callee"], callee.port).await;
    let (done, calls) = (AtomicBool::new(false), AtomicU32::new(0));
    let calling = || async {
        while !done.load(Ordering::Relaxed) {
            let reply = call(&caller, "callee", "m").await;
            assert_eq!(reply.status, 200, "{}", reply.text());
            calls.fetch_add(1, Ordering::Relaxed);
        }
    };
    let renewed = |change: Change| {
        let (callee, caller) = (&callee.mecha, &caller);
        let (of_callee, of_caller, calls) = (&of_callee, &of_caller, &calls);
        async move {
            let marks = (callee.logs().mark(), caller.logs().mark());
            change(of_callee, "callee");
            callee.logs().wait_after(marks.0, RENEWED, SOON).await.unwrap();
            change(of_caller, "caller");
            caller.logs().wait_after(marks.1, RENEWED, SOON).await.unwrap();
            let before = calls.load(Ordering::Relaxed);
            let more = || async {
                anyhow::ensure!(calls.load(Ordering::Relaxed) > before + 10, "no calls");
                Ok(())
            };
            eventually(SOON, more).await.unwrap();
        }
    };
    let certificates = (old.certificate().to_owned(), new.certificate().to_owned());
    let (a, b) = certificates.clone();
    let before = as_app(&old, "peer", &old, callee.port).await.unwrap();
    let changing = async {
        renewed(Box::new(move |files, _| files.write("ca.crt", &format!("{a}{b}")))).await;
        let signer = Authority::read(new.certificate(), &new.key()).unwrap();
        renewed(Box::new(move |files, app_id| files.issue(&signer, app_id, DAY))).await;
        let b = certificates.1.clone();
        renewed(Box::new(move |files, _| files.write("ca.crt", &b))).await;

        // What is broken is said, and what held stays.
        let mark = callee.mecha.logs().mark();
        of_callee.write("tls.crt", "no certificate");
        let said = callee.mecha.logs().wait_after(mark, "what held before stays", SOON).await.unwrap();
        assert!(said.contains("mtls.certificate-chain"), "{said}");
        as_app(&new, "peer", &new, callee.port).await.unwrap();
        let text = as_app(&old, "peer", &new, callee.port).await.err().unwrap().to_string();
        assert!(text.contains("unknown certificate authority"), "{text}");
        // Who came in with what no longer holds has to prove itself again.
        before.ended(SOON).await;
        done.store(true, Ordering::Relaxed);
    };
    tokio::join!(calling(), calling(), calling(), changing);
    assert!(counted(&caller, "dapr_runtime_mtls_workload_cert_rotated_total").await >= 3.0);
    assert!(counted(&callee.mecha, "dapr_runtime_mtls_workload_cert_rotated_fail_total").await >= 1.0);
}

#[tokio::test]
async fn a_start_that_would_not_be_safe_is_none() {
    let (ours, others) = (Authority::new().unwrap(), Authority::new().unwrap());
    let files = Files::new(&[&ours], &ours, "app", DAY);
    let wrong = Files::new(&[&others], &ours, "app", DAY);
    let bare = plain("app").switch("--enable-mtls");
    let no_key = plain("app")
        .switch("--enable-mtls")
        .env("DAPR_TRUST_ANCHORS", ours.certificate())
        .env("DAPR_CERT_CHAIN", files.path("tls.crt").display().to_string());
    for (builder, text) in [
        (bare, "mTLS is enabled and mtls.trust-anchors is not set; set it, or DAPR_TRUST_ANCHORS"),
        (no_key, "mTLS is enabled and mtls.key is not set; set it, or DAPR_CERT_KEY"),
        (
            proven("other", &files),
            "the certificate is for spiffe://public/ns/default/app, and this runtime is other",
        ),
        (proven("app", &files).env("NAMESPACE", "ns"), "this runtime is app in namespace ns"),
        (proven("app", &wrong), "the certificate is not signed by mtls.trust-anchors"),
    ] {
        let mut mecha = builder.spawn().await.unwrap();
        assert_ne!(mecha.wait_exit(SOON).await.unwrap(), 0, "{text}");
        mecha.logs().wait_for(text, SOON).await.unwrap();
    }
}
