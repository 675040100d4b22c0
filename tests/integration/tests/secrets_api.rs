//! The secrets API over both protocols: one secret, all of them, scopes, and what is refused.

#[path = "support/configuration.rs"]
mod configuration;
#[path = "support/grpc_error.rs"]
mod grpc_error;
#[path = "support/http_error.rs"]
mod http_error;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use configuration::configuration;
use grpc_error::assert_grpc;
use http_error::assert_http;
use mecha_proto::runtime::v1::{GetBulkSecretRequest, GetSecretRequest};
use mecha_testkit::{Mecha, MechaBuilder};
use serde_json::{Value, json};
use tonic::{Code, Status};

const SOON: Duration = Duration::from_secs(10);

struct Secrets {
    mecha: Mecha,
    _files: (tempfile::TempDir, tempfile::NamedTempFile),
}

async fn secrets() -> Secrets {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secrets.json");
    let content = json!({
        "token": "t0ps3cret",
        "redis": {"user": "u", "password": "p"},
        "list": ["a", "b"],
        "hidden": "h",
        "ümlaut/x y": "odd",
    });
    std::fs::write(&file, content.to_string()).unwrap();
    let path = file.to_str().unwrap();
    let scopes = configuration(&json!({"secrets": {"scopes": [
        {"storeName": "flat", "defaultAccess": "allow", "deniedSecrets": ["hidden"]},
        {"storeName": "closed", "defaultAccess": "deny", "allowedSecrets": ["token"]},
        {"storeName": "absent", "defaultAccess": "deny"},
    ]}}));
    let mecha = builder()
        .component_with("flat", "secretstores.local.file", &[("secretsFile", path)])
        .component_with(
            "dotted",
            "secretstores.local.file",
            &[("secretsFile", path), ("nestedSeparator", ".")],
        )
        .component_with("multi", "secretstores.local.file", &[("secretsFile", path), ("multiValued", "true")])
        .component_with("closed", "secretstores.local.file", &[("secretsFile", path)])
        .component("env", "secretstores.local.env")
        .component_with("prefixed", "secretstores.local.env", &[("prefix", "SHOP_")])
        .env("SHOP_TOKEN", "from-env")
        .env("OTHER", "other")
        .env("APP_API_TOKEN", "never shown")
        .flag("--config", configuration::path(&scopes))
        .start()
        .await
        .unwrap();
    Secrets { mecha, _files: (folder, scopes) }
}

fn builder() -> MechaBuilder {
    Mecha::builder().plugin("local-secrets")
}

impl Secrets {
    /// One secret, which must be the same over both protocols.
    async fn get(&self, store: &str, key: &str) -> Value {
        let reply = self.mecha.http().get(&self.mecha.http_url(&path(store, key))).await.unwrap();
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(reply.header("content-type"), "application/json");
        let over_grpc = grpc_get(&self.mecha, store, key).await.unwrap();
        let over_http = reply.json().unwrap();
        assert_eq!(over_http, json!(over_grpc));
        over_http
    }

    /// All secrets, which must be the same over both protocols.
    async fn bulk(&self, store: &str) -> Value {
        let reply = self.mecha.http().get(&self.mecha.http_url(&path(store, "bulk"))).await.unwrap();
        assert_eq!(reply.status, 200, "{}", reply.text());
        let request = GetBulkSecretRequest { store_name: store.to_owned(), ..Default::default() };
        let answer = self.mecha.grpc().await.unwrap().get_bulk_secret(request).await.unwrap().into_inner();
        let over_grpc: BTreeMap<_, _> =
            answer.data.into_iter().map(|(name, secret)| (name, secret.secrets)).collect();
        let over_http = reply.json().unwrap();
        assert_eq!(over_http, json!(over_grpc));
        over_http
    }

    async fn refused(
        &self,
        (store, key): (&str, &str),
        (http, grpc): (u16, Code),
        code: &str,
        message: &str,
    ) {
        let reply = self.mecha.http().get(&self.mecha.http_url(&path(store, key))).await.unwrap();
        assert_http(&reply, http, code, message);
        assert_grpc(&grpc_get(&self.mecha, store, key).await.unwrap_err(), grpc, None, message);
    }
}

fn path(store: &str, key: &str) -> String {
    let escaped: String = key
        .bytes()
        .map(|byte| match byte.is_ascii_alphanumeric() || byte == b'_' {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect();
    format!("/v1.0/secrets/{store}/{escaped}")
}

async fn grpc_get(mecha: &Mecha, store: &str, key: &str) -> Result<HashMap<String, String>, Status> {
    let request =
        GetSecretRequest { store_name: store.to_owned(), key: key.to_owned(), metadata: HashMap::new() };
    Ok(mecha.grpc().await.unwrap().get_secret(request).await?.into_inner().data)
}

#[tokio::test]
async fn secrets_are_read_one_by_one_and_all_at_once() {
    let secrets = secrets().await;
    assert_eq!(secrets.get("flat", "token").await, json!({"token": "t0ps3cret"}));
    assert_eq!(secrets.get("flat", "redis:password").await, json!({"redis:password": "p"}));
    assert_eq!(secrets.get("flat", "list:1").await, json!({"list:1": "b"}));
    assert_eq!(secrets.get("flat", "ümlaut/x y").await, json!({"ümlaut/x y": "odd"}));
    assert_eq!(secrets.get("dotted", "redis.user").await, json!({"redis.user": "u"}));
    assert_eq!(secrets.get("multi", "redis").await, json!({"user": "u", "password": "p"}));
    let all = json!({
        "token": {"token": "t0ps3cret"},
        "redis": {"user": "u", "password": "p"},
        "hidden": {"hidden": "h"},
        "ümlaut/x y": {"ümlaut/x y": "odd"},
    });
    assert_eq!(secrets.bulk("multi").await, all);

    assert_eq!(secrets.get("env", "OTHER").await, json!({"OTHER": "other"}));
    assert_eq!(secrets.get("env", "UNSET").await, json!({"UNSET": ""}));
    assert_eq!(secrets.get("env", "APP_API_TOKEN").await, json!({"APP_API_TOKEN": ""}));
    assert_eq!(secrets.get("prefixed", "TOKEN").await, json!({"TOKEN": "from-env"}));
    assert_eq!(secrets.bulk("prefixed").await, json!({"TOKEN": {"TOKEN": "from-env"}}));
    assert_eq!(secrets.bulk("env").await["APP_API_TOKEN"], Value::Null);
}

#[tokio::test]
async fn scopes_hide_secrets() {
    let secrets = secrets().await;
    let denied =
        |key: &str, store: &str| format!("access denied by policy to get \"{key}\" from \"{store}\"");
    let forbidden = (403, Code::PermissionDenied);
    for (store, key) in [("flat", "hidden"), ("closed", "hidden"), ("closed", "redis:user"), ("closed", "no")]
    {
        secrets.refused((store, key), forbidden, "ERR_PERMISSION_DENIED", &denied(key, store)).await;
    }
    assert_eq!(secrets.get("closed", "token").await, json!({"token": "t0ps3cret"}));
    assert_eq!(secrets.bulk("closed").await, json!({"token": {"token": "t0ps3cret"}}));
    let flat = secrets.bulk("flat").await;
    assert_eq!((&flat["hidden"], &flat["token"]["token"]), (&Value::Null, &json!("t0ps3cret")));
    let line = "Secrets configuration added for 'absent', but no matching secret store was found";
    secrets.mecha.logs().wait_for(line, SOON).await.unwrap();
}

#[tokio::test]
async fn what_is_not_there_has_dapr_s_error() {
    let secrets = secrets().await;
    let text = "failed getting secret with key no from secret store flat: secret no not found";
    secrets.refused(("flat", "no"), (500, Code::Internal), "ERR_SECRET_GET", text).await;
    let (unknown, text) = ((401, Code::InvalidArgument), "failed finding secret store with key nowhere");
    secrets.refused(("nowhere", "token"), unknown, "ERR_SECRET_STORE_NOT_FOUND", text).await;
    secrets.refused(("nowhere", "bulk"), unknown, "ERR_SECRET_STORE_NOT_FOUND", text).await;
    let none = Mecha::builder().start().await.unwrap();
    let reply = none.http().get(&none.http_url("/v1.0/secrets/flat/token")).await.unwrap();
    assert_http(&reply, 500, "ERR_SECRET_STORES_NOT_CONFIGURED", "secret store is not configured");
    let status = grpc_get(&none, "flat", "token").await.unwrap_err();
    assert_grpc(&status, Code::FailedPrecondition, None, "secret store is not configured");
    // No value of a secret is ever printed.
    for mecha in [&secrets.mecha, &none] {
        for value in ["t0ps3cret", "never shown", "from-env"] {
            assert_eq!(mecha.logs().matching(value), Vec::<String>::new());
        }
    }
}
