//! `DAPR_API_TOKEN`: who does not know it gets nothing but health.

use http::{Method, Request};
use http_body_util::Full;
use mecha_proto::error_model::StatusExt;
use mecha_proto::runtime::v1::GetMetadataRequest;
use mecha_testkit::{Mecha, Reply};
use tonic::Code;

const TOKEN: &str = "s3cr3t-token";

async fn runtime() -> Mecha {
    let builder = Mecha::builder().plugin("memory").component("store", "state.in-memory");
    builder.env("DAPR_API_TOKEN", TOKEN).start().await.unwrap()
}

async fn call(mecha: &Mecha, method: Method, path: &str, token: Option<&str>) -> Reply {
    let mut request = Request::builder().method(method).uri(mecha.http_url(path));
    if let Some(token) = token {
        request = request.header("dapr-api-token", token);
    }
    mecha.http().send(request.body(Full::default()).unwrap()).await.unwrap()
}

#[tokio::test]
async fn http_wants_the_token_everywhere_but_on_health() {
    let mecha = runtime().await;
    let paths = [
        (Method::GET, "/v1.0/state/store/key"),
        (Method::GET, "/v1.0/metadata"),
        (Method::GET, "/no/such/route"),
        // Only GET is free, and only these two paths.
        (Method::POST, "/v1.0/healthz"),
        (Method::GET, "/v1.0/healthz/x"),
        (Method::POST, "/v1.0/shutdown"),
    ];
    for (method, path) in paths {
        for token in [None, Some(""), Some("wrong"), Some("s3cr3t-tokeN"), Some("s3cr3t-token2")] {
            let reply = call(&mecha, method.clone(), path, token).await;
            assert_eq!(
                (reply.status.as_u16(), reply.text()),
                (401, "invalid api token\n".to_owned()),
                "{path}"
            );
            assert_eq!(reply.header("content-type"), "text/plain; charset=utf-8");
        }
    }
    for path in ["/v1.0/healthz", "/v1.0/healthz/outbound", "/v1.0/healthz/"] {
        assert_eq!(call(&mecha, Method::GET, path, None).await.status, 204, "{path}");
    }
    assert_eq!(call(&mecha, Method::GET, "/v1.0/state/store/key", Some(TOKEN)).await.status, 204);
    assert_eq!(call(&mecha, Method::GET, "/v1.0/metadata", Some(TOKEN)).await.status, 200);
    assert_eq!(mecha.logs().matching(TOKEN), Vec::<String>::new());
}

#[tokio::test]
async fn grpc_wants_the_token_and_says_what_is_wrong() {
    let mecha = runtime().await;
    let mut client = mecha.grpc().await.unwrap();
    let cases = [
        (None, "missing api token in request metadata"),
        (Some(""), "authentication error: api token mismatch"),
        (Some("wrong"), "authentication error: api token mismatch"),
    ];
    for (token, reason) in cases {
        let status = client.get_metadata(with_token(token)).await.unwrap_err();
        // As Dapr makes it: an HTTP status turned into a gRPC one, the reason among the details.
        assert_eq!((status.code(), status.message()), (Code::Unauthenticated, "Unauthorized"), "{status:?}");
        let info = status.get_details_error_info().unwrap_or_else(|| panic!("no ErrorInfo in {status:?}"));
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("Unauthorized", "dapr.io"));
        assert_eq!(info.metadata["http.code"], "401");
        assert_eq!(info.metadata["http.error_message"], reason);
    }
    assert_eq!(client.get_metadata(with_token(Some(TOKEN))).await.unwrap().into_inner().id, "app");
}

fn with_token(token: Option<&str>) -> tonic::Request<GetMetadataRequest> {
    let mut request = tonic::Request::new(GetMetadataRequest {});
    if let Some(token) = token {
        request.metadata_mut().insert("dapr-api-token", token.parse().unwrap());
    }
    request
}
