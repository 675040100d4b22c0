//! A pluggable broker.

use mecha_plugin_api::pubsub::{
    BulkEntry, FailedEntry, PubSub, PubSubFeatures, PublishRequest, SubscribeRequest,
};
use mecha_plugin_api::source::{Delivery, Subscription};
use mecha_plugin_api::{CallContext, ComponentSpec, Error, Metadata, Result};
use mecha_proto::components::v1 as proto;
use mecha_proto::components::v1::pub_sub_client::PubSubClient;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

use crate::peer::{Peer, map, properties};
use crate::pull::{Conversation, Pull};
use crate::status::error;

pub(crate) struct Broker {
    name: String,
    peer: Peer,
    client: PubSubClient<Channel>,
    features: PubSubFeatures,
}

impl Broker {
    pub(crate) async fn open(peer: Peer, spec: ComponentSpec) -> Result<Self> {
        let peer = peer.of(&spec);
        let mut client = PubSubClient::new(peer.channel()).max_decoding_message_size(usize::MAX);
        let init = proto::PubSubInitRequest { metadata: properties(&spec) };
        client.init(peer.opening(init)).await.map_err(error)?;
        let features = client.features(peer.opening(proto::FeaturesRequest {})).await.map_err(error)?;
        let features =
            features.into_inner().features.iter().map(String::as_str).fold(PubSubFeatures::default(), with);
        Ok(Self { name: spec.name.into(), peer, client, features })
    }
}

/// The feature of that name; there are more than concern us.
fn with(features: PubSubFeatures, name: &str) -> PubSubFeatures {
    match name {
        "MESSAGE_TTL" => features.and(PubSubFeatures::MESSAGE_TTL),
        "SUBSCRIBE_WILDCARDS" => features.and(PubSubFeatures::SUBSCRIBE_WILDCARDS),
        "BULK_PUBSUB" => features.and(PubSubFeatures::BULK_PUBLISH),
        _ => features,
    }
}

impl PubSub for Broker {
    fn features(&self) -> PubSubFeatures {
        self.features
    }

    async fn publish(&self, context: &CallContext, request: PublishRequest) -> Result<()> {
        let request = proto::PublishRequest {
            data: request.data.into_bytes(),
            pubsub_name: self.name.clone(),
            topic: request.topic.into(),
            metadata: map(&request.metadata),
            content_type: request.content_type.into(),
        };
        self.client.clone().publish(self.peer.request(context, request)).await.map(drop).map_err(error)
    }

    async fn bulk_publish(
        &self,
        context: &CallContext,
        topic: &str,
        entries: Vec<BulkEntry>,
        metadata: Metadata,
    ) -> Result<Vec<FailedEntry>> {
        let entry = |entry: BulkEntry| proto::BulkMessageEntry {
            entry_id: entry.entry_id.into(),
            event: entry.data.into_bytes(),
            content_type: entry.content_type.into(),
            metadata: map(&entry.metadata),
        };
        let request = proto::BulkPublishRequest {
            entries: entries.into_iter().map(entry).collect(),
            pubsub_name: self.name.clone(),
            topic: topic.to_owned(),
            metadata: map(&metadata),
        };
        let answer = self.client.clone().bulk_publish(self.peer.request(context, request)).await;
        let failed = answer.map_err(error)?.into_inner().failed_entries.into_iter();
        Ok(failed
            .map(|failed| FailedEntry {
                entry_id: failed.entry_id.into(),
                error: Error::internal(failed.error),
            })
            .collect())
    }

    async fn subscribe(&self, _context: &CallContext, request: SubscribeRequest) -> Result<Subscription> {
        let topic = proto::Topic { name: request.topic.into(), metadata: map(&request.metadata) };
        let (peer, client) = (self.peer.clone(), self.client.clone());
        Ok(Subscription::new(Pull::open(Messages { topic, peer, client }).await?))
    }

    async fn ping(&self, context: &CallContext) -> Result<()> {
        let pinged = self.client.clone().ping(self.peer.request(context, proto::PingRequest {})).await;
        pinged.map(drop).map_err(error)
    }
}

/// The stream of a topic's messages.
struct Messages {
    topic: proto::Topic,
    peer: Peer,
    client: PubSubClient<Channel>,
}

impl Conversation for Messages {
    type Said = proto::PullMessagesRequest;
    type Heard = proto::PullMessagesResponse;

    async fn open(&self, said: ReceiverStream<Self::Said>) -> Result<Streaming<Self::Heard>, tonic::Status> {
        Ok(self.client.clone().pull_messages(self.peer.opening(said)).await?.into_inner())
    }

    fn first(&self) -> Option<Self::Said> {
        let topic = Some(self.topic.clone());
        Some(proto::PullMessagesRequest { topic, ack_message_id: String::new(), ack_error: None })
    }

    fn settlement(&self, message_id: String, refused: Option<&str>) -> Self::Said {
        let ack_error = refused.map(|message| proto::AckMessageError { message: message.to_owned() });
        proto::PullMessagesRequest { topic: None, ack_message_id: message_id, ack_error }
    }

    fn delivery(&self, heard: Self::Heard) -> (String, Delivery) {
        let delivery = Delivery {
            id: 0,
            redelivered: 0,
            ordering_key: Default::default(),
            topic: heard.topic_name.into(),
            data: heard.data.into(),
            content_type: heard.content_type.into(),
            metadata: heard.metadata.into_iter().collect(),
        };
        (heard.id, delivery)
    }
}
