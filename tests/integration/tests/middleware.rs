//! HTTP middleware around the API and around the application: every type that is shipped, against a provider of identities
//! inside the test, and the pipelines while components come, change and go.

#[path = "support/configuration.rs"]
mod configuration;
#[path = "middleware/life.rs"]
mod life;
#[path = "middleware/provider.rs"]
mod provider;
#[path = "middleware/run.rs"]
mod run;

use std::time::Duration;

use anyhow::ensure;
use http_body_util::{BodyExt as _, Full};
use mecha_testkit::{Scripted, ScriptedApp, eventually};
use provider::{AUDIENCE, KEY, Provider};
use run::{Around, Run, last, prepared};
use serde_json::json;
use tokio::sync::watch;

const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn uppercase_changes_what_it_is_told_to() {
    for (direction, seen, answered) in
        [("request", "GRÜN", "GRÜN"), ("response", "grün", "GRÜN"), ("both", "GRÜN", "GRÜN")]
    {
        for around in [Around::Api, Around::App] {
            let run = Run::start(around, &[("up", "uppercase", &[("direction", direction)])]).await;
            let reply = run.mecha.http().post(&run.invoke_url("/m?q=a"), "grün").await.unwrap();
            let case = format!("{around:?} {direction}");
            assert_eq!((reply.status.as_u16(), reply.text().as_str()), (200, answered), "{case}");
            assert_eq!(last(&run.app, "/m").body, seen, "{case}");
            // The body took another's place, and nothing of the head was lost with it.
            assert_eq!(
                (reply.header("x-query"), reply.header("content-type")),
                ("q=a", "text/plain"),
                "{case}"
            );
        }
    }
}

#[tokio::test]
async fn aliases_lead_to_the_application_and_within_it() {
    let routes = r#"{"/hello/{id}": "/v1.0/invoke/app/method/greet", "/health": "/v1.0/healthz"}"#;
    let run = Run::start(Around::Api, &[("alias", "routeralias", &[("routes", routes)])]).await;
    let reply = run.get(&run.mecha.http_url("/hello/7?x=1")).await;
    assert_eq!((reply.status.as_u16(), reply.header("x-query")), (200, "x=1&id=7"), "{}", reply.text());
    assert_eq!(run.get(&run.mecha.http_url("/health")).await.status, 204);
    assert_eq!(run.get(&run.mecha.http_url("/nowhere")).await.status, 404);

    let routes = r#"{"/event": "/moved", "/m": "/n"}"#;
    let run = Run::start(Around::App, &[("alias", "routeralias", &[("routes", routes)])]).await;
    run.get(&run.invoke_url("/m")).await;
    assert_eq!(run.app.asked_at("/n").len(), 1);
    let published = run.mecha.http().post(&run.mecha.http_url("/v1.0/publish/ps/t"), "x").await.unwrap();
    assert_eq!(published.status, 204);
    run.app.wait_one("/moved", SOON).await.unwrap();
    assert_eq!(run.app.asked_at("/event").len(), 0);
}

#[tokio::test]
async fn only_what_fits_the_rule_goes_on() {
    let rule = &[("rule", "^/(v1.0/healthz|v1.0/invoke/app/method/[a-z]+)$")];
    let run = Run::start(Around::Api, &[("check", "routerchecker", rule)]).await;
    assert_eq!(run.get(&run.invoke_url("/good")).await.status, 200);
    for bad in ["/Bad", "/good?x", "/good/more"] {
        let reply = run.get(&run.invoke_url(bad)).await;
        assert_eq!((reply.status.as_u16(), reply.text().as_str()), (400, "invalid router"), "{bad}");
    }
    assert_eq!(run.app.asked_at("/Bad").len(), 0);
}

#[tokio::test]
async fn a_sender_gets_so_much_and_no_more() {
    // So few that none comes back while the test runs.
    let most = &[("maxRequestsPerSecond", "0.0001")];
    let limits = [("limit", "ratelimit", most.as_slice())];
    let around_app = Run::start(Around::App, &limits).await;
    assert_eq!(around_app.get(&around_app.invoke_url("/m")).await.status, 200);
    assert_eq!(around_app.get(&around_app.invoke_url("/m")).await.status, 429);
    assert_eq!(last(&around_app.app, "/m").header("x-forwarded-for"), "0.0.0.0");

    let (builder, app, file) = prepared(Around::Api, &limits).await;
    let run = Run { mecha: builder.spawn().await.unwrap(), app, file };
    // Asking for its health would use the limit up.
    run.mecha.logs().wait_for("dapr initialized", SOON).await.unwrap();
    let first = run.get(&run.invoke_url("/m")).await;
    assert_eq!((first.status.as_u16(), first.header("x-rate-limit-limit")), (200, "0.00"));
    let second = run.get_with(&run.invoke_url("/m"), &[("x-forwarded-for", "10.1.1.1")]).await;
    assert_eq!(
        (second.status.as_u16(), second.text().as_str()),
        (429, "You have reached maximum request limit.")
    );
    assert_eq!(second.header("x-rate-limit-request-remote-addr"), "127.0.0.1");
    assert_eq!(second.header("x-rate-limit-request-forwarded-for"), "10.1.1.1");
    assert_eq!(run.get(&run.invoke_url("/other")).await.status, 200);
}

#[tokio::test]
async fn a_bearer_must_have_a_token_that_holds() {
    let provider = Provider::start().await;
    let issuer = provider.url("");
    let metadata = [("issuerURL", issuer.as_str()), ("clientID", AUDIENCE)];
    let (builder, app, file) = prepared(Around::Api, &[("auth", "bearer", &metadata)]).await;
    let mecha = builder.spawn().await.unwrap();
    // As in Dapr everything on this port passes the pipeline, health too.
    eventually(SOON, || async {
        let status = mecha.http().get(&mecha.http_url("/v1.0/healthz")).await?.status;
        ensure!(status == 401, "{status}");
        Ok(())
    })
    .await
    .unwrap();
    let run = Run { mecha, app, file };
    let url = run.invoke_url("/m");
    let refused = run.get(&url).await;
    assert_eq!((refused.status.as_u16(), refused.text().as_str()), (401, "Unauthorized"));
    let status = async |token: &str| {
        run.get_with(&url, &[("authorization", &format!("bearer {token}"))]).await.status.as_u16()
    };
    let none = json!({"alg": "none", "kid": KEY});
    let shared = json!({"alg": "HS256", "kid": "shared"});
    for (name, token, expected) in [
        ("good", provider.token(&json!({})), 200),
        ("among several audiences", provider.token(&json!({"aud": ["you", AUDIENCE]})), 200),
        ("just over", provider.token(&json!({"exp": -60})), 200),
        ("expired", provider.token(&json!({"exp": -600})), 401),
        ("not yet", provider.token(&json!({"nbf": 600})), 401),
        ("issued tomorrow", provider.token(&json!({"iat": 86400})), 401),
        ("another audience", provider.token(&json!({"aud": "you"})), 401),
        ("another issuer", provider.token(&json!({"iss": "http://elsewhere"})), 401),
        ("no signature", provider.token_with_head(&none), 401),
        ("a shared key", provider.token_with_head(&shared), 401),
        ("an unknown key", provider.token_with_head(&json!({"alg": "ES256", "kid": "k2"})), 401),
        ("no key", provider.token_with_head(&json!({"alg": "ES256"})), 401),
        ("another algorithm", provider.token_with_head(&json!({"alg": "RS256", "kid": KEY})), 401),
        ("forged", provider.forged(), 401),
        ("no token", "0123456789abcdef".to_owned(), 401),
    ] {
        assert_eq!(status(&token).await, expected, "{name}");
    }
    assert_eq!(run.app.asked_at("/m").len(), 3);
    // Unknown keys do not make it ask the provider each time.
    assert_eq!(provider.asked_at("/keys").len(), 1);
}

#[tokio::test]
async fn a_browser_is_led_to_the_provider_and_back() {
    let provider = Provider::start().await;
    let (auth, token) = (provider.url("/authorize"), provider.url("/token"));
    let metadata = [
        ("clientID", "id"),
        ("clientSecret", "s3cret"),
        ("scopes", "openid,email"),
        ("authURL", auth.as_str()),
        ("tokenURL", token.as_str()),
        ("redirectURL", "http://me/callback"),
        ("authHeaderName", "x-token"),
        ("pathFilter", "^/v1.0/invoke"),
    ];
    let run = Run::start(Around::Api, &[("auth", "oauth2", &metadata)]).await;
    let url = run.invoke_url("/m?a=b");
    let left = run.get(&url).await;
    assert_eq!(left.status, 302);
    let location = left.header("location").to_owned();
    assert!(location.starts_with(&format!("{auth}?access_type=offline&client_id=id&")), "{location}");
    let state = location.rsplit_once("state=").unwrap().1;
    let cookie =
        |reply: &mecha_testkit::Reply| reply.header("set-cookie").split(';').next().unwrap().to_owned();
    let before = cookie(&left);

    // Somebody else's browser comes with the same state.
    let back = run.invoke_url(&format!("/m?state={state}&code=c0de"));
    assert_eq!(run.get(&back).await.status, 400);
    let entered = run.get_with(&back, &[("cookie", &before)]).await;
    assert_eq!((entered.status.as_u16(), entered.header("location")), (302, "/v1.0/invoke/app/method/m?a=b"));
    let asked = String::from_utf8(provider.asked_at("/token").pop().unwrap().body.to_vec()).unwrap();
    for pair in ["grant_type=authorization_code", "code=c0de", "redirect_uri=http%3A%2F%2Fme%2Fcallback"] {
        assert!(asked.contains(pair), "{asked}");
    }
    let through = run.get_with(&url, &[("cookie", &cookie(&entered))]).await;
    assert_eq!(through.status, 200, "{}", through.text());
    assert_eq!(last(&run.app, "/m").header("x-token"), "Bearer the-token");
    assert_eq!(run.get_with(&url, &[("cookie", "gosessionsid=stolen")]).await.status, 302);
}

#[tokio::test]
async fn calls_to_the_application_carry_a_token() {
    let provider = Provider::start().await;
    let token = provider.url("/token");
    let metadata = |scopes| {
        [
            ("clientID", "id"),
            ("clientSecret", "s3cret"),
            ("scopes", scopes),
            ("tokenURL", token.as_str()),
            ("headerName", "x-token"),
            ("endpointParamsQuery", "audience=you"),
            ("pathFilter", "^/m"),
        ]
    };
    let run = Run::start(Around::App, &[("auth", "oauth2clientcredentials", &metadata("a,b"))]).await;
    for _ in 0..3 {
        assert_eq!(run.get(&run.invoke_url("/m")).await.status, 200);
        assert_eq!(last(&run.app, "/m").header("x-token"), "Bearer the-token");
    }
    run.get(&run.invoke_url("/other")).await;
    assert_eq!(last(&run.app, "/other").header("x-token"), "");
    // The first by the header, which this provider does not take.
    let asked = provider.asked_at("/token");
    assert_eq!(asked.len(), 2);
    assert!(
        asked[0].header("authorization").starts_with("Basic ") && asked[1].header("authorization").is_empty()
    );
    let form = String::from_utf8(asked[1].body.to_vec()).unwrap();
    assert!(form.contains("scope=a%20b") && form.contains("audience=you"), "{form}");

    let refused = Run::start(Around::App, &[("auth", "oauth2clientcredentials", &metadata("nothing"))]).await;
    assert_eq!(refused.get(&refused.invoke_url("/m")).await.status, 500);
    assert_eq!(refused.app.asked_at("/m").len(), 0);
    refused
        .mecha
        .logs()
        .wait_for("middleware auth: no token: status 401, invalid_client", SOON)
        .await
        .unwrap();
    assert!(refused.mecha.logs().matching("s3cret").is_empty());
}

#[tokio::test]
async fn several_stand_in_their_order() {
    let aliases = r#"{"/hello": "/v1.0/invoke/app/method/m"}"#;
    let rule = "^/(v1.0/healthz|v1.0/invoke/.*)$";
    let run = Run::start(
        Around::Api,
        &[
            ("alias", "routeralias", &[("routes", aliases)]),
            ("check", "routerchecker", &[("rule", rule)]),
            ("up", "uppercase", &[("direction", "both")]),
        ],
    )
    .await;
    let reply = run.mecha.http().post(&run.mecha.http_url("/hello"), "x").await.unwrap();
    assert_eq!((reply.status.as_u16(), reply.text().as_str()), (200, "X"));
    // What the one inside answers passes the one outside, and not the one further in.
    assert_eq!(run.get(&run.mecha.http_url("/v1.0/metadata")).await.text(), "invalid router");
}

#[tokio::test]
async fn bodies_that_nobody_needs_are_never_held() {
    let large = vec![b'a'; 3 << 20];
    let limit = ("--max-body-size", "1Mi");
    for around in [Around::Api, Around::App] {
        for (component, passes) in [
            (("check", "routerchecker", [("rule", ".*")].as_slice()), true),
            (("up", "uppercase", [("direction", "request")].as_slice()), false),
        ] {
            let (builder, app, file) = prepared(around, &[component]).await;
            let run = Run { mecha: builder.flag(limit.0, limit.1).start().await.unwrap(), app, file };
            let reply = run.mecha.http().post(&run.invoke_url("/m"), large.clone()).await.unwrap();
            let expected = if passes { 200 } else { 413 };
            assert_eq!(reply.status, expected, "{around:?} {component:?}: {}", reply.text());
        }
    }
}

#[tokio::test]
async fn an_answer_passes_while_it_arrives() {
    for around in [Around::Api, Around::App] {
        let (ends, may_end) = watch::channel(false);
        let app = ScriptedApp::start(move |_| {
            let may_end = may_end.clone();
            async move { Scripted::held("beginning", may_end) }
        })
        .await
        .unwrap();
        let (builder, _echo, file) = prepared(around, &[("check", "routerchecker", &[("rule", ".*")])]).await;
        let builder = builder.flag("--app-port", app.port().to_string());
        let builder = builder.flag("--disable-init-endpoints", "config,subscribe");
        let run = Run { mecha: builder.start().await.unwrap(), app, file };
        let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
            .build_http::<Full<bytes::Bytes>>();
        let request = client.get(run.invoke_url("/m").parse().unwrap());
        let answer = tokio::time::timeout(SOON, request).await.expect("the head waits for the end").unwrap();
        let mut body = answer.into_body();
        let frame = tokio::time::timeout(SOON, body.frame()).await.unwrap().unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), "beginning", "{around:?}");
        ends.send_replace(true);
        while let Some(frame) = tokio::time::timeout(SOON, body.frame()).await.unwrap() {
            frame.unwrap();
        }
    }
}
