//! Calls of components.

use std::time::{Duration, Instant};

use anyhow::ensure;
use mecha_testkit::{Mecha, Reply, eventually};
use serde_json::{Value, json};

use crate::http_error::assert_http;
use crate::{SOON, probing, quickly, resiliency, sample};

const DEADLINE: &str = "context deadline exceeded";
const IS_OPEN: &str = "circuit breaker is open";

/// A resource whose policies `p` apply to calls of `store`.
fn of_store(policies: &Value) -> String {
    let kinds = [("timeouts", "timeout"), ("retries", "retry"), ("circuitBreakers", "circuitBreaker")];
    let named = kinds.iter().filter(|(kind, _)| policies.get(kind).is_some());
    let outbound: serde_json::Map<_, _> = named.map(|(_, name)| ((*name).to_owned(), json!("p"))).collect();
    resiliency(policies, &json!({"store": {"outbound": outbound}}))
}

/// A runtime with a state store that does what the script says.
async fn scripted(script: &str, resource: &str) -> Mecha {
    let builder = probing().component_with("store", "state.probe", &[("script", script)]);
    builder.resources(resource).start().await.unwrap()
}

/// A read, which gives the number of the call in the plugin.
async fn read(mecha: &Mecha) -> Reply {
    mecha.http().get(&mecha.http_url("/v1.0/state/store/key")).await.unwrap()
}

async fn number(mecha: &Mecha) -> u64 {
    let reply = read(mecha).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.text().parse().unwrap()
}

#[track_caller]
fn assert_failed(reply: &Reply, reason: &str) {
    assert_http(reply, 500, "ERR_STATE_GET", reason);
}

#[tokio::test]
async fn what_fails_is_tried_again_until_it_succeeds() {
    let mecha = scripted("fail*3", &of_store(&quickly(5))).await;
    assert_eq!(number(&mecha).await, 4);
    assert_eq!(number(&mecha).await, 5);
    let target = [r#"target="Statestore_store""#, r#"policy="retry""#, r#"flow_direction="outbound""#];
    let resource = [r#"name="res""#, r#"namespace="ns""#, r#"app_id="app""#, r#"status="""#];
    assert_eq!(sample(&mecha, "count", &[&target[..], &resource[..]].concat()).await, 2.0);
    assert_eq!(sample(&mecha, "activations_total", &target).await, 1.0);
    assert_eq!(sample(&mecha, "loaded", &resource[..2]).await, 1.0);
    let logs = mecha.logs();
    logs.wait_for("Error processing operation component[store] output. Retrying in 5ms", SOON).await.unwrap();
    logs.wait_for("Recovered processing operation component[store] output after 4 attempts", SOON)
        .await
        .unwrap();
}

#[tokio::test]
async fn retries_end_with_their_number_and_the_last_failure() {
    let mecha = scripted("fail*5", &of_store(&quickly(2))).await;
    assert_failed(&read(&mecha).await, "call 3 fails");
    assert_eq!(number(&mecha).await, 6);
    let none = scripted("fail", &of_store(&quickly(0))).await;
    assert_failed(&read(&none).await, "call 1 fails");
}

#[tokio::test]
async fn retries_without_end_go_on() {
    let mecha = scripted("fail*60", &of_store(&quickly(-1))).await;
    assert_eq!(number(&mecha).await, 61);
}

#[tokio::test]
async fn pauses_are_as_long_as_they_are_set() {
    let constant = json!({"retries": {"p": {"policy": "constant", "duration": "150ms", "maxRetries": 3}}});
    let mecha = scripted("fail*3", &of_store(&constant)).await;
    let started = Instant::now();
    assert_eq!(number(&mecha).await, 4);
    assert!(started.elapsed() >= Duration::from_millis(450), "{:?}", started.elapsed());

    // Growing pauses begin at half a second, spread by half; then their longest counts.
    let growing =
        json!({"retries": {"p": {"policy": "Exponential", "maxInterval": "20ms", "maxRetries": 3}}});
    let mecha = scripted("fail*3", &of_store(&growing)).await;
    let started = Instant::now();
    assert_eq!(number(&mecha).await, 4);
    let taken = started.elapsed();
    assert!(taken >= Duration::from_millis(270), "{taken:?}");
    assert!(taken < Duration::from_millis(1500), "the pauses grew beyond their longest: {taken:?}");
}

/// Another attempt would meet the same etag.
#[tokio::test]
async fn a_conflict_is_not_tried_again() {
    let mecha = scripted("conflict", &of_store(&quickly(5))).await;
    let save = json!([{"key": "k", "value": 1, "etag": "1"}]).to_string();
    let reply = mecha.http().post(&mecha.http_url("/v1.0/state/store"), save).await.unwrap();
    assert_eq!(reply.status, 409, "{}", reply.text());
    assert_eq!(number(&mecha).await, 2);
}

/// Of a bulk whose items have etags, those that were written are not written again: they would meet their own new etags.
#[tokio::test]
async fn a_bulk_with_etags_goes_on_where_it_failed() {
    let mecha = scripted("ok,fail,ok,ok,conflict*9", &of_store(&quickly(5))).await;
    let item = |key: &str| json!({"key": key, "value": 1, "etag": "1"});
    let save = json!([item("a"), item("b"), item("c")]).to_string();
    let reply = mecha.http().post(&mecha.http_url("/v1.0/state/store"), save).await.unwrap();
    assert_eq!(reply.status, 204, "{}", reply.text());
}

#[tokio::test]
async fn an_attempt_that_takes_too_long_is_given_up() {
    let mecha = scripted("hang", &of_store(&json!({"timeouts": {"p": "100ms"}}))).await;
    let started = Instant::now();
    assert_failed(&read(&mecha).await, DEADLINE);
    assert!(started.elapsed() >= Duration::from_millis(100));
    assert_eq!(number(&mecha).await, 2);
    let labels = [r#"policy="timeout""#, r#"target="Statestore_store""#];
    assert_eq!(sample(&mecha, "count", &labels).await, 2.0);
    assert_eq!(sample(&mecha, "activations_total", &labels).await, 1.0);
    // The plugin is rid of the call as well.
    eventually(SOON, || async {
        let text = mecha.metrics().await?;
        let line = text.lines().find(|line| line.starts_with("mecha_plugin_in_flight{")).unwrap_or_default();
        ensure!(line.ends_with(" 0"), "{line}");
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn each_attempt_has_its_own_time() {
    let mut policies = quickly(3);
    policies["timeouts"] = json!({"p": "100ms"});
    let mecha = scripted("hang*2", &of_store(&policies)).await;
    assert_eq!(number(&mecha).await, 3);
}

#[tokio::test]
async fn a_breaker_that_opens_stops_calls_and_closes_again() {
    let breaker = json!({"circuitBreakers": {"p": {"timeout": "500ms", "trip": "consecutiveFailures >= 3"}}});
    let mecha = scripted("fail*3", &of_store(&breaker)).await;
    for call in 1..=3 {
        assert_failed(&read(&mecha).await, &format!("call {call} fails"));
    }
    let state = async |status: &str| sample(&mecha, "cb_state", &[&format!("status=\"{status}\"")]).await;
    let opened = Instant::now();
    for _ in 0..20 {
        assert_failed(&read(&mecha).await, IS_OPEN);
    }
    assert!(opened.elapsed() < Duration::from_millis(500), "too slow to say anything");
    assert_eq!([state("open").await, state("closed").await, state("half-open").await], [1.0, 0.0, 0.0]);
    let activated = [r#"policy="circuitbreaker""#, r#"status="open""#];
    assert_eq!(sample(&mecha, "activations_total", &activated).await, 1.0);
    mecha.logs().wait_for("p-store\\\" changed state from closed to open", SOON).await.unwrap();

    // The next call that is let through is the fourth: the plugin saw none of the others.
    eventually(SOON, || async {
        let reply = read(&mecha).await;
        ensure!(reply.status == 200, "{}", reply.text());
        ensure!(reply.text() == "4", "call {} came through", reply.text());
        Ok(())
    })
    .await
    .unwrap();
    assert!(opened.elapsed() >= Duration::from_millis(480), "{:?}", opened.elapsed());
    assert_eq!(number(&mecha).await, 5);
    assert_eq!([state("open").await, state("closed").await], [0.0, 1.0]);
}

#[tokio::test]
async fn a_failure_while_half_open_opens_it_again() {
    let breaker = json!({"circuitBreakers": {"p": {"timeout": "100ms", "trip": "totalFailures >= 1"}}});
    let mecha = scripted("fail*2", &of_store(&breaker)).await;
    assert_failed(&read(&mecha).await, "call 1 fails");
    assert_failed(&read(&mecha).await, IS_OPEN);
    eventually(SOON, || async {
        let text = read(&mecha).await.text();
        ensure!(text.contains("call 2 fails"), "{text}");
        Ok(())
    })
    .await
    .unwrap();
    assert_failed(&read(&mecha).await, IS_OPEN);
    eventually(SOON, || async {
        let reply = read(&mecha).await;
        ensure!(reply.status == 200, "{}", reply.text());
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn an_open_breaker_ends_the_retries() {
    let mut policies = quickly(50);
    policies["circuitBreakers"] = json!({"p": {"timeout": "1h", "trip": "consecutiveFailures > 2"}});
    let mecha = scripted("fail*60", &of_store(&policies)).await;
    assert_failed(&read(&mecha).await, IS_OPEN);
    let text = mecha.metrics().await.unwrap();
    let failed = text
        .lines()
        .find(|line| line.starts_with("dapr_component_state_count{") && line.contains(r#"success="false""#));
    assert!(failed.unwrap().ends_with(" 3"), "{failed:?}");
}

#[tokio::test]
async fn the_closest_default_applies_to_what_no_resource_names() {
    let policies = json!({"retries": {
        "DefaultRetryPolicy": {"duration": "5ms", "maxRetries": 1},
        "DefaultComponentOutboundRetryPolicy": {"duration": "5ms", "maxRetries": 2},
        "DefaultStatestoreComponentOutboundRetryPolicy": {"duration": "5ms", "maxRetries": 3},
        "named": {"duration": "5ms", "maxRetries": 4},
    }});
    let resource =
        resiliency(&policies, &json!({"named": {"outbound": {"retry": "named"}}, "bare": {"outbound": {}}}));
    let builder = probing().resources(&resource);
    let builder = ["store", "named", "bare"]
        .iter()
        .fold(builder, |builder, name| builder.component_with(name, "state.probe", &[("script", "fail*9")]));
    let mecha = builder.start().await.unwrap();
    // A component that is named has what is said there, be it nothing.
    for (store, attempts) in [("store", 4), ("named", 5), ("bare", 1)] {
        let reply = mecha.http().get(&mecha.http_url(&format!("/v1.0/state/{store}/k"))).await.unwrap();
        assert_failed(&reply, &format!("call {attempts} fails"));
    }
}

/// Every building block asks the policies; what they were asked is counted.
#[tokio::test]
async fn every_building_block_is_under_policies() {
    let folder = tempfile::tempdir().unwrap();
    let secrets = folder.path().join("secrets.json");
    std::fs::write(&secrets, r#"{"name":"value"}"#).unwrap();
    let policies = json!({"retries": {"DefaultRetryPolicy": {"duration": "5ms", "maxRetries": 1}}});
    let database = folder.path().join("store.db");
    let builder = Mecha::builder().resources(&resiliency(&policies, &json!({})));
    let builder = ["memory", "sqlite", "local-secrets", "localstorage"]
        .iter()
        .fold(builder, |builder, name| builder.plugin(name));
    let mecha = builder
        .component("store", "state.in-memory")
        .component("broker", "pubsub.in-memory")
        .component_with("secrets", "secretstores.local.file", &[("secretsFile", secrets.to_str().unwrap())])
        .component_with("files", "bindings.localstorage", &[("rootPath", folder.path().to_str().unwrap())])
        .component_with("sql", "configuration.sqlite", &[("connectionString", database.to_str().unwrap())])
        .start()
        .await
        .unwrap();
    let http = mecha.http();
    let post = async |path: &str, body: Value| {
        let reply = http.post(&mecha.http_url(path), body.to_string()).await.unwrap();
        assert!(reply.status.is_success(), "{path}: {} {}", reply.status, reply.text());
    };
    let get = async |path: &str| {
        let reply = http.get(&mecha.http_url(path)).await.unwrap();
        assert!(reply.status.is_success(), "{path}: {} {}", reply.status, reply.text());
    };
    post("/v1.0/state/store", json!([{"key": "a", "value": 1}])).await;
    get("/v1.0/state/store/a").await;
    post("/v1.0/state/store/bulk", json!({"keys": ["a"]})).await;
    post("/v1.0/publish/broker/topic", json!({"a": 1})).await;
    let bulk = json!([{"entryId": "1", "event": "a", "contentType": "text/plain"}]);
    post("/v1.0-alpha1/publish/bulk/broker/topic", bulk).await;
    get("/v1.0/secrets/secrets/name").await;
    get("/v1.0/secrets/secrets/bulk").await;
    let create = json!({"operation": "create", "data": "x", "metadata": {"fileName": "f"}});
    post("/v1.0/bindings/files", create).await;
    for (target, count) in [
        ("Statestore_store", 3.0),
        ("Pubsub_broker", 2.0),
        ("Secretstore_secrets", 2.0),
        ("Binding_files", 1.0),
    ] {
        let labels =
            [&format!("target=\"{target}\"")[..], r#"flow_direction="outbound""#, r#"policy="retry""#];
        assert_eq!(sample(&mecha, "count", &labels).await, count, "{target}");
    }
}

#[tokio::test]
async fn what_a_bulk_publish_left_undone_is_published_again() {
    let policies = json!({"retries": {"p": {"duration": "5ms", "maxRetries": 3}}});
    let resource = resiliency(&policies, &json!({"broker": {"outbound": {"retry": "p"}}}));
    // Three messages, the second of which fails twice. Whoever publishes more than these five meets a failure for good.
    for (script, failed) in [("ok,fail,ok,fail,ok,fail*99", 0), ("fail*99", 2)] {
        let builder = probing().component_with("broker", "pubsub.probe", &[("script", script)]);
        let mecha = builder.resources(&resource).start().await.unwrap();
        let count = if failed == 0 { 3 } else { failed };
        let entries: Vec<_> = (0..count)
            .map(|id| json!({"entryId": id.to_string(), "event": "a", "contentType": "text/plain"}))
            .collect();
        let url = mecha.http_url("/v1.0-alpha1/publish/bulk/broker/topic");
        let reply = mecha.http().post(&url, Value::from(entries).to_string()).await.unwrap();
        if failed == 0 {
            assert_eq!(reply.status, 204, "{}", reply.text());
        } else {
            assert_eq!(reply.status, 500, "{}", reply.text());
            let body = reply.json().unwrap();
            assert_eq!(body["failedEntries"].as_array().map(Vec::len), Some(failed), "{body}");
            // Four attempts with two messages each.
            assert!(body.to_string().contains("call 8 fails"), "{body}");
        }
    }
}

#[tokio::test]
async fn a_resource_with_a_mistake_is_left_out_and_the_others_hold() {
    let mut wrong = of_store(&json!({"timeouts": {"p": "soon"}}));
    wrong = wrong.replace("\"res\"", "\"wrong\"");
    let builder = probing().component_with("store", "state.probe", &[("script", "fail")]);
    let builder = builder.resources(&wrong).resources(&of_store(&quickly(1)));
    let mecha = builder.start().await.unwrap();
    assert_eq!(number(&mecha).await, 2);
    mecha.logs().wait_for("Could not read resiliency policy wrong", SOON).await.unwrap();
}

#[tokio::test]
async fn a_resource_of_another_application_does_not_hold() {
    let mut resource: Value = serde_json::from_str(&of_store(&quickly(3))).unwrap();
    resource["scopes"] = json!(["other"]);
    let mecha = scripted("fail", &resource.to_string()).await;
    assert_failed(&read(&mecha).await, "call 1 fails");
    assert_eq!(sample(&mecha, "count", &[]).await, 0.0);
}

/// Dapr's own policies have names that resources may use and replace.
#[tokio::test]
async fn built_in_policies_can_be_named_and_not_made_weaker() {
    let policies = json!({"retries": {
        "DaprBuiltInActorRetries": {"duration": "5ms", "maxRetries": 1},
        "DaprBuiltInActorNotFoundRetries": {"duration": "5ms", "maxRetries": 9},
    }});
    let named = |name: &str| json!({"outbound": {"retry": name}});
    let targets = json!({"store": named("DaprBuiltInActorRetries"), "other": named("NoSuchPolicy")});
    let builder = probing().resources(&resiliency(&policies, &targets));
    let builder = builder.component_with("store", "state.probe", &[("script", "fail*9")]);
    let mecha = builder.start().await.unwrap();
    // Three retries are the fewest that a built-in policy may have.
    assert_failed(&read(&mecha).await, "call 4 fails");
    for line in [
        "Attempted override of DaprBuiltInActorRetries did not meet minimum retry count, resetting to 3.",
        "Attempted to override protected policy DaprBuiltInActorNotFoundRetries",
        "Target other names the policy NoSuchPolicy, which does not exist",
    ] {
        mecha.logs().wait_for(line, SOON).await.unwrap();
    }
}
