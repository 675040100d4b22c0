//! Pipelines while components and plugins come, change and go: what is missing, what is wrong, what is replaced.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use http::Request;
use http_body_util::Full;
use mecha_testkit::{Mecha, OtlpCollector, ReceivedSpan, eventually, plugin_library};
use serde_json::json;

use crate::SOON;
use crate::configuration::configuration;
use crate::run::{Around, Run, last, prepared};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CLIENTS: usize = 16;
const SWAPS: usize = 10;

fn component(name: &str, kind: &str, metadata: &[(&str, &str)], ignore_errors: bool) -> String {
    let metadata: Vec<_> =
        metadata.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
    json!({
        "apiVersion": "dapr.io/v1alpha1",
        "kind": "Component",
        "metadata": {"name": name},
        "spec": {
            "type": format!("middleware.http.{kind}"), "version": "v1", "metadata": metadata,
            "ignoreErrors": ignore_errors,
        },
    })
    .to_string()
}

/// Waits until the application's path answers with a status and a body.
async fn answers(run: &Run, status: u16, body: &str) {
    eventually(SOON, || async {
        let reply = run.mecha.http().post(&run.invoke_url("/m"), "text").await?;
        let found = (reply.status.as_u16(), reply.text());
        ensure!(found == (status, body.to_owned()), "{found:?}");
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn who_is_not_declared_is_passed_over_until_it_is() {
    for around in [Around::Api, Around::App] {
        let (builder, app, file) = prepared(around, &[]).await;
        std::fs::copy(configuration(&around.spec(&[("up", "uppercase")])).path(), file.path()).unwrap();
        let run = Run { mecha: builder.start().await.unwrap(), app, file };
        for _ in 0..3 {
            answers(&run, 200, "text").await;
        }
        let said =
            run.mecha.logs().matching("requests pass the middleware up (middleware.http.uppercase) over");
        assert_eq!(said.len(), 1, "{said:?}");

        let write = |text: String| run.mecha.write_resource("up.json", &text).unwrap();
        // One of the name and of another type is another.
        write(component("up", "routerchecker", &[("rule", "^never$")], false));
        run.mecha.logs().wait_for("up (middleware.http.routerchecker/v1)", SOON).await.unwrap();
        answers(&run, 200, "text").await;
        write(component("up", "uppercase", &[], false));
        answers(&run, 200, "TEXT").await;
        run.mecha.remove_resource("up.json").unwrap();
        answers(&run, 200, "text").await;
    }
}

#[tokio::test]
async fn a_changed_component_and_a_changed_pipeline_hold_without_a_restart() {
    let run = Run::start(Around::Api, &[("check", "routerchecker", &[("rule", ".*")])]).await;
    answers(&run, 200, "text").await;
    let write = |name: &str, text: String| run.mecha.write_resource(name, &text).unwrap();
    write("up.json", component("up", "uppercase", &[], false));
    let changed = configuration(&Around::Api.spec(&[("check", "routerchecker"), ("up", "uppercase")]));
    std::fs::copy(changed.path(), run.file.path()).unwrap();
    answers(&run, 200, "TEXT").await;
    write("up.json", component("up", "uppercase", &[("direction", "response")], false));
    eventually(SOON, || async {
        run.mecha.http().post(&run.invoke_url("/m"), "text").await?;
        let body = last(&run.app, "/m").body;
        ensure!(body == "text", "{body:?}");
        Ok(())
    })
    .await
    .unwrap();
    std::fs::copy(configuration(&json!({})).path(), run.file.path()).unwrap();
    answers(&run, 200, "text").await;
}

#[tokio::test]
async fn who_is_declared_and_has_no_plugin_lets_nothing_through() {
    let (_, app, file) = prepared(Around::App, &[("up", "uppercase", &[])]).await;
    let builder = Mecha::builder()
        .resources(&component("up", "uppercase", &[], false))
        .flag("--app-port", app.port().to_string())
        .flag("--config", file.path().to_str().unwrap());
    let run = Run { mecha: builder.start().await.unwrap(), app, file };
    answers(&run, 500, "Internal Server Error").await;
    assert_eq!(run.app.asked_at("/m").len(), 0);
    run.mecha.logs().wait_for("middleware up is not available", SOON).await.unwrap();
    run.mecha.install_plugin("middleware").unwrap();
    answers(&run, 200, "TEXT").await;
    run.mecha.remove_plugin("middleware").unwrap();
    answers(&run, 500, "Internal Server Error").await;
}

#[tokio::test]
async fn wrong_metadata_ends_the_start_and_names_the_field() {
    let issuer = [("issuer", "http://127.0.0.1:1"), ("audience", "a")];
    for (kind, metadata, field) in [
        ("bearer", issuer.as_slice(), "issuer"),
        ("bearer", &[("issuer", "http://127.0.0.1:1")], "audience"),
        ("oauth2", &[("clientID", "id")], "clientSecret"),
        ("oauth2clientcredentials", &[("scopes", "a")], "headerName"),
        ("ratelimit", &[("maxRequestsPerSecond", "-1")], "maxRequestsPerSecond"),
        ("routeralias", &[("routes", "[]")], "routes"),
        ("routerchecker", &[("rule", "(")], "rule"),
    ] {
        let (builder, _app, _file) = prepared(Around::Api, &[("wrong", kind, metadata)]).await;
        let mut mecha = builder.spawn().await.unwrap();
        assert_eq!(mecha.wait_exit(SOON).await.unwrap(), 1, "{kind}: {}", mecha.logs().tail());
        let line = mecha.logs().wait_for("INIT_COMPONENT_FAILURE", SOON).await.unwrap();
        assert!(line.contains(&format!("(middleware.http.{kind}/v1): {field}: ")), "{kind}: {line}");
    }
}

#[tokio::test]
async fn errors_that_are_ignored_let_requests_pass() {
    let (builder, app, file) = prepared(Around::Api, &[]).await;
    std::fs::copy(configuration(&Around::Api.spec(&[("check", "routerchecker")])).path(), file.path())
        .unwrap();
    let builder = builder.resources(&component("check", "routerchecker", &[("rule", "(")], true));
    let run = Run { mecha: builder.start().await.unwrap(), app, file };
    answers(&run, 200, "text").await;
    run.mecha.logs().wait_for("it failed to open, and its errors are ignored", SOON).await.unwrap();
}

fn named<'a>(spans: &'a [ReceivedSpan], name: &str) -> &'a ReceivedSpan {
    let names: Vec<_> = spans.iter().map(|span| &span.span.name).collect();
    spans.iter().find(|span| span.span.name == name).unwrap_or_else(|| panic!("no span {name} in {names:?}"))
}

/// As Dapr names the span of an invocation.
const SERVER: &str = "CallLocal/app/m";

#[tokio::test]
async fn each_middleware_has_a_span_in_the_requests_trace() {
    let (collector, provider) = (OtlpCollector::start().await.unwrap(), crate::Provider::start().await);
    let (builder, app, file) = prepared(Around::Api, &[]).await;
    let mut spec = Around::Api.spec(&[("up", "uppercase")]);
    spec["appHttpPipeline"] =
        Around::App.spec(&[("auth", "oauth2clientcredentials")])["appHttpPipeline"].clone();
    spec["tracing"] = json!({"samplingRate": "1",
        "otel": {"endpointAddress": collector.addr(), "isSecure": false, "protocol": "grpc"}});
    std::fs::copy(configuration(&spec).path(), file.path()).unwrap();
    let token = provider.url("/token");
    let auth = [
        ("clientID", "id"),
        ("clientSecret", "s3cret"),
        ("scopes", "a"),
        ("tokenURL", &token),
        ("headerName", "x-token"),
        ("pathFilter", "^/m$"),
    ];
    let builder = builder
        .resources(&component("up", "uppercase", &[("direction", "both")], false))
        .resources(&component("auth", "oauth2clientcredentials", &auth, false));
    let run = Run { mecha: builder.start().await.unwrap(), app, file };
    let request = Request::post(run.invoke_url("/m"))
        .header("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01"))
        .body(Full::new("x".into()))
        .unwrap();
    assert_eq!(run.mecha.http().send(request).await.unwrap().text(), "X");
    let in_trace = |span: &&ReceivedSpan| span.trace_id() == TRACE;
    let is_server = |span: &ReceivedSpan| span.span.name == SERVER;
    // It ends after all others.
    let all_came = |spans: &[ReceivedSpan]| spans.iter().filter(in_trace).any(is_server);
    let spans = collector.wait_for_spans(all_came, SOON).await.unwrap();
    let spans: Vec<_> = spans.iter().filter(in_trace).cloned().collect();
    let server = named(&spans, SERVER);
    for name in ["middleware.http.uppercase request", "middleware.http.uppercase answer"] {
        let call = named(&spans, name);
        assert_eq!(call.parent_id(), server.span_id(), "{name}");
        assert_eq!(call.attribute("mecha.component.name").as_deref(), Some("up"));
    }
    let call = named(&spans, "middleware.http.oauth2clientcredentials request");
    // The plugin's own, for the endpoint that it asked.
    assert_eq!(named(&spans, "POST /token").parent_id(), call.span_id());
}

async fn client(mecha: Arc<Mecha>, stop: Arc<AtomicBool>, calls: Arc<AtomicU64>) -> Result<()> {
    let (url, http) = (mecha.http_url("/v1.0/invoke/app/method/m"), mecha_testkit::HttpClient::new());
    while !stop.load(Ordering::Relaxed) {
        let reply = http.post(&url, "text").await?;
        ensure!(
            (reply.status.as_u16(), reply.text().as_str()) == (200, "TEXT"),
            "{} {}",
            reply.status,
            reply.text()
        );
        calls.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_fails_while_the_plugin_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let library = std::fs::read(plugin_library("middleware").unwrap()).unwrap();
    // The loader does not look behind the end of what it needs.
    let builds = [b"a", b"b"].map(|mark| {
        let path = folder.path().join(String::from_utf8_lossy(mark).as_ref());
        std::fs::write(&path, [library.as_slice(), mark].concat()).unwrap();
        path
    });
    let both = &[("direction", "both")];
    let (builder, app, file) = prepared(Around::Api, &[("up", "uppercase", both)]).await;
    let mut spec = Around::Api.spec(&[("up", "uppercase")]);
    spec["appHttpPipeline"] = spec["httpPipeline"].clone();
    std::fs::copy(configuration(&spec).path(), file.path()).unwrap();
    let mecha = Arc::new(builder.start().await.unwrap());
    let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let clients: Vec<_> =
        (0..CLIENTS).map(|_| tokio::spawn(client(mecha.clone(), stop.clone(), calls.clone()))).collect();
    for swap in 0..SWAPS {
        mecha.replace_plugin("middleware", &builds[swap % 2]).unwrap();
        let before = calls.load(Ordering::Relaxed);
        eventually(Duration::from_secs(60), || async {
            let text = mecha.metrics().await?;
            let retired = text.lines().find(|line| {
                line.starts_with("mecha_plugin_generations{")
                    && line.contains("middleware")
                    && line.contains("\"retired\"")
            });
            let retired =
                retired.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).unwrap_or(0.0);
            ensure!(retired >= (swap + 1) as f64, "{retired} of {} retired", swap + 1);
            ensure!(calls.load(Ordering::Relaxed) > before, "no calls");
            Ok(())
        })
        .await
        .unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap().unwrap();
    }
    println!("{SWAPS} swaps under {CLIENTS} clients, {} calls", calls.load(Ordering::Relaxed));
    drop(app);
}
