//! Dapr's pluggable components: found by their sockets in any order of start, used, lost and found again.

mod process;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use mecha_testkit::{
    Answer, Mecha, MechaBuilder, Reply, Scripted, ScriptedApp, TestApp, Transport, Wish, eventually,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::UnixListener;

use process::Process;

const SOON: Duration = Duration::from_secs(20);

/// A folder of sockets.
struct Folder(TempDir);

impl Folder {
    fn new() -> Result<Self> {
        Ok(Self(tempfile::tempdir()?))
    }

    fn socket(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn runtime(&self) -> MechaBuilder {
        Mecha::builder().app_id("app1").env("DAPR_COMPONENTS_SOCKETS_FOLDER", text(self.0.path()))
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

async fn post(mecha: &Mecha, path: &str, body: &Value) -> Result<Reply> {
    let request = http::Request::post(mecha.http_url(path)).header("content-type", "application/json");
    mecha.http().send(request.body(http_body_util::Full::new(body.to_string().into()))?).await
}

async fn get(mecha: &Mecha, path: &str) -> Result<Reply> {
    mecha.http().get(&mecha.http_url(path)).await
}

async fn saved(mecha: &Mecha, entry: Value) -> Result<Reply> {
    post(mecha, "/v1.0/state/store", &json!([entry])).await
}

#[tokio::test]
async fn a_state_store_keeps_values_etags_and_transactions() -> Result<()> {
    let folder = Folder::new()?;
    let process = Process::start(&folder.socket("own.sock"))?;
    let metadata = [("color", "green")];
    let mecha = folder.runtime().component_with("store", "state.own", &metadata).start().await?;
    let initialised = process.what.initialised.lock().unwrap().clone();
    assert_eq!(initialised[0].0, "store");
    assert_eq!(initialised[0].1["color"], "green");

    assert_eq!(get(&mecha, "/v1.0/state/store/a").await?.status, 204);
    assert_eq!(saved(&mecha, json!({"key": "a", "value": {"n": 1}})).await?.status, 204);
    let read = get(&mecha, "/v1.0/state/store/a").await?;
    assert_eq!((read.json()?, read.header("etag")), (json!({"n": 1}), "1"));

    let late = saved(&mecha, json!({"key": "a", "value": 2, "etag": "7"})).await?;
    assert_eq!(late.status, 409, "{}", late.text());
    let wrong = saved(&mecha, json!({"key": "a", "value": 2, "etag": "x"})).await?;
    assert_eq!(wrong.status, 400, "{}", wrong.text());
    assert!(wrong.text().contains("an etag is a number"), "{}", wrong.text());

    let steps = |count: usize| {
        let step = |number| json!({"operation": "upsert", "request": {"key": format!("t{number}"), "value": number}});
        json!({"operations": (0..count).map(step).collect::<Vec<_>>()})
    };
    assert_eq!(post(&mecha, "/v1.0/state/store/transaction", &steps(3)).await?.status, 204);
    let many = post(&mecha, "/v1.0/state/store/transaction", &steps(4)).await?;
    assert!(many.status.is_client_error(), "the store takes three: {}", many.text());
    let bulk = post(&mecha, "/v1.0/state/store/bulk", &json!({"keys": ["t2", "none", "broken"]})).await?;
    let items = bulk.json()?;
    assert_eq!(items[0]["data"], 2);
    assert_eq!(items[1].get("data"), None, "{items}");
    assert_eq!(items[2]["error"], "this one is broken");
    assert_eq!(mecha.http().delete(&mecha.http_url("/v1.0/state/store/a")).await?.status, 204);
    assert_eq!(get(&mecha, "/v1.0/state/store/a").await?.status, 204);

    let components = get(&mecha, "/v1.0/metadata").await?.json()?["components"].clone();
    assert_eq!(components[0]["type"], "state.own");
    assert_eq!(components[0]["capabilities"], json!(["ETAG", "TRANSACTIONAL"]));
    Ok(())
}

#[tokio::test]
async fn messages_are_delivered_and_come_again_when_they_are_refused() -> Result<()> {
    let folder = Folder::new()?;
    let process = Process::start(&folder.socket("broker"))?;
    let tries = Arc::new(AtomicU32::new(0));
    let counted = tries.clone();
    let mut app = TestApp::start(Transport::Http, vec![Wish::new("pubsub", "orders")], move |_| {
        if counted.fetch_add(1, Ordering::Relaxed) == 0 { Answer::Retry } else { Answer::Success }
    })
    .await?;
    let mut builder = folder.runtime().component("pubsub", "pubsub.broker");
    for (flag, value) in app.flags() {
        builder = builder.flag(flag, value);
    }
    let mecha = builder.start().await?;
    app.connect(&mecha).await?;
    assert_eq!(post(&mecha, "/v1.0/publish/pubsub/orders", &json!({"n": 1})).await?.status, 204);
    app.wait_for(SOON, |seen| seen.len() == 2).await?;
    eventually(SOON, || async {
        let settled = process.what.settled.lock().unwrap().clone();
        ensure!(settled.len() == 2, "{settled:?}");
        ensure!(settled[0].1.is_some() && settled[1].1.is_none(), "{settled:?}");
        Ok(())
    })
    .await?;

    // Lost in the middle: what was published before is kept there, and the subscription is taken up again.
    let process = process.restart()?;
    eventually(SOON, || async {
        let published = post(&mecha, "/v1.0/publish/pubsub/orders", &json!({"n": 2})).await?;
        ensure!(published.status == 204, "{}", published.text());
        Ok(())
    })
    .await?;
    app.wait_for(SOON, |seen| seen.len() >= 3).await?;
    drop(process);
    Ok(())
}

#[tokio::test]
async fn bindings_are_invoked_and_bring_events() -> Result<()> {
    let folder = Folder::new()?;
    let process = Process::start(&folder.socket("things.sock"))?;
    process.what.events.lock().unwrap().extend(["one".to_owned(), "two".to_owned()]);
    let app = ScriptedApp::start(|asked| async move {
        let refused = asked.body == "two";
        Scripted::status(if refused { 500 } else { 200 })
    })
    .await?;
    let port = app.port().to_string();
    let mecha =
        folder.runtime().component("things", "bindings.things").flag("--app-port", port).start().await?;
    let invoked = post(
        &mecha,
        "/v1.0/bindings/things",
        &json!({"operation": "echo", "data": "hello", "metadata": {"k": "v"}}),
    )
    .await?;
    assert_eq!((invoked.status.as_u16(), invoked.text()), (200, "\"hello\"".to_owned()));
    let first = process.what.invoked.lock().unwrap()[0].clone();
    assert_eq!((first.operation.as_str(), first.metadata["k"].as_str()), ("echo", "v"));

    // The probe, and both events.
    app.wait_for("/things", 3, SOON).await?;
    eventually(SOON, || async {
        let mut settled = process.what.settled.lock().unwrap().clone();
        settled.sort();
        let ids: Vec<_> = settled.iter().map(|(id, refused)| (id.as_str(), refused.is_some())).collect();
        ensure!(ids == [("event one", false), ("event two", true)], "{settled:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn secrets_are_read_by_applications_and_by_other_components() -> Result<()> {
    let folder = Folder::new()?;
    let process = Process::start(&folder.socket("vault.sock"))?;
    let store = "{apiVersion: dapr.io/v1alpha1, kind: Component, metadata: {name: store}, spec: {type: state.vault, version: v1, \
        metadata: [{name: password, secretKeyRef: {name: database, key: password}}]}, auth: {secretStore: vault}}";
    let mecha = folder.runtime().component("vault", "secretstores.vault").resources(store).start().await?;
    let secret = get(&mecha, "/v1.0/secrets/vault/database").await?.json()?;
    assert_eq!(secret, json!({"user": "scott", "password": "tiger"}));
    let all = get(&mecha, "/v1.0/secrets/vault/bulk").await?.json()?;
    assert_eq!(all["database"]["user"], "scott");
    assert!(get(&mecha, "/v1.0/secrets/vault/other").await?.text().contains("no secret other"));
    let initialised = process.what.initialised.lock().unwrap().clone();
    let (_, metadata) = initialised.iter().find(|(name, _)| name == "store").unwrap();
    assert_eq!(metadata["password"], "tiger");
    Ok(())
}

#[tokio::test]
async fn the_runtime_may_be_there_first_and_outlives_the_component() -> Result<()> {
    let folder = Folder::new()?;
    let mecha = folder.runtime().component("store", "state.late").start().await?;
    mecha.logs().wait_for("state.late", SOON).await?;
    let missing = get(&mecha, "/v1.0/state/store/a").await?;
    assert!(missing.text().contains("ERR_STATE_STORE_NOT_CONFIGURED"), "{}", missing.text());

    let process = Process::start(&folder.socket("late.sock"))?;
    let is_saved = || async {
        let reply = saved(&mecha, json!({"key": "a", "value": 1})).await?;
        ensure!(reply.status == 204, "{}", reply.text());
        Ok(())
    };
    eventually(SOON, is_saved).await?;

    let what = process.what.clone();
    drop(process);
    eventually(SOON, || async {
        let lost = get(&mecha, "/v1.0/state/store/a").await?;
        ensure!(lost.text().contains("ERR_STATE_GET"), "{}: {}", lost.status, lost.text());
        Ok(())
    })
    .await?;
    assert_eq!(what.initialised.lock().unwrap().len(), 1);

    // A new process on a new socket of the same name: it is told its metadata again.
    let process = Process::start(&folder.socket("late.sock"))?;
    eventually(SOON, is_saved).await?;
    eventually(SOON, || async {
        ensure!(process.what.initialised.lock().unwrap().len() == 1, "not initialised again");
        Ok(())
    })
    .await?;
    std::fs::remove_file(folder.socket("late.sock"))?;
    mecha.logs().wait_for("plugin file removed", SOON).await?;
    Ok(())
}

#[tokio::test]
async fn what_does_not_serve_is_named_and_disturbs_nobody() -> Result<()> {
    let folder = Folder::new()?;
    let _good = Process::start(&folder.socket("good.sock"))?;
    std::fs::write(folder.socket("text.sock"), "no socket")?;
    // Left by a process that is gone, and one whose process accepts and says nothing.
    drop(UnixListener::bind(folder.socket("dead.sock"))?);
    let _silent = std::os::unix::net::UnixListener::bind(folder.socket("silent.sock"))?;
    let bad = [("refuse", "no such database")];
    let mecha = folder
        .runtime()
        .component("store", "state.good")
        .resources(&format!(
            "{{apiVersion: dapr.io/v1alpha1, kind: Component, metadata: {{name: other}}, spec: {{type: state.good, version: v1, \
             ignoreErrors: true, metadata: [{{name: {}, value: {}}}]}}}}",
            bad[0].0, bad[0].1
        ))
        .start()
        .await?;
    assert_eq!(saved(&mecha, json!({"key": "a", "value": 1})).await?.status, 204);
    mecha.logs().wait_for("plugin dead.sock refused", SOON).await?;
    mecha.logs().wait_for("plugin silent.sock refused: it failed to start: it does not answer", SOON).await?;
    mecha.logs().wait_for("no such database", SOON).await?;
    assert!(mecha.logs().matching("text.sock").is_empty());
    Ok(())
}

#[tokio::test]
async fn two_components_of_one_process_are_told_apart() -> Result<()> {
    let folder = Folder::new()?;
    let process = Process::start(&folder.socket("both.sock"))?;
    let mecha =
        folder.runtime().component("first", "state.both").component("second", "state.both").start().await?;
    let mut names: Vec<_> =
        process.what.initialised.lock().unwrap().iter().map(|(name, _)| name.clone()).collect();
    names.sort();
    assert_eq!(names, ["first", "second"]);
    drop(mecha);
    Ok(())
}
