//! The metadata API, field for field: tools wait on it and decode it.

use std::time::Duration;

use http::Request;
use http_body_util::Full;
use mecha_proto::runtime::v1::{GetMetadataRequest, SetMetadataRequest};
use mecha_testkit::{Answer, Mecha, Reply, TestApp, Transport};
use serde_json::{Value, json};

async fn put(mecha: &Mecha, key: &str, value: &str) -> Reply {
    let url = mecha.http_url(&format!("/v1.0/metadata/{key}"));
    mecha.http().send(Request::put(url).body(Full::new(value.to_owned().into())).unwrap()).await.unwrap()
}

async fn metadata(mecha: &Mecha) -> Value {
    let reply = mecha.http().get(&mecha.http_url("/v1.0/metadata")).await.unwrap();
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("content-type"), "application/json");
    reply.json().unwrap()
}

fn runtime() -> mecha_testkit::MechaBuilder {
    Mecha::builder().app_id("orders")
}

#[tokio::test]
async fn every_field_is_as_in_dapr() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("state.db");
    let secrets = folder.path().join("secrets.json");
    std::fs::write(&secrets, "{}").unwrap();
    let mecha = runtime()
        .plugin("memory")
        .plugin("sqlite")
        .plugin("http-binding")
        .plugin("local-secrets")
        .component("cache", "state.in-memory")
        .component_with("database", "state.sqlite", &[("connectionString", database.to_str().unwrap())])
        .component_with("web", "bindings.http", &[("url", "http://localhost:1")])
        .component("env", "secretstores.local.env")
        .component_with(
            "file",
            "secretstores.local.file",
            &[("secretsFile", secrets.to_str().unwrap()), ("multiValued", "true")],
        )
        .start()
        .await
        .unwrap();
    let mut found = metadata(&mecha).await;
    let version = found["runtimeVersion"].as_str().unwrap().to_owned();
    let parts: Vec<_> = version.split('.').map(str::parse::<u32>).collect();
    assert!(parts.len() == 3 && parts.iter().all(Result::is_ok), "{version} is not a version as Dapr's are");
    // No order is promised.
    let components = found["components"].as_array_mut().unwrap();
    components.sort_by_key(|component| component["name"].to_string());
    for ours in ["enabledFeatures", "componentHealth"] {
        found.as_object_mut().unwrap().remove(ours);
    }
    let component = |name: &str, kind: &str, capabilities: &[&str]| json!({"name": name, "type": kind, "version": "v1", "capabilities": capabilities});
    let mut expected = json!({
        "id": "orders",
        "runtimeVersion": version,
        "components": [
            component("cache", "state.in-memory", &["ETAG", "TRANSACTIONAL", "TTL", "ACTOR"]),
            component("database", "state.sqlite", &["ETAG", "TRANSACTIONAL", "TTL", "ACTOR"]),
            component("env", "secretstores.local.env", &[]),
            component("file", "secretstores.local.file", &["MULTIPLE_KEY_VALUES_PER_SECRET"]),
            component("web", "bindings.http", &["OUTPUT_BINDING"]),
        ],
        "extended": {"daprRuntimeVersion": version},
        "appConnectionProperties": {"protocol": "http", "channelAddress": "127.0.0.1"},
        "actorRuntime": {
            "runtimeStatus": "DISABLED",
            "hostReady": false,
            "placement": "placement: disconnected",
        },
    });
    // As Go leaves out an empty list.
    let env = expected["components"].as_array_mut().unwrap().iter_mut().find(|found| found["name"] == "env");
    env.unwrap().as_object_mut().unwrap().remove("capabilities");
    assert_eq!(found, expected);
}

#[tokio::test]
async fn both_protocols_tell_the_same() {
    let mecha = runtime().plugin("memory").component("cache", "state.in-memory").start().await.unwrap();
    assert_eq!(put(&mecha, "owner", "team").await.status, 204);
    let http = metadata(&mecha).await;
    let mut client = mecha.grpc().await.unwrap();
    let grpc = client.get_metadata(GetMetadataRequest {}).await.unwrap().into_inner();
    assert_eq!(json!(grpc.id), http["id"]);
    assert_eq!(json!(grpc.runtime_version), http["runtimeVersion"]);
    assert_eq!(json!(grpc.extended_metadata), http["extended"]);
    let components: Vec<_> = grpc
        .registered_components
        .iter()
        .map(|found| json!({"name": found.name, "type": found.r#type, "version": found.version, "capabilities": found.capabilities}))
        .collect();
    assert_eq!(json!(components), http["components"]);
    let app = grpc.app_connection_properties.unwrap();
    assert_eq!((app.protocol.as_str(), app.channel_address.as_str(), app.port), ("http", "127.0.0.1", 0));
    assert_eq!((app.max_concurrency, app.health), (0, None));
    let actors = grpc.actor_runtime.unwrap();
    assert_eq!((actors.runtime_status, actors.host_ready), (1, false));
    assert_eq!(actors.placement, "placement: disconnected");
    assert!(grpc.subscriptions.is_empty() && grpc.http_endpoints.is_empty() && grpc.scheduler.is_none());
    let features = http.get("enabledFeatures").cloned().unwrap_or_else(|| json!([]));
    assert_eq!(json!(grpc.enabled_features), features);
}

#[tokio::test]
async fn applications_leave_notes_for_each_other() {
    let mecha = runtime().start().await.unwrap();
    for (key, value) in [("team", "payments"), ("team", "orders"), ("a%20b", "käse \"x\"\n"), ("empty", "")]
    {
        let reply = put(&mecha, key, value).await;
        assert_eq!((reply.status.as_u16(), reply.body.len()), (204, 0));
    }
    let mut client = mecha.grpc().await.unwrap();
    for (key, value) in [("stage", "test"), ("", "ignored")] {
        let request = SetMetadataRequest { key: key.to_owned(), value: value.to_owned() };
        client.set_metadata(request).await.unwrap();
    }
    let mut extended = metadata(&mecha).await["extended"].clone();
    extended.as_object_mut().unwrap().remove("daprRuntimeVersion").unwrap();
    assert_eq!(extended, json!({"team": "orders", "a b": "käse \"x\"\n", "empty": "", "stage": "test"}));
}

#[tokio::test]
async fn the_application_s_connection_is_told() {
    let application = TestApp::start(Transport::Grpc, Vec::new(), |_| Answer::Success).await.unwrap();
    let mut builder = runtime();
    for (flag, value) in application.flags() {
        builder = builder.flag(flag, value);
    }
    let port: u16 = application.flags()[0].1.parse().unwrap();
    let mecha = builder.flag("--app-max-concurrency", "5").start().await.unwrap();
    let expected =
        json!({"port": port, "protocol": "grpc", "channelAddress": "127.0.0.1", "maxConcurrency": 5});
    assert_eq!(metadata(&mecha).await["appConnectionProperties"], expected);
}

/// A component appears when its plugin comes and goes with it.
#[tokio::test]
async fn components_are_listed_while_they_can_be_called() {
    const SOON: Duration = Duration::from_secs(10);
    let mecha = runtime().component("cache", "state.in-memory").start().await.unwrap();
    assert_eq!(metadata(&mecha).await.get("components"), None);
    mecha.install_plugin("memory").unwrap();
    mecha_testkit::eventually(SOON, || async {
        let found = metadata(&mecha).await["components"][0]["name"].clone();
        anyhow::ensure!(found == "cache", "{found}");
        Ok(())
    })
    .await
    .unwrap();
}
