//! Resource and Configuration files while the process runs: what changes in them is taken in, in place.

use std::time::Duration;

use anyhow::{Context, Result};
use mecha_runtime::Runtime;
use mecha_settings::Resolved;
use tokio::signal::unix::{SignalKind, signal};

use crate::components::{Declared, declared};
use crate::reconfigure::Configurations;
use crate::watch::Watch;

/// Where the file system tells nothing (network mounts, a folder made later), a change is seen after this long.
const FALLBACK: Duration = Duration::from_secs(5);

/// Takes changes in until the process ends. `SIGHUP` asks for a look as well.
pub(crate) async fn keep_current(
    resolved: &Resolved,
    runtime: &Runtime,
    mut current: Declared,
) -> Result<std::convert::Infallible> {
    let mut hang_ups = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
    let mut configurations = Configurations::new(resolved);
    let mut files = Watch::over(resolved);
    loop {
        let mut was_asked = false;
        tokio::select! {
            () = files.changed() => {}
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
