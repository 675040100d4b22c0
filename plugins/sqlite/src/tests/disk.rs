//! The file: what is written is what Dapr writes, and what Dapr wrote can be read.

use mecha_plugin_api::state::{SetRequest, ValueKind};
use mecha_plugin_api::{Buf, ErrorKind};
use rusqlite::Connection;

use super::{Database, Store, kind, set, with_etag, with_ttl};

/// Name, type, not null, default and place in the primary key of each column.
type Column = (String, String, bool, Option<String>, i64);

fn columns(connection: &Connection, table: &str) -> Vec<Column> {
    let mut statement = connection.prepare(&format!("PRAGMA table_info({table})")).unwrap();
    let read =
        |row: &rusqlite::Row<'_>| Ok((row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?));
    statement.query_map([], read).unwrap().map(Result::unwrap).collect()
}

fn column(name: &str, kind: &str, not_null: bool, default: Option<&str>, key: i64) -> Column {
    (name.to_owned(), kind.to_owned(), not_null, default.map(str::to_owned), key)
}

fn single<T: rusqlite::types::FromSql>(connection: &Connection, query: &str) -> T {
    connection.query_row(query, [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn a_new_file_has_the_tables_of_dapr() {
    let database = Database::new();
    let _store = database.store().await;
    let connection = database.connect();
    assert_eq!(
        columns(&connection, "state"),
        [
            column("key", "TEXT", true, None, 1),
            column("value", "TEXT", true, None, 0),
            column("is_binary", "BOOLEAN", true, None, 0),
            column("etag", "TEXT", true, None, 0),
            column("expiration_time", "TIMESTAMP", false, Some("NULL"), 0),
            column("update_time", "TIMESTAMP", true, Some("CURRENT_TIMESTAMP"), 0),
        ]
    );
    assert_eq!(
        columns(&connection, "metadata"),
        [column("key", "TEXT", true, None, 1), column("value", "TEXT", true, None, 0)]
    );
    let rows: String = single(&connection, "SELECT group_concat(key || '=' || value) FROM metadata");
    assert_eq!(rows, "migrations=1");
    let others: i64 = single(
        &connection,
        "SELECT count(*) FROM sqlite_master WHERE name NOT IN ('state', 'metadata') AND name NOT LIKE 'sqlite_autoindex%'",
    );
    assert_eq!(others, 0);
    for (pragma, expected) in
        [("user_version", 0), ("application_id", 0), ("auto_vacuum", 0), ("page_size", 4096)]
    {
        assert_eq!(single::<i64>(&connection, &format!("PRAGMA {pragma}")), expected, "{pragma}");
    }
    assert_eq!(single::<String>(&connection, "PRAGMA journal_mode"), "wal");
}

#[tokio::test]
async fn rows_look_as_dapr_writes_them() {
    let database = Database::new();
    let store = database.store().await;
    store.set(set("app||json", r#"{"a":1}"#)).await.unwrap();
    let bytes =
        SetRequest { value: Buf::from(vec![0_u8, 1, 254]), kind: ValueKind::BYTES, ..set("app||bytes", "") };
    store.set(with_ttl(bytes, "60")).await.unwrap();

    let connection = database.connect();
    let row = "SELECT typeof(value) || ' ' || value || ' ' || is_binary || ' ' || typeof(is_binary) FROM state WHERE key = ";
    assert_eq!(single::<String>(&connection, &format!("{row} 'app||json'")), r#"text {"a":1} 0 integer"#);
    assert_eq!(single::<String>(&connection, &format!("{row} 'app||bytes'")), "text AAH+ 1 integer");
    let etag: String = single(&connection, "SELECT etag FROM state WHERE key = 'app||json'");
    assert_eq!(uuid::Uuid::parse_str(&etag).unwrap().get_version_num(), 4);
    let seconds: i64 = single(
        &connection,
        "SELECT unixepoch(expiration_time) - unixepoch(update_time) FROM state WHERE key = 'app||bytes'",
    );
    assert_eq!(seconds, 60);
    let times: String = single(&connection, "SELECT expiration_time FROM state WHERE key = 'app||bytes'");
    assert_eq!((times.len(), &times[4..5], &times[10..11], &times[13..14]), (19, "-", " ", ":"));
    let none: Option<String> =
        single(&connection, "SELECT expiration_time FROM state WHERE key = 'app||json'");
    assert_eq!(none, None);
}

#[tokio::test]
async fn a_file_laid_out_by_dapr_is_read_and_written_on() {
    let database = Database::new();
    let script = "
        PRAGMA journal_mode = WAL;
        CREATE TABLE metadata (key text NOT NULL PRIMARY KEY, value text NOT NULL);
        INSERT INTO metadata VALUES ('migrations', '1'), ('last-cleanup', '2026-11-23 02:36:41');
        CREATE TABLE state (key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL, is_binary BOOLEAN NOT NULL,
            etag TEXT NOT NULL, expiration_time TIMESTAMP DEFAULT NULL,
            update_time TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP);
        INSERT INTO state (key, value, is_binary, etag, expiration_time) VALUES
            ('sapp||plain', '{\"a\":1}', 0, '6d1f7a5e-6b3f-4a5a-8a47-0c6f0e4fd2c1', NULL),
            ('sapp||bytes', 'AAH+', 1, 'e2', NULL),
            ('sapp||later', '\"x\"', 0, 'e3', '2999-01-02 03:04:05'),
            ('sapp||past', '\"y\"', 0, 'e4', '2020-01-02 03:04:05');";
    database.connect().execute_batch(script).unwrap();

    let store = database.store().await;
    assert_eq!(store.text("sapp||plain").await.as_deref(), Some(r#"{"a":1}"#));
    assert_eq!(store.etag("sapp||plain").await, "6d1f7a5e-6b3f-4a5a-8a47-0c6f0e4fd2c1");
    assert_eq!(&*store.get("sapp||bytes").await.unwrap().value, &[0, 1, 254]);
    let later = store.get("sapp||later").await.unwrap();
    assert_eq!(later.metadata.get("ttlExpireTime"), Some("2999-01-02T03:04:05Z"));
    assert!(store.get("sapp||past").await.is_none());
    store.set(with_etag(set("sapp||bytes", "2"), "e2")).await.unwrap();
    assert_eq!(store.text("sapp||bytes").await.as_deref(), Some("2"));
}

#[tokio::test]
async fn an_older_layout_without_a_metadata_table_is_brought_up() {
    let database = Database::new();
    let script =
        "CREATE TABLE state (key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL, is_binary BOOLEAN NOT NULL,
            etag TEXT NOT NULL, expiration_time TIMESTAMP DEFAULT NULL,
            update_time TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP);
        INSERT INTO state (key, value, is_binary, etag) VALUES ('a', '1', 0, 'e');";
    database.connect().execute_batch(script).unwrap();
    let store = database.store().await;
    assert_eq!(store.text("a").await.as_deref(), Some("1"));
    assert_eq!(single::<String>(&database.connect(), "SELECT value FROM metadata"), "1");
}

#[tokio::test]
async fn values_outlive_the_store() {
    let database = Database::new();
    let store = database.store().await;
    store.set(set("a", "1")).await.unwrap();
    drop(store);
    assert_eq!(database.store().await.text("a").await.as_deref(), Some("1"));
}

#[tokio::test]
async fn tables_and_journal_are_as_asked_for() {
    let database = Database::new();
    let fields = [
        ("connectionString", database.text()),
        ("tableName", "my_state"),
        ("metadataTableName", "my_metadata"),
        ("disableWAL", "true"),
    ];
    let store = Store::open(&fields).await.unwrap();
    store.set(set("a", "1")).await.unwrap();
    let connection = database.connect();
    assert_eq!(single::<i64>(&connection, "SELECT count(*) FROM my_state"), 1);
    assert_eq!(single::<String>(&connection, "SELECT value FROM my_metadata WHERE key = 'migrations'"), "1");
    assert_eq!(single::<String>(&connection, "PRAGMA journal_mode"), "delete");
}

#[tokio::test]
async fn a_read_only_database_is_read_and_not_written() {
    let database = Database::new();
    database.store().await.set(set("a", "1")).await.unwrap();
    let uri = format!("file:{}?mode=ro", database.text());
    let store = Store::open(&[("connectionString", uri.as_str())]).await.unwrap();
    assert_eq!(store.text("a").await.as_deref(), Some("1"));
    assert_eq!(kind(store.set(set("a", "2")).await), Err(ErrorKind::DENIED));
}

#[tokio::test]
async fn a_database_that_cannot_be_opened_names_the_field() {
    let database = Database::new();
    std::fs::write(&database.path, vec![b'x'; 8192]).unwrap();
    for text in ["/nowhere/at/all/data.db", database.text()] {
        let error = Store::open(&[("connectionString", text)]).await.err().unwrap();
        assert_eq!((error.kind(), error.field()), (ErrorKind::INVALID, Some("connectionString")), "{error}");
    }
}

#[tokio::test]
async fn expired_rows_are_deleted_when_asked_for() {
    let database = Database::new();
    let fields = [("connectionString", database.text()), ("cleanupInterval", "200ms")];
    let store = Store::open(&fields).await.unwrap();
    store.set(set("stays", "1")).await.unwrap();
    store.set(with_ttl(set("goes", "1"), "100")).await.unwrap();
    database.expire_all();
    while database.count() > 1 {
        tokio::task::yield_now().await;
    }
    assert!(store.get("stays").await.is_some());
    let noted: i64 = single(
        &database.connect(),
        "SELECT unixepoch(CURRENT_TIMESTAMP) - unixepoch(value) < 60 FROM metadata WHERE key = 'last-cleanup'",
    );
    assert_eq!(noted, 1);
}
