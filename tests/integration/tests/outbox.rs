//! The outbox: what a transaction stores is published if the transaction holds, and only then.

#[path = "support/broker.rs"]
mod broker;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http::Request;
use http_body_util::Full;
use mecha_backends::Redis;
use mecha_proto::common::v1::{Etag, StateItem};
use mecha_proto::runtime::v1::{ExecuteStateTransactionRequest, TransactionalStateOperation};
use mecha_testkit::{Asked, Mecha, MechaBuilder, Reply, Scripted, ScriptedApp, Signal, eventually};
use serde_json::{Value, json};
use tempfile::TempDir;

use broker::Broker;

const SOON: Duration = Duration::from_secs(20);
/// A message without a marker is waited for this long, and some.
const LATE: Duration = Duration::from_secs(40);
const OUTBOX: [(&str, &str); 2] = [("outboxPublishPubsub", "ps"), ("outboxPublishTopic", "orders")];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Store {
    Memory,
    Sqlite,
    Redis,
}

const STORES: [Store; 3] = [Store::Memory, Store::Sqlite, Store::Redis];

/// What stands behind a store.
#[derive(Default)]
struct Backing {
    folder: Option<TempDir>,
    redis: Option<Redis>,
}

impl Store {
    /// Adds a store `st` whose keys are shared, so that tests see the markers.
    fn component(
        self,
        builder: MechaBuilder,
        more: &[(&'static str, &'static str)],
    ) -> Result<(MechaBuilder, Backing)> {
        let mut backing = Backing::default();
        let mut metadata = vec![("keyPrefix", "none".to_owned())];
        metadata.extend(OUTBOX.iter().chain(more).map(|(name, value)| (*name, (*value).to_owned())));
        let (plugin, component_type) = match self {
            Self::Memory => ("memory", "state.in-memory"),
            Self::Sqlite => {
                let folder = backing.folder.insert(tempfile::tempdir()?);
                metadata.push(("connectionString", text(&folder.path().join("state.db"))));
                ("sqlite", "state.sqlite")
            }
            Self::Redis => {
                let server = backing.redis.insert(Redis::shared()?);
                metadata.push(("redisHost", server.addr().to_string()));
                ("redis", "state.redis")
            }
        };
        let metadata: Vec<_> = metadata.iter().map(|(name, value)| (*name, value.as_str())).collect();
        Ok((builder.plugin(plugin).component_with("st", component_type, &metadata), backing))
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn runtime() -> MechaBuilder {
    Mecha::builder().app_id("shop").plugin("memory").component("ps", "pubsub.in-memory")
}

/// An application that takes every order.
async fn application() -> Result<ScriptedApp> {
    ScriptedApp::start(|asked: Asked| async move {
        match asked.path.as_str() {
            "/dapr/subscribe" => {
                Scripted::json(&json!([{"pubsubname": "ps", "topic": "orders", "route": "/orders"}]))
            }
            "/orders" => Scripted::status(200),
            _ => Scripted::status(404),
        }
    })
    .await
}

/// A runtime and its application, where everything is being read.
async fn started(builder: MechaBuilder, app: &ScriptedApp) -> Result<Mecha> {
    let mecha = builder.flag("--app-port", app.port().to_string()).start().await?;
    mecha.logs().wait_for("dapr initialized", SOON).await?;
    Ok(mecha)
}

fn upsert(key: &str, value: Value) -> Value {
    json!({"operation": "upsert", "request": {"key": key, "value": value}})
}

fn upsert_with(key: &str, value: Value, metadata: Value) -> Value {
    json!({"operation": "upsert", "request": {"key": key, "value": value, "metadata": metadata}})
}

async fn transact(mecha: &Mecha, operations: Value) -> Result<Reply> {
    let body = json!({"operations": operations}).to_string();
    mecha.http().post(&mecha.http_url("/v1.0/state/st/transaction"), body).await
}

async fn commit(mecha: &Mecha, operations: Value) -> Result<()> {
    let reply = transact(mecha, operations).await?;
    ensure!(reply.status == 204, "{}: {}", reply.status, reply.text());
    Ok(())
}

async fn stored(mecha: &Mecha, key: &str) -> Result<Option<Value>> {
    let reply = mecha.http().get(&mecha.http_url(&format!("/v1.0/state/st/{key}"))).await?;
    if reply.status == 204 { Ok(None) } else { Ok(Some(reply.json()?)) }
}

/// The first orders, as events.
async fn orders(app: &ScriptedApp, count: usize) -> Result<Vec<Value>> {
    Ok(app.wait_for("/orders", count, SOON).await?.iter().map(Asked::json).collect())
}

/// A key that no other test of the same back end uses.
fn key(name: &str) -> String {
    broker::topic(name)
}

async fn wait_gone(mecha: &Mecha, key: &str) -> Result<()> {
    eventually(SOON, || async {
        ensure!(stored(mecha, key).await?.is_none(), "{key} is still there");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_a_transaction_stores_is_published_and_no_marker_stays() {
    for store in STORES {
        let app = application().await.unwrap();
        let (builder, _backing) = store.component(runtime(), &[]).unwrap();
        let mecha = started(builder, &app).await.unwrap();
        let key = key("a");
        commit(&mecha, json!([upsert(&key, json!("2"))])).await.unwrap();
        let event = orders(&app, 1).await.unwrap().remove(0);
        let id = event["id"].as_str().unwrap();
        assert!(id.starts_with("outbox-"), "{store:?}: {event}");
        let shown = ["data", "topic", "pubsubname", "source", "type", "datacontenttype", "specversion"];
        let shown = shown.map(|name| event[name].as_str().unwrap_or_default());
        let expected = ["2", "orders", "ps", "shop", "com.dapr.event.sent", "text/plain", "1.0"];
        assert_eq!(shown, expected, "{store:?}");
        assert_eq!(stored(&mecha, &key).await.unwrap(), Some(json!("2")), "{store:?}");
        wait_gone(&mecha, id).await.unwrap();
    }
}

#[tokio::test]
async fn metadata_becomes_fields_of_the_event_save_its_id_and_data() {
    let app = application().await.unwrap();
    let (builder, _backing) = Store::Memory.component(runtime(), &[]).unwrap();
    let mecha = started(builder, &app).await.unwrap();
    let metadata = json!({"outbox.cloudevent.myapp": "myapp1", "data": "a", "id": "b", "type": "order",
        "contentType": "application/json"});
    commit(&mecha, json!([upsert_with("1", json!({"n": 1}), metadata)])).await.unwrap();
    let mut request = upsert("2", json!({"n": 2}));
    request["request"]["contentType"] = json!("application/json");
    commit(&mecha, json!([request, upsert("3", json!({"n": 3}))])).await.unwrap();
    let mut events = orders(&app, 3).await.unwrap();
    events.sort_by_key(|event| event["data"].to_string());
    // Without a content type the value is text.
    assert_eq!(events[0]["data"], "{\"n\":3}");
    let first = &events[1];
    assert_eq!((&first["data"], &first["type"]), (&json!({"n": 1}), &json!("order")), "{first}");
    assert_eq!(first["outbox.cloudevent.myapp"], "myapp1");
    assert!(first["id"].as_str().unwrap().starts_with("outbox-"), "{first}");
    assert_eq!(
        (&events[2]["data"], &events[2]["datacontenttype"]),
        (&json!({"n": 2}), &json!("application/json"))
    );
}

#[tokio::test]
async fn a_projection_is_published_in_place_of_what_is_stored() {
    for store in STORES {
        let app = application().await.unwrap();
        let (builder, _backing) = store.component(runtime(), &[]).unwrap();
        let mecha = started(builder, &app).await.unwrap();
        let (first, second) = (key("p"), key("q"));
        let projection = |key: &str, value: &str| {
            upsert_with(key, json!(value), json!({"outbox.projection": "true", "not": "shown"}))
        };
        let operations = json!([
            projection(&second, "4"),
            upsert(&first, json!("1")),
            projection(&first, "3"),
            upsert(&second, json!("2")),
        ]);
        commit(&mecha, operations).await.unwrap();
        let mut events = orders(&app, 2).await.unwrap();
        events.sort_by_key(|event| event["data"].to_string());
        assert_eq!((&events[0]["data"], &events[1]["data"]), (&json!("3"), &json!("4")), "{store:?}");
        assert_eq!(events[0].get("not"), None);
        assert_eq!(stored(&mecha, &first).await.unwrap(), Some(json!("1")), "{store:?}");
        assert_eq!(stored(&mecha, &second).await.unwrap(), Some(json!("2")), "{store:?}");
        // Alone it stores nothing and is no news.
        commit(&mecha, json!([projection(&key("alone"), "5")])).await.unwrap();
        commit(&mecha, json!([upsert(&first, json!("last"))])).await.unwrap();
        assert_eq!(orders(&app, 3).await.unwrap()[2]["data"], "last", "{store:?}");
    }
}

#[tokio::test]
async fn deletions_publish_nothing() {
    for store in STORES {
        let app = application().await.unwrap();
        let (builder, _backing) = store.component(runtime(), &[]).unwrap();
        let mecha = started(builder, &app).await.unwrap();
        let (gone, kept) = (key("gone"), key("kept"));
        commit(&mecha, json!([upsert(&gone, json!("1"))])).await.unwrap();
        orders(&app, 1).await.unwrap();
        let delete = json!({"operation": "delete", "request": {"key": gone}});
        commit(&mecha, json!([delete])).await.unwrap();
        assert_eq!(stored(&mecha, &gone).await.unwrap(), None, "{store:?}");
        commit(&mecha, json!([delete, upsert(&kept, json!("2"))])).await.unwrap();
        let events = orders(&app, 2).await.unwrap();
        assert_eq!((&events[1]["data"], events.len()), (&json!("2"), 2), "{store:?}");
    }
}

#[tokio::test]
async fn a_transaction_that_fails_publishes_nothing() {
    for store in [Store::Memory, Store::Sqlite] {
        let app = application().await.unwrap();
        let discards = [("outboxDiscardWhenMissingState", "true")];
        let (builder, _backing) = store.component(runtime(), &discards).unwrap();
        let mecha = started(builder, &app).await.unwrap();
        let mut wrong = upsert("1", json!("never"));
        wrong["request"]["etag"] = json!("12345");
        let reply = transact(&mecha, json!([wrong, upsert("2", json!("never"))])).await.unwrap();
        assert_eq!(reply.status, 500, "{store:?}: {}", reply.text());
        assert_eq!(reply.json().unwrap()["errorCode"], "ERR_STATE_TRANSACTION");
        // Others do not wait behind it.
        commit(&mecha, json!([upsert("3", json!("held"))])).await.unwrap();
        orders(&app, 1).await.unwrap();
        mecha.logs().wait_for("discarding message", LATE).await.unwrap();
        let told = mecha.logs().matching("cannot publish outbox message to topic orders with pubsub ps");
        assert!(!told.is_empty(), "{store:?}");
        let events = orders(&app, 1).await.unwrap();
        assert_eq!((events.len(), &events[0]["data"]), (1, &json!("held")), "{store:?}");
    }
}

#[tokio::test]
async fn a_message_without_marker_comes_again_unless_it_is_to_be_discarded() {
    let app = application().await.unwrap();
    let (builder, _backing) = Store::Memory.component(runtime(), &[]).unwrap();
    let mecha = started(builder, &app).await.unwrap();
    let event = json!({"specversion": "1.0", "id": "outbox-late", "source": "shop", "type": "t", "data": "late",
        "datacontenttype": "text/plain"});
    let request = Request::post(mecha.http_url("/v1.0/publish/ps/defaultshopordersoutbox"));
    let request = request.header("content-type", "application/cloudevents+json");
    let request = request.body(Full::new(event.to_string().into())).unwrap();
    assert_eq!(mecha.http().send(request).await.unwrap().status, 204);
    mecha.logs().wait_for("outbox state not found, rejecting for later processing", LATE).await.unwrap();
    assert!(app.asked_at("/orders").is_empty());
    let marker = json!([{"key": "outbox-late", "value": "0"}]).to_string();
    let saved = mecha.http().post(&mecha.http_url("/v1.0/state/st"), marker).await.unwrap();
    assert_eq!(saved.status, 204);
    assert_eq!(orders(&app, 1).await.unwrap()[0]["data"], "late");
    wait_gone(&mecha, "outbox-late").await.unwrap();
}

#[tokio::test]
async fn without_a_broker_nothing_is_stored() {
    let app = application().await.unwrap();
    let lost = [("outboxPubsub", "nowhere")];
    let (builder, _backing) = Store::Memory.component(runtime(), &lost).unwrap();
    let mecha = started(builder, &app).await.unwrap();
    mecha.logs().wait_for("outbox pubsub nowhere not loaded", SOON).await.unwrap();
    let reply = transact(&mecha, json!([upsert("1", json!("x"))])).await.unwrap();
    assert_eq!(reply.status, 500);
    let body = reply.json().unwrap();
    assert_eq!(body["errorCode"], "ERR_PUBLISH_OUTBOX");
    assert_eq!(body["message"], "error while publishing outbox message: pubsub 'nowhere' not found");
    let detail = &body["details"][0];
    assert_eq!(detail["reason"], "DAPR_PUBSUB_OUTBOX", "{body}");
    assert_eq!(detail["metadata"], json!({"appID": "shop", "error": "pubsub 'nowhere' not found"}), "{body}");
    assert_eq!(stored(&mecha, "1").await.unwrap(), None);
}

#[tokio::test]
async fn the_trace_goes_on_from_the_transaction_to_the_subscriber() {
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    let app = application().await.unwrap();
    let (builder, _backing) = Store::Memory.component(runtime(), &[]).unwrap();
    let mecha = started(builder, &app).await.unwrap();
    let body = json!({"operations": [upsert("1", json!("x"))]}).to_string();
    let request = Request::post(mecha.http_url("/v1.0/state/st/transaction"))
        .header("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01"))
        .header("tracestate", "vendor=1")
        .header("baggage", "user=5")
        .body(Full::new(body.into()))
        .unwrap();
    assert_eq!(mecha.http().send(request).await.unwrap().status, 204);
    let asked = app.wait_one("/orders", SOON).await.unwrap();
    let event = asked.json();
    assert!(event["traceid"].as_str().unwrap().contains(TRACE), "{event}");
    assert_eq!((&event["tracestate"], &event["baggage"]), (&json!("vendor=1"), &json!("user=5")));
    assert!(asked.header("traceparent").contains(TRACE), "{}", asked.header("traceparent"));
}

fn operation(
    kind: &str,
    key: &str,
    value: &str,
    metadata: &[(&str, &str)],
    etag: Option<&str>,
) -> TransactionalStateOperation {
    let metadata = metadata.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let etag = etag.map(|etag| Etag { value: etag.to_owned() });
    let (key, value) = (key.to_owned(), value.as_bytes().to_vec().into());
    let item = StateItem { key, value, metadata, etag, ..StateItem::default() };
    TransactionalStateOperation { operation_type: kind.to_owned(), request: Some(item) }
}

#[tokio::test]
async fn transactions_over_grpc_go_through_the_outbox_too() {
    for store in STORES {
        let app = application().await.unwrap();
        let (builder, _backing) = store.component(runtime(), &[]).unwrap();
        let mecha = started(builder, &app).await.unwrap();
        let mut grpc = mecha.grpc().await.unwrap();
        let (kept, other) = (key("g"), key("h"));
        let mut run = async |operations: Vec<TransactionalStateOperation>| {
            let request = ExecuteStateTransactionRequest {
                store_name: "st".to_owned(),
                operations,
                metadata: std::collections::HashMap::new(),
            };
            grpc.execute_state_transaction(request).await
        };
        let projection = [("outbox.projection", "true")];
        run(vec![
            operation("upsert", &kept, "2", &[("mine", "5")], None),
            operation("upsert", &kept, "3", &projection, None),
            operation("delete", &other, "", &[], None),
        ])
        .await
        .unwrap();
        let event = orders(&app, 1).await.unwrap().remove(0);
        assert_eq!((&event["data"], &event["mine"]), (&json!("3"), &json!("5")), "{store:?}");
        assert_eq!(stored(&mecha, &kept).await.unwrap(), Some(json!(2)), "{store:?}");
        let refused = run(vec![operation("upsert", &kept, "x", &[], Some("12345"))]).await.unwrap_err();
        assert!(refused.message().contains("error while executing state transaction"), "{refused}");
        run(vec![operation("upsert", &other, r#"{"n":1}"#, &[("contentType", "application/json")], None)])
            .await
            .unwrap();
        let events = orders(&app, 2).await.unwrap();
        assert_eq!((&events[1]["data"], events.len()), (&json!({"n": 1}), 2), "{store:?}");
    }
}

/// The state and the internal topic outlive the runtime; the real topic is not there before it is killed.
async fn killed_between(broker: Broker) -> Result<()> {
    let app = application().await?;
    let inner = [("outboxPubsub", "inner"), ("outboxDiscardWhenMissingState", "true")];
    let base = Mecha::builder().app_id(&key("killed")).plugin("memory");
    let (builder, _broker) = broker.component(base, "inner")?;
    let (builder, _backing) = Store::Sqlite.component(builder, &inner)?;
    let mut mecha = started(builder.clone(), &app).await?;
    for number in 0..20 {
        commit(&mecha, json!([upsert(&format!("k{number}"), json!(number.to_string()))])).await?;
    }
    let waits = "pubsub 'ps' not found, rejecting for later processing";
    mecha.logs().wait_for(waits, SOON).await?;
    mecha.signal(Signal::KILL)?;
    ensure!(mecha.wait_exit(SOON).await? == 128 + 9);
    ensure!(app.asked_at("/orders").is_empty(), "{broker:?}: nothing can be published yet");
    let again = started(builder.component("ps", "pubsub.in-memory"), &app).await?;
    let all = |app: &ScriptedApp| {
        let asked = app.asked_at("/orders");
        let numbers = asked.iter().map(|asked| asked.json()["data"].to_string());
        numbers.collect::<std::collections::BTreeSet<_>>()
    };
    eventually(LATE, || async {
        ensure!(all(&app).len() == 20, "{broker:?}: only {:?}", all(&app));
        Ok(())
    })
    .await?;
    for asked in app.asked_at("/orders") {
        let event = asked.json();
        wait_gone(&again, event["id"].as_str().context("an id")?).await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_was_committed_comes_after_the_runtime_was_killed() {
    for broker in [Broker::Sqlite, Broker::Redis] {
        killed_between(broker).await.unwrap();
    }
}
