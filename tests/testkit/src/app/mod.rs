//! An application under test: it subscribes over HTTP, gRPC or streams, answers as it is told, and remembers what it got.

mod grpc;
mod http;
mod scripted;
mod stream;
mod tls;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Result, ensure};
use mecha_proto::runtime::v1 as pb;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::{Mecha, eventually};

pub use scripted::{Asked, Scripted, ScriptedApp};

/// How it talks with the runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// HTTP/1.1.
    Http,
    /// gRPC callbacks.
    Grpc,
    /// gRPC streams that it opens itself.
    Stream,
}

/// What it answers to an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Done.
    Success,
    /// Again, please.
    Retry,
    /// Not wanted.
    Drop,
    /// A failure that is no answer: status 500, or a gRPC error.
    Fail,
}

/// An event as it arrived.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// The path that it came to; `/` on a stream.
    pub path: String,
    /// The topic.
    pub topic: String,
    /// The event's id.
    pub id: String,
    /// Its data: JSON where it is JSON, otherwise its text.
    pub data: Value,
    /// Its content type.
    pub content_type: String,
    /// The trace that the call carried.
    pub traceparent: String,
    /// The call's headers or metadata; none on a stream.
    pub headers: BTreeMap<String, String>,
    /// Whether it came with others in one call.
    pub bulk: bool,
}

/// A wish for a topic, the same for every transport.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// The broker.
    pub pubsub: String,
    /// The topic.
    pub topic: String,
    /// Path for what no rule matches.
    pub route: String,
    /// Conditions with their paths.
    pub rules: Vec<(String, String)>,
    /// Where events go that could not be delivered.
    pub dead_letter: Option<String>,
    /// Metadata.
    pub metadata: Vec<(String, String)>,
    /// Several at a time.
    pub bulk: bool,
}

impl Wish {
    /// A wish for a topic, at the path `/<topic>`.
    pub fn new(pubsub: &str, topic: &str) -> Self {
        let (pubsub, topic, route) = (pubsub.to_owned(), topic.to_owned(), format!("/{topic}"));
        Self { pubsub, topic, route, ..Self::default() }
    }

    /// As `/dapr/subscribe` answers it.
    fn json(&self) -> Value {
        let rules: Vec<_> =
            self.rules.iter().map(|(condition, path)| json!({"match": condition, "path": path})).collect();
        let metadata: serde_json::Map<_, _> =
            self.metadata.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
        let mut wish = json!({
            "pubsubname": self.pubsub,
            "topic": self.topic,
            "metadata": metadata,
            "routes": {"rules": rules, "default": self.route},
            "bulkSubscribe": {"enabled": self.bulk, "maxMessagesCount": 10, "maxAwaitDurationMs": 50},
        });
        if let Some(dead_letter) = &self.dead_letter {
            wish["deadLetterTopic"] = json!(dead_letter);
        }
        wish
    }
}

type Respond = Arc<dyn Fn(&Seen) -> Answer + Send + Sync>;

/// What the transports share.
#[derive(Clone)]
struct Shared {
    wishes: Arc<Vec<Wish>>,
    respond: Respond,
    seen: Arc<Mutex<Vec<Seen>>>,
    /// Over gRPC: what its health check answers.
    healthy: Arc<AtomicBool>,
    /// Over gRPC: the input bindings that it asks for.
    bindings: Vec<String>,
    on_binding: Option<OnBinding>,
}

type OnBinding = Arc<
    dyn Fn(
            &pb::BindingEventRequest,
            &BTreeMap<String, String>,
        ) -> Result<pb::BindingEventResponse, tonic::Status>
        + Send
        + Sync,
>;

impl Shared {
    fn respond_binding(
        &self,
        event: pb::BindingEventRequest,
        headers: BTreeMap<String, String>,
    ) -> Result<pb::BindingEventResponse, tonic::Status> {
        match &self.on_binding {
            Some(respond) => respond(&event, &headers),
            None => Ok(pb::BindingEventResponse::default()),
        }
    }

    fn new(wishes: Vec<Wish>, respond: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        Self {
            wishes: Arc::new(wishes),
            respond: Arc::new(respond),
            seen: Arc::default(),
            healthy: Arc::new(AtomicBool::new(true)),
            bindings: Vec::new(),
            on_binding: None,
        }
    }

    /// Remembers an event and gives the answer to it.
    fn take(&self, seen: Seen) -> Answer {
        let answer = (self.respond)(&seen);
        self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(seen);
        answer
    }
}

/// A running application.
pub struct TestApp {
    shared: Shared,
    transport: Transport,
    /// Whether over TLS.
    secure: bool,
    /// Its port; 0 when it has none.
    port: u16,
    tasks: Vec<JoinHandle<()>>,
}

impl TestApp {
    /// Starts one; a streaming one opens its streams with [`TestApp::connect`].
    pub async fn start(
        transport: Transport,
        wishes: Vec<Wish>,
        respond: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
    ) -> Result<Self> {
        Self::listen(transport, Shared::new(wishes, respond), None).await
    }

    /// Starts one over gRPC with TLS and a certificate of its own.
    pub async fn start_grpcs(
        wishes: Vec<Wish>,
        respond: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
    ) -> Result<Self> {
        Self::listen(Transport::Grpc, Shared::new(wishes, respond), Some(tls::acceptor()?)).await
    }

    /// Starts one over gRPC that takes the events of input bindings.
    pub async fn start_bound(
        bindings: &[&str],
        respond: impl Fn(
            &pb::BindingEventRequest,
            &BTreeMap<String, String>,
        ) -> Result<pb::BindingEventResponse, tonic::Status>
        + Send
        + Sync
        + 'static,
    ) -> Result<Self> {
        let mut shared = Shared::new(Vec::new(), |_| Answer::Success);
        shared.bindings = bindings.iter().map(|name| (*name).to_owned()).collect();
        shared.on_binding = Some(Arc::new(respond));
        Self::listen(Transport::Grpc, shared, None).await
    }

    /// Over gRPC: what its health check answers from now on.
    pub fn set_healthy(&self, healthy: bool) {
        self.shared.healthy.store(healthy, Ordering::Relaxed);
    }

    async fn listen(transport: Transport, shared: Shared, tls: Option<TlsAcceptor>) -> Result<Self> {
        let secure = tls.is_some();
        let mut app = Self { shared, transport, secure, port: 0, tasks: Vec::new() };
        if transport == Transport::Stream {
            return Ok(app);
        }
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        app.port = listener.local_addr()?.port();
        let shared = app.shared.clone();
        app.tasks.push(match transport {
            Transport::Http => tokio::spawn(http::serve(listener, shared)),
            Transport::Grpc | Transport::Stream => tokio::spawn(grpc::serve(listener, tls, shared)),
        });
        Ok(app)
    }

    /// The flags that tell the runtime where it is; none for a streaming one.
    pub fn flags(&self) -> Vec<(&'static str, String)> {
        let protocol = match self.transport {
            Transport::Http => "http",
            Transport::Grpc if self.secure => "grpcs",
            Transport::Grpc => "grpc",
            Transport::Stream => return Vec::new(),
        };
        vec![("--app-port", self.port.to_string()), ("--app-protocol", protocol.to_owned())]
    }

    /// Opens the streams of a streaming application; nothing for the others.
    pub async fn connect(&mut self, mecha: &Mecha) -> Result<()> {
        if self.transport != Transport::Stream {
            return Ok(());
        }
        for wish in self.shared.wishes.iter() {
            let task = stream::open(mecha, wish.clone(), self.shared.clone()).await?;
            self.tasks.push(task);
        }
        Ok(())
    }

    /// Everything that arrived so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Waits until what arrived meets a condition.
    pub async fn wait_for(&self, within: Duration, enough: impl Fn(&[Seen]) -> bool) -> Result<Vec<Seen>> {
        eventually(within, || async {
            let seen = self.seen();
            ensure!(enough(&seen), "arrived so far: {seen:#?}");
            Ok(())
        })
        .await?;
        Ok(self.seen())
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Headers as text; of several values of one name the last.
fn texts(headers: &::http::HeaderMap) -> BTreeMap<String, String> {
    let text = |value: &::http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}

/// An event's data as JSON where it is JSON, otherwise as text.
fn data(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_else(|_| json!(String::from_utf8_lossy(bytes)))
}
