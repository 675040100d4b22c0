//! Resiliency policies of applications, each field against an application that fails in an order that the test writes.

#[path = "invocation_resiliency/breakers.rs"]
mod breakers;
#[path = "invocation_resiliency/built_in.rs"]
mod built_in;
#[path = "invocation_resiliency/grpc.rs"]
mod grpc;
#[path = "invocation_resiliency/retries.rs"]
mod retries;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mecha_testkit::{Asked, Mecha, MechaBuilder, Reply, Scripted, ScriptedApp};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(20);

/// Two runtimes, the second with an application that follows a script.
struct Flaky {
    caller: Mecha,
    /// Kept alive.
    _callee: Mecha,
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

/// A resource whose policies `p` apply to calls of an application.
fn of_app(id: &str, policies: &Value) -> String {
    let kinds = [("timeouts", "timeout"), ("retries", "retry"), ("circuitBreakers", "circuitBreaker")];
    let named = kinds.iter().filter(|(kind, _)| policies.get(kind).is_some());
    let names: serde_json::Map<_, _> = named.map(|(_, name)| ((*name).to_owned(), json!("p"))).collect();
    resource(policies, &json!({id: names}))
}

fn resource(policies: &Value, apps: &Value) -> String {
    json!({
        "apiVersion": "dapr.io/v1alpha1",
        "kind": "Resiliency",
        "metadata": {"name": "res", "namespace": "ns"},
        "spec": {"policies": policies, "targets": {"apps": apps}},
    })
    .to_string()
}

fn quickly(retries: i64) -> Value {
    json!({"retries": {"p": {"policy": "constant", "duration": "5ms", "maxRetries": retries}}})
}

/// An application that answers with these statuses in turn, then with 200; 0 is no answer at all. The body of an answer is the
/// number of the call; a call of `/other/…` is not counted.
async fn scripted(statuses: &'static [u16]) -> ScriptedApp {
    let calls = Arc::new(AtomicUsize::new(0));
    ScriptedApp::start(move |asked: Asked| {
        let calls = calls.clone();
        async move {
            if asked.path.starts_with("/dapr/") {
                return Scripted::status(404);
            }
            if asked.path.starts_with("/other/") {
                return Scripted::ok("other");
            }
            let number = calls.fetch_add(1, Ordering::SeqCst);
            match statuses.get(number).copied().unwrap_or(200) {
                0 => std::future::pending().await,
                status => Scripted::status(status).with_body((number + 1).to_string()),
            }
        }
    })
    .await
    .unwrap()
}

/// With what `resource` makes of the callee's id.
async fn flaky(statuses: &'static [u16], resource: impl Fn(&str) -> String) -> Flaky {
    let app = scripted(statuses).await;
    let id = unique("callee");
    let callee = runtime(&id).flag("--app-port", app.port().to_string()).start().await.unwrap();
    let caller = runtime(&unique("caller")).resources(&resource(&id)).start().await.unwrap();
    Flaky { caller, _callee: callee, app, id }
}

impl Flaky {
    fn url(&self, method: &str) -> String {
        self.caller.http_url(&format!("/v1.0/invoke/{}/method/{method}", self.id))
    }

    async fn get(&self, method: &str) -> Reply {
        self.caller.http().get(&self.url(method)).await.unwrap()
    }

    /// The status and the number of the call that was answered.
    async fn call(&self) -> (u16, String) {
        let reply = self.get("flaky").await;
        (reply.status.as_u16(), reply.text())
    }

    fn calls(&self) -> usize {
        self.app.asked_at("/flaky").len()
    }

    /// The sum of the samples of `dapr_resiliency_*` with these labels.
    async fn sample(&self, metric: &str, labels: &[&str]) -> f64 {
        let text = self.caller.metrics().await.unwrap();
        let target = format!("target=\"app_{}\"", self.id);
        let is_it = |line: &&str| {
            line.starts_with(&format!("dapr_resiliency_{metric}{{"))
                && line.contains(&target)
                && labels.iter().all(|label| line.contains(label))
        };
        text.lines().filter(is_it).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }
}

/// Status, code and message of an error of the runtime.
fn error_of(reply: &Reply) -> (u16, String, String) {
    let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    (reply.status.as_u16(), text("errorCode"), text("message"))
}

#[track_caller]
fn assert_not_invoked(reply: &Reply, id: &str, reason: &str) {
    let message = format!("failed to invoke, id: {id}, err: {reason}");
    assert_eq!(error_of(reply), (500, "ERR_DIRECT_INVOKE".to_owned(), message));
}
