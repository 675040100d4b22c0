//! Resource files while the process runs: what changes in them is taken in, in place.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use mecha_runtime::Runtime;
use mecha_settings::Resolved;
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::components::{Declared, declared};

/// Where the file system tells nothing (network mounts, a folder made later), a change is seen after this long.
const FALLBACK: Duration = Duration::from_secs(5);
/// A file counts as written when nothing more happens for this long.
const SETTLE: Duration = Duration::from_millis(200);

/// Takes changes in until the process ends. `SIGHUP` asks for a look as well.
pub(crate) async fn keep_current(
    resolved: &Resolved,
    runtime: &Runtime,
    mut current: Declared,
) -> Result<std::convert::Infallible> {
    let mut hang_ups = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
    let (wake, mut woken) = mpsc::channel(1);
    let watcher = watcher(&resolved.settings.resources.paths, wake);
    loop {
        tokio::select! {
            _ = woken.recv(), if watcher.is_some() => settle(&mut woken).await,
            _ = hang_ups.recv() => tracing::info!("Received signal 'hangup'; reading the resource files again"),
            () = tokio::time::sleep(FALLBACK) => {}
        }
        let found = declared(resolved).with_last_good(&current);
        if found == current {
            continue;
        }
        take_in(runtime, &current, &found).await;
        current = found;
    }
}

async fn take_in(runtime: &Runtime, current: &Declared, found: &Declared) {
    for problem in found.problems.iter().filter(|problem| !current.problems.contains(problem)) {
        tracing::error!("a resource file cannot be used; what it held before stays: {problem}");
    }
    if found.components != current.components {
        match runtime.redeclare(found.components.clone()).await {
            Ok(()) => tracing::info!(components = found.components.len(), "resource files were read again"),
            Err(error) => tracing::error!("resource files were changed and are not taken in: {error}"),
        }
    }
    // After the components, which they may name.
    if found.subscriptions != current.subscriptions {
        let subscriptions =
            found.subscriptions.iter().map(|(subscription, _)| subscription.clone()).collect();
        runtime.redeclare_subscriptions(subscriptions);
        tracing::info!(subscriptions = found.subscriptions.len(), "subscriptions were read again");
    }
}

/// Waits until nothing more happens.
async fn settle(woken: &mut mpsc::Receiver<()>) {
    while let Ok(Some(())) = tokio::time::timeout(SETTLE, woken.recv()).await {}
}

/// `None` when the system offers no watching; the fallback then does it alone.
fn watcher(folders: &[PathBuf], wake: mpsc::Sender<()>) -> Option<RecommendedWatcher> {
    let notified = move |_event| {
        // A full channel means that a look is due anyway.
        let _ = wake.try_send(());
    };
    let mut watcher = notify::recommended_watcher(notified)
        .inspect_err(|error| tracing::debug!(%error, "no file system events for resources"))
        .ok()?;
    for folder in folders {
        if let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive) {
            tracing::debug!(folder = %folder.display(), %error, "no file system events for this folder");
        }
    }
    Some(watcher)
}
