//! The SQL: how an operation of the API reads or changes a row of Dapr's state table.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mecha_plugin_api::state::{
    Concurrency, DeleteRequest, SetRequest, StateItem, StateOperation, ValueKind, ttl_in_seconds,
};
use mecha_plugin_api::{Buf, Error, Metadata, ROption, RString, Result};
use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use crate::error::{etag_mismatch, failed};

/// The statements for one table.
pub(crate) struct Rows {
    get: String,
    put: String,
    put_first: String,
    put_matching: String,
    delete: String,
    delete_matching: String,
    delete_expired: String,
    note_cleanup: String,
}

const NOT_EXPIRED: &str = "(expiration_time IS NULL OR expiration_time > CURRENT_TIMESTAMP)";

impl Rows {
    pub(crate) fn new(table: &str, metadata_table: &str) -> Self {
        let put = format!(
            "INSERT INTO {table} (key, value, is_binary, etag, expiration_time, update_time)
             VALUES (?1, ?2, ?3, ?4, DATETIME(CURRENT_TIMESTAMP, ?5), CURRENT_TIMESTAMP)
             ON CONFLICT (key) DO UPDATE SET value = excluded.value, is_binary = excluded.is_binary,
                etag = excluded.etag, expiration_time = excluded.expiration_time,
                update_time = excluded.update_time"
        );
        Self {
            get: format!(
                "SELECT value, is_binary, etag, strftime('%Y-%m-%dT%H:%M:%SZ', expiration_time)
                 FROM {table} WHERE key = ?1 AND {NOT_EXPIRED}"
            ),
            // A row that has expired but still lies there counts as absent.
            put_first: format!("{put} WHERE expiration_time <= CURRENT_TIMESTAMP"),
            put,
            put_matching: format!(
                "UPDATE {table} SET value = ?2, is_binary = ?3, etag = ?4,
                    expiration_time = DATETIME(CURRENT_TIMESTAMP, ?5), update_time = CURRENT_TIMESTAMP
                 WHERE key = ?1 AND etag = ?6 AND {NOT_EXPIRED}"
            ),
            delete: format!("DELETE FROM {table} WHERE key = ?1"),
            delete_matching: format!("DELETE FROM {table} WHERE key = ?1 AND etag = ?2"),
            delete_expired: format!("DELETE FROM {table} WHERE expiration_time < CURRENT_TIMESTAMP"),
            note_cleanup: format!(
                "INSERT INTO {metadata_table} (key, value) VALUES ('last-cleanup', CURRENT_TIMESTAMP)
                 ON CONFLICT (key) DO UPDATE SET value = CURRENT_TIMESTAMP
                 WHERE (unixepoch(CURRENT_TIMESTAMP) - unixepoch(value)) * 1000 > ?1"
            ),
        }
    }

    /// The row of `key`; `None` when there is none or it has expired.
    pub(crate) fn get(&self, connection: &Connection, key: &str) -> Result<Option<StateItem>> {
        require_key(key, "get operation")?;
        let read = connection
            .prepare_cached(&self.get)
            .and_then(|mut statement| statement.query_row([key], StoredRow::read).optional());
        read.map_err(|error| failed(&error))?.map(StoredRow::into_item).transpose()
    }

    /// Writes or deletes one row.
    pub(crate) fn apply(&self, connection: &Connection, operation: &StateOperation) -> Result<()> {
        match operation {
            StateOperation::Upsert(request) => self.put(connection, request),
            StateOperation::Delete(request) => self.delete(connection, request),
        }
    }

    fn put(&self, connection: &Connection, request: &SetRequest) -> Result<()> {
        require_key(&request.key, "set option")?;
        let seconds = ttl_in_seconds(&request.metadata)?.filter(|&seconds| seconds > 0);
        let lifetime = seconds.map(|seconds| format!("+{seconds} seconds"));
        let encoded;
        let (value, is_binary) = match request.kind {
            ValueKind::JSON => (json_text(&request.value)?, false),
            _ => {
                encoded = STANDARD.encode(&*request.value);
                (encoded.as_str(), true)
            }
        };
        let (key, new_etag) = (request.key.as_str(), Uuid::new_v4().to_string());
        let etag = given(&request.etag);
        let changed = match etag {
            Some(etag) => {
                let values = params![key, value, is_binary, new_etag, lifetime, etag];
                execute(connection, &self.put_matching, values)?
            }
            None => {
                let first = request.concurrency == Concurrency::FIRST_WRITE;
                let statement = if first { &self.put_first } else { &self.put };
                execute(connection, statement, params![key, value, is_binary, new_etag, lifetime])?
            }
        };
        if changed == 0 { Err(etag_mismatch()) } else { Ok(()) }
    }

    fn delete(&self, connection: &Connection, request: &DeleteRequest) -> Result<()> {
        require_key(&request.key, "delete operation")?;
        let key = request.key.as_str();
        match given(&request.etag) {
            None => execute(connection, &self.delete, [key]).map(drop),
            Some(etag) => match execute(connection, &self.delete_matching, [key, etag])? {
                0 => Err(etag_mismatch()),
                _ => Ok(()),
            },
        }
    }

    /// Deletes expired rows, unless that was done less than the interval ago by anyone; then `None`.
    pub(crate) fn clean_up(&self, connection: &Connection, interval_ms: i64) -> Result<Option<usize>> {
        match execute(connection, &self.note_cleanup, [interval_ms])? {
            0 => Ok(None),
            _ => execute(connection, &self.delete_expired, []).map(Some),
        }
    }
}

/// A row as it lies in the table.
struct StoredRow {
    value: Vec<u8>,
    is_binary: bool,
    etag: String,
    expires: Option<String>,
}

impl StoredRow {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            // Text, but a hand-made row may hold a blob.
            value: row.get_ref(0)?.as_bytes().map(<[u8]>::to_vec).map_err(rusqlite::Error::from)?,
            is_binary: row.get(1)?,
            etag: row.get(2)?,
            expires: row.get(3)?,
        })
    }

    fn into_item(self) -> Result<StateItem> {
        let value = match self.is_binary {
            false => Buf::from(self.value),
            true => STANDARD
                .decode(&self.value)
                .map(Buf::from)
                .map_err(|error| Error::internal(format!("failed to decode binary data: {error}")))?,
        };
        let metadata = self.expires.map(|expires| ("ttlExpireTime", expires));
        Ok(StateItem {
            value,
            etag: ROption::RSome(self.etag.into()),
            metadata: Metadata::from_iter(metadata),
        })
    }
}

fn execute(connection: &Connection, statement: &str, values: impl rusqlite::Params) -> Result<usize> {
    let executed = connection.prepare_cached(statement).and_then(|mut statement| statement.execute(values));
    executed.map_err(|error| failed(&error))
}

fn json_text(value: &[u8]) -> Result<&str> {
    std::str::from_utf8(value).map_err(|_| Error::invalid("the value is not UTF-8").with_field("value"))
}

/// An empty etag counts as none.
fn given(etag: &ROption<RString>) -> Option<&str> {
    let etag: Option<&RString> = etag.as_ref().into();
    etag.map(RString::as_str).filter(|etag| !etag.is_empty())
}

fn require_key(key: &str, operation: &str) -> Result<()> {
    if key.is_empty() {
        return Err(Error::invalid(format!("missing key in {operation}")).with_field("key"));
    }
    Ok(())
}
