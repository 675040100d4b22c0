//! What lies in the back end: the keys' prefixes, and that encrypted values are.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mecha_backends::Redis;
use mecha_testkit::{Mecha, MechaBuilder};
use serde_json::json;

use crate::redis;
use crate::store::{Backend, Protocol, Step, Store, Write};

const NAMESPACE: &str = "shop";
/// Strategies and what stands before `||`; `{app}`, `{store}` and `{namespace}` are filled in, and nothing is nothing.
const STRATEGIES: [(Option<&str>, Option<&str>); 6] = [
    (None, Some("{app}")),
    (Some("appid"), Some("{app}")),
    (Some("namespace"), Some("{namespace}.{app}")),
    (Some("name"), Some("{store}")),
    (Some("none"), None),
    // A text of one's own is lower-cased, as in Dapr.
    (Some("Shared-{app}"), Some("shared-{app}")),
];

fn filled(pattern: &str, app: &str, store: &str) -> String {
    pattern.replace("{app}", app).replace("{store}", store).replace("{namespace}", NAMESPACE)
}

fn stored_key(prefix: Option<&str>, app: &str, store: &str, key: &str) -> String {
    match prefix {
        Some(prefix) => format!("{}||{key}", filled(prefix, app, store)),
        None => key.to_owned(),
    }
}

/// A store for each strategy, with names that no other test uses.
fn with_strategies(mut builder: MechaBuilder, app: &str, kind: &str, own: &[(&str, &str)]) -> MechaBuilder {
    for (index, (strategy, _)) in STRATEGIES.into_iter().enumerate() {
        let strategy = strategy.map(|strategy| filled(strategy, app, ""));
        let mut metadata = own.to_vec();
        metadata.extend(strategy.as_deref().map(|strategy| ("keyPrefix", strategy)));
        builder = builder.component_with(&format!("{app}-{index}"), kind, &metadata);
    }
    builder
}

/// Saves under each strategy over each protocol and gives the keys that must be in the back end.
async fn save_under_each(mecha: &Mecha, app: &str, backend: Backend) -> Vec<String> {
    let mut expected = Vec::new();
    for (index, (_, prefix)) in STRATEGIES.into_iter().enumerate() {
        let name = format!("{app}-{index}");
        for protocol in [Protocol::Http, Protocol::Grpc] {
            let store = Store::connect(mecha, &name, backend, protocol).await;
            let key = format!("{name}-{protocol:?}");
            store.save_one(Write::new(&key, r#""v""#)).await.unwrap();
            // The application never sees the prefix.
            let found = store.bulk_get(&[&key]).await.unwrap();
            assert_eq!((found[0].key.as_str(), found[0].item.is_some()), (key.as_str(), true));
            expected.push(stored_key(prefix, app, &name, &key));
        }
    }
    expected
}

#[tokio::test]
async fn keys_carry_the_prefix_of_their_strategy_in_redis() {
    let server = Redis::shared().unwrap();
    let (app, host) = (server.key_prefix(), server.addr().to_string());
    let builder = Mecha::builder().app_id(app).env("NAMESPACE", NAMESPACE).plugin("redis");
    let builder = with_strategies(builder, app, "state.redis", &[("redisHost", &host)]);
    let mecha = builder.start().await.unwrap();
    for key in save_under_each(&mecha, app, Backend::Redis).await {
        let data = redis::command(server.addr(), &["HGET", &key, "data"]);
        assert_eq!(data.as_deref(), Some("\"v\""), "{key}");
        assert_eq!(redis::command(server.addr(), &["HGET", &key, "version"]).as_deref(), Some("1"));
        redis::command(server.addr(), &["DEL", &key]);
    }
}

#[tokio::test]
async fn keys_carry_the_prefix_of_their_strategy_in_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state.db");
    let builder = Mecha::builder().app_id("orders").env("NAMESPACE", NAMESPACE).plugin("sqlite");
    let own = [("connectionString", file.to_str().unwrap())];
    let mecha = with_strategies(builder, "orders", "state.sqlite", &own).start().await.unwrap();
    let mut expected = save_under_each(&mecha, "orders", Backend::Sqlite).await;
    expected.sort();
    assert_eq!(rows(&file).into_iter().map(|row| row.key).collect::<Vec<_>>(), expected);
}

struct Row {
    key: String,
    value: String,
    is_binary: bool,
}

/// Dapr's table, in the order of its keys.
fn rows(file: &Path) -> Vec<Row> {
    let database = rusqlite::Connection::open(file).unwrap();
    let mut statement = database.prepare("SELECT key, value, is_binary FROM state ORDER BY key").unwrap();
    let rows = statement
        .query_map([], |row| Ok(Row { key: row.get(0)?, value: row.get(1)?, is_binary: row.get(2)? }));
    rows.unwrap().collect::<Result<_, _>>().unwrap()
}

#[tokio::test]
async fn sqlite_s_file_is_dapr_s() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state.db");
    let mecha = Mecha::builder()
        .app_id("orders")
        .plugin("sqlite")
        .component_with("store", "state.sqlite", &[("connectionString", file.to_str().unwrap())])
        .start()
        .await
        .unwrap();
    let http = Store::connect(&mecha, "store", Backend::Sqlite, Protocol::Http).await;
    let grpc = http.other_protocol();
    http.save_one(Write::new("json", r#"{"a":1}"#)).await.unwrap();
    grpc.save_one(Write::new("bytes", b"\x00\xff".to_vec())).await.unwrap();
    let rows: Vec<_> = rows(&file).into_iter().map(|row| (row.key, row.value, row.is_binary)).collect();
    let expected =
        [("orders||bytes", STANDARD.encode(b"\x00\xff"), true), ("orders||json", r#"{"a":1}"#.into(), false)];
    assert_eq!(rows, expected.map(|(key, value, is_binary)| (key.to_owned(), value, is_binary)));
    let database = rusqlite::Connection::open(&file).unwrap();
    let migrations = "SELECT value FROM metadata WHERE key = 'migrations'";
    assert_eq!(database.query_row(migrations, [], |row| row.get::<_, String>(0)).unwrap(), "1");
}

const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
const OLD_KEY: &str = "ffeeddccbbaa99887766554433221100";

/// A state store with keys from the secret store `vault`.
fn encrypted(name: &str, kind: &str, own: &[(&str, &str)], keys: &[(&str, &str)]) -> String {
    let own = own.iter().map(|(name, value)| json!({"name": name, "value": value}));
    let keys = keys.iter().map(|(name, secret)| json!({"name": name, "secretKeyRef": {"name": secret}}));
    json!({
        "apiVersion": "dapr.io/v1alpha1",
        "kind": "Component",
        "metadata": {"name": name},
        "spec": {"type": kind, "version": "v1", "metadata": own.chain(keys).collect::<Vec<_>>()},
        "auth": {"secretStore": "vault"},
    })
    .to_string()
}

/// Dapr's form of an encrypted value: base64 of nonce, text and tag, then the name of the secret that holds the key.
#[track_caller]
fn assert_encrypted(record: &str, secret: &str, plain: &[u8]) {
    let (text, name) = record.rsplit_once("||").unwrap_or_else(|| panic!("{record} is in clear"));
    assert_eq!(name, secret);
    let bytes = STANDARD.decode(text).unwrap();
    assert_eq!(bytes.len(), 12 + plain.len() + 16);
    assert!(!bytes.windows(plain.len()).any(|window| window == plain));
}

#[tokio::test]
async fn encrypted_values_are_readable_only_through_the_api() {
    let (server, folder) = (Redis::shared().unwrap(), tempfile::tempdir().unwrap());
    let (app, host) = (server.key_prefix(), server.addr().to_string());
    let secrets = folder.path().join("secrets.json");
    std::fs::write(&secrets, json!({"new-key": KEY, "old-key": OLD_KEY}).to_string()).unwrap();
    let file = folder.path().join("state.db");
    let redis_at = [("redisHost", host.as_str())];
    let (primary, secondary) = ("primaryEncryptionKey", "secondaryEncryptionKey");
    let mecha = Mecha::builder()
        .app_id(app)
        .plugin("memory")
        .plugin("sqlite")
        .plugin("redis")
        .plugin("local-secrets")
        .component_with("vault", "secretstores.local.file", &[("secretsFile", secrets.to_str().unwrap())])
        .resources(&encrypted("memory", "state.in-memory", &[], &[(primary, "old-key")]))
        .resources(&encrypted(
            "sqlite",
            "state.sqlite",
            &[("connectionString", file.to_str().unwrap())],
            &[(primary, "old-key")],
        ))
        .resources(&encrypted("redis", "state.redis", &redis_at, &[(primary, "old-key")]))
        // The same server and keys after the key was changed.
        .resources(&encrypted(
            "redis-rotated",
            "state.redis",
            &redis_at,
            &[(primary, "new-key"), (secondary, "old-key")],
        ))
        .start()
        .await
        .unwrap();

    let json = br#"{"card":"4111-1111","amount":12.50}"#;
    for (backend, name) in crate::BACKENDS {
        let http = Store::connect(&mecha, name, backend, Protocol::Http).await;
        let grpc = http.other_protocol();
        http.save_one(Write::new("json", json.to_vec())).await.unwrap();
        grpc.save_one(Write::new("bytes", b"\x00\xffbinary".to_vec())).await.unwrap();
        http.transact(&[Step::Upsert(Write::new("http-step", json.to_vec()))]).await.unwrap();
        grpc.transact(&[Step::Upsert(Write::new("grpc-step", b"\x01\xff".to_vec()))]).await.unwrap();
        let expected: [(&str, &[u8]); 4] =
            [("json", json), ("bytes", b"\x00\xffbinary"), ("http-step", json), ("grpc-step", b"\x01\xff")];
        for (key, value) in expected {
            for store in [&http, &grpc] {
                assert_eq!(store.get(key).await.unwrap().unwrap().value, value, "{name} {key}");
            }
        }
        let found = http.bulk_get(&["json", "absent"]).await.unwrap();
        let read: serde_json::Value = serde_json::from_slice(&found[0].item.as_ref().unwrap().value).unwrap();
        assert_eq!(read["card"], "4111-1111");
        assert_eq!((found[1].item.is_none(), found[1].error.as_str()), (true, ""));
        assert_eq!(http.get("absent").await.unwrap(), None);
        assert_eq!(grpc.get("absent").await.unwrap(), None);
    }

    let in_redis =
        |key: &str| redis::command(server.addr(), &["HGET", &format!("{app}||{key}"), "data"]).unwrap();
    assert_encrypted(&in_redis("json"), "old-key", json);
    assert_encrypted(&in_redis("bytes"), "old-key", b"\x00\xffbinary");
    assert_encrypted(&in_redis("http-step"), "old-key", json);
    for row in rows(&file) {
        let record = STANDARD.decode(&row.value).unwrap();
        let plain: &[u8] =
            if row.key.ends_with("json") || row.key.ends_with("http-step") { json } else { continue };
        assert!(row.is_binary, "{}", row.key);
        assert_encrypted(std::str::from_utf8(&record).unwrap(), "old-key", plain);
    }

    let rotated = Store::connect(&mecha, "redis-rotated", Backend::Redis, Protocol::Http).await;
    assert_eq!(rotated.get("json").await.unwrap().unwrap().value, json.to_vec());
    rotated.save_one(Write::new("json", json.to_vec())).await.unwrap();
    assert_encrypted(&in_redis("json"), "new-key", json);
    // Who has only the old key cannot read it any more, and is told so.
    let old = Store::connect(&mecha, "redis", Backend::Redis, Protocol::Http).await;
    let refused = old.get("json").await.unwrap_err();
    refused.assert(500, tonic::Code::Internal, "ERR_STATE_GET", "fail to get json from state store redis: ");
}
