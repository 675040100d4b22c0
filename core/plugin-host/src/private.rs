//! The private folder that copies of plugins are mapped from, and the end of what killed processes left behind.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use tempfile::TempDir;

const PREFIX: &str = "mecha-plugins-";
/// Locked for as long as its folder is in use; the system lets go of the lock however the process ends.
const LOCK: &str = "in-use";

/// A folder of this process alone.
pub(crate) struct PrivateFolder {
    folder: TempDir,
    _lock: File,
}

impl PrivateFolder {
    /// Makes one in the system's temporary directory, and removes those whose process is gone.
    pub(crate) fn new() -> io::Result<Self> {
        Self::within(&std::env::temp_dir())
    }

    fn within(parent: &Path) -> io::Result<Self> {
        remove_abandoned(parent);
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent)?;
        // Locked before it has its name, so that nobody finds it unlocked.
        let unnamed = folder.path().join("being-made");
        let lock = File::create_new(&unnamed)?;
        lock.lock()?;
        fs::rename(unnamed, folder.path().join(LOCK))?;
        Ok(Self { folder, _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// A process that was killed leaves its folder, megabytes a plugin. What cannot be removed, such as another user's, stays.
fn remove_abandoned(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let is_ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        // A folder without a lock file is just being made.
        let Ok(lock) = File::open(entry.path().join(LOCK)) else { continue };
        if is_ours && lock.try_lock().is_ok() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn abandoned_folders_go_and_used_ones_stay() {
        let parent = tempfile::tempdir().unwrap();
        let used = PrivateFolder::within(parent.path()).unwrap();
        let abandoned = parent.path().join("mecha-plugins-abandoned");
        fs::create_dir(&abandoned).unwrap();
        File::create(abandoned.join(LOCK)).unwrap();
        let unrelated = parent.path().join("other");
        fs::create_dir(&unrelated).unwrap();
        File::create(unrelated.join(LOCK)).unwrap();
        let next = PrivateFolder::within(parent.path()).unwrap();
        assert!(used.path().exists() && next.path().exists() && unrelated.exists());
        assert!(!abandoned.exists());
    }
}
