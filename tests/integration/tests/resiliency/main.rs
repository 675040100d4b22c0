//! Resiliency resources at work: calls of components and deliveries to the application, with back ends that fail in an order
//! that the test writes.

#[path = "../support/http_error.rs"]
mod http_error;
mod inbound;
mod outbound;

use std::time::Duration;

use mecha_testkit::{Mecha, MechaBuilder, fixture};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(20);

fn resiliency(policies: &Value, components: &Value) -> String {
    json!({
        "apiVersion": "dapr.io/v1alpha1",
        "kind": "Resiliency",
        "metadata": {"name": "res", "namespace": "ns"},
        "spec": {"policies": policies, "targets": {"components": components}},
    })
    .to_string()
}

fn probing() -> MechaBuilder {
    Mecha::builder().library("libmecha_plugin_probe.so", fixture("probe-a").unwrap())
}

/// A sample of `dapr_resiliency_*`, 0 when there is none.
async fn sample(mecha: &Mecha, metric: &str, labels: &[&str]) -> f64 {
    let text = mecha.metrics().await.unwrap();
    let is_it = |line: &&str| {
        line.starts_with(&format!("dapr_resiliency_{metric}{{"))
            && labels.iter().all(|label| line.contains(label))
    };
    text.lines().filter(is_it).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

fn quickly(retries: i64) -> Value {
    json!({"retries": {"p": {"policy": "constant", "duration": "5ms", "maxRetries": retries}}})
}
