//! Configuration `api.allowed` and `api.denied`: parts of the API that do not exist for the application.

#[path = "support/configuration.rs"]
mod configuration;
#[path = "support/http_error.rs"]
mod http_error;

use configuration::configuration;
use http_error::assert_http;
use mecha_proto::error_model::StatusExt;
use mecha_proto::runtime::v1::{GetMetadataRequest, GetStateRequest};
use mecha_testkit::Mecha;
use serde_json::{Value, json};
use tonic::{Code, Status};

async fn runtime(api: Value) -> (Mecha, tempfile::NamedTempFile) {
    let file = configuration(&json!({"api": api}));
    let mecha = Mecha::builder()
        .plugin("memory")
        .plugin("local-secrets")
        .component("store", "state.in-memory")
        .component("env", "secretstores.local.env")
        .flag("--config", configuration::path(&file))
        .start()
        .await
        .unwrap();
    (mecha, file)
}

async fn get_state(mecha: &Mecha) -> Result<(), Status> {
    let request = GetStateRequest { store_name: "store".into(), key: "k".into(), ..Default::default() };
    mecha.grpc().await.unwrap().get_state(request).await.map(drop)
}

async fn get_metadata(mecha: &Mecha) -> Result<(), Status> {
    mecha.grpc().await.unwrap().get_metadata(GetMetadataRequest {}).await.map(drop)
}

/// Over HTTP the route is gone, so that the request counts as an invocation without an application id.
async fn assert_no_route(mecha: &Mecha, path: &str) {
    let reply = mecha.http().get(&mecha.http_url(path)).await.unwrap();
    let text = "failed getting app id either from the URL path or the header dapr-app-id";
    assert_http(&reply, 404, "ERR_DIRECT_INVOKE", text);
}

async fn assert_route(mecha: &Mecha, path: &str) {
    let status = mecha.http().get(&mecha.http_url(path)).await.unwrap().status;
    assert!(status.is_success(), "{path}: {status}");
}

#[track_caller]
fn assert_not_available(result: Result<(), Status>) {
    let status = result.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unimplemented, "Not Implemented"), "{status:?}");
    let info = status.get_details_error_info().unwrap_or_else(|| panic!("no ErrorInfo in {status:?}"));
    assert_eq!(info.metadata["http.error_message"], "requested endpoint is not available");
}

#[tokio::test]
async fn only_what_is_allowed_exists() {
    let allowed = json!([
        {"name": "state", "version": "v1.0", "protocol": "http"},
        {"name": "state", "version": "v1", "protocol": "grpc"},
    ]);
    let (mecha, _file) = runtime(json!({"allowed": allowed})).await;
    assert_route(&mecha, "/v1.0/state/store/key").await;
    assert_no_route(&mecha, "/v1.0/secrets/env/HOME").await;
    assert_no_route(&mecha, "/v1.0/metadata").await;
    // Health cannot be taken away.
    assert_route(&mecha, "/v1.0/healthz").await;
    assert_route(&mecha, "/v1.0/healthz/outbound").await;
    get_state(&mecha).await.unwrap();
    assert_not_available(get_metadata(&mecha).await);
}

#[tokio::test]
async fn what_is_denied_does_not_exist() {
    let denied = json!([
        {"name": "state", "version": "v1.0", "protocol": "http"},
        {"name": "metadata", "version": "v1", "protocol": "grpc"},
        // Of another version, so that it takes nothing away.
        {"name": "secrets", "version": "v1.0-alpha1", "protocol": "http"},
    ]);
    let (mecha, _file) = runtime(json!({"denied": denied})).await;
    assert_no_route(&mecha, "/v1.0/state/store/key").await;
    assert_route(&mecha, "/v1.0/metadata").await;
    assert_route(&mecha, "/v1.0/secrets/env/HOME").await;
    get_state(&mecha).await.unwrap();
    assert_not_available(get_metadata(&mecha).await);
}

#[tokio::test]
async fn a_list_for_one_protocol_leaves_the_other_alone() {
    let allowed = json!([{"name": "secrets", "version": "v1.0", "protocol": "http"}]);
    let (mecha, _file) = runtime(json!({"allowed": allowed})).await;
    assert_no_route(&mecha, "/v1.0/state/store/key").await;
    assert_route(&mecha, "/v1.0/secrets/env/HOME").await;
    get_state(&mecha).await.unwrap();
    get_metadata(&mecha).await.unwrap();
}
