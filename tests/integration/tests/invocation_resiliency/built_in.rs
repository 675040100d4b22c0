//! The built-in retries of calls of other runtimes: only where one cannot be reached, and only where no resource names the
//! application.

use std::collections::HashMap;
use std::time::Instant;

use super::*;

/// An address where nobody listens.
async fn nobody() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string()
}

/// A runtime to which an application's addresses are written down.
async fn knowing(addresses: &HashMap<&str, Vec<String>>, resource: &str) -> Mecha {
    let configuration = json!({
        "apiVersion": "dapr.io/v1alpha1",
        "kind": "Configuration",
        "metadata": {"name": "c"},
        "spec": {"nameResolution": {"component": "static", "configuration": addresses}},
    });
    let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    std::fs::write(file.path(), configuration.to_string()).unwrap();
    let builder = runtime(&unique("caller")).flag("--config", file.path().to_str().unwrap());
    builder.resources(resource).start().await.unwrap()
}

#[tokio::test]
async fn who_is_away_is_called_four_times() {
    let caller = knowing(&HashMap::from([("away", vec![nobody().await])]), "").await;
    let started = Instant::now();
    let reply = caller.http().get(&caller.http_url("/v1.0/invoke/away/method/m")).await.unwrap();
    assert!(started.elapsed() >= Duration::from_secs(3), "{:?}", started.elapsed());
    let (status, code, message) = error_of(&reply);
    assert_eq!((status, code.as_str()), (500, "ERR_DIRECT_INVOKE"));
    let expected = "failed to invoke, id: away, err: failed to invoke target away after 3 retries. Error: rpc error: code = Unavailable";
    assert!(message.starts_with(expected), "{message}");
    let line = "Error processing operation DaprBuiltInServiceRetries. Retrying in 1s";
    caller.logs().wait_for(line, SOON).await.unwrap();
}

#[tokio::test]
async fn a_resource_replaces_them_or_takes_them_away() {
    let retries = json!({"retries": {"DaprBuiltInServiceRetries": {"duration": "5ms", "maxRetries": 5}}});
    let away = HashMap::from([("away", vec![nobody().await])]);
    let caller = knowing(&away, &resource(&retries, &json!({}))).await;
    let url = |caller: &Mecha| caller.http_url("/v1.0/invoke/away/method/m");
    let (_, _, message) = error_of(&caller.http().get(&url(&caller)).await.unwrap());
    assert!(message.contains("after 5 retries"), "{message}");

    let caller = knowing(&away, &resource(&json!({}), &json!({"away": {}}))).await;
    let started = Instant::now();
    let (_, _, message) = error_of(&caller.http().get(&url(&caller)).await.unwrap());
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    assert!(message.contains("err: rpc error: code = Unavailable"), "{message}");
}

/// The next attempt goes elsewhere, and an application's own failures are its answers.
#[tokio::test]
async fn they_reach_who_is_there_and_leave_answers_alone() {
    let app = scripted(&[503]).await;
    let id = unique("callee");
    let port = free_port();
    let callee = runtime(&id).flag("--app-port", app.port().to_string());
    let _callee = callee.flag("--dapr-internal-grpc-port", port.to_string()).start().await.unwrap();
    let addresses = vec![nobody().await, format!("127.0.0.1:{port}")];
    let retries = json!({"retries": {"DaprBuiltInServiceRetries": {"duration": "5ms", "maxRetries": 3}}});
    let caller = knowing(&HashMap::from([(id.as_str(), addresses)]), &resource(&retries, &json!({}))).await;
    let url = caller.http_url(&format!("/v1.0/invoke/{id}/method/flaky"));
    let reply = caller.http().get(&url).await.unwrap();
    assert_eq!((reply.status.as_u16(), reply.text().as_str()), (503, "1"));
    assert_eq!(app.asked_at("/flaky").len(), 1);
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
