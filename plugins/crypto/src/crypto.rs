//! `crypto.dapr.localstorage`: a key is read for each call, so that one that was replaced is used from then on.

use std::sync::Arc;

use mecha_plugin_api::crypto::{Crypto, KeyRequest};
use mecha_plugin_api::{Buf, CallContext, ComponentSpec, Error, Result};

use crate::folder::Folder;
use crate::key::{Key, Use};
use crate::work::{off_thread, perform};
use crate::wrap;

/// The keys of one component.
pub(crate) struct LocalStorage {
    folder: Arc<Folder>,
}

impl LocalStorage {
    pub(crate) async fn open(spec: ComponentSpec) -> Result<Self> {
        let folder = off_thread(move || Folder::open(&spec)).await?;
        Ok(Self { folder: Arc::new(folder) })
    }

    async fn with_key(
        &self,
        context: &CallContext,
        usage: Use,
        request: KeyRequest,
        work: fn(&Key, &str, &[u8]) -> Result<Vec<u8>>,
    ) -> Result<Buf> {
        let folder = self.folder.clone();
        let worked = perform(context, usage.name(), move || {
            let failed = |what: &str, error: Error| {
                Error::new(error.kind(), format!("failed to {what}: {}", error.message()))
            };
            let key = folder.key(&request.key_name);
            let key = key.map_err(|error| failed("retrieve the key encryption key", error))?;
            key.allows(usage, &request.algorithm)?;
            work(&key, &request.algorithm, &request.key).map_err(|error| failed(usage.verb(), error))
        });
        worked.await.map(Buf::from)
    }
}

impl Crypto for LocalStorage {
    async fn wrap_key(&self, context: &CallContext, request: KeyRequest) -> Result<Buf> {
        self.with_key(context, Use::Wrap, request, wrap::wrap).await
    }

    async fn unwrap_key(&self, context: &CallContext, request: KeyRequest) -> Result<Buf> {
        self.with_key(context, Use::Unwrap, request, wrap::unwrap).await
    }

    async fn ping(&self, _context: &CallContext) -> Result<()> {
        let folder = self.folder.clone();
        off_thread(move || folder.check()).await
    }
}
