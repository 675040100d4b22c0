//! The table as runtimes share it.

use std::path::{Path, PathBuf};

use mecha_plugin_api::Metadata;

use super::*;

/// A file, and one version of the plugin that opens it.
struct Place {
    _folder: tempfile::TempDir,
    file: PathBuf,
    files: Arc<Files>,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { file: folder.path().join("nr.db"), _folder: folder, files: Arc::default() }
    }

    async fn open(&self, fields: &[(&str, &str)]) -> Sqlite {
        let mut metadata = Metadata::from_iter(fields.iter().copied());
        metadata.insert("connectionString", self.file.display().to_string());
        let spec = ComponentSpec::new("nr", "nameresolution.sqlite", metadata);
        Sqlite::open(spec, self.files.clone()).await.unwrap()
    }
}

fn context() -> CallContext {
    CallContext::background("a")
}

async fn register(table: &Sqlite, app_id: &str, port: u16) {
    let registration = Registration {
        app_id: app_id.into(),
        namespace: "ns".into(),
        address: "127.0.0.1".into(),
        port,
        http_port: 0,
        app_port: 0,
        metadata: Metadata::new(),
    };
    table.register(&context(), registration).await.unwrap();
}

async fn resolve(table: &Sqlite, app_id: &str) -> Result<Vec<String>> {
    let request =
        ResolveRequest { app_id: app_id.into(), namespace: "".into(), port: 1, metadata: Metadata::new() };
    let found = table.resolve(&context(), request).await?;
    Ok(found.addresses.iter().map(ToString::to_string).collect())
}

/// As another process would; the copy of SQLite is the same one, so that its locks are shared.
fn sql<T: rusqlite::types::FromSql>(file: &Path, query: &str) -> Vec<T> {
    let connection = rusqlite::Connection::open(file).unwrap();
    let mut statement = connection.prepare(query).unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

fn age(file: &Path, seconds: u32) {
    let connection = rusqlite::Connection::open(file).unwrap();
    connection.execute("UPDATE hosts SET last_update = last_update - ?1", [seconds]).unwrap();
}

#[tokio::test]
async fn every_instance_of_an_application_is_found_until_it_goes() {
    let place = Place::new();
    let (one, two) = (place.open(&[]).await, place.open(&[]).await);
    let error = resolve(&one, "b").await.unwrap_err();
    assert_eq!((error.kind(), error.message()), (ErrorKind::NOT_FOUND, "no host found with the given ID"));
    register(&one, "b", 7001).await;
    register(&two, "b", 7002).await;
    assert_eq!(resolve(&one, "b").await.unwrap(), ["127.0.0.1:7001", "127.0.0.1:7002"]);
    two.unregister(&context()).await.unwrap();
    assert_eq!(resolve(&one, "b").await.unwrap(), ["127.0.0.1:7001"]);
    two.unregister(&context()).await.unwrap();
    one.ping(&context()).await.unwrap();
}

#[tokio::test]
async fn the_table_is_the_one_that_dapr_makes() {
    let place = Place::new();
    let file = &place.file;
    let table = place.open(&[]).await;
    register(&table, "b", 7001).await;
    let columns: Vec<String> = sql(file, "SELECT name || ' ' || type FROM pragma_table_info('hosts')");
    let expected =
        ["registration_id TEXT", "address TEXT", "app_id TEXT", "namespace TEXT", "last_update INTEGER"];
    assert_eq!(columns, expected);
    assert_eq!(sql::<String>(file, "SELECT value FROM metadata WHERE key = 'nr-migrations'"), ["1"]);
    assert_eq!(sql::<String>(file, "SELECT namespace FROM hosts"), [""]);
    let indexes: Vec<String> = sql(file, "SELECT name FROM pragma_index_list('hosts') ORDER BY name");
    assert!(indexes.contains(&"hosts_address_idx".to_owned()), "{indexes:?}");
    assert!(indexes.contains(&"hosts_last_update_idx".to_owned()), "{indexes:?}");
    // Also one that Dapr made before.
    drop(table);
    let again = place.open(&[]).await;
    assert_eq!(resolve(&again, "b").await.unwrap(), ["127.0.0.1:7001"]);
}

#[tokio::test]
async fn a_row_that_nobody_renews_counts_for_nothing_and_is_deleted() {
    let place = Place::new();
    let file = &place.file;
    let table = place.open(&[("cleanupInterval", "1s")]).await;
    let gone = place.open(&[]).await;
    register(&gone, "b", 7001).await;
    drop(gone);
    age(file, 10);
    assert_eq!(resolve(&table, "b").await.unwrap_err().kind(), ErrorKind::NOT_FOUND);
    let mut beat = tokio::time::interval(Duration::from_millis(20));
    while !sql::<String>(file, "SELECT address FROM hosts").is_empty() {
        beat.tick().await;
    }
    assert_eq!(sql::<String>(file, "SELECT key FROM metadata WHERE key = 'nr-last-cleanup'").len(), 1);
}

#[tokio::test]
async fn a_row_is_renewed_and_made_again_when_somebody_deleted_it() {
    let place = Place::new();
    let file = &place.file;
    let table = place.open(&[("updateInterval", "2s")]).await;
    register(&table, "b", 7001).await;
    age(file, 100);
    let mut beat = tokio::time::interval(Duration::from_millis(20));
    while resolve(&table, "b").await.is_err() {
        beat.tick().await;
    }
    rusqlite::Connection::open(file).unwrap().execute("DELETE FROM hosts", []).unwrap();
    while resolve(&table, "b").await.is_err() {
        beat.tick().await;
    }
}

#[tokio::test]
async fn a_new_registration_takes_the_address_over() {
    let place = Place::new();
    let (old, new) = (place.open(&[]).await, place.open(&[]).await);
    register(&old, "b", 7001).await;
    register(&new, "c", 7001).await;
    assert!(resolve(&old, "b").await.is_err());
    let row = old.registered.lock().unwrap().as_ref().unwrap().row.clone();
    let settings = old.settings.clone();
    let renewal = old.worker.run(move |connection| table::renew(connection, &settings, &row)).await;
    assert_eq!(renewal.unwrap(), Renewal::TakenOver);
    old.unregister(&context()).await.unwrap();
    assert_eq!(resolve(&new, "c").await.unwrap(), ["127.0.0.1:7001"]);
}

#[tokio::test]
async fn a_file_that_another_plugin_has_open_is_waited_for() {
    let place = Place::new();
    let file = &place.file;
    let elsewhere = std::fs::File::create(file).unwrap();
    let table = place.open(&[]).await;
    let error = resolve(&table, "b").await.unwrap_err();
    assert!(error.message().contains("name resolution needs a file of its own"), "{error}");
    drop(elsewhere);
    register(&table, "b", 7001).await;
    assert_eq!(resolve(&table, "b").await.unwrap(), ["127.0.0.1:7001"]);
}

#[tokio::test]
async fn a_file_that_cannot_be_opened_is_refused() {
    let metadata = Metadata::from_iter([("connectionString", "/nowhere/at/all/nr.db")]);
    let spec = ComponentSpec::new("nr", "nameresolution.sqlite", metadata);
    let error = Sqlite::open(spec, Arc::new(Files::default())).await.err().unwrap();
    assert_eq!(error.field(), Some("connectionString"), "{error}");
}
