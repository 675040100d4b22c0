//! What rows call over HTTP: one document to write and to read, a provider of identities, and what of Consul's agent a
//! resolver asks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use bytes::Bytes;
use mecha_testkit::{Asked, Scripted, ScriptedApp};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

/// What the server holds.
#[derive(Default)]
struct Held {
    document: Option<Bytes>,
    services: BTreeMap<String, Value>,
}

/// A running server.
pub(crate) struct Server(ScriptedApp);

impl Server {
    /// Starts it.
    pub(crate) async fn start() -> Result<Self> {
        let held = Arc::new(Mutex::new(Held::default()));
        let answer = move |asked: Asked| {
            let held = held.clone();
            async move { answer(&asked, &mut held.lock().unwrap_or_else(PoisonError::into_inner)) }
        };
        ScriptedApp::start(answer).await.map(Self)
    }

    /// What a variable stands for, where the server is it.
    pub(crate) fn variable(&self, name: &str) -> Option<String> {
        let is_it = ["MECHA_TEST_HTTP", "MECHA_TEST_CONSUL"].contains(&name);
        is_it.then(|| format!("http://127.0.0.1:{}", self.0.port()))
    }
}

/// The provider knows everybody who asks for a token, and has issued none that somebody could show.
fn answer(asked: &Asked, held: &mut Held) -> Scripted {
    match asked.path.as_str() {
        "/keys" => Scripted::json(&json!({"keys": []})),
        "/token" => Scripted::json(&json!({"access_token": "a", "token_type": "bearer", "expires_in": 3600})),
        path => match path.strip_prefix("/v1/") {
            Some(path) => agent(path, asked, &mut held.services),
            None => document(asked, &mut held.document),
        },
    }
}

/// A method that nobody knows is taken as well: that it is refused must be the component's doing.
fn document(asked: &Asked, held: &mut Option<Bytes>) -> Scripted {
    match asked.method.as_str() {
        "GET" => return held.clone().map_or(Scripted::status(404), Scripted::ok),
        "DELETE" => *held = None,
        _ => *held = Some(asked.body.clone()),
    }
    Scripted::status(200)
}

fn agent(path: &str, asked: &Asked, services: &mut BTreeMap<String, Value>) -> Scripted {
    if path == "agent/service/register" {
        let service = asked.json();
        let id = service["ID"].as_str().unwrap_or_default().to_owned();
        services.insert(id, service);
    } else if let Some(id) = path.strip_prefix("agent/service/deregister/") {
        if services.remove(&*percent_decode_str(id).decode_utf8_lossy()).is_none() {
            return Scripted::status(404);
        }
    } else if let Some(name) = path.strip_prefix("health/service/") {
        let name = percent_decode_str(name).decode_utf8_lossy();
        let found = services.values().filter(|service| service["Name"] == *name);
        return Scripted::json(&found.map(|service| json!({"Service": service})).collect());
    } else if path != "agent/self" {
        return Scripted::status(404);
    }
    Scripted::json(&json!({}))
}
