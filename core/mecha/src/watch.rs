//! Tells when one of the files that were read at the start may have changed.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mecha_resources::is_resource_file;
use mecha_settings::Resolved;
use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

/// A file counts as written when nothing more happens for this long.
const SETTLE: Duration = Duration::from_millis(200);
/// A look is due after this long even when something happens all the time.
const LONGEST_SETTLE: Duration = Duration::from_secs(2);

/// The folders of resources, of Configuration files and of certificates.
pub(crate) struct Watch {
    woken: mpsc::Receiver<()>,
    /// `None` when the system offers no watching.
    _watcher: Option<RecommendedWatcher>,
}

impl Watch {
    /// Begins to watch. What the system does not tell (network mounts, folders made later) is not told here either.
    pub(crate) fn over(resolved: &Resolved) -> Self {
        let resources = &resolved.settings.resources;
        Self::of(&resources.paths, &resources.configurations)
    }

    /// The same for files alone.
    pub(crate) fn over_files(files: &[PathBuf]) -> Self {
        Self::of(&[], files)
    }

    fn of(paths: &[PathBuf], files: &[PathBuf]) -> Self {
        let (wake, woken) = mpsc::channel(1);
        Self { woken, _watcher: watcher(paths, files, wake) }
    }

    /// Waits for a change, and until nothing more happens for a moment.
    pub(crate) async fn changed(&mut self) {
        if self.woken.recv().await.is_none() {
            // Nobody is there who could tell.
            std::future::pending::<()>().await;
        }
        let quiet =
            async { while let Ok(Some(())) = tokio::time::timeout(SETTLE, self.woken.recv()).await {} };
        // Its end by time is as good: what is half written is read again with the next event.
        let _ = tokio::time::timeout(LONGEST_SETTLE, quiet).await;
    }
}

fn watcher(paths: &[PathBuf], files: &[PathBuf], wake: mpsc::Sender<()>) -> Option<RecommendedWatcher> {
    let names: Vec<_> = files.iter().filter_map(|file| Some(file.file_name()?.to_owned())).collect();
    let notified = move |event: notify::Result<Event>| {
        if event
            .as_ref()
            .map_or(true, |event| is_change(event) && is_about_a_file_that_is_read(event, &names))
        {
            // A full channel means that a look is due anyway.
            let _ = wake.try_send(());
        }
    };
    let mut watcher = notify::recommended_watcher(notified)
        .inspect_err(|error| tracing::debug!(%error, "no file system events for resources"))
        .ok()?;
    for folder in folders(paths, files) {
        if let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive) {
            tracing::debug!(folder = %folder.display(), %error, "no file system events for this folder");
        }
    }
    Some(watcher)
}

/// A file is watched by its folder: whoever writes one may put another in its place.
fn folders<'a>(resources: &'a [PathBuf], configurations: &'a [PathBuf]) -> BTreeSet<&'a Path> {
    let files = configurations.iter().map(|file| match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    });
    resources.iter().map(|path| path.as_path()).chain(files).collect()
}

/// Reading is no change: our own looks would ask for the next one.
fn is_change(event: &Event) -> bool {
    !event.kind.is_access() || event.kind == EventKind::Access(AccessKind::Close(AccessMode::Write))
}

/// Others, such as databases, may lie in the same folder and be written to all the time. The link behind which a cluster changes
/// all files at once (`..data`) counts, and so does what has no extension and may be a folder.
fn is_about_a_file_that_is_read(event: &Event, configurations: &[OsString]) -> bool {
    let is_read = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default();
        is_resource_file(path)
            || path.extension().is_none()
            || name.as_encoded_bytes().starts_with(b"..")
            || configurations.iter().any(|configuration| configuration == name)
    };
    event.paths.is_empty() || event.paths.iter().any(is_read)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tells(path: &str) -> bool {
        let event = Event::new(EventKind::Any).add_path(path.into());
        is_about_a_file_that_is_read(&event, &["settings.conf".into()])
    }

    #[test]
    fn what_lies_beside_the_files_that_are_read_is_no_change() {
        for path in ["/r/a.yaml", "/r/A.YML", "/r/a.json", "/r/..data", "/r/folder", "/c/settings.conf"] {
            assert!(tells(path), "{path}");
        }
        for path in ["/r/store.db", "/r/store.db-wal", "/r/.a.yaml.swp", "/c/other.conf"] {
            assert!(!tells(path), "{path}");
        }
    }
}
