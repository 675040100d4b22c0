//! Plugin files that come, go, are broken or change while the runtime serves.

use std::fs;
use std::time::Duration;

use anyhow::{Result, ensure};
use mecha_testkit::{Mecha, eventually, fixture, plugin_library};

const SOON: Duration = Duration::from_secs(10);
const WITHIN: Duration = Duration::from_secs(2);

fn probe_runtime() -> mecha_testkit::MechaBuilder {
    Mecha::builder().component("store", "state.probe")
}

async fn status_of(mecha: &Mecha, path: &str) -> Result<u16> {
    Ok(mecha.http().get(&mecha.http_url(path)).await?.status.as_u16())
}

/// Waits until a read of the probe gives `build`.
async fn serves(mecha: &Mecha, build: &str) -> Result<()> {
    eventually(SOON, || async {
        let reply = mecha.http().get(&mecha.http_url("/v1.0/state/store/key")).await?;
        ensure!(
            reply.status == 200 && reply.text() == format!("\"{build}\""),
            "{}: {}",
            reply.status,
            reply.text()
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_dropped_plugin_serves_within_two_seconds_and_a_removed_one_gives_the_error_again() {
    let mecha = Mecha::builder().component("store", "state.in-memory").start().await.unwrap();
    let missing = mecha.http().get(&mecha.http_url("/v1.0/state/store/key")).await.unwrap();
    assert_eq!(missing.status, 500, "{}", missing.text());
    assert_eq!(missing.json().unwrap()["errorCode"], "ERR_STATE_STORE_NOT_CONFIGURED");
    let line = mecha.logs().wait_for("state.in-memory", SOON).await.unwrap();
    assert!(line.contains("level=warn") && line.contains("no plugin"), "{line}");

    mecha.install_plugin("memory").unwrap();
    let dropped = std::time::Instant::now();
    eventually(WITHIN, || async {
        let status = status_of(&mecha, "/v1.0/state/store/key").await?;
        ensure!(status == 204, "{status}");
        Ok(())
    })
    .await
    .unwrap();
    println!("dropped file serves after {:?}", dropped.elapsed());

    mecha.remove_plugin("memory").unwrap();
    eventually(WITHIN, || async {
        let reply = mecha.http().get(&mecha.http_url("/v1.0/state/store/key")).await?;
        ensure!(reply.status == 500, "{}", reply.status);
        ensure!(reply.json()?["errorCode"] == "ERR_STATE_STORE_NOT_CONFIGURED", "{}", reply.text());
        Ok(())
    })
    .await
    .unwrap();
}

/// Puts `name` beside a working plugin and expects one line that holds `reason`, with everything else going on.
async fn refused(name: &str, content: Vec<u8>, reason: &str) {
    let mecha = probe_runtime()
        .library("libmecha_plugin_probe.so", fixture("probe-a").unwrap())
        .start()
        .await
        .unwrap();
    let file = mecha.plugins().put_bytes(name, &content).unwrap();
    let line = mecha.logs().wait_for(reason, SOON).await.unwrap();
    assert!(line.contains(name), "{line}");
    serves(&mecha, "a").await.unwrap();
    // One line a version of a file: the same file is not reported again while it does not change.
    let again = mecha.logs().matching(reason);
    assert_eq!(again.len(), 1, "{again:?}");
    let report = inspect(&file).await;
    assert!(report.contains(reason), "{report}");
    assert_eq!(
        mecha
            .metrics()
            .await
            .unwrap()
            .lines()
            .filter(|line| line.starts_with("mecha_plugin_refused"))
            .count(),
        1
    );
}

async fn inspect(file: &std::path::Path) -> String {
    let binary = mecha_testkit::mecha_binary().unwrap();
    let output =
        tokio::process::Command::new(binary).args(["plugin", "inspect"]).arg(file).output().await.unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[tokio::test]
async fn a_half_written_file_waits() {
    let whole = fs::read(fixture("probe-b").unwrap()).unwrap();
    refused("half.so", whole[..whole.len() / 2].to_vec(), "the file is incomplete").await;
}

#[tokio::test]
async fn a_half_written_file_is_taken_when_the_rest_arrives() {
    let mecha = probe_runtime().start().await.unwrap();
    let whole = fs::read(fixture("probe-b").unwrap()).unwrap();
    let file = mecha.plugins().put_bytes("late.so", &whole[..whole.len() / 3]).unwrap();
    mecha.logs().wait_for("the file is incomplete", SOON).await.unwrap();
    // As a slow copy does: the same file grows in place. It is not mapped, so writing to it is harmless.
    fs::write(&file, &whole).unwrap();
    serves(&mecha, "b").await.unwrap();
}

#[tokio::test]
async fn a_text_file_is_refused() {
    refused("text.so", b"I am not a library\n".repeat(200), "not a shared library").await;
}

#[tokio::test]
async fn a_library_without_export_is_refused() {
    refused("noexport.so", fs::read(fixture("no-export").unwrap()).unwrap(), "not a Mecha plugin").await;
}

#[tokio::test]
async fn a_library_of_another_boundary_is_refused() {
    let content = fs::read(fixture("incompatible").unwrap()).unwrap();
    refused("other.so", content, "built against an incompatible plugin API").await;
}

#[tokio::test]
async fn a_library_that_aborts_on_panic_is_refused() {
    refused("abort.so", fs::read(fixture("probe-panic-abort").unwrap()).unwrap(), "built with panic=abort")
        .await;
}

#[tokio::test]
async fn a_plugin_that_panics_when_it_opens_stops_nothing() {
    let mecha =
        probe_runtime().component("memory", "state.in-memory").plugin("memory").start().await.unwrap();
    let file =
        mecha.plugins().put(&fixture("probe-panics-open").unwrap(), "libmecha_plugin_probe.so").unwrap();
    let line = mecha.logs().wait_for("this build panics when it opens", SOON).await.unwrap();
    assert!(line.contains("store (state.probe/v1)"), "{line}");
    assert_eq!(status_of(&mecha, "/v1.0/state/memory/key").await.unwrap(), 204);
    assert!(inspect(&file).await.contains("this build panics when it opens"));
}

#[tokio::test]
async fn a_plugin_that_panics_in_a_call_fails_that_call_only() {
    let library = fixture("probe-panics-call").unwrap();
    let mecha = probe_runtime().library("libmecha_plugin_probe.so", &library).start().await.unwrap();
    for _ in 0..3 {
        let reply = mecha.http().get(&mecha.http_url("/v1.0/state/store/key")).await.unwrap();
        assert_eq!(reply.status, 500, "{}", reply.text());
        assert!(reply.text().contains("this build panics in every call"), "{}", reply.text());
    }
    mecha.logs().wait_for("the plugin panicked", SOON).await.unwrap();
    assert_eq!(status_of(&mecha, "/v1.0/healthz").await.unwrap(), 204);
    assert!(inspect(&library).await.contains("this build panics in every call"));
}

#[tokio::test]
async fn a_version_that_does_not_open_leaves_the_old_one_serving() {
    let library = fixture("probe-a").unwrap();
    let mecha = probe_runtime().library("libmecha_plugin_probe.so", library).start().await.unwrap();
    serves(&mecha, "a").await.unwrap();
    mecha.replace_plugin("probe", &fixture("probe-fails-open").unwrap()).unwrap();
    let line = mecha.logs().wait_for("this build never opens", SOON).await.unwrap();
    assert!(line.contains("store (state.probe/v1)") && line.contains("stays"), "{line}");
    serves(&mecha, "a").await.unwrap();
    mecha.replace_plugin("probe", &fixture("probe-b").unwrap()).unwrap();
    serves(&mecha, "b").await.unwrap();
}

#[tokio::test]
async fn a_plugin_built_with_an_older_api_loads() {
    let library = fixture("probe-old-api").unwrap();
    let mecha = probe_runtime().library("libmecha_plugin_probe.so", &library).start().await.unwrap();
    serves(&mecha, "a").await.unwrap();
    assert!(inspect(&library).await.contains("state.probe"));
}

#[tokio::test]
async fn the_earlier_directory_serves_and_the_later_one_takes_over() {
    let later = tempfile::tempdir().unwrap();
    fs::copy(fixture("probe-b").unwrap(), later.path().join("libmecha_plugin_probe.so")).unwrap();
    let library = fixture("probe-a").unwrap();
    let builder = probe_runtime().library("libmecha_plugin_probe.so", library).plugins_dir(later.path());
    let mecha = builder.start().await.unwrap();
    serves(&mecha, "a").await.unwrap();
    mecha.remove_plugin("probe").unwrap();
    serves(&mecha, "b").await.unwrap();
}

#[tokio::test]
async fn identical_content_is_not_loaded_again() {
    let library = plugin_library("memory").unwrap();
    let mecha =
        Mecha::builder().plugin("memory").component("store", "state.in-memory").start().await.unwrap();
    let mark = mecha.logs().mark();
    mecha.replace_plugin("memory", &library).unwrap();
    // A second, other file shows that the first look is over.
    mecha.plugins().put_bytes("text.so", b"not a library").unwrap();
    mecha.logs().wait_after(mark, "not a shared library", SOON).await.unwrap();
    assert!(
        mecha.logs().lines()[mark..].iter().all(|line| !line.contains("plugin loaded")),
        "{}",
        mecha.logs().tail()
    );
}
