//! The store as a runtime uses it, through the author's trait; the files it leaves, as another SQLite client sees them.

mod disk;
mod load;
mod pubsub;
mod semantics;

use std::path::PathBuf;
use std::sync::Arc;

use mecha_plugin_api::state::{
    Concurrency, Consistency, DeleteRequest, GetRequest, SetRequest, StateItem, StateOperation, StateStore,
    ValueKind,
};
use mecha_plugin_api::{Buf, CallContext, ComponentSpec, ErrorKind, Metadata, ROption, Result};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::client::OpenFiles;
use crate::state::SqliteState;

const MISMATCH: Result<(), ErrorKind> = Err(ErrorKind::ETAG_MISMATCH);

/// An open store.
struct Store {
    state: SqliteState,
    context: CallContext,
}

impl Store {
    async fn open(fields: &[(&str, &str)]) -> Result<Self> {
        Self::open_in(fields, Arc::new(OpenFiles::default())).await
    }

    async fn open_in(fields: &[(&str, &str)], files: Arc<OpenFiles>) -> Result<Self> {
        let metadata = Metadata::from_iter(fields.iter().copied());
        let state = SqliteState::open(ComponentSpec::new("store", "state.sqlite", metadata), files).await?;
        Ok(Self { state, context: CallContext::background("app") })
    }

    async fn get(&self, key: &str) -> Option<StateItem> {
        self.state.get(&self.context, get(key)).await.unwrap()
    }

    async fn text(&self, key: &str) -> Option<String> {
        self.get(key).await.map(|item| String::from_utf8(item.value.to_vec()).unwrap())
    }

    async fn etag(&self, key: &str) -> String {
        self.get(key).await.unwrap().etag.unwrap().into_string()
    }

    async fn set(&self, request: SetRequest) -> Result<()> {
        self.state.set(&self.context, request).await
    }

    async fn delete(&self, request: DeleteRequest) -> Result<()> {
        self.state.delete(&self.context, request).await
    }

    async fn transact(&self, operations: Vec<StateOperation>) -> Result<()> {
        self.state.transact(&self.context, operations, Metadata::new()).await
    }
}

/// A database file in a folder of its own.
struct Database {
    // Removed when the test ends.
    _folder: TempDir,
    path: PathBuf,
}

impl Database {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.db");
        Self { _folder: folder, path }
    }

    fn text(&self) -> &str {
        self.path.to_str().unwrap()
    }

    async fn store(&self) -> Store {
        Store::open(&[("connectionString", self.text())]).await.unwrap()
    }

    /// Another client of the same file.
    fn connect(&self) -> Connection {
        Connection::open(&self.path).unwrap()
    }

    /// Moves every expiry into the past.
    fn expire_all(&self) {
        let past = "UPDATE state SET expiration_time = DATETIME(CURRENT_TIMESTAMP, '-1 seconds')
                    WHERE expiration_time IS NOT NULL";
        assert_ne!(self.connect().execute(past, []).unwrap(), 0);
    }

    fn count(&self) -> i64 {
        self.connect().query_row("SELECT count(*) FROM state", [], |row| row.get(0)).unwrap()
    }
}

fn get(key: &str) -> GetRequest {
    GetRequest { key: key.into(), consistency: Consistency::UNSPECIFIED, metadata: Metadata::new() }
}

fn set(key: &str, value: impl Into<String>) -> SetRequest {
    SetRequest {
        key: key.into(),
        value: Buf::from(value.into()),
        kind: ValueKind::JSON,
        etag: ROption::RNone,
        concurrency: Concurrency::UNSPECIFIED,
        consistency: Consistency::UNSPECIFIED,
        metadata: Metadata::new(),
    }
}

fn delete(key: &str) -> DeleteRequest {
    DeleteRequest {
        key: key.into(),
        etag: ROption::RNone,
        concurrency: Concurrency::UNSPECIFIED,
        consistency: Consistency::UNSPECIFIED,
        metadata: Metadata::new(),
    }
}

fn with_etag(request: SetRequest, etag: &str) -> SetRequest {
    SetRequest { etag: ROption::RSome(etag.into()), ..request }
}

fn first_write(request: SetRequest) -> SetRequest {
    SetRequest { concurrency: Concurrency::FIRST_WRITE, ..request }
}

fn with_ttl(request: SetRequest, seconds: &str) -> SetRequest {
    SetRequest { metadata: Metadata::from_iter([("ttlInSeconds", seconds)]), ..request }
}

fn kind(result: Result<()>) -> Result<(), ErrorKind> {
    result.map_err(|error| error.kind())
}
