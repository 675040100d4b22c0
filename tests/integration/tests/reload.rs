//! Resource files while the process runs: what changes is taken in, what is broken changes nothing.

use std::time::Duration;

use anyhow::{Result, ensure};
use mecha_testkit::{Mecha, eventually};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(15);

fn store(name: &str, metadata: &[(&str, &str)]) -> String {
    let metadata: Vec<_> =
        metadata.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
    json!({
        "apiVersion": "dapr.io/v1alpha1",
        "kind": "Component",
        "metadata": {"name": name},
        "spec": {"type": "state.sqlite", "version": "v1", "metadata": metadata},
    })
    .to_string()
}

async fn save(mecha: &Mecha, name: &str) -> Result<()> {
    let url = mecha.http_url(&format!("/v1.0/state/{name}"));
    let reply = mecha.http().post(&url, r#"[{"key":"k","value":1}]"#).await?;
    ensure!(reply.status == 204, "{}: {}", reply.status, reply.text());
    Ok(())
}

async fn code(mecha: &Mecha, name: &str) -> Result<String> {
    let reply = mecha.http().get(&mecha.http_url(&format!("/v1.0/state/{name}/k"))).await?;
    let body: Value = reply.json().unwrap_or_default();
    Ok(body["errorCode"].as_str().unwrap_or_default().to_owned())
}

/// One process with one store in `01.json`, whose database is a file of its own.
struct Reloading {
    mecha: Mecha,
    folder: tempfile::TempDir,
}

impl Reloading {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mecha = Mecha::builder().plugin("sqlite").start().await.unwrap();
        let reloading = Self { mecha, folder };
        reloading.write("01.json", &store("first", &[("connectionString", &reloading.file("first.db"))]));
        eventually(SOON, || save(&reloading.mecha, "first")).await.unwrap();
        reloading
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn write(&self, name: &str, text: &str) {
        self.mecha.write_resource(name, text).unwrap();
    }
}

#[tokio::test]
async fn components_come_and_go_with_their_files() {
    let run = Reloading::start().await;
    run.write("02.json", &store("second", &[("connectionString", &run.file("second.db"))]));
    eventually(SOON, || save(&run.mecha, "second")).await.unwrap();
    run.mecha.remove_resource("01.json").unwrap();
    eventually(SOON, || async {
        let code = code(&run.mecha, "first").await?;
        ensure!(code == "ERR_STATE_STORE_NOT_FOUND", "{code}");
        Ok(())
    })
    .await
    .unwrap();
    save(&run.mecha, "second").await.unwrap();
    run.mecha.logs().wait_for("Component removed: first (state.sqlite/v1)", SOON).await.unwrap();
}

#[tokio::test]
async fn a_changed_component_opens_anew_without_a_failed_call() {
    let run = Reloading::start().await;
    let other = run.file("other.db");
    run.write("01.json", &store("first", &[("connectionString", &other)]));
    eventually(SOON, || async {
        save(&run.mecha, "first").await.expect("a call failed while the component was replaced");
        ensure!(std::fs::metadata(&other).is_ok(), "the new database is not there yet");
        Ok(())
    })
    .await
    .unwrap();
    save(&run.mecha, "first").await.unwrap();
}

#[tokio::test]
async fn a_change_that_cannot_be_used_leaves_the_last_good_state() {
    let run = Reloading::start().await;
    run.write("01.json", "{ this is no resource");
    run.mecha.logs().wait_for("what it held before stays", SOON).await.unwrap();
    save(&run.mecha, "first").await.unwrap();
    // A component that does not open keeps the old one serving.
    run.write("01.json", &store("first", &[]));
    run.mecha.logs().wait_for("missing connection string", SOON).await.unwrap();
    save(&run.mecha, "first").await.unwrap();
    // Two of one name are refused as a whole.
    run.write("02.json", &store("first", &[("connectionString", &run.file("second.db"))]));
    run.mecha.logs().wait_for("duplicate definition of Component name first", SOON).await.unwrap();
    save(&run.mecha, "first").await.unwrap();
}

#[tokio::test]
async fn the_same_content_again_does_nothing() {
    let run = Reloading::start().await;
    let before = run.mecha.logs().matching("Component loaded").len();
    run.write("01.json", &store("first", &[("connectionString", &run.file("first.db"))]));
    // Something that is taken in after it shows that it was looked at.
    run.write("02.json", &store("second", &[("connectionString", &run.file("second.db"))]));
    eventually(SOON, || save(&run.mecha, "second")).await.unwrap();
    assert_eq!(run.mecha.logs().matching("Component loaded").len(), before + 1);
}
