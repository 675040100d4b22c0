//! The issuer's keys: read at the start, read again now and then, and when a token names one that is not known.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use jsonwebtoken::jwk::{Jwk, JwkSet};
use mecha_plugin_api::{Error, Result};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use crate::client::Client;

/// As in Dapr they are not read again more often, save for a key that is not known.
const REFRESH: Duration = Duration::from_secs(600);
/// Between two readings for keys that are not known, whoever names them.
const PAUSE: Duration = Duration::from_secs(10);

/// The keys of one issuer.
pub(super) struct Keys {
    source: Arc<Source>,
    refreshing: JoinHandle<()>,
}

struct Source {
    client: Client,
    url: String,
    known: RwLock<Arc<JwkSet>>,
    /// When they were read last; held while they are read, so that one request reads for all.
    read_at: Mutex<Instant>,
}

impl Keys {
    /// Reads the keys and keeps reading them while the value is in use.
    pub(super) async fn start(client: Client, url: String) -> Result<Self> {
        let known = read(&client, &url).await.map_err(|error| error.with_field("jwksURL"))?;
        let (known, read_at) = (RwLock::new(Arc::new(known)), Mutex::new(Instant::now()));
        let source = Arc::new(Source { client, url, known, read_at });
        let refreshing = tokio::spawn(keep(source.clone()));
        Ok(Self { source, refreshing })
    }

    /// The key of an id.
    pub(super) async fn find(&self, id: &str) -> Option<Jwk> {
        if let Some(key) = self.source.known(id) {
            return Some(key);
        }
        let mut read_at = self.source.read_at.lock().await;
        // Somebody else may have read it meanwhile.
        if let Some(key) = self.source.known(id) {
            return Some(key);
        }
        if read_at.elapsed() < PAUSE {
            return None;
        }
        self.source.refresh(&mut read_at).await;
        self.source.known(id)
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.refreshing.abort();
    }
}

impl Source {
    fn known(&self, id: &str) -> Option<Jwk> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner).clone();
        known.find(id).cloned()
    }

    /// Keys that cannot be read leave those that were.
    async fn refresh(&self, read_at: &mut Instant) {
        *read_at = Instant::now();
        match read(&self.client, &self.url).await {
            Ok(keys) => *self.known.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys),
            Err(error) => tracing::warn!("the issuer's keys cannot be read again: {error}"),
        }
    }
}

async fn keep(source: Arc<Source>) {
    loop {
        tokio::time::sleep(REFRESH).await;
        let mut read_at = source.read_at.lock().await;
        source.refresh(&mut read_at).await;
    }
}

async fn read(client: &Client, url: &str) -> Result<JwkSet> {
    let answer = client.get(url).await?;
    if !answer.status.is_success() {
        return Err(Error::unavailable(format!("{url} answered with status {}", answer.status.as_u16())));
    }
    let wrong = |error: &dyn std::fmt::Display| Error::internal(format!("{url} is no JWKS: {error}"));
    let mut set: serde_json::Value = serde_json::from_slice(&answer.body).map_err(|error| wrong(&error))?;
    let keys = set.get_mut("keys").and_then(serde_json::Value::as_array_mut);
    // A key of a kind that nobody here knows is no reason to know none.
    let keys = keys.ok_or_else(|| wrong(&"it has no keys"))?.drain(..);
    Ok(JwkSet { keys: keys.filter_map(|key| serde_json::from_value(key).ok()).collect() })
}
