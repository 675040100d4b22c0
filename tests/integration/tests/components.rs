//! How components are declared and come up, or do not.

#[path = "support/http_error.rs"]
mod http_error;
#[path = "support/redis.rs"]
mod redis;

use std::net::TcpListener;
use std::time::Duration;

use http_error::assert_http;
use mecha_backends::Redis;
use mecha_testkit::{Mecha, MechaBuilder};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(20);
const PASSWORD: &str = "hunter2";

/// A component whose metadata may be more than text, with fields beside `metadata` and beside `spec`.
fn component(name: &str, kind: &str, metadata: Value, spec: Value, more: Value) -> String {
    let mut resource = json!({
        "apiVersion": "dapr.io/v1alpha1",
        "kind": "Component",
        "metadata": {"name": name},
        "spec": {"type": kind, "version": "v1", "metadata": metadata},
    });
    let extend = |target: &mut Value, fields: Value| {
        let fields = fields.as_object().unwrap().clone();
        target.as_object_mut().unwrap().extend(fields);
    };
    extend(&mut resource["spec"], spec);
    extend(&mut resource, more);
    resource.to_string()
}

fn password_from(secret: &str) -> Value {
    json!({"name": "redisPassword", "secretKeyRef": {"name": "redis", "key": secret}})
}

/// A Redis that wants [`PASSWORD`], and a secrets file that holds it.
struct Guarded {
    redis: Redis,
    secrets: tempfile::NamedTempFile,
}

impl Guarded {
    fn start() -> Self {
        let redis = Redis::start().unwrap();
        redis::command(redis.addr(), &["CONFIG", "SET", "requirepass", PASSWORD]);
        let secrets = tempfile::NamedTempFile::new().unwrap();
        let content = json!({"redis": {"password": PASSWORD, "old": "no longer right"}});
        std::fs::write(secrets.path(), content.to_string()).unwrap();
        Self { redis, secrets }
    }

    /// The store's file is read before that of the secret store it needs.
    fn builder(&self, store: &str) -> MechaBuilder {
        let file = self.secrets.path().to_str().unwrap();
        Mecha::builder()
            .plugin("redis")
            .plugin("local-secrets")
            .env("REDIS_ADDRESS", self.redis.addr().to_string())
            .resources(store)
            .component_with(
                "vault",
                "secretstores.local.file",
                &[("secretsFile", file), ("multiValued", "true")],
            )
    }

    fn store(&self, secret: &str, spec: Value) -> String {
        let metadata = json!([{"name": "redisHost", "envRef": "REDIS_ADDRESS"}, password_from(secret)]);
        component("store", "state.redis", metadata, spec, json!({"auth": {"secretStore": "vault"}}))
    }
}

async fn save_and_read(mecha: &Mecha, store: &str) {
    let url = mecha.http_url(&format!("/v1.0/state/{store}"));
    let saved = mecha.http().post(&url, r#"[{"key":"k","value":1}]"#).await.unwrap();
    assert_eq!(saved.status, 204, "{}", saved.text());
    assert_eq!(mecha.http().get(&format!("{url}/k")).await.unwrap().text(), "1");
}

/// Waits for the end of a start that must fail, and for each of these texts in one line of the log.
async fn fails_with(builder: MechaBuilder, lines: &[&str]) -> Mecha {
    let mut mecha = builder.spawn().await.unwrap();
    assert_eq!(mecha.wait_exit(SOON).await.unwrap(), 1, "{}", mecha.logs().tail());
    for line in lines {
        mecha.logs().wait_for(line, SOON).await.unwrap();
    }
    let panics = mecha.logs().matching("panicked");
    assert!(panics.is_empty(), "{panics:#?}");
    mecha
}

#[tokio::test]
async fn metadata_comes_from_secrets_and_the_environment() {
    let guarded = Guarded::start();
    let mecha = guarded.builder(&guarded.store("password", json!({}))).start().await.unwrap();
    save_and_read(&mecha, "store").await;
    let line = mecha.logs().wait_for("Component loaded: store (state.redis/v1)", SOON).await.unwrap();
    assert!(line.contains("level=info"), "{line}");
    assert_eq!(mecha.logs().matching(PASSWORD), Vec::<String>::new());
}

#[tokio::test]
async fn a_component_that_does_not_open_ends_the_start_in_dapr_s_words() {
    let guarded = Guarded::start();
    let failure = "[INIT_COMPONENT_FAILURE]: initialization error occurred for store (state.redis/v1): ";
    let lines = [
        format!("Failed to init component store (state.redis/v1): {failure}"),
        format!(
            "Error processing component, daprd will exit gracefully: process component store error: {failure}"
        ),
        "Fatal error from runtime: ".to_owned(),
    ];
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    let mecha = fails_with(guarded.builder(&guarded.store("old", json!({}))), &lines).await;
    assert_eq!(mecha.logs().matching("no longer right"), Vec::<String>::new());

    let sqlite = Mecha::builder().plugin("sqlite").component("a", "state.sqlite");
    let text = "Failed to init component a (state.sqlite/v1): [INIT_COMPONENT_FAILURE]: initialization error occurred for a (state.sqlite/v1): ";
    fails_with(sqlite, &[text, "missing connection string"]).await;
}

#[tokio::test]
async fn errors_that_are_to_be_ignored_stop_nothing() {
    let guarded = Guarded::start();
    let builder = guarded.builder(&guarded.store("old", json!({"ignoreErrors": true})));
    let builder = builder.plugin("memory").component("cache", "state.in-memory");
    let mecha = builder.start().await.unwrap();
    let line = "Ignoring error processing component: process component store error: [INIT_COMPONENT_FAILURE]";
    mecha.logs().wait_for(line, SOON).await.unwrap();
    save_and_read(&mecha, "cache").await;
    let reply = mecha.http().get(&mecha.http_url("/v1.0/state/store/k")).await.unwrap();
    assert_http(&reply, 400, "ERR_STATE_STORE_NOT_FOUND", "state store store is not found");
}

#[tokio::test]
async fn a_start_waits_for_a_back_end_no_longer_than_it_may() {
    // Takes connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let metadata = json!([
        {"name": "redisHost", "value": silent.local_addr().unwrap().to_string()},
        {"name": "dialTimeout", "value": "1h"},
        {"name": "readTimeout", "value": "1h"},
    ]);
    let store = component("slow", "state.redis", metadata, json!({"initTimeout": "1s"}), json!({}));
    let builder = Mecha::builder().plugin("redis").resources(&store);
    fails_with(builder, &["Failed to init component slow (state.redis/v1)", "init timed out after 1s"]).await;
}

#[tokio::test]
async fn components_are_for_the_applications_in_their_scope() {
    let scoped = |name: &str, scopes: Value| {
        component(name, "state.in-memory", json!([]), json!({}), json!({"scopes": scopes}))
    };
    let mecha = Mecha::builder()
        .app_id("orders")
        .plugin("memory")
        .resources(&scoped("mine", json!(["billing", "orders"])))
        .resources(&scoped("theirs", json!(["billing"])))
        .resources(&scoped("everyone", json!([])))
        .start()
        .await
        .unwrap();
    save_and_read(&mecha, "mine").await;
    save_and_read(&mecha, "everyone").await;
    let reply = mecha.http().get(&mecha.http_url("/v1.0/state/theirs/k")).await.unwrap();
    assert_http(&reply, 400, "ERR_STATE_STORE_NOT_FOUND", "state store theirs is not found");
}

#[tokio::test]
async fn references_that_lead_nowhere_are_said() {
    let metadata = json!([
        {"name": "connectionString", "value": ":memory:"},
        {"name": "tableName", "envRef": "DAPR_API_TOKEN"},
    ]);
    let refused = component("refused", "state.sqlite", metadata, json!({}), json!({}));
    let metadata = json!([{"name": "connectionString", "secretKeyRef": {"name": "no"}}]);
    let with_store = |store: &str| {
        let (ignored, auth) = (json!({"ignoreErrors": true}), json!({"auth": {"secretStore": store}}));
        component(&format!("by-{store}"), "state.sqlite", metadata.clone(), ignored, auth)
    };
    let mecha = Mecha::builder()
        .plugin("sqlite")
        .plugin("local-secrets")
        .env("DAPR_API_TOKEN", "t")
        .component("env", "secretstores.local.env")
        .resources(&refused)
        .resources(&with_store("absent"))
        .start()
        .await
        .unwrap();
    let text = "references an env variable that isn't allowed: DAPR_API_TOKEN";
    mecha.logs().wait_for(text, SOON).await.unwrap();
    let text = "secret store absent is not available; it is needed by metadata field connectionString";
    mecha.logs().wait_for(text, SOON).await.unwrap();
}

/// daprd stores such a store's values in clear without a word.
#[tokio::test]
async fn an_encryption_key_that_is_no_secret_is_refused() {
    let key = ("primaryEncryptionKey", "00112233445566778899aabbccddeeff");
    let builder = Mecha::builder().plugin("memory").component_with("store", "state.in-memory", &[key]);
    let mecha = fails_with(builder, &["an encryption key must come from a secret store"]).await;
    assert_eq!(mecha.logs().matching(key.1), Vec::<String>::new());
}

#[tokio::test]
async fn two_components_of_one_name_end_the_start() {
    let secrets = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secrets.path(), r#"{"key1":"bla"}"#).unwrap();
    let builder = Mecha::builder()
        .plugin("memory")
        .plugin("local-secrets")
        .component_with(
            "foo",
            "secretstores.local.file",
            &[("secretsFile", secrets.path().to_str().unwrap())],
        )
        .component("foo", "state.in-memory");
    let text = "Fatal error from runtime: failed to load components: duplicate definition of Component name foo (state.in-memory/v1) with existing foo (secretstores.local.file/v1)";
    fails_with(builder, &[text]).await;
}

#[tokio::test]
async fn placeholders_are_filled_in() {
    let redis = Redis::shared().unwrap();
    let (app, host) = (redis.key_prefix(), redis.addr().to_string());
    let mecha = Mecha::builder()
        .app_id(app)
        .env("NAMESPACE", "shop")
        .plugin("redis")
        .component_with(
            "store",
            "state.redis",
            &[("redisHost", &host), ("keyPrefix", "{namespace}-{appID}-x")],
        )
        .start()
        .await
        .unwrap();
    save_and_read(&mecha, "store").await;
    let key = format!("shop.{app}-{app}-x||k");
    assert_eq!(redis::command(redis.addr(), &["HGET", &key, "data"]).as_deref(), Some("1"));
    redis::command(redis.addr(), &["DEL", &key]);
}

/// A broken file beside good ones is said and skipped, as daprd does.
#[tokio::test]
async fn files_that_cannot_be_used_stop_nothing() {
    let mecha = Mecha::builder()
        .plugin("memory")
        .resources("apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: [broken\n")
        .resources("kind: Unknown\nmetadata: {name: other}\n---\n# nothing\n---\nplain text\n")
        .component("store", "state.in-memory")
        .start()
        .await
        .unwrap();
    save_and_read(&mecha, "store").await;
    let line = mecha.logs().wait_for("00.yaml", SOON).await.unwrap();
    assert!(line.contains("level=warn"), "{line}");
}
