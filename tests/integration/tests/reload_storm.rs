//! A storm of changes under load: components, subscriptions and the Configuration change all the time, no call fails and
//! nothing grows.
//!
//! `MECHA_STORM_CHANGES` says how many changes; each round makes three of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mecha_testkit::{Asked, HttpClient, Mecha, Scripted, ScriptedApp, eventually};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;

const SOON: Duration = Duration::from_secs(20);
const CONFIGURATION: &str = "configuration.json";
const DEFAULT_CHANGES: usize = 120;
const CHANGES_A_ROUND: usize = 3;
const CLIENTS: usize = 8;
/// After these rounds everything has been allocated once.
const WARM_UP: usize = 10;
/// What an allocator under load keeps; a component, subscription or Configuration that stayed would be many times more.
const GROWTH_AT_MOST: u64 = 16 << 20;

struct Storm {
    mecha: Arc<Mecha>,
    /// The Configuration lies in a folder of its own: what others write beside it would keep the runtime looking.
    folder: TempDir,
    _app: ScriptedApp,
}

impl Storm {
    async fn start() -> Result<Self> {
        let app = ScriptedApp::start(|asked: Asked| async move {
            Scripted::status(if asked.path.starts_with("/dapr/") { 404 } else { 200 })
        })
        .await?;
        let folder = tempfile::tempdir()?;
        let configuration = folder.path().join(CONFIGURATION);
        std::fs::write(&configuration, resource("Configuration", "test", &json!({})).to_string())?;
        let mecha = Mecha::builder()
            .plugin("memory")
            .plugin("sqlite")
            .component("stable", "state.in-memory")
            .component("ps", "pubsub.in-memory")
            .flag("--app-port", app.port().to_string())
            .flag("--config", configuration.to_str().context("a path")?)
            .start()
            .await?;
        let storm = Self { mecha: Arc::new(mecha), folder, _app: app };
        storm.change(0)?;
        storm.visible(0).await?;
        Ok(storm)
    }

    /// One change of each kind.
    fn change(&self, round: usize) -> Result<()> {
        let file = self.folder.path().join("changing.db");
        let metadata = [json!({"name": "connectionString", "value": file.to_str().context("a path")?})];
        let component = resource(
            "Component",
            "changing",
            &json!({
                "type": component_type(round), "version": "v1",
                "metadata": if is_odd(round) { &metadata[..] } else { &[] },
            }),
        );
        let subscription = json!({"apiVersion": "dapr.io/v2alpha1", "kind": "Subscription", "metadata": {"name": "s"},
            "spec": {"pubsubname": "ps", "topic": "changing", "routes": {"default": route(round)}}});
        let denied = if is_odd(round) {
            json!([{"name": "lock", "version": "v1.0-alpha1", "protocol": "http"}])
        } else {
            json!([])
        };
        let configuration = resource("Configuration", "test", &json!({"api": {"denied": denied}}));
        self.mecha.write_resource("changing.json", &component.to_string())?;
        self.mecha.write_resource("subscription.json", &subscription.to_string())?;
        Ok(std::fs::write(self.folder.path().join(CONFIGURATION), configuration.to_string())?)
    }

    /// Waits until the metadata API shows the component and the subscription, and the API what the Configuration denies.
    async fn visible(&self, round: usize) -> Result<()> {
        let (expected_type, expected_route) = (component_type(round), route(round));
        eventually(SOON, || async {
            let metadata = self.mecha.http().get(&self.mecha.http_url("/v1.0/metadata")).await?.json()?;
            let component = named(&metadata["components"], "name", "changing");
            ensure!(component["type"] == expected_type, "round {round}: {component}");
            let subscription = named(&metadata["subscriptions"], "topic", "changing");
            ensure!(subscription["rules"][0]["path"] == expected_route, "round {round}: {subscription}");
            let url = self.mecha.http_url("/v1.0-alpha1/lock/none");
            let status = self.mecha.http().post(&url, "{}").await?.status;
            ensure!((status == 404) == is_odd(round), "round {round}: the lock API answers {status}");
            Ok(())
        })
        .await
    }
}

fn is_odd(round: usize) -> bool {
    round % 2 == 1
}

fn component_type(round: usize) -> &'static str {
    if is_odd(round) { "state.sqlite" } else { "state.in-memory" }
}

fn route(round: usize) -> String {
    format!("/changing/{round}")
}

fn resource(kind: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "dapr.io/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

fn named(list: &Value, field: &str, name: &str) -> Value {
    let found = list.as_array().and_then(|list| list.iter().find(|entry| entry[field] == name));
    found.cloned().unwrap_or_default()
}

/// Saves, reads and publishes until told to stop; the first call that fails ends it.
async fn client(mecha: Arc<Mecha>, stop: Arc<AtomicBool>, calls: Arc<AtomicU64>) -> Result<()> {
    let http = HttpClient::new();
    while !stop.load(Ordering::Relaxed) {
        for store in ["stable", "changing"] {
            let saved = http
                .post(&mecha.http_url(&format!("/v1.0/state/{store}")), r#"[{"key":"k","value":1}]"#)
                .await?;
            ensure!(saved.status == 204, "saving in {store}: {} {}", saved.status, saved.text());
            let read = http.get(&mecha.http_url(&format!("/v1.0/state/{store}/k"))).await?;
            // A store that was just replaced may not have the key.
            ensure!(
                matches!(read.status.as_u16(), 200 | 204),
                "reading {store}: {} {}",
                read.status,
                read.text()
            );
        }
        let published = http.post(&mecha.http_url("/v1.0/publish/ps/changing"), "{}").await?;
        ensure!(published.status == 204, "publishing: {} {}", published.status, published.text());
        calls.fetch_add(5, Ordering::Relaxed);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_changes_fails_no_call_and_leaves_nothing_behind() -> Result<()> {
    let changes = std::env::var("MECHA_STORM_CHANGES").ok().map(|text| text.parse()).transpose()?;
    let rounds = changes.unwrap_or(DEFAULT_CHANGES).div_ceil(CHANGES_A_ROUND);
    let storm = Storm::start().await?;
    let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(client(storm.mecha.clone(), stop.clone(), calls.clone()));
    }
    for round in 1..=WARM_UP {
        storm.change(round)?;
        storm.visible(round).await?;
    }
    let (before, began) = (storm.mecha.rss_bytes()?, Instant::now());
    for round in WARM_UP + 1..=WARM_UP + rounds {
        storm.change(round)?;
        storm.visible(round).await?;
    }
    let elapsed = began.elapsed();
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = clients.join_next().await {
        ended?.context("a call failed")?;
    }
    let after = storm.mecha.rss_bytes()?;
    println!(
        "{} changes in {:.1} s, each seen; {} calls, none failed; resident {} KiB before, {} KiB after",
        rounds * CHANGES_A_ROUND,
        elapsed.as_secs_f64(),
        calls.load(Ordering::Relaxed),
        before / 1024,
        after / 1024
    );
    ensure!(after.saturating_sub(before) <= GROWTH_AT_MOST, "memory grew by {} bytes", after - before);
    Ok(())
}
