//! A pluggable component as somebody would write one: every building block of the protocol, on a Unix socket.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result};
use futures_util::Stream;
use mecha_proto::COMPONENTS_DESCRIPTOR_SET;
use mecha_proto::components::v1 as pb;
use mecha_proto::error_model::{ErrorDetails, StatusExt as _};
use tokio::net::UnixListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Code, Request, Response, Status, Streaming};

type Answer<T> = Result<Response<T>, Status>;
type Sent<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// A running process, or what stands for one. Dropping it ends it as a crash would, and its socket remains.
pub struct Process {
    pub what: Arc<What>,
    socket: PathBuf,
    /// Ends with everything that runs on it, connections too.
    runtime: Option<Runtime>,
}

/// What it holds and what it was told.
#[derive(Default)]
pub struct What {
    values: Mutex<BTreeMap<String, (Vec<u8>, u64)>>,
    queue: Mutex<VecDeque<pb::PullMessagesResponse>>,
    more: Notify,
    /// Each initialisation: the component's name, and its metadata.
    pub initialised: Mutex<Vec<(String, HashMap<String, String>)>>,
    /// Each settlement: a message's id, and why it was refused.
    pub settled: Mutex<Vec<(String, Option<String>)>>,
    /// What the binding was given.
    pub invoked: Mutex<Vec<pb::InvokeRequest>>,
    /// Events for the input binding.
    pub events: Mutex<VecDeque<String>>,
}

impl Process {
    /// Starts it behind `socket`, in place of what is left there.
    pub fn start(socket: &Path) -> Result<Self> {
        Self::start_with(socket, Arc::default())
    }

    /// Ends it and starts it again, with what it holds.
    pub fn restart(self) -> Result<Self> {
        let (socket, what) = (self.socket.clone(), self.what.clone());
        drop(self);
        Self::start_with(&socket, what)
    }

    fn start_with(socket: &Path, what: Arc<What>) -> Result<Self> {
        let _ = std::fs::remove_file(socket);
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = {
            let _entered = runtime.enter();
            UnixListener::bind(socket).context("binding the socket")?
        };
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(COMPONENTS_DESCRIPTOR_SET)
            .build_v1()?;
        let served = Served(what.clone());
        let router = tonic::transport::Server::builder()
            .add_service(reflection)
            .add_service(pb::state_store_server::StateStoreServer::new(served.clone()))
            .add_service(pb::transactional_state_store_server::TransactionalStateStoreServer::new(
                served.clone(),
            ))
            .add_service(
                pb::transactional_store_multi_max_size_server::TransactionalStoreMultiMaxSizeServer::new(
                    served.clone(),
                ),
            )
            .add_service(pb::pub_sub_server::PubSubServer::new(served.clone()))
            .add_service(pb::output_binding_server::OutputBindingServer::new(served.clone()))
            .add_service(pb::input_binding_server::InputBindingServer::new(served.clone()))
            .add_service(pb::secret_store_server::SecretStoreServer::new(served));
        runtime.spawn(async move {
            router.serve_with_incoming(UnixListenerStream::new(listener)).await.unwrap();
        });
        Ok(Self { what, socket: socket.to_path_buf(), runtime: Some(runtime) })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[derive(Clone)]
struct Served(Arc<What>);

impl Served {
    fn init<T>(&self, request: &Request<T>, metadata: Option<&pb::MetadataRequest>) {
        let name = request.metadata().get("x-component-instance").and_then(|name| name.to_str().ok());
        let properties = metadata.map(|metadata| metadata.properties.clone()).unwrap_or_default();
        self.0.initialised.lock().unwrap().push((name.unwrap_or_default().to_owned(), properties));
    }

    fn put(&self, request: pb::SetRequest) -> Result<(), Status> {
        let mut values = self.0.values.lock().unwrap();
        let version = values.get(&request.key).map(|(_, version)| *version);
        checked(request.etag, version)?;
        values.insert(request.key, (request.value.to_vec(), version.unwrap_or(0) + 1));
        Ok(())
    }

    fn take(&self, request: pb::DeleteRequest) -> Result<(), Status> {
        let mut values = self.0.values.lock().unwrap();
        checked(request.etag, values.get(&request.key).map(|(_, version)| *version))?;
        values.remove(&request.key);
        Ok(())
    }

    fn find(&self, key: &str) -> Option<(Vec<u8>, pb::Etag)> {
        let values = self.0.values.lock().unwrap();
        values.get(key).map(|(value, version)| (value.clone(), pb::Etag { value: version.to_string() }))
    }
}

/// Refuses a wrong etag as the protocol wants it said.
fn checked(etag: Option<pb::Etag>, version: Option<u64>) -> Result<(), Status> {
    let Some(etag) = etag else { return Ok(()) };
    let refused = |code, text: &str| {
        Err(Status::with_error_details(
            code,
            "refused",
            ErrorDetails::with_bad_request_violation("etag", text),
        ))
    };
    match etag.value.parse::<u64>() {
        Err(_) => refused(Code::InvalidArgument, "an etag is a number"),
        Ok(wanted) if version != Some(wanted) => refused(Code::FailedPrecondition, "it has changed"),
        Ok(_) => Ok(()),
    }
}

fn done<T>(answer: T) -> Answer<T> {
    Ok(Response::new(answer))
}

fn features(names: &[&str]) -> Answer<pb::FeaturesResponse> {
    done(pb::FeaturesResponse { features: names.iter().map(|&name| name.to_owned()).collect() })
}

#[tonic::async_trait]
impl pb::state_store_server::StateStore for Served {
    async fn init(&self, request: Request<pb::InitRequest>) -> Answer<pb::InitResponse> {
        if let Some(refusal) =
            request.get_ref().metadata.as_ref().and_then(|metadata| metadata.properties.get("refuse"))
        {
            return Err(Status::invalid_argument(refusal.clone()));
        }
        self.init(&request, request.get_ref().metadata.as_ref());
        done(pb::InitResponse {})
    }

    async fn features(&self, _: Request<pb::FeaturesRequest>) -> Answer<pb::FeaturesResponse> {
        features(&["ETAG", "TRANSACTIONAL"])
    }

    async fn delete(&self, request: Request<pb::DeleteRequest>) -> Answer<pb::DeleteResponse> {
        self.take(request.into_inner())?;
        done(pb::DeleteResponse {})
    }

    async fn get(&self, request: Request<pb::GetRequest>) -> Answer<pb::GetResponse> {
        let found = self.find(&request.get_ref().key);
        let mut answer = pb::GetResponse::default();
        if let Some((value, etag)) = found {
            (answer.data, answer.etag) = (value.into(), Some(etag));
        }
        done(answer)
    }

    async fn set(&self, request: Request<pb::SetRequest>) -> Answer<pb::SetResponse> {
        self.put(request.into_inner())?;
        done(pb::SetResponse {})
    }

    async fn ping(&self, _: Request<pb::PingRequest>) -> Answer<pb::PingResponse> {
        done(pb::PingResponse {})
    }

    async fn bulk_delete(&self, request: Request<pb::BulkDeleteRequest>) -> Answer<pb::BulkDeleteResponse> {
        request.into_inner().items.into_iter().try_for_each(|item| self.take(item))?;
        done(pb::BulkDeleteResponse {})
    }

    async fn bulk_get(&self, request: Request<pb::BulkGetRequest>) -> Answer<pb::BulkGetResponse> {
        let item = |asked: pb::GetRequest| {
            let mut item = pb::BulkStateItem { key: asked.key.clone(), ..Default::default() };
            match self.find(&asked.key) {
                Some((value, etag)) => (item.data, item.etag) = (value.into(), Some(etag)),
                None if asked.key.ends_with("broken") => item.error = "this one is broken".to_owned(),
                None => {}
            }
            item
        };
        done(pb::BulkGetResponse { items: request.into_inner().items.into_iter().map(item).collect() })
    }

    async fn bulk_set(&self, request: Request<pb::BulkSetRequest>) -> Answer<pb::BulkSetResponse> {
        request.into_inner().items.into_iter().try_for_each(|item| self.put(item))?;
        done(pb::BulkSetResponse {})
    }
}

#[tonic::async_trait]
impl pb::transactional_state_store_server::TransactionalStateStore for Served {
    async fn transact(
        &self,
        request: Request<pb::TransactionalStateRequest>,
    ) -> Answer<pb::TransactionalStateResponse> {
        use pb::transactional_state_operation::Request::{Delete, Set};
        for operation in request.into_inner().operations {
            match operation.request {
                Some(Set(set)) => self.put(set)?,
                Some(Delete(delete)) => self.take(delete)?,
                None => return Err(Status::invalid_argument("an operation without a request")),
            }
        }
        done(pb::TransactionalStateResponse {})
    }
}

#[tonic::async_trait]
impl pb::transactional_store_multi_max_size_server::TransactionalStoreMultiMaxSize for Served {
    async fn multi_max_size(&self, _: Request<pb::MultiMaxSizeRequest>) -> Answer<pb::MultiMaxSizeResponse> {
        done(pb::MultiMaxSizeResponse { max_size: 3 })
    }
}

#[tonic::async_trait]
impl pb::pub_sub_server::PubSub for Served {
    type PullMessagesStream = Sent<pb::PullMessagesResponse>;

    async fn init(&self, request: Request<pb::PubSubInitRequest>) -> Answer<pb::PubSubInitResponse> {
        self.init(&request, request.get_ref().metadata.as_ref());
        done(pb::PubSubInitResponse {})
    }

    async fn features(&self, _: Request<pb::FeaturesRequest>) -> Answer<pb::FeaturesResponse> {
        features(&["BULK_PUBSUB"])
    }

    async fn publish(&self, request: Request<pb::PublishRequest>) -> Answer<pb::PublishResponse> {
        let request = request.into_inner();
        self.queue(request.topic, request.data, request.content_type, request.metadata);
        done(pb::PublishResponse {})
    }

    async fn bulk_publish(
        &self,
        request: Request<pb::BulkPublishRequest>,
    ) -> Answer<pb::BulkPublishResponse> {
        let request = request.into_inner();
        for entry in request.entries {
            self.queue(request.topic.clone(), entry.event, entry.content_type, entry.metadata);
        }
        done(pb::BulkPublishResponse::default())
    }

    async fn pull_messages(
        &self,
        request: Request<Streaming<pb::PullMessagesRequest>>,
    ) -> Answer<Self::PullMessagesStream> {
        let mut said = request.into_inner();
        let first = said.message().await?.and_then(|first| first.topic);
        let topic = first.ok_or_else(|| Status::invalid_argument("the first request names the topic"))?.name;
        // What is out on this stream; it comes again when the stream ends.
        let out: Arc<Mutex<Vec<pb::PullMessagesResponse>>> = Arc::default();
        let (listening, unsettled) = (self.clone(), out.clone());
        tokio::spawn(async move {
            while let Ok(Some(said)) = said.message().await {
                listening.settle(&unsettled, said);
            }
            let again: Vec<_> = unsettled.lock().unwrap().drain(..).collect();
            listening.0.queue.lock().unwrap().extend(again);
            listening.0.more.notify_waiters();
        });
        let what = self.0.clone();
        let messages = futures_util::stream::unfold((what, topic, out), |(what, topic, out)| async move {
            let message = next_of(&what, &topic).await;
            out.lock().unwrap().push(message.clone());
            Some((Ok(message), (what, topic, out)))
        });
        done(Box::pin(messages))
    }

    async fn pause(&self, _: Request<pb::PauseRequest>) -> Answer<pb::PauseResponse> {
        done(pb::PauseResponse {})
    }

    async fn resume(&self, _: Request<pb::ResumeRequest>) -> Answer<pb::ResumeResponse> {
        done(pb::ResumeResponse {})
    }

    async fn ping(&self, _: Request<pb::PingRequest>) -> Answer<pb::PingResponse> {
        done(pb::PingResponse {})
    }
}

impl Served {
    fn queue(
        &self,
        topic: String,
        data: bytes::Bytes,
        content_type: String,
        metadata: HashMap<String, String>,
    ) {
        let mut queue = self.0.queue.lock().unwrap();
        let id = format!("{topic}/{}", rand::random::<u64>());
        queue.push_back(pb::PullMessagesResponse { data, topic_name: topic, metadata, content_type, id });
        self.0.more.notify_waiters();
    }

    fn settle(&self, out: &Mutex<Vec<pb::PullMessagesResponse>>, said: pb::PullMessagesRequest) {
        let mut out = out.lock().unwrap();
        let Some(at) = out.iter().position(|message| message.id == said.ack_message_id) else { return };
        let message = out.remove(at);
        let refused = said.ack_error.map(|error| error.message);
        if refused.is_some() {
            self.0.queue.lock().unwrap().push_back(message.clone());
            self.0.more.notify_waiters();
        }
        self.0.settled.lock().unwrap().push((message.id, refused));
    }
}

async fn next_of(what: &What, topic: &str) -> pb::PullMessagesResponse {
    loop {
        let more = what.more.notified();
        tokio::pin!(more);
        more.as_mut().enable();
        let found = {
            let mut queue = what.queue.lock().unwrap();
            let at = queue.iter().position(|message| message.topic_name == topic);
            at.and_then(|at| queue.remove(at))
        };
        match found {
            Some(message) => return message,
            None => more.await,
        }
    }
}

#[tonic::async_trait]
impl pb::output_binding_server::OutputBinding for Served {
    async fn init(
        &self,
        request: Request<pb::OutputBindingInitRequest>,
    ) -> Answer<pb::OutputBindingInitResponse> {
        self.init(&request, request.get_ref().metadata.as_ref());
        done(pb::OutputBindingInitResponse {})
    }

    async fn invoke(&self, request: Request<pb::InvokeRequest>) -> Answer<pb::InvokeResponse> {
        let request = request.into_inner();
        self.0.invoked.lock().unwrap().push(request.clone());
        let metadata = HashMap::from([("operation".to_owned(), request.operation)]);
        done(pb::InvokeResponse { data: request.data, metadata, content_type: "text/plain".to_owned() })
    }

    async fn list_operations(
        &self,
        _: Request<pb::ListOperationsRequest>,
    ) -> Answer<pb::ListOperationsResponse> {
        done(pb::ListOperationsResponse { operations: vec!["echo".to_owned()] })
    }

    async fn ping(&self, _: Request<pb::PingRequest>) -> Answer<pb::PingResponse> {
        done(pb::PingResponse {})
    }
}

#[tonic::async_trait]
impl pb::input_binding_server::InputBinding for Served {
    type ReadStream = Sent<pb::ReadResponse>;

    async fn init(
        &self,
        request: Request<pb::InputBindingInitRequest>,
    ) -> Answer<pb::InputBindingInitResponse> {
        self.init(&request, request.get_ref().metadata.as_ref());
        done(pb::InputBindingInitResponse {})
    }

    async fn read(&self, request: Request<Streaming<pb::ReadRequest>>) -> Answer<Self::ReadStream> {
        let (mut said, what) = (request.into_inner(), self.0.clone());
        tokio::spawn(async move {
            while let Ok(Some(said)) = said.message().await {
                let refused = said.response_error.map(|error| error.message);
                what.settled.lock().unwrap().push((said.message_id, refused));
            }
        });
        let events: Vec<_> = self.0.events.lock().unwrap().drain(..).collect();
        let event = |text: String| {
            Ok(pb::ReadResponse {
                message_id: format!("event {text}"),
                data: text.into(),
                metadata: HashMap::from([("kind".to_owned(), "event".to_owned())]),
                content_type: "text/plain".to_owned(),
            })
        };
        use futures_util::StreamExt as _;
        let events = futures_util::stream::iter(events.into_iter().map(event));
        done(Box::pin(events.chain(futures_util::stream::pending())))
    }

    async fn ping(&self, _: Request<pb::PingRequest>) -> Answer<pb::PingResponse> {
        done(pb::PingResponse {})
    }
}

#[tonic::async_trait]
impl pb::secret_store_server::SecretStore for Served {
    async fn init(
        &self,
        request: Request<pb::SecretStoreInitRequest>,
    ) -> Answer<pb::SecretStoreInitResponse> {
        self.init(&request, request.get_ref().metadata.as_ref());
        done(pb::SecretStoreInitResponse {})
    }

    async fn features(&self, _: Request<pb::FeaturesRequest>) -> Answer<pb::FeaturesResponse> {
        features(&["MULTIPLE_KEY_VALUES_PER_SECRET"])
    }

    async fn get(&self, request: Request<pb::GetSecretRequest>) -> Answer<pb::GetSecretResponse> {
        match request.get_ref().key.as_str() {
            "database" => done(pb::GetSecretResponse { data: secret() }),
            other => Err(Status::not_found(format!("no secret {other}"))),
        }
    }

    async fn bulk_get(&self, _: Request<pb::BulkGetSecretRequest>) -> Answer<pb::BulkGetSecretResponse> {
        let data = HashMap::from([("database".to_owned(), pb::SecretResponse { secrets: secret() })]);
        done(pb::BulkGetSecretResponse { data })
    }

    async fn ping(&self, _: Request<pb::PingRequest>) -> Answer<pb::PingResponse> {
        done(pb::PingResponse {})
    }
}

fn secret() -> HashMap<String, String> {
    HashMap::from([("user".to_owned(), "scott".to_owned()), ("password".to_owned(), "tiger".to_owned())])
}
