//! Redirects: followed as Dapr's client follows them, without giving secrets away.

use http::Method;

use super::server::Server;
use super::*;

async fn redirected(server: &Server, operation: &str, status: u16, to: &str) -> Result<InvokeResponse> {
    let token = [("securityToken", "token"), ("securityTokenHeader", "X-Token")];
    let binding = opened(&server.url, &token).await;
    let path = format!("redirect/{status}?to={to}");
    invoke(&binding, operation, "data", &[("path", &path), ("Authorization", "Bearer b")]).await
}

#[tokio::test]
async fn older_codes_turn_into_get_and_newer_ones_repeat() {
    for (status, method, body) in [
        (301, Method::GET, ""),
        (302, Method::GET, ""),
        (303, Method::GET, ""),
        (307, Method::POST, "data"),
        (308, Method::POST, "data"),
    ] {
        let server = Server::start().await;
        redirected(&server, "post", status, "/there?x=1").await.unwrap();
        let seen = server.last();
        assert_eq!((seen.method.clone(), seen.path.as_str()), (method, "/there?x=1"), "{status}");
        assert_eq!(&seen.body[..], body.as_bytes());
        assert_eq!(seen.header("content-type").is_some(), !body.is_empty());
        assert_eq!(seen.header("authorization"), Some("Bearer b"));
    }
    let server = Server::start().await;
    redirected(&server, "head", 302, "/there").await.unwrap();
    assert_eq!(server.last().method, Method::HEAD);
}

#[tokio::test]
async fn secrets_do_not_go_to_another_host() {
    let server = Server::start().await;
    redirected(&server, "get", 302, &format!("http://localhost:{}/there", server.port)).await.unwrap();
    let seen = server.last();
    assert_eq!(seen.path, "/there");
    assert_eq!((seen.header("authorization"), seen.header("x-token")), (None, None));
    assert!(server.seen()[0].header("x-token").is_some());
}

#[tokio::test]
async fn a_redirect_without_an_address_is_an_answer() {
    let server = Server::start().await;
    let error = redirected(&server, "get", 302, "").await.unwrap_err();
    assert_eq!(error.message(), "received status code 302");
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn ten_redirects_are_the_most() {
    let server = Server::start().await;
    let binding = opened(&server.url, &[]).await;
    let error = invoke(&binding, "get", "", &[("path", "circle")]).await.unwrap_err();
    assert_eq!(error.message(), "stopped after 10 redirects");
    assert_eq!(server.seen().len(), 11);
}
