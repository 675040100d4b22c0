//! Who may call whom: access control, what is counted of calls, and their trace through both runtimes.

#[path = "support/configuration.rs"]
mod configuration;

use std::time::Duration;

use bytes::Bytes;
use configuration::{configuration, path};
use http::Request;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use mecha_testkit::{Mecha, MechaBuilder, OtlpCollector, Reply, Scripted, ScriptedApp, eventually};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(20);
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

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
}

/// A caller and a callee, each with a Configuration.
async fn pair(of_caller: &Value, of_callee: &Value) -> Pair {
    let app = ScriptedApp::start(|asked| async move {
        let status = asked.path.strip_prefix("/status/").and_then(|status| status.parse().ok());
        Scripted::status(status.unwrap_or(200))
    })
    .await
    .unwrap();
    let (id, caller_id) = (unique("callee"), unique("caller"));
    let file = configuration(of_callee);
    let callee = runtime(&id).flag("--app-port", app.port().to_string()).flag("--config", path(&file));
    let callee = callee.flag("--disable-init-endpoints", "config,subscribe").start().await.unwrap();
    let file = configuration(of_caller);
    let caller = runtime(&caller_id).flag("--config", path(&file)).start().await.unwrap();
    Pair { caller, callee, app, caller_id, id }
}

impl Pair {
    async fn call(&self, method: &str) -> Reply {
        let url = self.caller.http_url(&format!("/v1.0/invoke/{}/method/{method}", self.id));
        let request = Request::post(url).header("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01"));
        self.caller.http().send(request.body(Full::new("{}".into())).unwrap()).await.unwrap()
    }
}

/// The sum of the samples of a metric with these labels.
async fn sample(mecha: &Mecha, metric: &str, labels: &[&str]) -> f64 {
    let text = mecha.metrics().await.unwrap();
    let is_it = |line: &&str| {
        line.starts_with(&format!("{metric}{{")) && labels.iter().all(|label| line.contains(label))
    };
    text.lines().filter(is_it).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

fn message(reply: &Reply) -> String {
    let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    body["message"].as_str().unwrap_or_default().to_owned()
}

/// Without mTLS nobody is known, so that a policy for the caller does not help it; what it says of itself does not either.
#[tokio::test]
async fn without_certificates_what_holds_for_everybody_decides() {
    let allowing = |caller: &str| {
        let operations = json!([{"name": "/**", "httpVerb": ["*"], "action": "allow"}]);
        let policy = json!({"appId": caller, "defaultAction": "allow", "trustDomain": "public",
                            "namespace": "default", "operations": operations});
        json!({"accessControl": {"defaultAction": "deny", "trustDomain": "public", "policies": [policy]}})
    };
    let pair = pair(&json!({}), &allowing("caller")).await;
    let refused = pair.call("a/b").await;
    assert_eq!(refused.status, 403, "{}", refused.text());
    let denied = "access control policy has denied access to id:  operation: a/b verb: POST";
    let expected =
        format!("failed to invoke, id: {}, err: rpc error: code = PermissionDenied desc = {denied}", pair.id);
    assert_eq!(message(&refused), expected);
    assert!(pair.app.asked_at("/a/b").is_empty());
    let blocked = "dapr_runtime_acl_global_policy_action_blocked_total";
    assert_eq!(sample(&pair.callee, blocked, &[r#"app_id="""#]).await, 1.0);

    // The own runtime asks nobody.
    let own = pair.callee.http_url(&format!("/v1.0/invoke/{}/method/own", pair.id));
    assert_eq!(pair.callee.http().post(&own, "{}").await.unwrap().status, 200);
}

/// Calls that pass through are asked for as well, and a changed Configuration counts from the next call.
#[tokio::test]
async fn calls_that_pass_through_and_changed_rules() {
    let (app, id) =
        (ScriptedApp::start(|_| async { Scripted::status(404) }).await.unwrap(), unique("callee"));
    let rules = |action: &str| json!({"accessControl": {"defaultAction": action}});
    let file = configuration(&rules("deny"));
    let callee = runtime(&id).flag("--app-port", app.port().to_string()).flag("--config", path(&file));
    let callee = callee.flag("--disable-init-endpoints", "config,subscribe").start().await.unwrap();
    let call = || async {
        let client: Client<_, Full<Bytes>> =
            Client::builder(TokioExecutor::new()).http2_only(true).build_http();
        let request = Request::post(format!("{}/test.Service/Method", callee.grpc_endpoint()))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("dapr-app-id", &id);
        let answer = client.request(request.body(Full::default()).unwrap()).await.unwrap();
        tonic::Status::from_header_map(answer.headers()).unwrap()
    };
    let denied = call().await;
    assert_eq!(denied.code(), tonic::Code::PermissionDenied);
    let text = "access control policy has denied access to id:  operation: /test.Service/Method verb: NONE";
    assert_eq!(denied.message(), text);

    let allowing = configuration(&rules("allow"));
    std::fs::copy(allowing.path(), file.path()).unwrap();
    eventually(SOON, || async {
        let status = call().await;
        // It gets as far as the application, which speaks no gRPC.
        anyhow::ensure!(status.code() == tonic::Code::Unavailable, "{status}");
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn everybody_may_call_where_nothing_is_said() {
    let pair = pair(&json!({}), &json!({})).await;
    assert_eq!(pair.call("m").await.status, 200);
    let allowed = "dapr_runtime_acl_global_policy_action_allowed_total";
    assert_eq!(sample(&pair.callee, allowed, &[]).await, 1.0);
}

#[tokio::test]
async fn a_policy_that_names_nobody_ends_the_start() {
    let file = configuration(&json!({"accessControl": {"policies": [{"appId": "a"}]}}));
    let mut mecha = runtime("app").flag("--config", path(&file)).spawn().await.unwrap();
    assert_ne!(mecha.wait_exit(SOON).await.unwrap(), 0);
    let error =
        "invalid access control spec. missing trustdomain for apps: [a], missing namespace for apps: [a]";
    mecha.logs().wait_for(error, SOON).await.unwrap();
}

#[tokio::test]
async fn calls_are_counted_on_both_sides() {
    let pair = pair(&json!({}), &json!({})).await;
    for (method, times) in [("m", 3), ("status/503", 2)] {
        for _ in 0..times {
            pair.call(method).await;
        }
    }
    let (to, from) = (format!("dst_app_id=\"{}\"", pair.id), format!("src_app_id=\"{}\"", pair.id));
    let invocation = |name: &str| format!("dapr_runtime_service_invocation_{name}");
    let unary = r#"type="unary""#;
    assert_eq!(sample(&pair.caller, &invocation("req_sent_total"), &[&to, unary]).await, 5.0);
    for (status, times) in [("200", 3.0), ("503", 2.0)] {
        let status = format!("status=\"{status}\"");
        let received = sample(&pair.caller, &invocation("res_recv_total"), &[&from, &status, unary]).await;
        let timed = sample(&pair.caller, &invocation("res_recv_latency_ms_count"), &[&from, &status]).await;
        assert_eq!((received, timed), (times, times), "{status}");
        let caller = format!("dst_app_id=\"{}\"", pair.caller_id);
        let sent = sample(&pair.callee, &invocation("res_sent_total"), &[&caller, &status]).await;
        assert_eq!(sent, times, "{status}");
    }
    let caller = format!("src_app_id=\"{}\"", pair.caller_id);
    assert_eq!(sample(&pair.callee, &invocation("req_recv_total"), &[&caller]).await, 5.0);
    let labels = [r#"method="POST""#, r#"path="/m""#, r#"status="200""#];
    for (metric, times) in [("completed_count", 3.0), ("roundtrip_latency_count", 3.0)] {
        let metric = format!("dapr_http_client_{metric}");
        assert_eq!(sample(&pair.callee, &metric, &labels).await, times, "{metric}");
    }
    assert_eq!(sample(&pair.callee, "dapr_http_client_sent_bytes_sum", &labels[..2]).await, 6.0);
}

#[tokio::test]
async fn one_trace_goes_through_both_runtimes() {
    let collector = OtlpCollector::start().await.unwrap();
    let otel = json!({"endpointAddress": collector.addr(), "isSecure": false, "protocol": "grpc"});
    let tracing = json!({"tracing": {"samplingRate": "1", "otel": otel}});
    let pair = pair(&tracing, &tracing).await;
    let reply = pair.call("a/b").await;
    assert!(reply.header("traceparent").contains(TRACE));
    let name = format!("CallLocal/{}/a/b", pair.id);
    let spans = collector
        .wait_for_spans(|spans| spans.iter().filter(|span| span.span.name == name).count() == 2, SOON)
        .await
        .unwrap();
    let of =
        |service: &str| spans.iter().find(|span| span.span.name == name && span.service == service).unwrap();
    let (caller, callee) = (of(&pair.caller_id), of(&pair.id));
    assert_eq!((caller.trace_id(), caller.parent_id()), (TRACE.to_owned(), "00f067aa0ba902b7".to_owned()));
    assert_eq!((callee.trace_id(), callee.parent_id()), (TRACE.to_owned(), caller.span_id()));
    for (span, key, value) in [
        (caller, "rpc.service", "ServiceInvocation"),
        (caller, "net.peer.name", pair.id.as_str()),
        (caller, "dapr.protocol", "http"),
        (caller, "dapr.status_code", "200"),
        (callee, "rpc.service", "ServiceInvocation"),
        (callee, "dapr.invoke_method", "a/b"),
        (callee, "dapr.protocol", "grpc"),
    ] {
        assert_eq!(span.attribute(key).as_deref(), Some(value), "{key}");
    }
    let asked = pair.app.asked_at("/a/b").remove(0);
    assert!(asked.header("traceparent").starts_with(&format!("00-{TRACE}-{}", callee.span_id())));
}
