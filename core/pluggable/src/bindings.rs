//! Pluggable bindings: what is invoked, and where events come from.

use mecha_plugin_api::binding::{InputBinding, InvokeRequest, InvokeResponse, OutputBinding};
use mecha_plugin_api::source::{Delivery, Subscription};
use mecha_plugin_api::{CallContext, ComponentSpec, Result};
use mecha_proto::components::v1 as proto;
use mecha_proto::components::v1::input_binding_client::InputBindingClient;
use mecha_proto::components::v1::output_binding_client::OutputBindingClient;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

use crate::peer::{Peer, map, properties};
use crate::pull::{Conversation, Pull};
use crate::status::error;

pub(crate) struct Output {
    peer: Peer,
    client: OutputBindingClient<Channel>,
    operations: Vec<String>,
}

impl Output {
    pub(crate) async fn open(peer: Peer, spec: ComponentSpec) -> Result<Self> {
        let peer = peer.of(&spec);
        let mut client = OutputBindingClient::new(peer.channel()).max_decoding_message_size(usize::MAX);
        let init = proto::OutputBindingInitRequest { metadata: properties(&spec) };
        client.init(peer.opening(init)).await.map_err(error)?;
        let request = peer.opening(proto::ListOperationsRequest {});
        let operations = client.list_operations(request).await.map_err(error)?.into_inner().operations;
        Ok(Self { peer, client, operations })
    }
}

impl OutputBinding for Output {
    fn operations(&self) -> Vec<&str> {
        self.operations.iter().map(String::as_str).collect()
    }

    async fn invoke(&self, context: &CallContext, request: InvokeRequest) -> Result<InvokeResponse> {
        let request = proto::InvokeRequest {
            data: request.data.into_bytes(),
            metadata: map(&request.metadata),
            operation: request.operation.into(),
        };
        let answer = self.client.clone().invoke(self.peer.request(context, request)).await.map_err(error)?;
        let answer = answer.into_inner();
        Ok(InvokeResponse {
            data: answer.data.into(),
            content_type: answer.content_type.into(),
            metadata: answer.metadata.into_iter().collect(),
        })
    }

    async fn ping(&self, context: &CallContext) -> Result<()> {
        let pinged = self.client.clone().ping(self.peer.request(context, proto::PingRequest {})).await;
        pinged.map(drop).map_err(error)
    }
}

pub(crate) struct Input {
    name: String,
    peer: Peer,
    client: InputBindingClient<Channel>,
}

impl Input {
    pub(crate) async fn open(peer: Peer, spec: ComponentSpec) -> Result<Self> {
        let peer = peer.of(&spec);
        let mut client = InputBindingClient::new(peer.channel()).max_decoding_message_size(usize::MAX);
        let init = proto::InputBindingInitRequest { metadata: properties(&spec) };
        client.init(peer.opening(init)).await.map_err(error)?;
        Ok(Self { name: spec.name.into(), peer, client })
    }
}

impl InputBinding for Input {
    async fn read(&self, _context: &CallContext) -> Result<Subscription> {
        let (name, peer, client) = (self.name.clone(), self.peer.clone(), self.client.clone());
        Ok(Subscription::new(Pull::open(Events { name, peer, client }).await?))
    }

    async fn ping(&self, context: &CallContext) -> Result<()> {
        let pinged = self.client.clone().ping(self.peer.request(context, proto::PingRequest {})).await;
        pinged.map(drop).map_err(error)
    }
}

/// The stream of a binding's events.
struct Events {
    name: String,
    peer: Peer,
    client: InputBindingClient<Channel>,
}

impl Conversation for Events {
    type Said = proto::ReadRequest;
    type Heard = proto::ReadResponse;

    async fn open(&self, said: ReceiverStream<Self::Said>) -> Result<Streaming<Self::Heard>, tonic::Status> {
        Ok(self.client.clone().read(self.peer.opening(said)).await?.into_inner())
    }

    fn first(&self) -> Option<Self::Said> {
        None
    }

    fn settlement(&self, message_id: String, refused: Option<&str>) -> Self::Said {
        let response_error = refused.map(|message| proto::AckResponseError { message: message.to_owned() });
        proto::ReadRequest { response_data: bytes::Bytes::new(), message_id, response_error }
    }

    fn delivery(&self, heard: Self::Heard) -> (String, Delivery) {
        let delivery = Delivery {
            id: 0,
            redelivered: 0,
            ordering_key: Default::default(),
            topic: self.name.as_str().into(),
            data: heard.data.into(),
            content_type: heard.content_type.into(),
            metadata: heard.metadata.into_iter().collect(),
        };
        (heard.message_id, delivery)
    }
}
