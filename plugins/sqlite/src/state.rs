//! `state.sqlite`: what each request means for the database, and the span it is done in.

mod cleanup;
mod rows;

use std::sync::Arc;

use mecha_plugin_api::state::{
    BulkItem, DeleteRequest, GetRequest, SetRequest, StateFeatures, StateItem, StateOperation, StateStore,
};
use mecha_plugin_api::{CallContext, ComponentSpec, Error, ErrorKind, Metadata, ROption, Result};
use rusqlite::Connection;
use tokio::task::AbortHandle;
use tracing::{Instrument, Span};

pub(crate) use self::rows::Rows;
use crate::client::{Client, OpenFiles, schema};
use crate::error::failed;
use crate::metadata::Settings;

/// The store of one component.
pub(crate) struct SqliteState {
    client: Arc<Client>,
    rows: Arc<Rows>,
    table: String,
    cleanup: Option<AbortHandle>,
}

impl SqliteState {
    pub(crate) async fn open(spec: ComponentSpec, files: Arc<OpenFiles>) -> Result<Self> {
        let settings = Arc::new(Settings::new(&spec)?);
        let rows = Arc::new(Rows::new(&settings.table, &settings.metadata_table));
        let database = Arc::new(settings.database.clone());
        let prepare = {
            let settings = settings.clone();
            Box::new(move |connection: &mut Connection| schema::migrate(connection, &settings))
        };
        let client = Arc::new(Client::open(database, prepare, files).await?);
        let cleanup = settings.cleanup_interval.map(|interval| {
            let task = cleanup::run(Arc::downgrade(&client), rows.clone(), interval);
            tokio::spawn(task).abort_handle()
        });
        Ok(Self { client, rows, table: settings.table.clone(), cleanup })
    }

    /// Applies all operations or none. Queued at once.
    fn write(&self, operations: Vec<StateOperation>) -> impl Future<Output = Result<()>> + use<> {
        let rows = self.rows.clone();
        self.client.write(operations.len() == 1, move |connection| {
            operations.iter().try_for_each(|operation| rows.apply(connection, operation))
        })
    }

    async fn write_each(&self, operations: impl Iterator<Item = StateOperation>) -> Result<()> {
        // All are queued before the first is waited for, so that they share a transaction.
        let queued: Vec<_> = operations.map(|operation| self.write(vec![operation])).collect();
        let mut failures = Vec::new();
        for write in queued {
            failures.extend(write.await.err());
        }
        together(failures)
    }

    /// An unsampled call makes no span at all.
    fn span(&self, context: &CallContext, operation: &'static str, keys: usize) -> Span {
        if !context.is_sampled() {
            return Span::none();
        }
        let span = tracing::info_span!(
            "sqlite",
            otel.name = format_args!("sqlite {operation}"),
            otel.kind = "client",
            otel.status_code = tracing::field::Empty,
            otel.status_description = tracing::field::Empty,
            db.system.name = "sqlite",
            db.operation.name = operation,
            db.operation.batch.size = tracing::field::Empty,
            db.collection.name = self.table,
        );
        if keys > 1 {
            span.record("db.operation.batch.size", keys);
        }
        span
    }
}

impl Drop for SqliteState {
    fn drop(&mut self) {
        if let Some(cleanup) = &self.cleanup {
            cleanup.abort();
        }
    }
}

impl StateStore for SqliteState {
    fn features(&self) -> StateFeatures {
        StateFeatures::ETAG
            .and(StateFeatures::TRANSACTIONAL)
            .and(StateFeatures::TTL)
            .and(StateFeatures::ACTOR)
    }

    async fn get(&self, context: &CallContext, request: GetRequest) -> Result<Option<StateItem>> {
        let rows = self.rows.clone();
        let read = self.client.read(move |connection| rows.get(connection, &request.key));
        within(self.span(context, "get", 1), read).await
    }

    async fn set(&self, context: &CallContext, request: SetRequest) -> Result<()> {
        let write = self.write(vec![StateOperation::Upsert(request)]);
        within(self.span(context, "set", 1), write).await
    }

    async fn delete(&self, context: &CallContext, request: DeleteRequest) -> Result<()> {
        let write = self.write(vec![StateOperation::Delete(request)]);
        within(self.span(context, "delete", 1), write).await
    }

    async fn bulk_get(
        &self,
        context: &CallContext,
        requests: Vec<GetRequest>,
        _parallelism: u32,
    ) -> Result<Vec<BulkItem>> {
        let span = self.span(context, "get", requests.len());
        let rows = self.rows.clone();
        let read = self.client.read(move |connection| {
            // One transaction, so that all are read from one moment's state.
            let snapshot = connection.transaction().map_err(|error| failed(&error))?;
            let items = requests.into_iter().map(|request| {
                let result = rows.get(&snapshot, &request.key).map(ROption::from).into();
                BulkItem { key: request.key, result }
            });
            Ok(items.collect())
        });
        within(span, read).await
    }

    async fn bulk_set(&self, context: &CallContext, requests: Vec<SetRequest>) -> Result<()> {
        let span = self.span(context, "set", requests.len());
        within(span, self.write_each(requests.into_iter().map(StateOperation::Upsert))).await
    }

    async fn bulk_delete(&self, context: &CallContext, requests: Vec<DeleteRequest>) -> Result<()> {
        let span = self.span(context, "delete", requests.len());
        within(span, self.write_each(requests.into_iter().map(StateOperation::Delete))).await
    }

    async fn transact(
        &self,
        context: &CallContext,
        operations: Vec<StateOperation>,
        _metadata: Metadata,
    ) -> Result<()> {
        let span = self.span(context, "transact", operations.len());
        within(span, self.write(operations)).await
    }

    async fn ping(&self, _context: &CallContext) -> Result<()> {
        let read = self.client.read(|connection| {
            connection.query_row("SELECT 1", [], |_| Ok(())).map_err(|error| failed(&error))
        });
        read.await
    }
}

/// Does the work inside the span and marks it when the work fails. A lost race for an etag is no failure of the database.
async fn within<T>(span: Span, work: impl Future<Output = Result<T>>) -> Result<T> {
    let result = work.instrument(span.clone()).await;
    if let Err(error) = &result
        && error.kind() != ErrorKind::ETAG_MISMATCH
    {
        span.record("otel.status_code", "ERROR");
        span.record("otel.status_description", error.message());
    }
    result
}

/// Dapr tries every item of a bulk write. One etag failure decides the whole answer; other failures are told together.
fn together(mut failures: Vec<Error>) -> Result<()> {
    if let Some(at) = failures.iter().position(|error| error.kind() == ErrorKind::ETAG_MISMATCH) {
        return Err(failures.swap_remove(at));
    }
    match failures.as_slice() {
        [] => Ok(()),
        [only] => Err(only.clone()),
        [first, ..] => {
            let texts: Vec<String> = failures.iter().map(Error::to_string).collect();
            Err(Error::new(first.kind(), texts.join("\n")).with_retriable(first.is_retriable()))
        }
    }
}
