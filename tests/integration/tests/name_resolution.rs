//! Runtimes that find each other by what the Configuration's `nameResolution` chooses.

#[path = "support/configuration.rs"]
mod configuration;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use configuration::configuration;
use mecha_testkit::{Asked, Mecha, MechaBuilder, Reply, Scripted, ScriptedApp, eventually, plugin_library};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::{NamedTempFile, TempDir};

const SOON: Duration = Duration::from_secs(20);

/// One way of finding others, and what it needs.
struct Resolution {
    file: NamedTempFile,
}

impl Resolution {
    fn new(component: &str, settings: &Value) -> Self {
        let chosen = json!({"component": component, "version": "v1", "configuration": settings});
        Self { file: configuration(&json!({"nameResolution": chosen})) }
    }

    fn builder(&self, app_id: &str) -> MechaBuilder {
        Mecha::builder()
            .app_id(app_id)
            .flag("--config", configuration::path(&self.file))
            .flag("--dapr-internal-grpc-listen-address", "127.0.0.1")
            .plugin("name-resolution")
    }

    async fn caller(&self) -> Mecha {
        self.builder("caller").start().await.unwrap()
    }

    /// An instance of an application that answers with its own name.
    async fn callee(&self, app_id: &str, name: &'static str) -> Instance {
        let app = ScriptedApp::start(move |asked| async move { named(&asked, name) }).await.unwrap();
        let builder = self.builder(app_id).flag("--app-port", app.port().to_string());
        Instance { mecha: builder.start().await.unwrap(), _app: app }
    }
}

struct Instance {
    mecha: Mecha,
    _app: ScriptedApp,
}

fn named(asked: &Asked, name: &'static str) -> Scripted {
    if asked.path.starts_with("/dapr/") { Scripted::status(404) } else { Scripted::ok(name) }
}

async fn call(caller: &Mecha, app_id: &str) -> Result<Reply> {
    caller.http().get(&caller.http_url(&format!("/v1.0/invoke/{app_id}/method/name"))).await
}

/// Calls until an instance of this name answers.
async fn reached(caller: &Mecha, app_id: &str, name: &str) {
    let reached = eventually(SOON, || async {
        let reply = call(caller, app_id).await?;
        ensure!(reply.status == 200 && reply.text() == name, "{}: {}", reply.status, reply.text());
        Ok(())
    });
    reached.await.unwrap();
}

/// Who answers how many of these calls.
async fn answers(caller: &Mecha, app_id: &str, calls: usize) -> BTreeMap<String, usize> {
    let mut answers = BTreeMap::new();
    for _ in 0..calls {
        let reply = call(caller, app_id).await.unwrap();
        assert_eq!(reply.status, 200, "{}", reply.text());
        *answers.entry(reply.text()).or_default() += 1;
    }
    answers
}

fn counts(names: &[&str], each: usize) -> BTreeMap<String, usize> {
    names.iter().map(|name| ((*name).to_owned(), each)).collect()
}

/// A database that runtimes share.
struct Shared {
    folder: TempDir,
    resolution: Resolution,
}

impl Shared {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = json!({"connectionString": file(folder.path()), "updateInterval": "2s"});
        let resolution = Resolution::new("sqlite", &settings);
        Self { folder, resolution }
    }

    /// The applications that have rows.
    fn rows(&self) -> Result<Vec<String>> {
        let connection = rusqlite::Connection::open(file(self.folder.path()))?;
        let mut statement = connection.prepare("SELECT app_id FROM hosts ORDER BY app_id")?;
        let rows = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        Ok(rows)
    }

    async fn has_rows(&self, expected: &[&str]) {
        let there = eventually(SOON, || async {
            let rows = self.rows()?;
            ensure!(rows == expected, "{rows:?}");
            Ok(())
        });
        there.await.unwrap();
    }
}

fn file(folder: &Path) -> String {
    folder.join("nr.db").display().to_string()
}

fn message(reply: &Reply) -> (u16, String, String) {
    let body: Value = serde_json::from_slice(&reply.body).unwrap();
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    (reply.status.as_u16(), text("errorCode"), text("message"))
}

#[tokio::test(flavor = "multi_thread")]
async fn runtimes_that_share_a_sqlite_file_find_each_other_and_take_turns() {
    let shared = Shared::new();
    let caller = shared.resolution.caller().await;
    shared.has_rows(&["caller"]).await;
    let reply = call(&caller, "callee").await.unwrap();
    let (status, code, text) = message(&reply);
    assert_eq!((status, code.as_str()), (500, "ERR_DIRECT_INVOKE"));
    assert!(text.ends_with("no host found with the given ID"), "{text}");

    let mut one = shared.resolution.callee("callee", "one").await;
    let two = shared.resolution.callee("callee", "two").await;
    let three = shared.resolution.callee("callee", "three").await;
    shared.has_rows(&["callee", "callee", "callee", "caller"]).await;
    for name in ["one", "two", "three"] {
        reached(&caller, "callee", name).await;
    }
    assert_eq!(answers(&caller, "callee", 30).await, counts(&["one", "two", "three"], 10));

    // One that ends takes its row along.
    assert_eq!(one.mecha.terminate(SOON).await.unwrap(), 0);
    shared.has_rows(&["callee", "callee", "caller"]).await;
    assert!(!answers(&caller, "callee", 8).await.contains_key("one"));

    // One that is killed leaves its row, which soon counts for nothing; no call fails meanwhile.
    two.mecha.signal(Signal::KILL).unwrap();
    assert_eq!(answers(&caller, "callee", 8).await, counts(&["three"], 8));
    three.mecha.signal(Signal::KILL).unwrap();
    let nobody = eventually(SOON, || async {
        let (_, _, text) = message(&call(&caller, "callee").await?);
        ensure!(text.ends_with("no host found with the given ID"), "{text}");
        Ok(())
    });
    nobody.await.unwrap();
    shared.has_rows(&["callee", "callee", "caller"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pattern_makes_names_out_of_ids() {
    // The id must be a name of this machine.
    let app_id = "localhost";
    let app = ScriptedApp::start(|asked| async move { named(&asked, "here") }).await.unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let resolution = Resolution::new("nameformat", &json!({"format": format!("{{appid}}:{port}")}));
    let callee = resolution.builder(app_id).flag("--app-port", app.port().to_string());
    let _callee = callee.flag("--dapr-internal-grpc-port", port.to_string()).start().await.unwrap();
    let caller = resolution.caller().await;
    reached(&caller, app_id, "here").await;
}

/// As much of an agent of Consul as runtimes need; whatever registers is healthy.
#[derive(Default)]
struct Agent {
    services: Mutex<BTreeMap<String, Value>>,
}

impl Agent {
    async fn start(self: &Arc<Self>) -> ScriptedApp {
        let agent = self.clone();
        let answer = move |asked: Asked| {
            let agent = agent.clone();
            async move { agent.answer(&asked).unwrap_or_else(|| Scripted::status(404)) }
        };
        ScriptedApp::start(answer).await.unwrap()
    }

    fn answer(&self, asked: &Asked) -> Option<Scripted> {
        let mut services = self.services.lock().unwrap();
        if asked.path == "/v1/agent/self" {
            return Some(Scripted::json(&json!({})));
        }
        if asked.path == "/v1/agent/service/register" {
            let service = asked.json();
            services.insert(service["ID"].as_str()?.to_owned(), service);
            return Some(Scripted::ok(""));
        }
        if let Some(id) = asked.path.strip_prefix("/v1/agent/service/deregister/") {
            services.remove(&id.replace("%2D", "-").replace("%2E", "."))?;
            return Some(Scripted::ok(""));
        }
        let name = asked.path.strip_prefix("/v1/health/service/")?;
        let found = services.values().filter(|service| service["Name"] == name);
        let found: Vec<_> =
            found.map(|service| json!({"Node": {"Address": ""}, "Service": service})).collect();
        Some(Scripted::json(&Value::Array(found)))
    }

    fn ids(&self) -> Vec<String> {
        self.services.lock().unwrap().keys().cloned().collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_of_consul_knows_who_is_where() {
    let agent = Arc::new(Agent::default());
    let serving = agent.start().await;
    let client = json!({"address": format!("127.0.0.1:{}", serving.port())});
    let settings = json!({"client": client, "selfRegister": true, "selfDeregister": true});
    let resolution = Resolution::new("consul", &settings);
    let looking = Resolution::new("hashicorp.consul", &json!({"client": client}));
    let caller = looking.caller().await;
    let (_, _, text) = message(&call(&caller, "callee").await.unwrap());
    assert!(text.ends_with("no healthy services found with AppID 'callee'"), "{text}");

    let mut one = resolution.callee("callee", "one").await;
    let _two = resolution.callee("callee", "two").await;
    reached(&caller, "callee", "one").await;
    reached(&caller, "callee", "two").await;
    assert_eq!(answers(&caller, "callee", 10).await, counts(&["one", "two"], 5));
    assert_eq!(agent.ids().len(), 2);
    let service = agent.services.lock().unwrap().values().next().cloned().unwrap();
    let check = service["Checks"][0]["HTTP"].as_str().unwrap().to_owned();
    let health = caller.http().get(&check).await.unwrap();
    assert_eq!(health.status, 204, "the address of the health check is that of the runtime: {check}");

    one.mecha.terminate(SOON).await.unwrap();
    assert_eq!(agent.ids().len(), 1);
    assert_eq!(answers(&caller, "callee", 4).await, counts(&["two"], 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_choice_that_cannot_be_used_is_told_and_the_rest_works() {
    let cases = [
        (
            "sqlite",
            json!({}),
            "[INIT_COMPONENT_FAILURE]: initialization error occurred for nr (sqlite/v1): missing connection string",
        ),
        (
            "nameformat",
            json!({"format": "x"}),
            "[INIT_COMPONENT_FAILURE]: initialization error occurred for nr (nameformat/v1): format must contain {appid} placeholder",
        ),
        (
            "dns",
            json!({}),
            "[CREATE_COMPONENT_FAILURE]: initialization error occurred for nr (dns/v1): couldn't find name resolver dns/v1",
        ),
    ];
    for (component, settings, expected) in cases {
        let resolution = Resolution::new(component, &settings);
        let mecha = resolution.caller().await;
        mecha.logs().wait_for(expected, SOON).await.unwrap();
        let (status, code, text) = message(&call(&mecha, "callee").await.unwrap());
        assert_eq!((status, code.as_str()), (500, "ERR_DIRECT_INVOKE"));
        assert!(text.ends_with("name resolver not initialized"), "{component}: {text}");
        let reply = mecha.http().get(&mecha.http_url("/v1.0/healthz")).await.unwrap();
        assert_eq!(reply.status, 204);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_away_at_the_start_is_registered_with_later() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let settings = json!({"client": {"address": format!("127.0.0.1:{port}")}, "selfRegister": true});
    let resolution = Resolution::new("consul", &settings);
    let callee = resolution.callee("callee", "one").await;
    let expected = "initialization error occurred for nr (consul/v1): failed to register consul service: ";
    callee.mecha.logs().wait_for(expected, SOON).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_comes_later_and_is_replaced_finds_and_is_found() {
    let shared = Shared::new();
    let _callee = shared.resolution.callee("callee", "one").await;
    let late = Mecha::builder()
        .app_id("late")
        .flag("--config", configuration::path(&shared.resolution.file))
        .flag("--dapr-internal-grpc-listen-address", "127.0.0.1");
    let app = ScriptedApp::start(|asked| async move { named(&asked, "late") }).await.unwrap();
    let late = late.flag("--app-port", app.port().to_string()).start().await.unwrap();
    late.logs().wait_for("couldn't find name resolver sqlite/v1", SOON).await.unwrap();
    late.install_plugin("name-resolution").unwrap();
    reached(&late, "callee", "one").await;
    let caller = shared.resolution.caller().await;
    reached(&caller, "late", "late").await;

    // What follows the library's sections changes nothing but its digest.
    let mut library = std::fs::read(plugin_library("name-resolution").unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("other.so");
    for round in 0..3_u8 {
        library.push(round);
        std::fs::write(&other, &library).unwrap();
        let mark = late.logs().mark();
        late.replace_plugin("name-resolution", &other).unwrap();
        let replaced = late.logs().wait_after(mark, "nameResolution", SOON);
        let calls = async {
            for _ in 0..20 {
                let (there, back) = (call(&late, "callee").await?, call(&caller, "late").await?);
                ensure!(there.status == 200, "{}", there.text());
                ensure!(back.status == 200, "{}", back.text());
            }
            Ok(())
        };
        let (replaced, calls) = tokio::join!(replaced, calls);
        replaced.context("the component moves to the new version").unwrap();
        calls.unwrap();
    }
    // The new version keeps the row: longer than the old version's last renewal counts.
    let others = |found: &Mecha| found.logs().matching("Host registration lost").len();
    let row = || -> Result<(i64, i64)> {
        let connection = rusqlite::Connection::open(file(shared.folder.path()))?;
        let query = "SELECT last_update, unixepoch() FROM hosts WHERE app_id = 'late'";
        Ok(connection.query_row(query, [], |row| Ok((row.get(0)?, row.get(1)?)))?)
    };
    let (first, _) = row().unwrap();
    let renewed = eventually(SOON, || async {
        let (last, _) = row()?;
        ensure!(last >= first + 3, "{last} after {first}");
        Ok(())
    });
    renewed.await.unwrap();
    assert_eq!(others(&late), 0);
    reached(&caller, "late", "late").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_resolver_is_no_component_of_the_application() {
    let shared = Shared::new();
    let mecha = shared.resolution.caller().await;
    mecha.logs().wait_for("Initialized name resolution to sqlite", SOON).await.unwrap();
    let reply = mecha.http().get(&mecha.http_url("/v1.0/metadata")).await.unwrap();
    let components = reply.json().unwrap()["components"].clone();
    assert!(components.as_array().is_none_or(|components| components.is_empty()), "{components}");
}
