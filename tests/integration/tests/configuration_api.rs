//! Configuration over both protocols, on Redis: reading, watching, and what an HTTP application is told.

#[path = "support/grpc_error.rs"]
mod grpc_error;
#[path = "support/redis.rs"]
mod redis_command;

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use grpc_error::assert_grpc;
use mecha_backends::Redis;
use mecha_proto::runtime::v1 as pb;
use mecha_testkit::{Asked, Mecha, MechaBuilder, Scripted, ScriptedApp, eventually};
use serde_json::{Value, json};
use tonic::Code;

const SOON: Duration = Duration::from_secs(20);

fn on(redis: &Redis) -> MechaBuilder {
    let addr = redis.addr().to_string();
    let builder = Mecha::builder().app_id("app1").plugin("redis");
    builder.component_with("conf", "configuration.redis", &[("redisHost", addr.as_str())])
}

fn set(redis: &Redis, key: &str, value: &str) {
    redis_command::command(redis.addr(), &["SET", key, value]);
}

async fn get(mecha: &Mecha, path: &str) -> Result<(u16, Value)> {
    let reply = mecha.http().get(&mecha.http_url(path)).await?;
    Ok((reply.status.as_u16(), reply.json().unwrap_or_default()))
}

#[tokio::test]
async fn items_are_read_over_both_protocols() {
    let redis = Redis::shared().unwrap();
    let (plain, versioned) =
        (format!("{}-plain", redis.key_prefix()), format!("{}-versioned", redis.key_prefix()));
    set(&redis, &plain, "v1");
    set(&redis, &versioned, "v2||7");
    let mecha = on(&redis).start().await.unwrap();
    for version in ["v1.0", "v1.0-alpha1"] {
        let path = format!("/{version}/configuration/conf?key={plain}&key={versioned}&key=absent-key");
        let (status, body) = get(&mecha, &path).await.unwrap();
        let expected =
            json!({plain.clone(): {"value": "v1"}, versioned.clone(): {"value": "v2", "version": "7"}});
        assert_eq!((status, body), (200, expected));
        let (status, body) =
            get(&mecha, &format!("/{version}/configuration/conf?key=absent-key")).await.unwrap();
        assert_eq!((status, body), (204, Value::Null));
    }
    let mut client = mecha.grpc().await.unwrap();
    let request = pb::GetConfigurationRequest {
        store_name: "conf".to_owned(),
        keys: vec![plain.clone(), versioned.clone()],
        metadata: HashMap::new(),
    };
    let items = client.get_configuration(request).await.unwrap().into_inner().items;
    assert_eq!((items[&plain].value.as_str(), items[&plain].version.as_str()), ("v1", ""));
    assert_eq!((items[&versioned].value.as_str(), items[&versioned].version.as_str()), ("v2", "7"));
}

#[tokio::test]
async fn every_error_has_dapr_s_text() {
    let redis = Redis::shared().unwrap();
    let none = Mecha::builder().app_id("app1").start().await.unwrap();
    let some = on(&redis).start().await.unwrap();
    let error = |code: &str, message: &str| json!({"errorCode": code, "message": message});
    for path in [
        "configuration/conf?key=a",
        "configuration/conf/subscribe?key=a",
        "configuration/conf/id/unsubscribe",
    ] {
        let (status, body) = get(&none, &format!("/v1.0/{path}")).await.unwrap();
        let expected = error("ERR_CONFIGURATION_STORE_NOT_CONFIGURED", "configuration stores not configured");
        assert_eq!((status, body), (500, expected), "{path}");
        let path = path.replace("conf/", "none/").replace("conf?", "none?");
        let (status, body) = get(&some, &format!("/v1.0/{path}")).await.unwrap();
        let expected = error("ERR_CONFIGURATION_STORE_NOT_FOUND", "configuration store none not found");
        assert_eq!((status, body), (400, expected), "{path}");
    }
    let (status, body) = get(&some, "/v1.0/configuration/conf/subscribe?key=a").await.unwrap();
    let message = "app channel is not initialized. cannot subscribe to configuration updates";
    assert_eq!((status, body), (500, error("ERR_APP_CHANNEL_NIL", message)));
    let (status, body) = get(&some, "/v1.0/configuration/conf/nobody/unsubscribe").await.unwrap();
    let message =
        "failed to unsubscribe to configuration request nobody: subscription with id nobody does not exist";
    assert_eq!((status, body), (500, json!({"message": message})));

    let mut client = none.grpc().await.unwrap();
    let request =
        |store: &str| pb::GetConfigurationRequest { store_name: store.to_owned(), ..Default::default() };
    let status = client.get_configuration(request("conf")).await.unwrap_err();
    let reason = Some("ERR_CONFIGURATION_STORE_NOT_CONFIGURED");
    assert_grpc(&status, Code::FailedPrecondition, reason, "configuration stores not configured");
    let mut client = some.grpc().await.unwrap();
    let status = client.get_configuration(request("none")).await.unwrap_err();
    let reason = Some("ERR_CONFIGURATION_STORE_NOT_FOUND");
    assert_grpc(&status, Code::InvalidArgument, reason, "configuration store none not found");
    let watch = pb::SubscribeConfigurationRequest { store_name: "none".to_owned(), ..Default::default() };
    let status = client.subscribe_configuration(watch).await.unwrap_err();
    assert_grpc(&status, Code::InvalidArgument, reason, "configuration store none not found");
    let end = pb::UnsubscribeConfigurationRequest { store_name: "conf".to_owned(), id: "nobody".to_owned() };
    let answer = client.unsubscribe_configuration(end).await.unwrap().into_inner();
    let message = "failed to unsubscribe to configuration request nobody: subscription does not exist";
    assert_eq!((answer.ok, answer.message.as_str()), (false, message));
}

#[tokio::test]
async fn an_http_application_is_told_of_changes_until_it_ends_the_watch() {
    let redis = Redis::shared().unwrap();
    let key = format!("{}-watched.key", redis.key_prefix());
    let app = ScriptedApp::start(|_: Asked| async { Scripted::status(200) }).await.unwrap();
    let builder = on(&redis).env("APP_API_TOKEN", "secret").flag("--app-port", app.port().to_string());
    let mecha = builder.start().await.unwrap();
    let (status, body) = get(&mecha, &format!("/v1.0/configuration/conf/subscribe?key={key}")).await.unwrap();
    assert_eq!(status, 200, "{body}");
    let id = body["id"].as_str().unwrap().to_owned();
    let path = format!("/configuration/conf/{key}");
    set(&redis, &key, "one||3");
    let told = app.wait_one(&path, SOON).await.unwrap();
    assert_eq!(told.json(), json!({"id": id, "items": {key.clone(): {"value": "one", "version": "3"}}}));
    assert_eq!((told.header("content-type"), told.header("dapr-api-token")), ("application/json", "secret"));
    let count = app.asked_at(&path).len();
    redis_command::command(redis.addr(), &["DEL", &key]);
    let told = app.wait_for(&path, count + 1, SOON).await.unwrap();
    assert_eq!(told[count].json(), json!({"id": id, "items": {key.clone(): {}}}));

    let (status, body) = get(&mecha, &format!("/v1.0/configuration/conf/{id}/unsubscribe")).await.unwrap();
    assert_eq!((status, body), (200, json!({"ok": true})));
    let (status, _) = get(&mecha, &format!("/v1.0/configuration/conf/{id}/unsubscribe")).await.unwrap();
    assert_eq!(status, 500);
    // Another watch shows that changes still pass, and only it is told.
    let other = format!("{key}-other");
    let (_, body) =
        get(&mecha, &format!("/v1.0/configuration/conf/subscribe?key={key}&key={other}")).await.unwrap();
    let next = body["id"].as_str().unwrap().to_owned();
    let count = app.asked_at(&path).len();
    set(&redis, &key, "two");
    let told = app.wait_for(&path, count + 1, SOON).await.unwrap();
    assert!(told[count..].iter().all(|told| told.json()["id"] == json!(next)), "{told:?}");
}

#[tokio::test]
async fn a_grpc_client_gets_changes_down_its_stream() {
    let redis = Redis::shared().unwrap();
    let key = format!("{}-streamed", redis.key_prefix());
    let mut mecha = on(&redis).start().await.unwrap();
    let mut client = mecha.grpc().await.unwrap();
    let request = pb::SubscribeConfigurationRequest {
        store_name: "conf".to_owned(),
        keys: vec![key.clone()],
        metadata: HashMap::new(),
    };
    let mut changes = client.subscribe_configuration(request.clone()).await.unwrap().into_inner();
    let first = changes.message().await.unwrap().unwrap();
    assert!(!first.id.is_empty() && first.items.is_empty(), "{first:?}");
    set(&redis, &key, "value||v");
    let change = changes.message().await.unwrap().unwrap();
    assert_eq!(change.id, first.id);
    assert_eq!((change.items[&key].value.as_str(), change.items[&key].version.as_str()), ("value", "v"));

    let end = pb::UnsubscribeConfigurationRequest { store_name: "conf".to_owned(), id: first.id.clone() };
    assert!(client.unsubscribe_configuration(end.clone()).await.unwrap().into_inner().ok);
    assert!(changes.message().await.unwrap().is_none(), "the stream goes on");
    assert!(!client.unsubscribe_configuration(end).await.unwrap().into_inner().ok);

    // A client that goes away ends its watch.
    let mut changes = client.subscribe_configuration(request.clone()).await.unwrap().into_inner();
    let id = changes.message().await.unwrap().unwrap().id;
    drop(changes);
    eventually(SOON, || {
        let mut client = client.clone();
        let end = pb::UnsubscribeConfigurationRequest { store_name: "conf".to_owned(), id: id.clone() };
        async move {
            // Asking ends it as well, so that the first answer only counts when it says that there was none.
            let ok = client.unsubscribe_configuration(end).await?.into_inner().ok;
            ensure!(!ok, "it was still there");
            Ok(())
        }
    })
    .await
    .unwrap();

    // A watch that is open does not hold the end.
    let _open = client.subscribe_configuration(request).await.unwrap();
    assert_eq!(mecha.terminate(SOON).await.unwrap(), 0);
}
