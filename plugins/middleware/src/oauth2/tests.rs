//! Where callers are sent, without a provider; with one the integration tests go the whole way.

use mecha_plugin_api::Metadata;

use super::*;

async fn open(more: &[(&str, &str)]) -> Result<OAuth2> {
    let whole = [
        ("clientID", "id"),
        ("clientSecret", "secret"),
        ("authURL", "https://idp/auth?p=1"),
        ("tokenURL", "http://127.0.0.1:1/token"),
        ("scopes", "openid,email"),
        ("redirectURL", "https://me/callback"),
    ];
    let metadata = Metadata::from_iter(whole.iter().chain(more).copied());
    OAuth2::open(ComponentSpec::new("auth", "middleware.http.oauth2", metadata)).await
}

fn request(uri: &str, cookies: &str) -> HttpRequest {
    HttpRequest {
        method: "GET".into(),
        uri: uri.into(),
        headers: Headers::from_iter([("host", "me"), ("cookie", cookies)]),
        remote: "".into(),
        body: ROption::RNone,
    }
}

async fn answer(auth: &OAuth2, request: HttpRequest) -> HttpAnswer {
    match auth.request(&CallContext::background("app"), request).await.unwrap() {
        Decision::Answer(answer) => answer,
        Decision::Pass(passed) => panic!("{passed:?}"),
    }
}

#[tokio::test]
async fn who_has_no_session_is_sent_to_the_provider() {
    let auth = open(&[]).await.unwrap();
    let sent = answer(&auth, request("/wanted?x=1", "")).await;
    let location = sent.headers.get("location").unwrap();
    let asked = location.strip_prefix("https://idp/auth?p=1&").unwrap();
    let expected = "access_type=offline&client_id=id&redirect_uri=https%3A%2F%2Fme%2Fcallback\
                    &response_type=code&scope=openid%20email&state=";
    assert!(asked.starts_with(expected), "{asked}");
    assert!(sent.headers.get("set-cookie").unwrap().starts_with("gosessionsid="));
    assert_eq!(sent.status, 302);
}

#[tokio::test]
async fn a_state_that_nobody_was_given_is_refused() {
    let auth = open(&[]).await.unwrap();
    let left = answer(&auth, request("/wanted", "")).await;
    let cookie = left.headers.get("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    for (uri, cookies) in [("/?state=x&code=c", ""), ("/?state=x&code=c", cookie.as_str())] {
        let refused = answer(&auth, request(uri, cookies)).await;
        assert_eq!((refused.status, &**refused.body.as_ref().unwrap()), (400, &b"invalid state"[..]));
    }
    let location = left.headers.get("location").unwrap();
    let state = location.rsplit_once("state=").unwrap().1;
    let refused = answer(&auth, request(&format!("/?state={state}"), &cookie)).await;
    assert_eq!((refused.status, &**refused.body.as_ref().unwrap()), (400, &b"code not found"[..]));
}

#[tokio::test]
async fn a_path_that_does_not_fit_needs_no_session() {
    let auth = open(&[("pathFilter", "^/private")]).await.unwrap();
    let passed = auth.request(&CallContext::background("app"), request("/public", "")).await.unwrap();
    assert_eq!(passed, Decision::pass());
    assert_eq!(answer(&auth, request("/private", "")).await.status, 302);
}

#[tokio::test]
async fn the_way_back_stays_here() {
    let plain = open(&[]).await.unwrap();
    let secure = open(&[("forceHTTPS", "true")]).await.unwrap();
    for wanted in ["/a?b", "//a?b", "/\\a?b"] {
        assert_eq!(plain.back(&request("/", ""), wanted), "/a?b");
        assert_eq!(secure.back(&request("/", ""), wanted), "https://me/a?b");
    }
}

#[tokio::test]
async fn every_field_that_must_be_there_is_checked() {
    for missing in ["clientID", "clientSecret", "authURL", "tokenURL"] {
        assert_eq!(open(&[(missing, "")]).await.err().unwrap().field(), Some(missing));
    }
    assert_eq!(open(&[("pathFilter", "[")]).await.err().unwrap().field(), Some("pathFilter"));
}
