//! Keeps looking at the plugin directories: woken by the file system, with a slow look as the fallback.

use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

use crate::{Change, PluginHost};

/// Where the file system tells nothing (network mounts, a directory made later), a change is seen after this long.
const FALLBACK: Duration = Duration::from_secs(1);

/// Reports changes until the receiver is gone. One look at a time, so loads never overlap.
pub async fn watch(mut host: PluginHost, changes: mpsc::Sender<Vec<Change>>) {
    let (wake, mut woken) = mpsc::channel(1);
    let watcher = file_system_watcher(&host, wake);
    let mut pause = FALLBACK;
    loop {
        tokio::select! {
            () = changes.closed() => break,
            _ = woken.recv(), if watcher.is_some() => {}
            () = tokio::time::sleep(pause) => {}
        }
        let looked = tokio::task::spawn_blocking(move || {
            let found = host.scan();
            (host, found)
        });
        let (found, look_again);
        match looked.await {
            Ok((back, result)) => (host, (found, look_again)) = (back, result),
            Err(error) => {
                tracing::error!(%error, "looking at the plugin directories failed; plugins stay as they are");
                return;
            }
        }
        pause = look_again.unwrap_or(FALLBACK).min(FALLBACK);
        if !found.is_empty() && changes.send(found).await.is_err() {
            break;
        }
    }
}

/// `None` when the system offers no watching; the fallback then does it alone.
fn file_system_watcher(host: &PluginHost, wake: mpsc::Sender<()>) -> Option<RecommendedWatcher> {
    let notified = move |event: notify::Result<Event>| {
        if event.as_ref().map_or(true, is_change) {
            // A full channel means that a look is due anyway.
            let _ = wake.try_send(());
        }
    };
    let mut watcher = notify::recommended_watcher(notified)
        .inspect_err(|error| tracing::debug!(%error, "no file system events; looking once a second"))
        .ok()?;
    for directory in host.directories() {
        if let Err(error) = watcher.watch(directory, RecursiveMode::NonRecursive) {
            tracing::debug!(directory = %directory.display(), %error, "no file system events; looking once a second");
        }
    }
    Some(watcher)
}

/// Reading is no change: every look opens the directories, and would ask for the next one.
fn is_change(event: &Event) -> bool {
    !event.kind.is_access() || event.kind == EventKind::Access(AccessKind::Close(AccessMode::Write))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looking_is_no_change_and_writing_is_one() {
        let is_told = |kind| is_change(&Event::new(kind));
        assert!(!is_told(EventKind::Access(AccessKind::Open(AccessMode::Any))));
        assert!(!is_told(EventKind::Access(AccessKind::Close(AccessMode::Read))));
        assert!(is_told(EventKind::Access(AccessKind::Close(AccessMode::Write))));
        assert!(is_told(EventKind::Any));
    }
}
