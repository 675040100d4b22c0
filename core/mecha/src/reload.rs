//! Resource and Configuration files while the process runs: what changes in them is taken in, in place.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use mecha_runtime::Runtime;
use mecha_settings::Resolved;
use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::components::{Declared, declared};
use crate::reconfigure::Configurations;

/// Where the file system tells nothing (network mounts, a folder made later), a change is seen after this long.
const FALLBACK: Duration = Duration::from_secs(5);
/// A file counts as written when nothing more happens for this long.
const SETTLE: Duration = Duration::from_millis(200);
/// A look is due after this long even when something happens all the time.
const LONGEST_SETTLE: Duration = Duration::from_secs(2);

/// Takes changes in until the process ends. `SIGHUP` asks for a look as well.
pub(crate) async fn keep_current(
    resolved: &Resolved,
    runtime: &Runtime,
    mut current: Declared,
) -> Result<std::convert::Infallible> {
    let mut hang_ups = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
    let (wake, mut woken) = mpsc::channel(1);
    let mut configurations = Configurations::new(resolved);
    let watcher = watcher(&watched(resolved), wake);
    loop {
        let mut was_asked = false;
        tokio::select! {
            _ = woken.recv(), if watcher.is_some() => settle(&mut woken).await,
            _ = hang_ups.recv() => {
                tracing::info!("Received signal 'hangup'; reading resource files, Configuration and secrets again");
                was_asked = true;
            }
            () = tokio::time::sleep(FALLBACK) => {}
        }
        let denies_otherwise = configurations.take_in(runtime);
        let found = declared(resolved).with_last_good(&current);
        if found != current || denies_otherwise {
            take_in(runtime, &current, &found, denies_otherwise).await;
            current = found;
        }
        if was_asked {
            refresh_secrets(runtime, &current).await;
        }
    }
}

/// What stands behind references is looked at only when somebody asks: stores are other machines, too.
async fn refresh_secrets(runtime: &Runtime, current: &Declared) {
    runtime.refresh_secrets().await;
    if current.has_endpoint_secrets() {
        redeclare_endpoints(runtime, current).await;
    }
}

async fn redeclare_endpoints(runtime: &Runtime, found: &Declared) {
    match runtime.redeclare_endpoints(found.http_endpoints()).await {
        Ok(()) => tracing::info!(endpoints = found.endpoints.len(), "HTTP endpoints were read again"),
        Err(error) => tracing::error!("HTTP endpoints were changed and are not taken in: {error}"),
    }
}

async fn take_in(runtime: &Runtime, current: &Declared, found: &Declared, denies_otherwise: bool) {
    for problem in found.problems.iter().filter(|problem| !current.problems.contains(problem)) {
        tracing::error!("a resource file cannot be used; what it held before stays: {problem}");
    }
    // Before the components, which may be new and have policies already.
    if found.resiliencies != current.resiliencies {
        runtime.redeclare_policies(&found.policies());
        tracing::info!(resiliencies = found.resiliencies.len(), "Resiliency resources were read again");
    }
    let changes_components = found.components != current.components || denies_otherwise;
    if changes_components {
        match runtime.redeclare(found.components.clone()).await {
            Ok(()) => tracing::info!(components = found.components.len(), "resource files were read again"),
            Err(error) => tracing::error!("resource files were changed and are not taken in: {error}"),
        }
    }
    // After the components, which they may name, as the subscriptions do.
    if found.endpoints != current.endpoints || (changes_components && found.has_endpoint_secrets()) {
        redeclare_endpoints(runtime, found).await;
    }
    if found.subscriptions != current.subscriptions {
        let subscriptions =
            found.subscriptions.iter().map(|(subscription, _)| subscription.clone()).collect();
        runtime.redeclare_subscriptions(subscriptions);
        tracing::info!(subscriptions = found.subscriptions.len(), "subscriptions were read again");
    }
}

/// The folders of everything that is watched. A file is watched by its folder: whoever writes one may put another in its place.
fn watched(resolved: &Resolved) -> BTreeSet<&Path> {
    let resources = &resolved.settings.resources;
    let files = resources.configurations.iter().map(|file| match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    });
    resources.paths.iter().map(|path| path.as_path()).chain(files).collect()
}

/// Waits until nothing more happens. Not for ever: a file may stand in a folder where others write all the time.
async fn settle(woken: &mut mpsc::Receiver<()>) {
    let quiet = async { while let Ok(Some(())) = tokio::time::timeout(SETTLE, woken.recv()).await {} };
    // Its end by time is as good: what is half written is read again with the next event.
    let _ = tokio::time::timeout(LONGEST_SETTLE, quiet).await;
}

/// `None` when the system offers no watching; the fallback then does it alone.
fn watcher(folders: &BTreeSet<&Path>, wake: mpsc::Sender<()>) -> Option<RecommendedWatcher> {
    let notified = move |event: notify::Result<notify::Event>| {
        // Reading is no change: our own looks would ask for the next one.
        let is_change = |event: &notify::Event| {
            !event.kind.is_access() || event.kind == EventKind::Access(AccessKind::Close(AccessMode::Write))
        };
        if event.as_ref().map_or(true, is_change) {
            // A full channel means that a look is due anyway.
            let _ = wake.try_send(());
        }
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
