//! The end of the process while calls are running.

use std::time::Duration;

use anyhow::ensure;
use mecha_testkit::{Mecha, Signal, eventually, fixture};

const SOON: Duration = Duration::from_secs(20);

async fn slow_runtime(delay: &str) -> Mecha {
    let builder = Mecha::builder().component_with("store", "state.probe", &[("delay", delay)]);
    builder.library("libmecha_plugin_probe.so", fixture("probe-a").unwrap()).start().await.unwrap()
}

/// How many calls the metrics show as begun on the store; the calls themselves take long.
async fn calls_in_flight(mecha: &Mecha) -> anyhow::Result<f64> {
    let text = mecha.metrics().await?;
    let line = text.lines().find(|line| line.starts_with("mecha_plugin_in_flight{"));
    Ok(line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_term_signal_lets_calls_in_flight_finish() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut mecha = slow_runtime("700ms").await;
        let calls: Vec<_> = (0..32)
            .map(|_| {
                let (http, url) = (mecha_testkit::HttpClient::new(), mecha.http_url("/v1.0/state/store/key"));
                tokio::spawn(async move { http.get(&url).await })
            })
            .collect();
        eventually(SOON, || async {
            let running = calls_in_flight(&mecha).await?;
            ensure!(running >= 32.0, "{running} calls are in flight");
            Ok(())
        })
        .await
        .unwrap();
        mecha.signal(signal).unwrap();
        for call in calls {
            let reply = call.await.unwrap().unwrap();
            assert_eq!((reply.status.as_u16(), reply.text()), (200, "\"a\"".to_owned()));
        }
        assert_eq!(mecha.wait_exit(SOON).await.unwrap(), 0);
        mecha.logs().wait_for("Daprd shutdown gracefully", SOON).await.unwrap();
    }
}

#[tokio::test]
async fn the_shutdown_api_ends_the_process() {
    let mut mecha = slow_runtime("1ms").await;
    let reply = mecha.http().post(&mecha.http_url("/v1.0/shutdown"), "").await.unwrap();
    assert_eq!(reply.status, 204);
    assert_eq!(mecha.wait_exit(SOON).await.unwrap(), 0);
}

#[tokio::test]
async fn a_call_that_never_ends_does_not_hold_the_process() {
    let builder = Mecha::builder().component_with("store", "state.probe", &[("delay", "1h")]);
    let builder = builder.flag("--dapr-graceful-shutdown-seconds", "1");
    let mut mecha =
        builder.library("libmecha_plugin_probe.so", fixture("probe-a").unwrap()).start().await.unwrap();
    let (http, url) = (mecha_testkit::HttpClient::new(), mecha.http_url("/v1.0/state/store/key"));
    let call = tokio::spawn(async move { http.get(&url).await });
    eventually(SOON, || async {
        let running = calls_in_flight(&mecha).await?;
        ensure!(running >= 1.0, "{running} calls are in flight");
        Ok(())
    })
    .await
    .unwrap();
    mecha.signal(Signal::TERM).unwrap();
    mecha.wait_exit(SOON).await.unwrap();
    // The caller is told by a closed connection or an error, never left hanging.
    let _ = call.await.unwrap();
}
