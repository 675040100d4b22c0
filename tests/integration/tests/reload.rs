//! Resource files while the process runs: what changes is taken in, what is broken changes nothing.

#[path = "support/configuration.rs"]
mod configuration;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use configuration::{configuration, path};
use mecha_proto::runtime::v1::SubscribeConfigurationRequest;
use mecha_testkit::{
    Answer, Asked, Mecha, Scripted, ScriptedApp, Signal, TestApp, Transport, Wish, eventually,
};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(15);

fn store(name: &str, metadata: &[(&str, &str)]) -> String {
    component(name, "state.sqlite", metadata)
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

fn component(name: &str, component_type: &str, metadata: &[(&str, &str)]) -> String {
    let metadata: Vec<_> =
        metadata.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
    json!({
        "apiVersion": "dapr.io/v1alpha1",
        "kind": "Component",
        "metadata": {"name": name},
        "spec": {"type": component_type, "version": "v1", "metadata": metadata},
    })
    .to_string()
}

/// Two changes one after the other: the watch must have moved along after the first.
#[tokio::test(flavor = "multi_thread")]
async fn a_watch_over_configuration_goes_on_when_its_component_changes() {
    let mecha = Mecha::builder().plugin("memory").start().await.unwrap();
    let color = |value: &str| component("conf", "configuration.in-memory", &[("color", value)]);
    mecha.write_resource("conf.json", &color("red")).unwrap();
    let request = SubscribeConfigurationRequest {
        store_name: "conf".to_owned(),
        ..SubscribeConfigurationRequest::default()
    };
    let mut changes = eventually(SOON, || async {
        Ok(mecha.grpc().await?.subscribe_configuration(request.clone()).await?.into_inner())
    })
    .await
    .unwrap();
    // The first answer only tells the id.
    changes.message().await.unwrap().unwrap();
    for value in ["green", "blue"] {
        mecha.write_resource("conf.json", &color(value)).unwrap();
        let change = tokio::time::timeout(SOON, changes.message()).await.expect("the watch fell silent");
        assert_eq!(change.unwrap().unwrap().items["color"].value, value);
    }
    // Away for a while, it finds who comes under its name.
    mecha.remove_resource("conf.json").unwrap();
    mecha.logs().wait_for("Component removed: conf", SOON).await.unwrap();
    let mark = mecha.logs().mark();
    mecha.write_resource("conf.json", &color("blue")).unwrap();
    mecha.logs().wait_after(mark, "Component loaded: conf", SOON).await.unwrap();
    mecha.write_resource("conf.json", &color("white")).unwrap();
    let change = tokio::time::timeout(SOON, changes.message()).await.expect("the watch fell silent");
    assert_eq!(change.unwrap().unwrap().items["color"].value, "white");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_a_topic_goes_on_when_its_broker_changes() {
    let broker = |value: &str| component("ps", "pubsub.in-memory", &[("consumerID", value)]);
    let mecha = Mecha::builder().plugin("memory").start().await.unwrap();
    mecha.write_resource("ps.json", &broker("one")).unwrap();
    mecha.logs().wait_for("Component loaded: ps", SOON).await.unwrap();
    let mut app =
        TestApp::start(Transport::Stream, vec![Wish::new("ps", "t")], |_| Answer::Success).await.unwrap();
    app.connect(&mecha).await.unwrap();
    let number = AtomicUsize::new(0);
    let arrives = async || {
        eventually(SOON, || async {
            let before = app.seen().len();
            let next = number.fetch_add(1, Ordering::Relaxed);
            let url = mecha.http_url("/v1.0/publish/ps/t");
            let reply = mecha.http().post(&url, json!({"n": next}).to_string()).await?;
            ensure!(reply.status == 204, "{}", reply.text());
            app.wait_for(Duration::from_millis(500), |seen| seen.len() > before).await?;
            Ok(())
        })
        .await
        .unwrap();
    };
    arrives().await;
    for value in ["two", "three"] {
        let mark = mecha.logs().mark();
        mecha.write_resource("ps.json", &broker(value)).unwrap();
        mecha.logs().wait_after(mark, "Component loaded: ps", SOON).await.unwrap();
        arrives().await;
    }
}

/// What stands behind a reference changes without its resource; `SIGHUP` asks for a look.
#[tokio::test(flavor = "multi_thread")]
async fn a_hangup_reads_secrets_again() {
    let run = Reloading::start().await;
    let secrets = run.file("secrets.json");
    let paths = [run.file("one.db"), run.file("two.db")];
    let keep = |path: &str| std::fs::write(&secrets, json!({"db": path}).to_string()).unwrap();
    keep(&paths[0]);
    run.mecha.install_plugin("local-secrets").unwrap();
    run.write("00.json", &component("vault", "secretstores.local.file", &[("secretsFile", &secrets)]));
    let resource = json!({
        "apiVersion": "dapr.io/v1alpha1",
        "kind": "Component",
        "metadata": {"name": "behind"},
        "auth": {"secretStore": "vault"},
        "spec": {"type": "state.sqlite", "version": "v1", "metadata": [
            {"name": "connectionString", "secretKeyRef": {"name": "db", "key": "db"}},
        ]},
    });
    run.mecha.logs().wait_for("Component loaded: vault", SOON).await.unwrap();
    run.write("02.json", &resource.to_string());
    eventually(SOON, || save(&run.mecha, "behind")).await.unwrap();
    assert!(std::fs::exists(&paths[0]).unwrap() && !std::fs::exists(&paths[1]).unwrap());
    keep(&paths[1]);
    run.mecha.signal(Signal::HUP).unwrap();
    eventually(SOON, || async {
        save(&run.mecha, "behind").await.expect("a call failed while the component was replaced");
        ensure!(std::fs::exists(&paths[1])?, "the new database is not there yet");
        Ok(())
    })
    .await
    .unwrap();
    // The other store has no secrets, and stayed as it was; no value stands in the log.
    assert_eq!(run.mecha.logs().matching("Component loaded: first").len(), 1);
    assert!(run.mecha.logs().matching(&paths[1]).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_changes_its_address_without_a_failed_call() {
    let answer = |text: &'static str| move |_: Asked| async move { Scripted::ok(text) };
    let (one, two) =
        (ScriptedApp::start(answer("one")).await.unwrap(), ScriptedApp::start(answer("two")).await.unwrap());
    let endpoint = |app: &ScriptedApp| {
        json!({"apiVersion": "dapr.io/v1alpha1", "kind": "HTTPEndpoint", "metadata": {"name": "outside"},
            "spec": {"baseUrl": format!("http://127.0.0.1:{}", app.port())}})
        .to_string()
    };
    let mecha = Mecha::builder().start().await.unwrap();
    let call = async || {
        let reply = mecha.http().get(&mecha.http_url("/v1.0/invoke/outside/method/m")).await.unwrap();
        (reply.status.as_u16(), reply.text())
    };
    mecha.write_resource("e.json", &endpoint(&one)).unwrap();
    eventually(SOON, || async {
        ensure!(call().await == (200, "one".to_owned()), "not yet");
        Ok(())
    })
    .await
    .unwrap();
    mecha.write_resource("e.json", "{ broken").unwrap();
    mecha.logs().wait_for("what it held before stays", SOON).await.unwrap();
    assert_eq!(call().await, (200, "one".to_owned()));
    mecha.write_resource("e.json", &endpoint(&two)).unwrap();
    eventually(SOON, || async {
        let (status, text) = call().await;
        assert_eq!(status, 200, "{text}");
        ensure!(text == "two", "{text}");
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn the_configuration_is_taken_in_and_what_needs_a_restart_is_named() {
    let file = configuration(&json!({}));
    let mecha = Mecha::builder()
        .plugin("memory")
        .component("store", "state.in-memory")
        .flag("--config", path(&file))
        .start()
        .await
        .unwrap();
    save(&mecha, "store").await.unwrap();
    let write = |spec: Value| {
        let resource = json!({"apiVersion": "dapr.io/v1alpha1", "kind": "Configuration", "metadata": {"name": "test"}, "spec": spec});
        std::fs::write(file.path(), resource.to_string()).unwrap();
    };
    write(json!({
        "api": {"denied": [{"name": "state", "version": "v1.0", "protocol": "http"}]},
        "features": [{"name": "X", "enabled": true}],
    }));
    mecha.logs().wait_for("what changed in features takes a restart", SOON).await.unwrap();
    assert!(save(&mecha, "store").await.is_err());
    std::fs::write(file.path(), "{ broken").unwrap();
    mecha.logs().wait_for("the Configuration cannot be used; what held before stays", SOON).await.unwrap();
    assert!(save(&mecha, "store").await.is_err());
    write(json!({}));
    eventually(SOON, || save(&mecha, "store")).await.unwrap();
}
