//! The Prometheus page: Dapr's names and labels for what was called, and labels that stay few.

#[path = "support/configuration.rs"]
mod configuration;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Result, ensure};
use configuration::configuration;
use http::{Method, Request};
use http_body_util::Full;
use mecha_backends::free_port;
use mecha_proto::runtime::v1::{GetSecretRequest, GetStateRequest, InvokeBindingRequest, SaveStateRequest};
use mecha_testkit::{HttpClient, Mecha, MechaBuilder, eventually};
use serde_json::json;

const SOON: Duration = Duration::from_secs(10);
const KEYS: usize = 1000;

/// One line of the page.
#[derive(Debug)]
struct Series {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

/// The page, read strictly.
struct Page(Vec<Series>);

impl Page {
    async fn of(mecha: &Mecha) -> Self {
        let text = mecha.metrics().await.unwrap();
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self(lines.map(series).collect())
    }

    /// The value of the one series that has exactly these labels.
    fn value(&self, name: &str, labels: Labels<'_>) -> Option<f64> {
        let found = self.0.iter().find(|series| {
            series.name == name
                && series.labels.len() == labels.len()
                && labels
                    .iter()
                    .all(|(label, value)| series.labels.get(*label).is_some_and(|known| known == value))
        });
        found.map(|series| series.value)
    }

    fn of_name<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Series> {
        self.0.iter().filter(move |series| series.name == name)
    }

    /// The different values of a label.
    fn values_of<'a>(&'a self, name: &'a str, label: &str) -> BTreeSet<&'a str> {
        self.of_name(name).filter_map(|series| series.labels.get(label)).map(String::as_str).collect()
    }
}

fn series(line: &str) -> Series {
    let (head, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("not a sample: {line}"));
    let value = value.parse().unwrap_or_else(|error| panic!("{error}: {line}"));
    let (name, labels) = match head.split_once('{') {
        None => (head, BTreeMap::new()),
        Some((name, rest)) => (name, labels(rest.strip_suffix('}').unwrap_or_else(|| panic!("{line}")))),
    };
    Series { name: name.to_owned(), labels, value }
}

fn labels(mut text: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    while let Some((name, rest)) = text.split_once("=\"") {
        let mut value = String::new();
        let mut characters = rest.char_indices();
        let end = loop {
            match characters.next() {
                Some((at, '"')) => break at,
                Some((_, '\\')) => value.extend(characters.next().map(|(_, c)| c)),
                Some((_, c)) => value.push(c),
                None => panic!("a label's value does not end: {text}"),
            }
        };
        assert!(labels.insert(name.to_owned(), value).is_none(), "{name} twice");
        text = rest[end + 1..].trim_start_matches(',');
    }
    labels
}

type Labels<'a> = &'a [(&'a str, &'a str)];

/// Waits until each of these series has its value.
async fn eventually_counts(mecha: &Mecha, expected: &[(&str, Labels<'_>, f64)]) {
    eventually(SOON, || async {
        let page = Page::of(mecha).await;
        for (name, labels, value) in expected {
            let found = page.value(name, labels);
            ensure!(
                found == Some(*value),
                "{name}{labels:?} is {found:?}, not {value}: {:#?}",
                page.of_name(name).collect::<Vec<_>>()
            );
        }
        Ok(())
    })
    .await
    .unwrap();
}

fn builder() -> MechaBuilder {
    Mecha::builder()
        .app_id("orders")
        .env("NAMESPACE", "shop")
        .plugin("memory")
        .component("store", "state.in-memory")
}

async fn status_of(mecha: &Mecha, method: Method, path: &str, body: &str) -> Result<u16> {
    let request = Request::builder().method(method).uri(mecha.http_url(path));
    let reply = mecha.http().send(request.body(Full::new(body.to_owned().into()))?).await?;
    Ok(reply.status.as_u16())
}

/// A component's labels.
fn component<'a>(name: &'a str, operation: &'a str, success: &'a str) -> [(&'a str, &'a str); 5] {
    let (app, namespace) = (("app_id", "orders"), ("namespace", "shop"));
    [app, ("component", name), namespace, ("operation", operation), ("success", success)]
}

#[tokio::test]
async fn calls_of_components_are_counted_and_timed() {
    let nobody = format!("http://127.0.0.1:{}", free_port().unwrap());
    let mecha = builder()
        .plugin("local-secrets")
        .plugin("http-binding")
        .component("env", "secretstores.local.env")
        .component_with("web", "bindings.http", &[("url", &nobody)])
        .start()
        .await
        .unwrap();
    let calls = [
        (Method::POST, "/v1.0/state/store", r#"[{"key":"a","value":1}]"#, 204),
        (Method::POST, "/v1.0/state/store", r#"[{"key":"a","value":1,"etag":"no"}]"#, 409),
        (Method::GET, "/v1.0/state/store/a", "", 200),
        (Method::GET, "/v1.0/state/store/b", "", 204),
        (Method::POST, "/v1.0/state/store/bulk", r#"{"keys":["a","b"]}"#, 200),
        (
            Method::POST,
            "/v1.0/state/store/transaction",
            r#"{"operations":[{"operation":"delete","request":{"key":"b"}}]}"#,
            204,
        ),
        (Method::DELETE, "/v1.0/state/store/a", "", 204),
        (Method::GET, "/v1.0/secrets/env/HOME", "", 200),
        (Method::GET, "/v1.0/secrets/env/bulk", "", 200),
        (Method::POST, "/v1.0/bindings/web", r#"{"operation":"get"}"#, 500),
    ];
    for (method, path, body, status) in calls {
        assert_eq!(status_of(&mecha, method, path, body).await.unwrap(), status, "{path}");
    }
    let mut grpc = mecha.grpc().await.unwrap();
    let read = GetStateRequest { store_name: "store".into(), key: "a".into(), ..Default::default() };
    grpc.get_state(read).await.unwrap();
    let secret = GetSecretRequest { store_name: "env".into(), key: "HOME".into(), ..Default::default() };
    grpc.get_secret(secret).await.unwrap();
    let binding = InvokeBindingRequest { name: "web".into(), operation: "get".into(), ..Default::default() };
    grpc.invoke_binding(binding).await.unwrap_err();

    let state = "dapr_component_state_count";
    eventually_counts(
        &mecha,
        &[
            (state, &component("store", "set", "true"), 1.0),
            (state, &component("store", "set", "false"), 1.0),
            (state, &component("store", "get", "true"), 3.0),
            (state, &component("store", "bulk_get", "true"), 1.0),
            (state, &component("store", "transaction", "true"), 1.0),
            (state, &component("store", "delete", "true"), 1.0),
            ("dapr_component_state_latencies_count", &component("store", "get", "true"), 3.0),
            ("dapr_component_secret_count", &component("env", "get", "true"), 2.0),
            ("dapr_component_secret_count", &component("env", "bulk_get", "true"), 1.0),
            ("dapr_component_secret_latencies_count", &component("env", "get", "true"), 2.0),
            ("dapr_component_output_binding_count", &component("web", "get", "false"), 2.0),
            ("dapr_component_output_binding_latencies_count", &component("web", "get", "false"), 2.0),
            ("dapr_runtime_component_loaded", &[("app_id", "orders")], 3.0),
            (
                "dapr_runtime_component_init_total",
                &[("app_id", "orders"), ("component", "state.in-memory")],
                1.0,
            ),
            (
                "dapr_runtime_component_init_total",
                &[("app_id", "orders"), ("component", "bindings.http")],
                1.0,
            ),
        ],
    )
    .await;
    let page = Page::of(&mecha).await;
    let bounds = page
        .of_name("dapr_component_state_latencies_bucket")
        .filter(|series| series.labels["operation"] == "get");
    let bounds: Vec<_> = bounds.map(|series| series.labels["le"].as_str()).collect();
    assert_eq!((bounds[0], bounds[bounds.len() - 2], bounds[bounds.len() - 1]), ("1", "100000", "+Inf"));
    assert_eq!(bounds.len(), 35, "{bounds:?}");
    assert_eq!(page.of_name("dapr_error_code_total").count(), 0, "recorded without being asked for");
}

#[tokio::test]
async fn requests_are_counted_by_route_in_both_protocols() {
    let mecha = builder().start().await.unwrap();
    let save = r#"[{"key":"myvalue","value":"hello world"}]"#;
    for (method, path, body, status) in [
        (Method::POST, "/v1.0/state/store", save, 204),
        (Method::GET, "/v1.0/state/store/myvalue", "", 200),
        (Method::GET, "/v1.0/state/store/other", "", 204),
        (Method::GET, "/v1.0/state/none/key", "", 400),
        (Method::GET, "/no/such/route", "", 404),
    ] {
        assert_eq!(status_of(&mecha, method, path, body).await.unwrap(), status, "{path}");
    }
    let mut grpc = mecha.grpc().await.unwrap();
    grpc.save_state(SaveStateRequest { store_name: "store".into(), states: vec![] }).await.unwrap();
    let unknown = GetStateRequest { store_name: "none".into(), key: "k".into(), ..Default::default() };
    grpc.get_state(unknown).await.unwrap_err();

    let app = ("app_id", "orders");
    let http = |method, path, status| [app, ("method", method), ("path", path), ("status", status)];
    let rpc = |method, status| [app, ("grpc_server_method", method), ("grpc_server_status", status)];
    let (save, get) = ("/dapr.proto.runtime.v1.Dapr/SaveState", "/dapr.proto.runtime.v1.Dapr/GetState");
    let (requests, completed) = ("dapr_http_server_request_count", "dapr_grpc_io_server_completed_rpcs");
    eventually_counts(
        &mecha,
        &[
            (requests, &http("POST", "/v1.0/state/store", "204"), 1.0),
            (requests, &http("GET", "/v1.0/state/store", "200"), 1.0),
            (requests, &http("GET", "/v1.0/state/store", "204"), 1.0),
            (requests, &http("GET", "/v1.0/state/none", "400"), 1.0),
            (requests, &http("GET", "/no/such/route", "404"), 1.0),
            ("dapr_http_server_response_count", &http("GET", "/v1.0/state/store", "200"), 1.0),
            ("dapr_http_server_latency_count", &http("GET", "/v1.0/state/store", "200"), 1.0),
            (completed, &rpc(save, "OK"), 1.0),
            (completed, &rpc(get, "InvalidArgument"), 1.0),
            ("dapr_grpc_io_server_server_latency_count", &rpc(save, "OK"), 1.0),
            ("dapr_grpc_io_server_received_bytes_per_rpc_count", &[app, ("grpc_server_method", save)], 1.0),
            ("dapr_grpc_io_server_sent_bytes_per_rpc_count", &[app, ("grpc_server_method", save)], 1.0),
        ],
    )
    .await;
    let page = Page::of(&mecha).await;
    assert!(page.value("dapr_http_server_request_bytes_count", &[app]).unwrap() >= 5.0);
    assert!(page.value("dapr_http_server_response_bytes_sum", &[app]).unwrap() >= 13.0);
    assert!(page.value("process_resident_memory_bytes", &[]).unwrap() > 1e6);
    // The port has one page, whatever is asked for.
    for path in ["/", "/metrics/", "/anything"] {
        let url = mecha.metrics_url().replace("/metrics", path);
        let reply = HttpClient::new().get(&url).await.unwrap();
        assert_eq!(reply.status, 200, "{path}");
        assert!(
            reply.text().contains(requests) && reply.header("content-type").starts_with("text/plain"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn error_codes_are_counted_when_asked_for() {
    let file = configuration(&json!({"metric": {"recordErrorCodes": true}}));
    let mecha = builder().flag("--config", configuration::path(&file)).start().await.unwrap();
    for (path, body, status, times) in [
        ("/v1.0/state/none", "[]", 400, 2),
        ("/v1.0/state/store", r#"[{"key":"a||b"}]"#, 400, 1),
        ("/v1.0/bindings/none", r#"{"operation":"get"}"#, 500, 1),
        ("/v1.0/no/such/route", "", 404, 3),
    ] {
        for _ in 0..times {
            assert_eq!(status_of(&mecha, Method::POST, path, body).await.unwrap(), status, "{path}");
        }
    }
    let code = |code, category| [("app_id", "orders"), ("category", category), ("error_code", code)];
    let total = "dapr_error_code_total";
    eventually_counts(
        &mecha,
        &[
            (total, &code("ERR_STATE_STORE_NOT_FOUND", "state"), 2.0),
            (total, &code("ERR_MALFORMED_REQUEST", "state"), 1.0),
            (total, &code("ERR_INVOKE_OUTPUT_BINDING", "binding"), 1.0),
            (total, &code("ERR_DIRECT_INVOKE", "service-invocation"), 3.0),
        ],
    )
    .await;
}

#[tokio::test]
async fn plugins_are_measured() {
    let mecha = builder().start().await.unwrap();
    for _ in 0..5 {
        assert_eq!(status_of(&mecha, Method::GET, "/v1.0/state/store/a", "").await.unwrap(), 204);
    }
    let plugin = ("plugin", "libmecha_plugin_memory");
    let state = |state| [plugin, ("state", state)];
    eventually_counts(
        &mecha,
        &[
            ("mecha_plugin_generations", &state("active"), 1.0),
            ("mecha_plugin_generations", &state("retired"), 0.0),
            ("mecha_plugin_in_flight", &[plugin], 0.0),
            ("mecha_plugin_panics_total", &[plugin], 0.0),
            ("mecha_plugin_poll_seconds_count", &[plugin], 5.0),
        ],
    )
    .await;
    mecha.plugins().put_bytes("text.so", b"not a library").unwrap();
    eventually(SOON, || async {
        let page = Page::of(&mecha).await;
        let refused: f64 = page.of_name("mecha_plugin_refused_total").map(|series| series.value).sum();
        ensure!(refused == 1.0, "{refused}");
        Ok(())
    })
    .await
    .unwrap();
}

/// Whoever asks for ever new keys, paths, stores and methods makes the page no longer than its bounds.
#[tokio::test]
async fn labels_stay_few_whatever_is_called() {
    let mecha = builder().start().await.unwrap();
    let warm = status_of(&mecha, Method::GET, "/v1.0/state/store/warm", "").await.unwrap();
    assert_eq!(warm, 204);
    let before = Page::of(&mecha).await.0.len();
    for index in 0..KEYS {
        let status =
            status_of(&mecha, Method::GET, &format!("/v1.0/state/store/key-{index}"), "").await.unwrap();
        assert_eq!(status, 204);
    }
    let page = Page::of(&mecha).await;
    assert_eq!(page.0.len(), before, "{KEYS} keys made the page longer");

    for index in 0..KEYS {
        for (path, status) in
            [(format!("/unknown/{index}"), 404), (format!("/v1.0/state/store-{index}/k"), 400)]
        {
            assert_eq!(status_of(&mecha, Method::GET, &path, "").await.unwrap(), status);
        }
        let operation = format!(r#"{{"operation":"paint-{index}"}}"#);
        status_of(&mecha, Method::POST, "/v1.0/bindings/none", &operation).await.unwrap();
    }
    let h2c = HttpClient::h2c();
    for index in 0..KEYS {
        let url = format!("{}/no.such.Service{index}/Method", mecha.grpc_endpoint());
        let request = Request::post(url).header("content-type", "application/grpc");
        h2c.send(request.body(Full::default()).unwrap()).await.unwrap();
    }
    let page = Page::of(&mecha).await;
    let paths = page.values_of("dapr_http_server_request_count", "path").len();
    let methods = page.values_of("dapr_grpc_io_server_completed_rpcs", "grpc_server_method").len();
    println!("{} series, {paths} paths, {methods} gRPC methods", page.0.len());
    // Half of what was asked for is the bound, plus the name for everything beyond it.
    assert!(paths <= 501 && methods <= 501, "{paths} paths, {methods} methods");
    assert!(page.values_of("dapr_component_output_binding_count", "operation").len() <= 33);
    // The routes that are known are still told apart.
    let known = page
        .of_name("dapr_http_server_request_count")
        .find(|series| series.labels["path"] == "/v1.0/state/store" && series.labels["status"] == "204");
    assert_eq!(known.map(|series| series.value), Some((KEYS + 1) as f64));
}

#[tokio::test]
async fn low_cardinality_tells_no_paths() {
    let file =
        configuration(&json!({"metric": {"http": {"increasedCardinality": false, "excludeVerbs": true}}}));
    let mecha = builder().flag("--config", configuration::path(&file)).start().await.unwrap();
    for path in ["/v1.0/state/store/a", "/v1.0/state/store/b"] {
        assert_eq!(status_of(&mecha, Method::GET, path, "").await.unwrap(), 204);
    }
    let labels = [("app_id", "orders"), ("method", ""), ("path", ""), ("status", "204")];
    eventually(SOON, || async {
        let page = Page::of(&mecha).await;
        let found = page.value("dapr_http_server_request_count", &labels);
        ensure!(found.is_some_and(|count| count >= 2.0), "{found:?}");
        ensure!(page.of_name("dapr_http_server_response_count").count() == 0, "legacy metric");
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn no_page_when_metrics_are_off() {
    let mecha = builder().switch("--enable-metrics=false").start().await.unwrap();
    assert!(mecha.metrics().await.is_err());
}
