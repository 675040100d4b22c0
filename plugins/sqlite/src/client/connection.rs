//! One connection, set up as the component asks.

use mecha_plugin_api::Result;
use rusqlite::{Connection, OpenFlags};

use crate::error::not_opened;
use crate::metadata::Database;

/// Opens a connection. `mode=…` in the connection string narrows the flags.
pub(crate) fn open(database: &Database) -> Result<Connection> {
    connect(database).map_err(|error| not_opened(&error))
}

fn connect(database: &Database) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(&database.connection.uri, flags)?;
    connection.busy_timeout(database.busy_timeout)?;
    for pragma in &database.connection.pragmas {
        run_pragma(&connection, pragma)?;
    }
    if !database.connection.read_only {
        run_pragma(&connection, journal_mode(database))?;
    }
    Ok(connection)
}

fn journal_mode(database: &Database) -> &'static str {
    if database.connection.is_in_memory() {
        "journal_mode(MEMORY)"
    } else if database.disable_wal {
        "journal_mode(DELETE)"
    } else {
        "journal_mode(WAL)"
    }
}

/// Runs a pragma, whether or not it answers with rows.
fn run_pragma(connection: &Connection, pragma: &str) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(&format!("PRAGMA {pragma}"))?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    Ok(())
}
