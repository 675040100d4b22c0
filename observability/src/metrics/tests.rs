//! The text that Prometheus reads.

use std::time::Duration;

use super::*;

fn settings() -> MetricsSettings {
    MetricsSettings { app_id: "orders".into(), namespace: "shop".into(), ..MetricsSettings::default() }
}

fn metrics() -> Metrics {
    Metrics::new(&settings()).unwrap()
}

/// The value of the one line that begins like this.
#[track_caller]
fn value(text: &str, series: &str) -> f64 {
    let line = text.lines().find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')));
    let line = line.unwrap_or_else(|| panic!("no {series} in\n{text}"));
    line[series.len() + 1..].parse().unwrap()
}

#[test]
fn a_component_s_calls_have_dapr_s_names_and_labels() {
    let metrics = metrics();
    let store = metrics.components.resolve("cache", ComponentKind::State);
    store.record(Operation::Get, true, Duration::from_micros(2500));
    store.record(Operation::Get, true, Duration::from_millis(40));
    store.record(Operation::Transaction, false, Duration::from_millis(1));
    let text = metrics.render();
    let labels = r#"app_id="orders",component="cache",namespace="shop",operation="get",success="true""#;
    assert_eq!(value(&text, &format!("dapr_component_state_count{{{labels}}}")), 2.0);
    assert_eq!(value(&text, &format!("dapr_component_state_latencies_count{{{labels}}}")), 2.0);
    assert_eq!(value(&text, &format!("dapr_component_state_latencies_sum{{{labels}}}")), 42.5);
    assert_eq!(value(&text, &format!("dapr_component_state_latencies_bucket{{{labels},le=\"3\"}}")), 1.0);
    assert_eq!(value(&text, &format!("dapr_component_state_latencies_bucket{{{labels},le=\"+Inf\"}}")), 2.0);
    assert!(text.contains(r#"operation="transaction",success="false"} 1"#));
    assert!(!text.contains(r#"operation="delete""#), "series exist only for what happened");
    assert!(text.contains("# TYPE dapr_component_state_count counter"));
}

#[test]
fn bindings_name_their_operations_within_a_bound() {
    let metrics = metrics();
    let output = metrics.components.resolve("mail", ComponentKind::OutputBinding);
    for number in 0..200 {
        output.record_named(&format!("operation-{number}"), true, Duration::ZERO);
    }
    output.operation("operation-0").record(true, Duration::ZERO);
    let input = metrics.components.resolve("cron", ComponentKind::InputBinding);
    input.record(Operation::Event, true, Duration::from_millis(3));
    let text = metrics.render();
    let series = text.lines().filter(|line| line.starts_with("dapr_component_output_binding_count{")).count();
    assert_eq!(series, 33);
    let of = |operation: &str| {
        format!(
            r#"dapr_component_output_binding_count{{app_id="orders",component="mail",namespace="shop",operation="{operation}",success="true"}}"#
        )
    };
    assert_eq!(value(&text, &of("operation-0")), 2.0);
    assert_eq!(value(&text, &of("other")), 168.0);
    let event = r#"dapr_component_input_binding_count{app_id="orders",component="cron",namespace="shop",success="true"}"#;
    assert_eq!(value(&text, event), 1.0);
}

#[test]
fn http_requests_are_counted_by_shortened_path() {
    let metrics = metrics();
    for key in ["a", "b", "c/d"] {
        let path = format!("/v1.0/state/cache/{key}");
        metrics.http.observe("GET", &path, 200, 0, 2000, Duration::from_millis(2));
    }
    metrics.http.route("GET", "/v1.0/state/cache/z").record(299, 10, 0, Duration::ZERO);
    metrics.http.observe("BREW", "/pot", 418, 0, 0, Duration::ZERO);
    let text = metrics.render();
    let get = r#"{app_id="orders",method="GET",path="/v1.0/state/cache",status="200"}"#;
    assert_eq!(value(&text, &format!("dapr_http_server_request_count{get}")), 3.0);
    assert_eq!(value(&text, &format!("dapr_http_server_response_count{get}")), 3.0);
    assert_eq!(value(&text, &format!("dapr_http_server_latency_count{get}")), 3.0);
    assert!(text.contains(r#"path="/v1.0/state/cache",status="299"} 1"#));
    assert!(text.contains(r#"method="UNKNOWN",path="/pot",status="418"} 1"#));
    assert_eq!(value(&text, r#"dapr_http_server_response_bytes_bucket{app_id="orders",le="1024"}"#), 2.0);
    assert_eq!(value(&text, r#"dapr_http_server_response_bytes_sum{app_id="orders"}"#), 6000.0);
}

#[test]
fn low_cardinality_drops_paths_and_verbs() {
    let http = HttpCardinality { increased: false, exclude_verbs: true, path_matching: Vec::new() };
    let metrics = Metrics::new(&MetricsSettings { http, ..settings() }).unwrap();
    metrics.http.observe("GET", "/v1.0/state/cache/a", 200, 0, 0, Duration::ZERO);
    metrics.http.observe("POST", "/v1.0/publish/ps/t", 200, 0, 0, Duration::ZERO);
    let text = metrics.render();
    let all = r#"dapr_http_server_request_count{app_id="orders",method="",path="",status="200"}"#;
    assert_eq!(value(&text, all), 2.0);
    assert!(!text.contains("dapr_http_server_response_count"));
}

#[test]
fn a_scan_of_random_paths_stays_bounded() {
    let metrics = metrics();
    for number in 0..3000 {
        metrics.http.observe("GET", &format!("/scan/{number}"), 404, 0, 0, Duration::ZERO);
        metrics.grpc.observe(&format!("/scan/{number}"), tonic::Code::Unimplemented, None, Duration::ZERO);
    }
    let text = metrics.render();
    let count = |name: &str| text.lines().filter(|line| line.starts_with(name)).count();
    assert_eq!(count("dapr_http_server_request_count{"), 501);
    assert_eq!(count("dapr_grpc_io_server_completed_rpcs{"), 501);
    let rest = r#"dapr_http_server_request_count{app_id="orders",method="GET",path="",status="404"}"#;
    assert_eq!(value(&text, rest), 2500.0);
}

#[test]
fn rpcs_are_counted_by_method_and_status() {
    let metrics = metrics();
    let method = metrics.grpc.method("/dapr.proto.runtime.v1.Dapr/GetState");
    method.record(tonic::Code::Ok, Some((100, 3000)), Duration::from_millis(1));
    method.record(tonic::Code::Cancelled, None, Duration::from_millis(1));
    let text = metrics.render();
    let label = r#"app_id="orders",grpc_server_method="/dapr.proto.runtime.v1.Dapr/GetState""#;
    for status in ["OK", "Canceled"] {
        let series = format!("dapr_grpc_io_server_completed_rpcs{{{label},grpc_server_status=\"{status}\"}}");
        assert_eq!(value(&text, &series), 1.0);
        let series =
            format!("dapr_grpc_io_server_server_latency_count{{{label},grpc_server_status=\"{status}\"}}");
        assert_eq!(value(&text, &series), 1.0);
    }
    assert_eq!(value(&text, &format!("dapr_grpc_io_server_sent_bytes_per_rpc_sum{{{label}}}")), 3000.0);
    assert_eq!(value(&text, &format!("dapr_grpc_io_server_received_bytes_per_rpc_count{{{label}}}")), 1.0);
}

#[test]
fn the_life_of_components_is_counted() {
    let metrics = metrics();
    metrics.runtime.component_loaded();
    metrics.runtime.component_initialised("state.redis");
    metrics.runtime.component_init_failed("state.redis", "cache", InitFailure::Init);
    let text = metrics.render();
    assert_eq!(value(&text, r#"dapr_runtime_component_loaded{app_id="orders"}"#), 1.0);
    assert_eq!(
        value(&text, r#"dapr_runtime_component_init_total{app_id="orders",component="state.redis"}"#),
        1.0
    );
    let failed = r#"{app_id="orders",component="state.redis",componentName="cache",reason="init"}"#;
    assert_eq!(value(&text, &format!("dapr_runtime_component_init_fail_total{failed}")), 1.0);
}

#[test]
fn error_codes_count_only_on_request() {
    let silent = metrics();
    silent.errors.record("ERR_STATE_GET", "state");
    assert!(!silent.render().contains("dapr_error_code_total"));
    let metrics = Metrics::new(&MetricsSettings { record_error_codes: true, ..settings() }).unwrap();
    metrics.errors.record("ERR_STATE_GET", "state");
    let series = r#"dapr_error_code_total{app_id="orders",category="state",error_code="ERR_STATE_GET"}"#;
    assert_eq!(value(&metrics.render(), series), 1.0);
}

#[test]
fn plugins_show_what_they_do() {
    let metrics = metrics();
    let plugin = metrics.plugins.resolve("libmecha_plugin_redis");
    let call = plugin.enter();
    plugin.panicked();
    plugin.polled(Duration::from_micros(10));
    plugin.swapped(true);
    plugin.set_generations(GenerationState::Draining, 2);
    metrics.plugins.refused("layout");
    let text = metrics.render();
    assert_eq!(value(&text, r#"mecha_plugin_in_flight{plugin="libmecha_plugin_redis"}"#), 1.0);
    assert_eq!(value(&text, r#"mecha_plugin_panics_total{plugin="libmecha_plugin_redis"}"#), 1.0);
    assert_eq!(value(&text, r#"mecha_plugin_poll_seconds_count{plugin="libmecha_plugin_redis"}"#), 1.0);
    assert_eq!(value(&text, r#"mecha_plugin_refused_total{reason="layout"}"#), 1.0);
    assert!(text.contains(r#"mecha_plugin_swaps_total{outcome="swapped",plugin="libmecha_plugin_redis"} 1"#));
    assert!(text.contains(r#"mecha_plugin_generations{plugin="libmecha_plugin_redis",state="draining"} 2"#));
    drop(call);
    assert_eq!(plugin.in_flight(), 0);
}

#[test]
fn the_process_is_shown() {
    let text = metrics().render();
    assert!(value(&text, "process_resident_memory_bytes") > 1e6);
    assert!(value(&text, "process_open_fds") >= 3.0);
    assert!(value(&text, "process_max_fds") > 3.0);
    assert!(value(&text, "process_threads") >= 1.0);
    let age = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64()
        - value(&text, "process_start_time_seconds");
    assert!((-2.0..86_400.0).contains(&age), "{age}");
    assert!(text.contains("# TYPE process_cpu_seconds_total counter"));
}

#[test]
fn two_runtimes_count_apart() {
    let (one, other) = (metrics(), metrics());
    one.runtime.component_loaded();
    assert!(!other.render().contains("dapr_runtime_component_loaded{"));
    assert_eq!(value(&one.render(), r#"dapr_runtime_component_loaded{app_id="orders"}"#), 1.0);
}

/// Prints what one record costs; a call pays this twice or three times.
#[test]
fn cost_of_a_record() {
    let metrics = metrics();
    let store = metrics.components.resolve("cache", ComponentKind::State);
    let rounds = 200_000_u32;
    let time = |what: &str, record: &dyn Fn()| {
        let start = std::time::Instant::now();
        (0..rounds).for_each(|_| record());
        println!("{what}: {} ns", start.elapsed().as_nanos() / u128::from(rounds));
    };
    let elapsed = Duration::from_micros(300);
    time("component record", &|| store.record(Operation::Get, true, elapsed));
    let route = metrics.http.route("GET", "/v1.0/state/cache/a");
    time("http record by handle", &|| route.record(200, 0, 1024, elapsed));
    time("http record by path", &|| {
        metrics.http.observe("GET", "/v1.0/state/cache/key-1", 200, 0, 1024, elapsed)
    });
}

/// A dashboard that asks for a metric which does not exist shows nothing, and nobody notices.
#[test]
fn the_dashboard_asks_only_for_metrics_that_exist() {
    let dashboard = include_str!("../../grafana/dashboards/mecha.json");
    serde_json::from_str::<serde_json::Value>(dashboard).unwrap();
    let names = include_str!("../names.rs");
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let asked = dashboard.split(|c: char| !is_name(c)).filter(|word| {
        [
            "dapr_http_",
            "dapr_grpc_",
            "dapr_runtime_",
            "dapr_error_",
            "mecha_plugin_",
            "mecha_spans_",
            "process_",
        ]
        .iter()
        .any(|prefix| word.starts_with(prefix))
    });
    let mut count = 0;
    for word in asked {
        let name = ["_bucket", "_sum"].iter().find_map(|suffix| word.strip_suffix(suffix)).unwrap_or(word);
        assert!(names.contains(&format!("\"{name}\"")), "{word}");
        count += 1;
    }
    assert!(count > 20, "{count}");
}

#[test]
fn a_circuit_breaker_has_a_series_for_each_state() {
    let metrics = metrics();
    let site = PolicySite { name: "r", namespace: "ns", direction: "outbound", target: "Statestore_cache" };
    metrics.resiliency.loaded("r", "ns");
    metrics.resiliency.applied(site, "retry", "");
    metrics.resiliency.applied(site, "circuitbreaker", "closed");
    metrics.resiliency.activated(site, "circuitbreaker", "open");
    let text = metrics.render();
    let of = |metric: &str, policy: &str, status: &str| {
        let labels = format!(
            r#"app_id="orders",flow_direction="outbound",name="r",namespace="ns",policy="{policy}",status="{status}",target="Statestore_cache""#
        );
        value(&text, &format!("{metric}{{{labels}}}"))
    };
    assert_eq!(value(&text, r#"dapr_resiliency_loaded{app_id="orders",name="r",namespace="ns"}"#), 1.0);
    assert_eq!(of("dapr_resiliency_count", "retry", ""), 1.0);
    assert_eq!(of("dapr_resiliency_count", "circuitbreaker", "closed"), 1.0);
    assert_eq!(of("dapr_resiliency_activations_total", "circuitbreaker", "open"), 1.0);
    let states = ["closed", "half-open", "open", "unknown"]
        .map(|state| of("dapr_resiliency_cb_state", "circuitbreaker", state));
    assert_eq!(states, [0.0, 0.0, 1.0, 0.0]);
    assert!(!text.contains(r#"dapr_resiliency_cb_state{app_id="orders",flow_direction="outbound",name="r",namespace="ns",policy="retry""#));
}
