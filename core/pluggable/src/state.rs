//! A pluggable state store.

use mecha_plugin_api::state::{
    BulkItem, Concurrency, Consistency, DeleteRequest, GetRequest, SetRequest, StateFeatures, StateItem,
    StateOperation, StateStore, ValueKind,
};
use mecha_plugin_api::{CallContext, ComponentSpec, Error, Metadata, ROption, RResult, Result};
use mecha_proto::components::v1 as proto;
use mecha_proto::components::v1::state_store_client::StateStoreClient;
use mecha_proto::components::v1::transactional_state_store_client::TransactionalStateStoreClient;
use mecha_proto::components::v1::transactional_store_multi_max_size_client::TransactionalStoreMultiMaxSizeClient;
use tonic::transport::Channel;

use crate::peer::{Peer, map, properties};
use crate::status::error;

pub(crate) struct Store {
    peer: Peer,
    client: StateStoreClient<Channel>,
    transactions: TransactionalStateStoreClient<Channel>,
    features: StateFeatures,
    max_transaction_size: u32,
}

impl Store {
    /// Opens a store; `has_limit` says whether it is one that tells how large a transaction may be.
    pub(crate) async fn open(peer: Peer, spec: ComponentSpec, has_limit: bool) -> Result<Self> {
        let peer = peer.of(&spec);
        let mut client = StateStoreClient::new(peer.channel()).max_decoding_message_size(usize::MAX);
        let init = proto::InitRequest { metadata: properties(&spec) };
        client.init(peer.opening(init)).await.map_err(error)?;
        let features = client.features(peer.opening(proto::FeaturesRequest {})).await.map_err(error)?;
        let features =
            features.into_inner().features.iter().map(String::as_str).fold(StateFeatures::default(), with);
        let max_transaction_size = if has_limit { limit(&peer).await? } else { 0 };
        let transactions = TransactionalStateStoreClient::new(peer.channel());
        Ok(Self { peer, client, transactions, features, max_transaction_size })
    }
}

/// The feature of that name; there are more than concern us.
fn with(features: StateFeatures, name: &str) -> StateFeatures {
    match name {
        "ETAG" => features.and(StateFeatures::ETAG),
        "TRANSACTIONAL" => features.and(StateFeatures::TRANSACTIONAL),
        "TTL" => features.and(StateFeatures::TTL),
        "ACTOR" => features.and(StateFeatures::ACTOR),
        _ => features,
    }
}

/// How many operations a transaction may hold; what is no positive number is no limit.
async fn limit(peer: &Peer) -> Result<u32> {
    let mut client = TransactionalStoreMultiMaxSizeClient::new(peer.channel());
    let answer = client.multi_max_size(peer.opening(proto::MultiMaxSizeRequest {})).await.map_err(error)?;
    Ok(u32::try_from(answer.into_inner().max_size).unwrap_or(0))
}

impl StateStore for Store {
    fn features(&self) -> StateFeatures {
        self.features
    }

    async fn get(&self, context: &CallContext, request: GetRequest) -> Result<Option<StateItem>> {
        let request = self.peer.request(context, get(request));
        let answer = self.client.clone().get(request).await.map_err(error)?.into_inner();
        Ok(item(answer.data, answer.etag, answer.metadata))
    }

    async fn set(&self, context: &CallContext, request: SetRequest) -> Result<()> {
        let request = self.peer.request(context, set(request));
        self.client.clone().set(request).await.map(drop).map_err(error)
    }

    async fn delete(&self, context: &CallContext, request: DeleteRequest) -> Result<()> {
        let request = self.peer.request(context, delete(request));
        self.client.clone().delete(request).await.map(drop).map_err(error)
    }

    async fn bulk_get(
        &self,
        context: &CallContext,
        requests: Vec<GetRequest>,
        parallelism: u32,
    ) -> Result<Vec<BulkItem>> {
        let options = Some(proto::BulkGetRequestOptions { parallelism: parallelism.into() });
        let request = proto::BulkGetRequest { items: requests.into_iter().map(get).collect(), options };
        let answer = self.client.clone().bulk_get(self.peer.request(context, request)).await;
        Ok(answer.map_err(error)?.into_inner().items.into_iter().map(bulk_item).collect())
    }

    async fn bulk_set(&self, context: &CallContext, requests: Vec<SetRequest>) -> Result<()> {
        let request = proto::BulkSetRequest { items: requests.into_iter().map(set).collect(), options: None };
        let answer = self.client.clone().bulk_set(self.peer.request(context, request)).await;
        answer.map(drop).map_err(error)
    }

    async fn bulk_delete(&self, context: &CallContext, requests: Vec<DeleteRequest>) -> Result<()> {
        let request =
            proto::BulkDeleteRequest { items: requests.into_iter().map(delete).collect(), options: None };
        let answer = self.client.clone().bulk_delete(self.peer.request(context, request)).await;
        answer.map(drop).map_err(error)
    }

    async fn transact(
        &self,
        context: &CallContext,
        operations: Vec<StateOperation>,
        metadata: Metadata,
    ) -> Result<()> {
        let operations = operations.into_iter().map(operation).collect();
        let request = proto::TransactionalStateRequest { operations, metadata: map(&metadata) };
        let answer = self.transactions.clone().transact(self.peer.request(context, request)).await;
        answer.map(drop).map_err(error)
    }

    fn max_transaction_size(&self) -> u32 {
        self.max_transaction_size
    }

    async fn ping(&self, context: &CallContext) -> Result<()> {
        let pinged = self.client.clone().ping(self.peer.request(context, proto::PingRequest {})).await;
        pinged.map(drop).map_err(error)
    }
}

/// The numbers of the protocol are those of the boundary.
fn consistency(wanted: Consistency) -> i32 {
    wanted.0.into()
}

fn options(concurrency: Concurrency, wanted: Consistency) -> Option<proto::StateOptions> {
    Some(proto::StateOptions { concurrency: concurrency.0.into(), consistency: consistency(wanted) })
}

fn etag(etag: ROption<mecha_plugin_api::RString>) -> Option<proto::Etag> {
    etag.into_option().map(|value| proto::Etag { value: value.into() })
}

fn get(request: GetRequest) -> proto::GetRequest {
    proto::GetRequest {
        key: request.key.into(),
        metadata: map(&request.metadata),
        consistency: consistency(request.consistency),
    }
}

fn set(request: SetRequest) -> proto::SetRequest {
    let content_type = if request.kind == ValueKind::JSON { "application/json" } else { "" };
    proto::SetRequest {
        key: request.key.into(),
        value: request.value.into_bytes(),
        etag: etag(request.etag),
        metadata: map(&request.metadata),
        options: options(request.concurrency, request.consistency),
        content_type: content_type.to_owned(),
    }
}

fn delete(request: DeleteRequest) -> proto::DeleteRequest {
    proto::DeleteRequest {
        key: request.key.into(),
        etag: etag(request.etag),
        metadata: map(&request.metadata),
        options: options(request.concurrency, request.consistency),
    }
}

fn operation(operation: StateOperation) -> proto::TransactionalStateOperation {
    use proto::transactional_state_operation::Request;
    let request = match operation {
        StateOperation::Upsert(request) => Request::Set(set(request)),
        StateOperation::Delete(request) => Request::Delete(delete(request)),
    };
    proto::TransactionalStateOperation { request: Some(request) }
}

/// A value; without data there is none.
fn item(
    data: bytes::Bytes,
    etag: Option<proto::Etag>,
    metadata: std::collections::HashMap<String, String>,
) -> Option<StateItem> {
    (!data.is_empty()).then(|| StateItem {
        value: data.into(),
        etag: etag.map(|etag| etag.value.into()).into(),
        metadata: metadata.into_iter().collect(),
    })
}

fn bulk_item(answer: proto::BulkStateItem) -> BulkItem {
    let result = match answer.error.is_empty() {
        true => RResult::ROk(item(answer.data, answer.etag, answer.metadata).into()),
        false => RResult::RErr(Error::internal(answer.error)),
    };
    BulkItem { key: answer.key.into(), result }
}
