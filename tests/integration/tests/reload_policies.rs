//! Resiliency resources while the process runs: policies come, change and go under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use mecha_testkit::{Mecha, Reply, eventually, fixture};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(20);

fn retries(most: i64) -> String {
    json!({
        "apiVersion": "dapr.io/v1alpha1",
        "kind": "Resiliency",
        "metadata": {"name": "res"},
        "spec": {
            "policies": {"retries": {"p": {"policy": "constant", "duration": "1ms", "maxRetries": most}}},
            "targets": {"components": {"flaky": {"outbound": {"retry": "p"}}}},
        },
    })
    .to_string()
}

/// One store that does as it should, under load, and one whose every call fails.
async fn start() -> Mecha {
    Mecha::builder()
        .library("libmecha_plugin_probe.so", fixture("probe-a").unwrap())
        .component("steady", "state.probe")
        .component_with("flaky", "state.probe", &[("script", "fail*1000000")])
        .start()
        .await
        .unwrap()
}

async fn read(mecha: &Mecha, store: &str) -> Result<Reply> {
    mecha.http().get(&mecha.http_url(&format!("/v1.0/state/{store}/key"))).await
}

/// How often one API call was tried in the plugin: the failure names the number of the call.
async fn tries(mecha: &Mecha) -> Result<u64> {
    let before = last_call(mecha).await?;
    Ok(last_call(mecha).await? - before)
}

async fn last_call(mecha: &Mecha) -> Result<u64> {
    let reply = read(mecha, "flaky").await?;
    let body: Value = reply.json()?;
    let message = body["message"].as_str().unwrap_or_default();
    let number = message.split("call ").nth(1).and_then(|rest| rest.split(' ').next());
    Ok(number.unwrap_or_default().parse()?)
}

async fn wait_tries(mecha: &Mecha, expected: u64) {
    eventually(SOON, || async {
        let tries = tries(mecha).await?;
        ensure!(tries == expected, "{tries} tries, not {expected}");
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_come_change_and_go_without_a_failed_call() {
    let mecha = Arc::new(start().await);
    let (ends, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let load = tokio::spawn({
        let (mecha, ends, done) = (mecha.clone(), ends.clone(), done.clone());
        async move {
            while !ends.load(Ordering::Relaxed) {
                let reply = read(&mecha, "steady").await.unwrap();
                assert!(reply.status.is_success(), "{}: {}", reply.status, reply.text());
                done.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    wait_tries(&mecha, 1).await;
    mecha.write_resource("res.json", &retries(3)).unwrap();
    wait_tries(&mecha, 4).await;
    mecha.write_resource("res.json", &retries(1)).unwrap();
    wait_tries(&mecha, 2).await;
    mecha.write_resource("res.json", "{ broken").unwrap();
    mecha.logs().wait_for("what it held before stays", SOON).await.unwrap();
    assert_eq!(tries(&mecha).await.unwrap(), 2);
    mecha.remove_resource("res.json").unwrap();
    wait_tries(&mecha, 1).await;
    ends.store(true, Ordering::Relaxed);
    load.await.unwrap();
    assert!(done.load(Ordering::Relaxed) > 0);
}

#[tokio::test]
async fn the_same_policies_again_do_nothing() {
    let mecha = start().await;
    mecha.write_resource("res.json", &retries(3)).unwrap();
    wait_tries(&mecha, 4).await;
    mecha.write_resource("res.json", &retries(3)).unwrap();
    // What is taken in after it shows that it was looked at.
    let other = retries(1).replace("\"res\"", "\"other\"");
    mecha.write_resource("other.json", &other).unwrap();
    mecha.logs().wait_for("resiliencies=2", SOON).await.unwrap();
    assert_eq!(mecha.logs().matching("Resiliency resources were read again").len(), 2);
}
