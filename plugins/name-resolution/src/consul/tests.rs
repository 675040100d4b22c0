//! The resolver against an agent that answers as it is told to and keeps what it was asked.

use std::collections::VecDeque;

use mecha_plugin_api::Metadata;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use super::*;

/// A request as it came.
#[derive(Debug)]
struct Asked {
    line: String,
    head: String,
    body: Value,
}

/// An answer: a status, the index and a body.
type Scripted = (u16, u64, String);

struct Agent {
    address: String,
    asked: mpsc::UnboundedReceiver<Asked>,
    script: Arc<Script>,
    _serving: JoinSet<()>,
}

#[derive(Default)]
struct Script {
    answers: Mutex<VecDeque<Scripted>>,
    added: Notify,
}

impl Script {
    fn add(&self, answer: Scripted) {
        self.answers.lock().unwrap().push_back(answer);
        self.added.notify_waiters();
    }

    /// The next answer; a question for which there is none yet waits, as a blocking query does.
    async fn next(&self) -> Scripted {
        loop {
            let added = self.added.notified();
            if let Some(answer) = self.answers.lock().unwrap().pop_front() {
                return answer;
            }
            added.await;
        }
    }
}

impl Agent {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (told, asked) = mpsc::unbounded_channel();
        let script = Arc::new(Script::default());
        let mut serving = JoinSet::new();
        let answers = script.clone();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, told.clone(), answers.clone()));
            }
        });
        Self { address, asked, script, _serving: serving }
    }

    fn answers(&self, status: u16, body: impl ToString) {
        self.script.add((status, 7, body.to_string()));
    }

    async fn asked(&mut self) -> Asked {
        self.asked.recv().await.unwrap()
    }

    async fn open(&self, settings: &Value) -> Result<Consul> {
        let mut settings = settings.clone();
        let client = settings.as_object_mut().unwrap().entry("client").or_insert_with(|| json!({}));
        client["address"] = json!(self.address);
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let pairs = settings.as_object().unwrap().iter().map(|(name, value)| (name.clone(), text(value)));
        Consul::open(ComponentSpec::new("nr", "nameresolution.consul", pairs.collect())).await
    }

    /// A resolver that registers nothing; its first question is answered and taken.
    async fn opened(&mut self, settings: &Value) -> Consul {
        self.answers(200, "{}");
        let consul = self.open(settings).await.unwrap();
        assert!(self.asked().await.line.starts_with("GET /v1/agent/self"));
        consul
    }
}

async fn serve(mut stream: TcpStream, told: mpsc::UnboundedSender<Asked>, script: Arc<Script>) {
    let mut read = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
                return;
            }
        };
        let head = String::from_utf8(read.drain(..end).collect()).unwrap().to_ascii_lowercase();
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
        let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
        while read.len() < length {
            stream.read_buf(&mut read).await.unwrap();
        }
        let body: Vec<u8> = read.drain(..length).collect();
        let line = head.lines().next().unwrap().replacen("get ", "GET ", 1).replacen("put ", "PUT ", 1);
        let line = line.replace(" http/1.1", " HTTP/1.1");
        let body = serde_json::from_slice(&body).unwrap_or_default();
        let _ = told.send(Asked { line, head, body });
        let (status, index, body) = script.next().await;
        let answer = format!(
            "HTTP/1.1 {status} Scripted\r\nx-consul-index: {index}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn entry(address: &str, node: &str, meta: Value) -> Value {
    json!({"Node": {"Address": node}, "Service": {"Address": address, "Port": 80, "Meta": meta}})
}

fn context() -> CallContext {
    CallContext::background("a")
}

async fn resolve(consul: &Consul, app_id: &str) -> Result<Vec<String>> {
    let request =
        ResolveRequest { app_id: app_id.into(), namespace: "".into(), port: 1, metadata: Metadata::new() };
    let found = consul.resolve(&context(), request).await?;
    Ok(found.addresses.iter().map(ToString::to_string).collect())
}

fn registration() -> Registration {
    Registration {
        app_id: "b".into(),
        namespace: "".into(),
        address: "10.0.0.9".into(),
        port: 50002,
        http_port: 3500,
        app_port: 8080,
        metadata: Metadata::new(),
    }
}

#[tokio::test]
async fn healthy_instances_are_found_with_the_port_in_their_metadata() {
    let mut agent = Agent::start().await;
    let consul = agent.opened(&json!({})).await;
    agent.answers(
        200,
        json!([
            entry("10.0.0.1", "10.1.0.1", json!({"DAPR_PORT": "50002"})),
            entry("", "10.1.0.2", json!({"DAPR_PORT": "50003"})),
            entry("fd00::1", "10.1.0.3", json!({"DAPR_PORT": "50004"})),
            entry("10.0.0.4", "10.1.0.4", json!({})),
        ]),
    );
    let found = resolve(&consul, "b").await.unwrap();
    assert_eq!(found, ["10.0.0.1:50002", "10.1.0.2:50003", "[fd00::1]:50004"]);
    assert_eq!(agent.asked().await.line, "GET /v1/health/service/b?passing=1&cached HTTP/1.1");
}

#[tokio::test]
async fn who_is_not_there_is_told_in_the_words_of_dapr() {
    let mut agent = Agent::start().await;
    let consul = agent.opened(&json!({"daprPortMetaKey": "P"})).await;
    agent.answers(200, "[]");
    let error = resolve(&consul, "b").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NOT_FOUND);
    assert_eq!(error.message(), "no healthy services found with AppID 'b'");
    agent.answers(200, json!([entry("10.0.0.1", "", json!({"DAPR_PORT": "1"}))]));
    let error = resolve(&consul, "b").await.unwrap_err();
    assert_eq!(error.message(), "target service AppID 'b' found but P missing from meta");
    agent.answers(500, "no leader");
    let error = resolve(&consul, "b").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UNAVAILABLE);
    assert_eq!(
        error.message(),
        "failed to query healthy consul services: Unexpected response code: 500 (no leader)"
    );
}

#[tokio::test]
async fn this_runtime_is_registered_with_a_health_check_and_taken_back() {
    let mut agent = Agent::start().await;
    let settings =
        json!({"selfRegister": true, "selfDeregister": "true", "tags": ["dapr"], "meta": {"zone": "z"}});
    let consul = agent.open(&settings).await.unwrap();
    agent.answers(200, "");
    consul.register(&context(), registration()).await.unwrap();
    let asked = agent.asked().await;
    assert_eq!(asked.line, "PUT /v1/agent/service/register HTTP/1.1");
    let expected = json!({
        "ID": "b-10.0.0.9-3500", "Name": "b", "Address": "10.0.0.9", "Port": 8080, "Tags": ["dapr"],
        "Meta": {"zone": "z", "DAPR_PORT": "50002"},
        "Checks": [{
            "Name": "Dapr Health Status", "CheckID": "daprHealth:b-10.0.0.9-3500", "Interval": "15s",
            "HTTP": "http://10.0.0.9:3500/v1.0/healthz?appid=b",
        }],
    });
    assert_eq!(asked.body, expected);
    agent.answers(200, "");
    consul.unregister(&context()).await.unwrap();
    assert_eq!(
        agent.asked().await.line,
        "PUT /v1/agent/service/deregister/b%2d10%2e0%2e0%2e9%2d3500 HTTP/1.1"
    );
    consul.unregister(&context()).await.unwrap();
    assert!(agent.asked.try_recv().is_err(), "it is taken back once");
}

#[tokio::test]
async fn a_registration_may_be_written_by_hand_and_left_to_its_checks() {
    let mut agent = Agent::start().await;
    let service = json!({"name": "mine", "port": 1, "meta": {"a": "b"}, "check": {"TTL": "10s"}});
    let consul = agent.open(&json!({"advancedRegistration": service})).await.unwrap();
    agent.answers(200, "");
    consul.register(&context(), registration()).await.unwrap();
    let body = agent.asked().await.body;
    assert_eq!(body["meta"], json!({"a": "b", "DAPR_PORT": "50002"}));
    assert_eq!((&body["name"], &body["check"]["TTL"]), (&json!("mine"), &json!("10s")));
    consul.unregister(&context()).await.unwrap();
    assert!(agent.asked.try_recv().is_err());
}

#[tokio::test]
async fn a_runtime_without_an_application_cannot_register() {
    let agent = Agent::start().await;
    let consul = agent.open(&json!({"selfRegister": true})).await.unwrap();
    let without = |change: fn(&mut Registration)| {
        let mut registration = registration();
        change(&mut registration);
        registration
    };
    let refused = consul.register(&context(), without(|it| it.app_port = 0)).await.unwrap_err();
    assert_eq!(refused.message(), "metadata property missing: APP_PORT");
    let refused = consul.register(&context(), without(|it| it.http_port = 0)).await.unwrap_err();
    assert_eq!(refused.message(), "metadata property missing: DAPR_HTTP_PORT");
}

#[tokio::test]
async fn an_agent_that_does_not_answer_fails_the_start() {
    let agent = Agent::start().await;
    agent.answers(403, "Permission denied");
    let error = agent.open(&json!({})).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::DENIED);
    assert_eq!(
        error.message(),
        "failed check on consul agent: Unexpected response code: 403 (Permission denied)"
    );
}

#[tokio::test]
async fn the_client_and_the_questions_are_as_the_settings_say() {
    let mut agent = Agent::start().await;
    let settings = json!({
        "client": {"Datacenter": "dc1", "httpAuth": {"username": "u", "password": "p"}, "token": "t1"},
        "queryOptions": {
            "useCache": true, "maxAge": 5_000_000_000_u64, "token": "t2", "near": "_agent", "allowStale": true,
            "filter": "Service.Tags contains dapr", "nodeMeta": {"rack": "1"}, "relayFactor": 2,
        },
    });
    let consul = agent.opened(&settings).await;
    agent.answers(200, json!([entry("10.0.0.1", "", json!({"DAPR_PORT": "1"}))]));
    resolve(&consul, "b/c").await.unwrap();
    let asked = agent.asked().await;
    assert_eq!(
        asked.line,
        "GET /v1/health/service/b%2fc?dc=dc1&passing=1&near=%5fagent&filter=service%2etags%20contains%20dapr\
         &stale=true&relay-factor=2&node-meta=rack%3a1&cached HTTP/1.1"
    );
    for line in ["x-consul-token: t2", "authorization: basic dtpw", "cache-control: max-age=5"] {
        assert!(asked.head.contains(line), "{line} in {}", asked.head);
    }
}

#[tokio::test]
async fn what_is_watched_is_known_without_a_question_and_follows_changes() {
    let mut agent = Agent::start().await;
    let consul = agent.opened(&json!({"useCache": true})).await;
    let instance = |port: &str| json!([entry("10.0.0.1", "", json!({"DAPR_PORT": port}))]).to_string();
    agent.script.add((200, 5, instance("1")));
    assert_eq!(resolve(&consul, "b").await.unwrap(), ["10.0.0.1:1"]);
    assert_eq!(agent.asked().await.line, "GET /v1/health/service/b?passing=1&cached HTTP/1.1");
    // The watch begins, and hangs at the agent after its first answer.
    agent.script.add((200, 5, instance("2")));
    let line = |index: u64| format!("GET /v1/health/service/b?passing=1&index={index}&wait=60000ms HTTP/1.1");
    assert_eq!(agent.asked().await.line, line(0));
    assert_eq!(agent.asked().await.line, line(5));
    assert_eq!(resolve(&consul, "b").await.unwrap(), ["10.0.0.1:2"], "no question");
    agent.script.add((200, 6, instance("3")));
    assert_eq!(agent.asked().await.line, line(6));
    assert_eq!(resolve(&consul, "b").await.unwrap(), ["10.0.0.1:3"]);
}

#[tokio::test]
async fn settings_of_another_shape_are_refused_by_name() {
    let agent = Agent::start().await;
    for (settings, field) in [
        (json!({"checks": {"name": "x"}}), "checks"),
        (json!({"queryOptions": []}), "queryOptions"),
        (json!({"queryOptions": {"near": 1}}), "queryOptions.near"),
        (json!({"client": {"token": true}}), "client.token"),
        (json!({"client": {"scheme": "ftp"}}), "client"),
        (json!({"client": {"tlsConfig": {"caFile": "/nowhere"}}}), "client"),
        (json!({"meta": "{"}), "meta"),
    ] {
        let error = agent.open(&settings).await.err().unwrap();
        assert_eq!((error.kind(), error.field()), (ErrorKind::INVALID, Some(field)), "{settings}: {error}");
    }
}
