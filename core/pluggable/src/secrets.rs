//! A pluggable secret store.

use std::collections::HashMap;

use mecha_plugin_api::secret::{Secret, SecretStore};
use mecha_plugin_api::{CallContext, ComponentSpec, Metadata, Result};
use mecha_proto::components::v1::secret_store_client::SecretStoreClient;
use mecha_proto::components::v1::{
    BulkGetSecretRequest, FeaturesRequest, GetSecretRequest, PingRequest, SecretStoreInitRequest,
};
use tonic::transport::Channel;

use crate::peer::{Peer, map, properties};
use crate::status::error;

/// The feature of a store whose secrets have several keys.
const MULTIPLE_KEYS: &str = "MULTIPLE_KEY_VALUES_PER_SECRET";

pub(crate) struct Secrets {
    peer: Peer,
    client: SecretStoreClient<Channel>,
    has_multiple_keys: bool,
}

impl Secrets {
    pub(crate) async fn open(peer: Peer, spec: ComponentSpec) -> Result<Self> {
        let peer = peer.of(&spec);
        let mut client = SecretStoreClient::new(peer.channel()).max_decoding_message_size(usize::MAX);
        let init = SecretStoreInitRequest { metadata: properties(&spec) };
        client.init(peer.opening(init)).await.map_err(error)?;
        let features = client.features(peer.opening(FeaturesRequest {})).await.map_err(error)?.into_inner();
        let has_multiple_keys = features.features.iter().any(|feature| feature == MULTIPLE_KEYS);
        Ok(Self { peer, client, has_multiple_keys })
    }
}

impl SecretStore for Secrets {
    fn has_multiple_keys(&self) -> bool {
        self.has_multiple_keys
    }

    async fn get(&self, context: &CallContext, name: &str, metadata: Metadata) -> Result<Metadata> {
        let request = GetSecretRequest { key: name.to_owned(), metadata: map(&metadata) };
        let answer = self.client.clone().get(self.peer.request(context, request)).await.map_err(error)?;
        Ok(answer.into_inner().data.into_iter().collect())
    }

    async fn bulk_get(&self, context: &CallContext, metadata: Metadata) -> Result<Vec<Secret>> {
        let request = BulkGetSecretRequest { metadata: map(&metadata) };
        let answer =
            self.client.clone().bulk_get(self.peer.request(context, request)).await.map_err(error)?;
        let secret = |(name, secrets): (String, HashMap<String, String>)| Secret {
            name: name.into(),
            data: secrets.into_iter().collect(),
        };
        Ok(answer.into_inner().data.into_iter().map(|(name, data)| secret((name, data.secrets))).collect())
    }

    async fn ping(&self, context: &CallContext) -> Result<()> {
        let pinged = self.client.clone().ping(self.peer.request(context, PingRequest {})).await;
        pinged.map(drop).map_err(error)
    }
}
