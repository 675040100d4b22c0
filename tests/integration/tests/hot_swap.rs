//! A plugin replaced 200 times under 64 clients: no call fails, every old generation is retired.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use mecha_testkit::{Mecha, eventually, fixture};

const CLIENTS: usize = 64;
const SWAPS: usize = 200;
const SOON: Duration = Duration::from_secs(20);

fn generations(text: &str, state: &str) -> f64 {
    let label = format!("state=\"{state}\"");
    let lines =
        text.lines().filter(|line| line.starts_with("mecha_plugin_generations{") && line.contains(&label));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

async fn client(mecha: Arc<Mecha>, stop: Arc<AtomicBool>, calls: Arc<AtomicU64>) -> Result<()> {
    let (url, http) = (mecha.http_url("/v1.0/state/store/key"), mecha_testkit::HttpClient::new());
    while !stop.load(Ordering::Relaxed) {
        let reply = http.get(&url).await?;
        ensure!(reply.status == 200, "{}: {}", reply.status, reply.text());
        calls.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_fails_while_the_plugin_is_replaced_200_times() {
    let builds = [("a", fixture("probe-a").unwrap()), ("b", fixture("probe-b").unwrap())];
    let builder = Mecha::builder().component_with("store", "state.probe", &[("delay", "1ms")]);
    let mecha = Arc::new(builder.library("libmecha_plugin_probe.so", &builds[0].1).start().await.unwrap());
    let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let clients: Vec<_> =
        (0..CLIENTS).map(|_| tokio::spawn(client(mecha.clone(), stop.clone(), calls.clone()))).collect();

    let swap_to = async |index: usize| {
        let (name, file) = &builds[index % 2];
        mecha.replace_plugin("probe", file).unwrap();
        eventually(SOON, || async {
            let reply = mecha.http().get(&mecha.http_url("/v1.0/state/store/key")).await?;
            ensure!(reply.text() == format!("\"{name}\""), "still {}", reply.text());
            Ok(())
        })
        .await
        .unwrap();
    };
    // Both builds are mapped once before memory is measured.
    swap_to(1).await;
    swap_to(2).await;
    let before = mecha.rss_bytes().unwrap();
    for index in 1..=SWAPS {
        swap_to(index).await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut failed = 0;
    for client in clients {
        if let Err(error) = client.await.unwrap() {
            failed += 1;
            println!("failed call: {error:#}");
        }
    }
    eventually(SOON, || async {
        let text = mecha.metrics().await?;
        let counts = ["active", "draining", "retired"].map(|state| generations(&text, state));
        ensure!(counts == [1.0, 0.0, (SWAPS + 2) as f64], "active, draining, retired: {counts:?}");
        Ok(())
    })
    .await
    .unwrap();
    let grown = mecha.rss_bytes().unwrap().saturating_sub(before);
    println!(
        "{SWAPS} swaps under {CLIENTS} clients: {failed} of {} calls failed",
        calls.load(Ordering::Relaxed)
    );
    println!(
        "resident memory: {} KiB after the first two swaps, grown by {} KiB",
        before / 1024,
        grown / 1024
    );
    assert_eq!(failed, 0);
    assert!(calls.load(Ordering::Relaxed) > SWAPS as u64);
    // Both builds are mapped already; what remains is the allocator's slack under load.
    assert!(grown < 16 * 1024 * 1024, "grown by {grown} bytes");
}
