//! Timeouts and retries of calls by HTTP.

use std::time::Instant;

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::Request;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use mecha_testkit::{Scripted, ScriptedApp};

use super::*;

const DEADLINE: &str = "context deadline exceeded";

#[tokio::test]
async fn what_fails_is_tried_again_until_it_succeeds() {
    let flaky = flaky(&[500, 503, 429], |id| of_app(id, &quickly(5))).await;
    assert_eq!(flaky.call().await, (200, "4".to_owned()));
    assert_eq!(flaky.call().await, (200, "5".to_owned()));
    let labels = [r#"policy="retry""#, r#"flow_direction="outbound""#, r#"name="res""#, r#"status="""#];
    assert_eq!(flaky.sample("count", &labels).await, 2.0);
    assert_eq!(flaky.sample("activations_total", &labels).await, 1.0);
    let operation = format!("endpoint[{0}, {0}:flaky]", flaky.id);
    let logs = flaky.caller.logs();
    logs.wait_for(&format!("Error processing operation {operation}. Retrying in 5ms"), SOON).await.unwrap();
    logs.wait_for(&format!("Recovered processing operation {operation} after 4 attempts"), SOON)
        .await
        .unwrap();
}

#[tokio::test]
async fn retries_end_with_their_number_and_the_last_answer() {
    let flaky = flaky(&[500, 501, 502, 500], |id| of_app(id, &quickly(2))).await;
    assert_eq!(flaky.call().await, (502, "3".to_owned()));
    assert_eq!(flaky.calls(), 3);

    let none = super::flaky(&[500], |id| of_app(id, &quickly(0))).await;
    assert_eq!(none.call().await, (500, "1".to_owned()));
    let endless = super::flaky(&[500; 30], |id| of_app(id, &quickly(-1))).await;
    assert_eq!(endless.call().await, (200, "31".to_owned()));
}

#[tokio::test]
async fn the_same_request_comes_again() {
    let flaky = flaky(&[500, 500], |id| of_app(id, &quickly(5))).await;
    let body = Bytes::from(vec![b'x'; 300_000]);
    let request = Request::builder().method("PUT").uri(flaky.url("flaky?a=1")).header("x-mine", "1");
    let request = request.body(http_body_util::Full::new(body.clone())).unwrap();
    assert_eq!(flaky.caller.http().send(request).await.unwrap().text(), "3");
    for asked in flaky.app.asked_at("/flaky") {
        assert_eq!(
            (asked.method.as_str(), asked.query.as_str(), asked.header("x-mine")),
            ("PUT", "a=1", "1")
        );
        assert!(asked.body == body, "{} bytes", asked.body.len());
        let caller: Vec<_> = asked.headers.get_all("dapr-caller-app-id").iter().collect();
        assert_eq!(caller.len(), 1);
    }
}

#[tokio::test]
async fn only_codes_that_match_are_tried_again() {
    let matching = |codes: &str| {
        let mut policies = quickly(5);
        policies["retries"]["p"]["matching"] = json!({"httpStatusCodes": codes});
        policies
    };
    let flaky = flaky(&[429, 502, 503, 404], |id| of_app(id, &matching("429,501-503"))).await;
    assert_eq!(flaky.call().await, (404, "4".to_owned()));
    assert_eq!(flaky.calls(), 4);
    // A redirection is no failure.
    let redirected = super::flaky(&[301], |id| of_app(id, &matching("301"))).await;
    assert_eq!(redirected.call().await, (301, "1".to_owned()));
}

#[tokio::test]
async fn pauses_are_as_long_as_they_are_set() {
    let constant = json!({"retries": {"p": {"policy": "constant", "duration": "150ms", "maxRetries": 3}}});
    let constant = flaky(&[500; 3], |id| of_app(id, &constant)).await;
    let started = Instant::now();
    assert_eq!(constant.call().await, (200, "4".to_owned()));
    assert!(started.elapsed() >= Duration::from_millis(450), "{:?}", started.elapsed());

    let growing =
        json!({"retries": {"p": {"policy": "exponential", "maxInterval": "20ms", "maxRetries": 3}}});
    let growing = flaky(&[500; 3], |id| of_app(id, &growing)).await;
    let started = Instant::now();
    assert_eq!(growing.call().await, (200, "4".to_owned()));
    // The first is half a second, spread by half of it.
    assert!(started.elapsed() >= Duration::from_millis(250), "{:?}", started.elapsed());
}

#[tokio::test]
async fn an_attempt_that_takes_too_long_is_given_up() {
    let mut policies = quickly(2);
    policies["timeouts"] = json!({"p": "200ms"});
    let flaky = flaky(&[0, 0, 200, 0, 0, 0], |id| of_app(id, &policies)).await;
    assert_eq!(flaky.call().await, (200, "3".to_owned()));
    assert_not_invoked(&flaky.get("flaky").await, &flaky.id, DEADLINE);
    assert_eq!(flaky.calls(), 6);
    assert_eq!(flaky.sample("activations_total", &[r#"policy="timeout""#]).await, 2.0);
}

#[tokio::test]
async fn an_answer_whose_body_takes_too_long_breaks_off() {
    let (_ends, end) = tokio::sync::watch::channel(false);
    let app =
        ScriptedApp::start(move |asked| {
            let end = end.clone();
            async move {
                if asked.path == "/slow" { Scripted::held("beginning", end) } else { Scripted::status(404) }
            }
        })
        .await
        .unwrap();
    let id = unique("callee");
    let _callee = runtime(&id).flag("--app-port", app.port().to_string()).start().await.unwrap();
    let resource = of_app(&id, &json!({"timeouts": {"p": "500ms"}}));
    let caller = runtime(&unique("caller")).resources(&resource).start().await.unwrap();
    let url = caller.http_url(&format!("/v1.0/invoke/{id}/method/slow"));
    tokio::time::timeout(SOON, caller.http().get(&url)).await.unwrap().unwrap_err();
}

/// A body that streams is gone with the first attempt, whatever the policy says.
#[tokio::test]
async fn a_body_that_streams_is_sent_once() {
    let flaky = flaky(&[503, 500], |id| of_app(id, &quickly(5))).await;
    for expected in [(503, "1"), (500, "2"), (200, "3")] {
        let pieces = ["one", "two"].map(|piece| Ok::<_, std::io::Error>(Frame::data(Bytes::from(piece))));
        let body = StreamBody::new(futures_util::stream::iter(pieces).boxed());
        let request = Request::builder().method("POST").uri(flaky.url("flaky")).body(body).unwrap();
        let answer = Client::builder(TokioExecutor::new()).build_http().request(request).await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.into_body().collect().await.unwrap().to_bytes();
        assert_eq!((status, text.as_ref()), (expected.0, expected.1.as_bytes()));
    }
    assert!(flaky.app.asked_at("/flaky").iter().all(|asked| asked.body == "onetwo"));
    assert_eq!(flaky.sample("activations_total", &[]).await, 0.0);
}

#[tokio::test]
async fn default_policies_apply_where_no_target_is_named() {
    let defaults = json!({
        "retries": {
            "DefaultRetryPolicy": {"policy": "constant", "duration": "5ms", "maxRetries": 1},
            "DefaultAppRetryPolicy": {"policy": "constant", "duration": "5ms", "maxRetries": 3},
        },
    });
    // Of the two that apply, the closer one.
    let unnamed = flaky(&[500; 9], |_| resource(&defaults, &json!({}))).await;
    assert_eq!(unnamed.call().await, (500, "4".to_owned()));
    // Who is named has what is named, and nothing else.
    let named = flaky(&[500; 9], |id| resource(&defaults, &json!({id: {}}))).await;
    assert_eq!(named.call().await, (500, "1".to_owned()));
    let widest = json!({"retries": {"DefaultRetryPolicy": defaults["retries"]["DefaultRetryPolicy"]}});
    let widest = flaky(&[500; 9], |_| resource(&widest, &json!({}))).await;
    assert_eq!(widest.call().await, (500, "2".to_owned()));
    let timeout = json!({"timeouts": {"DefaultAppTimeoutPolicy": "100ms"}});
    let timeout = flaky(&[0], |_| resource(&timeout, &json!({}))).await;
    assert_not_invoked(&timeout.get("flaky").await, &timeout.id, DEADLINE);
}

#[tokio::test]
async fn the_own_application_and_services_outside_have_policies_too() {
    let app = scripted(&[500, 500]).await;
    let id = unique("own");
    let own = runtime(&id).flag("--app-port", app.port().to_string()).resources(&of_app(&id, &quickly(5)));
    let own = own.start().await.unwrap();
    let reply = own.http().get(&own.http_url(&format!("/v1.0/invoke/{id}/method/flaky"))).await.unwrap();
    assert_eq!(reply.text(), "3");

    for by_name in [true, false] {
        let outside = scripted(&[500, 500]).await;
        let url = format!("http://127.0.0.1:{}", outside.port());
        let endpoint = json!({
            "apiVersion": "dapr.io/v1alpha1",
            "kind": "HTTPEndpoint",
            "metadata": {"name": "outside"},
            "spec": {"baseUrl": url},
        });
        let target = if by_name { "outside".to_owned() } else { url };
        let resources = format!("{endpoint}\n---\n{}", of_app(&target, &quickly(5)));
        let caller = runtime(&unique("caller")).resources(&resources).start().await.unwrap();
        let url = caller.http_url(&format!("/v1.0/invoke/{target}/method/flaky"));
        assert_eq!(caller.http().get(&url).await.unwrap().text(), "3", "{target}");
    }
}
