//! The tables of the state store, as Dapr makes them, and the level of migration that it keeps in its metadata table.

use mecha_plugin_api::{Error, Result};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};

use crate::error::failed;
use crate::metadata::Settings;

/// The level that this plugin knows; a higher one, written by a later Dapr, is left alone as Dapr leaves it.
const LEVEL: u32 = 1;

/// Makes the tables that are missing. Exclusive, because other processes may start on the same file now.
pub(crate) fn migrate(connection: &mut Connection, settings: &Settings) -> Result<()> {
    let behavior = TransactionBehavior::Exclusive;
    let transaction = connection.transaction_with_behavior(behavior).map_err(|error| failed(&error))?;
    let metadata = &settings.metadata_table;
    if level(&transaction, metadata)? < LEVEL {
        let script = format!(
            "CREATE TABLE IF NOT EXISTS {state} (
                key TEXT NOT NULL PRIMARY KEY,
                value TEXT NOT NULL,
                is_binary BOOLEAN NOT NULL,
                etag TEXT NOT NULL,
                expiration_time TIMESTAMP DEFAULT NULL,
                update_time TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
            );
            REPLACE INTO {metadata} (key, value) VALUES ('migrations', '{LEVEL}');",
            state = settings.table,
        );
        transaction.execute_batch(&script).map_err(|error| failed(&error))?;
    }
    transaction.commit().map_err(|error| failed(&error))
}

fn level(transaction: &Transaction<'_>, table: &str) -> Result<u32> {
    match read_level(transaction, table).map_err(|error| failed(&error))? {
        None => Ok(0),
        Some(text) => text.parse().map_err(|_| {
            Error::invalid(format!("invalid migration level found in metadata table: {text}"))
                .with_field("metadataTableName")
        }),
    }
}

fn read_level(transaction: &Transaction<'_>, table: &str) -> rusqlite::Result<Option<String>> {
    let exists: bool = transaction.query_row(
        "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?1)",
        [table],
        |row| row.get(0),
    )?;
    if !exists {
        let script = format!("CREATE TABLE {table} (key text NOT NULL PRIMARY KEY, value text NOT NULL)");
        transaction.execute_batch(&script)?;
    }
    let query = format!("SELECT value FROM {table} WHERE key = 'migrations'");
    transaction.query_row(&query, [], |row| row.get(0)).optional()
}
