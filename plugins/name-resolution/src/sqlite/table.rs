//! The statements on the table, and the level of migration that Dapr keeps beside it.

use std::time::Duration;

use mecha_plugin_api::{Error, Result};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, TransactionBehavior};

use super::settings::Settings;

/// The level that this plugin knows; a higher one, written by a later Dapr, is left alone as Dapr leaves it.
const LEVEL: u32 = 1;

/// One runtime in the table.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// Tells this registration from another one of the same address.
    pub(super) id: String,
    pub(super) address: String,
    pub(super) app_id: String,
}

/// What became of renewing a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Renewal {
    Renewed,
    /// Somebody had deleted it, because it was old.
    MadeAnew,
    /// Another runtime registered the address.
    TakenOver,
}

/// Makes the tables that are missing. Exclusive, because other processes may start on the same file now.
pub(super) fn migrate(connection: &mut Connection, settings: &Settings) -> Result<()> {
    let behavior = TransactionBehavior::Exclusive;
    let transaction = connection.transaction_with_behavior(behavior).map_err(failed)?;
    if level(&transaction, &settings.metadata_table)? < LEVEL {
        let script = format!(
            "CREATE TABLE IF NOT EXISTS {hosts} (
                registration_id TEXT NOT NULL PRIMARY KEY,
                address TEXT NOT NULL,
                app_id TEXT NOT NULL,
                namespace TEXT NOT NULL,
                last_update INTEGER NOT NULL
            );
            CREATE UNIQUE INDEX IF NOT EXISTS {hosts}_address_idx ON {hosts} (address);
            CREATE INDEX IF NOT EXISTS {hosts}_last_update_idx ON {hosts} (last_update);
            REPLACE INTO {metadata} (key, value) VALUES ('nr-migrations', '{LEVEL}');",
            hosts = settings.table,
            metadata = settings.metadata_table,
        );
        transaction.execute_batch(&script).map_err(failed)?;
    }
    transaction.commit().map_err(failed)
}

fn level(transaction: &Transaction<'_>, table: &str) -> Result<u32> {
    let script =
        format!("CREATE TABLE IF NOT EXISTS {table} (key text NOT NULL PRIMARY KEY, value text NOT NULL)");
    transaction.execute_batch(&script).map_err(failed)?;
    let query = format!("SELECT value FROM {table} WHERE key = 'nr-migrations'");
    let level: Option<String> =
        transaction.query_row(&query, [], |row| row.get(0)).optional().map_err(failed)?;
    level.map_or(Ok(0), |text| {
        text.parse().map_err(|_| {
            Error::invalid(format!("invalid migration level found in metadata table: {text}"))
                .with_field("metadataTableName")
        })
    })
}

/// Makes the row, in place of an earlier one of the same address. Dapr leaves the namespace empty.
pub(super) fn register(connection: &mut Connection, settings: &Settings, row: &Row) -> Result<()> {
    let statement = format!(
        "REPLACE INTO {} (registration_id, address, app_id, namespace, last_update) VALUES (?1, ?2, ?3, '', unixepoch())",
        settings.table
    );
    run(connection, &statement, (&row.id, &row.address, &row.app_id)).map(drop)
}

/// Says that the row still holds.
pub(super) fn renew(connection: &mut Connection, settings: &Settings, row: &Row) -> Result<Renewal> {
    let statement = format!(
        "UPDATE {} SET last_update = unixepoch() WHERE registration_id = ?1 AND address = ?2",
        settings.table
    );
    if run(connection, &statement, (&row.id, &row.address))? > 0 {
        return Ok(Renewal::Renewed);
    }
    let statement = format!(
        "INSERT OR IGNORE INTO {} (registration_id, address, app_id, namespace, last_update) VALUES (?1, ?2, ?3, '', unixepoch())",
        settings.table
    );
    let inserted = run(connection, &statement, (&row.id, &row.address, &row.app_id))?;
    Ok(if inserted > 0 { Renewal::MadeAnew } else { Renewal::TakenOver })
}

/// The addresses of an application's runtimes that are there.
pub(super) fn find(connection: &mut Connection, settings: &Settings, app_id: &str) -> Result<Vec<String>> {
    let query = format!(
        "SELECT address FROM {} WHERE app_id = ?1 AND unixepoch() - last_update < ?2 ORDER BY address",
        settings.table
    );
    let mut statement = connection.prepare_cached(&query).map_err(failed)?;
    let seconds = whole(settings.update_interval);
    let found = statement.query_map((app_id, seconds), |row| row.get(0)).map_err(failed)?;
    found.collect::<rusqlite::Result<_>>().map_err(failed)
}

/// Takes the row out, if it is still ours.
pub(super) fn remove(connection: &mut Connection, settings: &Settings, row: &Row) -> Result<()> {
    let statement = format!("DELETE FROM {} WHERE registration_id = ?1 AND address = ?2", settings.table);
    run(connection, &statement, (&row.id, &row.address)).map(drop)
}

/// Deletes old rows, unless somebody did within the interval; gives how many.
pub(super) fn clean(connection: &mut Connection, settings: &Settings, every: Duration) -> Result<usize> {
    let behavior = settings.connection.transaction;
    let transaction = connection.transaction_with_behavior(behavior).map_err(failed)?;
    let due = format!(
        "INSERT INTO {} (key, value) VALUES ('nr-last-cleanup', CURRENT_TIMESTAMP)
        ON CONFLICT (key) DO UPDATE SET value = CURRENT_TIMESTAMP WHERE unixepoch() - unixepoch(value) >= ?1",
        settings.metadata_table
    );
    if run(&transaction, &due, [whole(every)])? == 0 {
        return Ok(0);
    }
    let statement = format!("DELETE FROM {} WHERE unixepoch() - last_update >= ?1", settings.table);
    let deleted = run(&transaction, &statement, [whole(settings.update_interval)])?;
    transaction.commit().map_err(failed)?;
    Ok(deleted)
}

/// Whether the database answers.
pub(super) fn ping(connection: &mut Connection) -> Result<()> {
    connection.query_row("SELECT 1", [], |_| Ok(())).map_err(failed)
}

/// Seconds as SQLite counts them.
fn whole(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

fn run(connection: &Connection, statement: &str, values: impl rusqlite::Params) -> Result<usize> {
    connection.prepare_cached(statement).and_then(|mut statement| statement.execute(values)).map_err(failed)
}

/// A failed statement.
pub(super) fn failed(error: rusqlite::Error) -> Error {
    let message = format!("database error: {error}");
    match error.sqlite_error_code() {
        Some(
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::DiskFull
            | ErrorCode::SystemIoFailure
            | ErrorCode::FileLockingProtocolFailed,
        ) => Error::unavailable(message),
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::NotADatabase) => {
            Error::invalid(message).with_field("connectionString")
        }
        _ => Error::internal(message),
    }
}
